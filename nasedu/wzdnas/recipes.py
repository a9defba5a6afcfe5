"""How detectors are trained, by name: the published recipe, and a short one for a few minutes on a laptop."""

from __future__ import annotations

import math
from dataclasses import fields, replace

from nasedu.detection import Augment
from nasedu.errors import check_name
from nasedu.registry import check_options
from nasedu.training import TrainingConfig
from nasedu.wzdnas.detector import DetectorConfig

NOMINAL = 64  # images whose gradients make a step of the public training
PUBLIC = TrainingConfig(summed=True, clip=math.inf)  # which does not clip

ROWS = Augment(translate=0.5, scale=0.8, mixup=0.2)  # WZDNAS's README: hyp.finetune, from scratch all the same
HALF = replace(PUBLIC, precision="bfloat16")  # half precision wherever that is safe, as the public training

RECIPES = {
    # Scaled-YOLOv4's scratch settings: SGD, mosaic always, CIoU; the defaults of its public training.
    "published": DetectorConfig(training=PUBLIC, augment=Augment(translate=0.5, scale=0.5), generations=1000),
    # WZDNAS's published rows were trained with these, in single precision here.
    "finetune": DetectorConfig(training=PUBLIC, augment=ROWS, generations=1000),
    # Those rows whole: VOC2007 at 416 px, 32 images a batch, 300 epochs (README; its logs tell of 16 on one GPU).
    "voc2007": DetectorConfig(training=HALF, augment=ROWS, batch_size=32, generations=1000),
    # COCO at 416 px: 48 images a batch on two GPUs, the templates' own anchors (its logs: --noautoanchor).
    "coco": DetectorConfig(training=HALF, augment=ROWS, batch_size=48, autoanchor=False),
    # Few epochs: AdamW, no mosaic, anchors that take only objects of about their own size.
    "short": DetectorConfig(
        training=TrainingConfig(
            epochs=30, optimizer="adamw", lr=0.004, final_lr=0.02, warmup_steps=60, warmup_bias_lr=0.001,
            weight_decay=0.01, ema_decay=0.98, ema_ramp=100,
        ),
        augment=Augment(mosaic=0.0, translate=0.1, scale=0.2),
        batch_size=16,
        box=0.3,
        cls=24.0,
        ratio=2.0,
        pooled=True,
    ),
}  # fmt: skip


def recipe(
    name: str, *, epochs: int | None = None, flip: bool = True, images: int | None = None, **changes
) -> DetectorConfig:
    """A named recipe. Raises `UnknownName` for another recipe or field.

    The public training, all but "short", makes a step of about 64 images, scales the weight decay to their
    number, and warms up over 3 epochs, or 1,000 batches where that is more.

    name: one of `RECIPES`.
    epochs: how long; None: the recipe's own, 300 as published.
    flip: False for data with a reading direction, such as digits.
    images: of the training set, by which a public training's warm-up is counted; None: 1,000 batches.
    changes: fields of `DetectorConfig` or of its `TrainingConfig`, e.g. `iou="iou"` for the warm-up; None leaves a
        field alone.
    """
    base = RECIPES[check_name("recipe", name, RECIPES)]
    changes = {name: value for name, value in ({"epochs": epochs} | changes).items() if value is not None}
    of_training = [field.name for field in fields(base.training)]
    check_options("a recipe", changes, [*(f.name for f in fields(base)), *of_training])
    training = {name: changes.pop(name) for name in of_training if name in changes}
    augment = base.augment if flip else replace(base.augment, flip=0.0)
    if base.training.summed:
        training = _nominal(changes.get("batch_size", base.batch_size), images, base.training) | training
    return replace(base, **{"training": replace(base.training, **training), "augment": augment} | changes)


def _nominal(batch_size: int, images: int | None, training: TrainingConfig) -> dict:
    """What of a public training depends on the size of its batches."""
    accumulate = max(1.0, NOMINAL / batch_size)
    decay = training.weight_decay * batch_size * round(accumulate) / NOMINAL
    warmup = max(1000, round(3 * images / batch_size)) if images else 1000
    return {"accumulate": accumulate, "weight_decay": decay, "warmup_steps": warmup}
