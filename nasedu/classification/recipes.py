"""The settings of a training: for a few minutes on a CPU, and as Zen-NAS published them."""

from __future__ import annotations

import math
from dataclasses import fields

from nasedu.errors import ParameterError
from nasedu.registry import check_options
from nasedu.training import TrainingConfig


def recipe(epochs: int, **changes) -> TrainingConfig:
    """The settings for short trainings of small networks: AdamW, a cosine to zero, averaged weights that follow fast.

    `changes` replace settings by name. Raises `UnknownName` for one that `TrainingConfig` does not have.
    """
    settings = {
        "optimizer": "adamw",
        "lr": 0.01,
        "final_lr": 0.01,
        "weight_decay": 0.02,
        "warmup_steps": 20,
        "warmup_bias_lr": 0.0,
        "ema_decay": 0.95,
        "ema_ramp": 10,
    }
    return _changed(epochs, settings, changes)


def published_recipe(
    epochs: int, batch_size: int, n_images: int, *, warmup_epochs: float = 5, **changes
) -> TrainingConfig:
    """The settings with which Zen-NAS trains its winners on CIFAR (Lin et al. 2021; its public scripts).

    SGD with Nesterov momentum .9; a learning rate of .1 for every 256 images of a batch, on a cosine to 0 after a
    linear warm-up; weight decay 5e-4 (4e-5 for ImageNet) on weights alone; gradients unclipped. The authors train
    1,440 epochs at a batch of 64 on CIFAR, 480 on ImageNet, and judge the plain weights: `Trained.model`, not `.ema`.
    Here the cosine moves once an epoch and starts with the first.

    To the recipe belong `zen_init(net, generator, bn_momentum=0.01)`, `published_augment`, `mixup(classes)`, and label
    smoothing .1 or `distilled_step`. Raises `ParameterError`, `UnknownName`.

        epochs: passes over the training set.
        batch_size: images of a batch.
        n_images: the training set's size.
        warmup_epochs: how long the learning rate rises.
        changes: other settings by name.
    """
    if batch_size < 1 or n_images < 1:
        raise ParameterError(f"a batch and the set need at least 1 image each, got {batch_size} and {n_images}")
    if not 0 <= warmup_epochs < epochs:
        raise ParameterError(f"warmup_epochs {warmup_epochs}: must be at least 0 and below the {epochs} epochs")
    settings = {
        "optimizer": "sgd",
        "lr": 0.1 * batch_size / 256,
        "final_lr": 0.0,
        "momentum": 0.9,
        "weight_decay": 5e-4,
        "warmup_steps": round(warmup_epochs * max(1, n_images // batch_size)),
        "warmup_bias_lr": 0.0,
        "warmup_momentum": 0.9,
        "clip": math.inf,
    }
    return _changed(epochs, settings, changes)


def _changed(epochs: int, settings: dict, changes: dict) -> TrainingConfig:
    check_options("a training", changes, [field.name for field in fields(TrainingConfig)])
    return TrainingConfig(epochs=epochs, **settings | changes)
