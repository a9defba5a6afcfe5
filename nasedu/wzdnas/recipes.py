"""How detectors are trained, by name: the published recipe, and a short one for a few minutes on a laptop."""

from __future__ import annotations

from dataclasses import fields, replace

from nasedu.detection import Augment
from nasedu.errors import check_name
from nasedu.registry import check_options
from nasedu.training import TrainingConfig
from nasedu.wzdnas.detector import DetectorConfig

RECIPES = {
    # Scaled-YOLOv4's scratch settings: SGD, mosaic always, CIoU.
    "published": DetectorConfig(augment=Augment(translate=0.5, scale=0.5)),
    # Few epochs: AdamW, no mosaic, anchors that take only objects of about their own size.
    "short": DetectorConfig(
        training=TrainingConfig(
            optimizer="adamw", lr=0.004, final_lr=0.02, warmup_steps=60, warmup_bias_lr=0.001,
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


def recipe(name: str, *, epochs: int, flip: bool = True, **changes) -> DetectorConfig:
    """A named recipe. Raises `UnknownName` for another recipe or field.

    name: one of `RECIPES`.
    epochs: how long.
    flip: False for data with a reading direction, such as digits.
    changes: fields of `DetectorConfig` or of its `TrainingConfig`, e.g. `iou="iou"` for the warm-up; None leaves a
        field alone.
    """
    base = RECIPES[check_name("recipe", name, RECIPES)]
    changes = {"epochs": epochs} | {k: v for k, v in changes.items() if v is not None}
    of_training = [field.name for field in fields(base.training)]
    check_options("a recipe", changes, [*(f.name for f in fields(base)), *of_training])
    training = {name: changes.pop(name) for name in of_training if name in changes}
    augment = base.augment if flip else replace(base.augment, flip=0.0)
    return replace(base, **{"training": replace(base.training, **training), "augment": augment} | changes)
