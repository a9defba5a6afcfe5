"""How detectors are trained, by name: the published recipe, and a short one for a few minutes on a laptop."""

from __future__ import annotations

from dataclasses import replace

from nasedu.detection import Augment
from nasedu.errors import check_name
from nasedu.training import TrainingConfig
from nasedu.wzdnas.detector import DetectorConfig

RECIPES = {
    # Scaled-YOLOv4: SGD, mosaic always, CIoU.
    "published": DetectorConfig(),
    # Few epochs: AdamW, one image per input, anchors that take only objects of about their own size.
    "short": DetectorConfig(
        training=TrainingConfig(
            optimizer="adamw", lr=0.004, final_lr=0.02, warmup_steps=60, warmup_bias_lr=0.001,
            weight_decay=0.01, ema_decay=0.998, ema_ramp=100,
        ),
        augment=Augment(mosaic=0.0, translate=0.1, scale=0.25),
        batch_size=16,
        cls=12.0,
        ratio=1.6,
    ),
}  # fmt: skip


def recipe(name: str, *, epochs: int, flip: bool = True, batch_size: int | None = None, **changes) -> DetectorConfig:
    """A named recipe for `epochs` epochs. `flip=False` for data with a reading direction, such as digits.

    `changes` replace fields of `DetectorConfig`, e.g. `iou="iou"` for the warm-up. Raises `UnknownName`.
    """
    base = RECIPES[check_name("recipe", name, RECIPES)]
    augment = base.augment if flip else replace(base.augment, flip=0.0)
    training = replace(base.training, epochs=epochs)
    return replace(base, training=training, augment=augment, batch_size=batch_size or base.batch_size, **changes)
