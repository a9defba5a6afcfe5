"""How classifiers are trained, by name: as published, and for a few minutes on a CPU."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, fields, replace
from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from nasedu.classification.augment import Augmentation, mixup
from nasedu.classification.initial import INITIALS
from nasedu.data import ImageSet
from nasedu.data.classification import NORMALISED
from nasedu.data.crop import RandomCrop
from nasedu.data.folder import SCALINGS
from nasedu.errors import ParameterError, check_kind, check_name, check_number, check_whole
from nasedu.registry import check_options
from nasedu.training import TrainingConfig


@dataclass(frozen=True)
class ClassifierConfig:
    """How a classifier is trained. Raises `ParameterError`, `UnknownName`.

    settings: of the training; where `per_256` is set, its learning rate is that of a batch of 256 images.
    augment: what is done to training images.
    batch_size: images of a batch.
    warmup_epochs: how long the learning rate rises, where it counts by images (`per_256`).
    init: one of `initial.INITIALS`, the weights at the start.
    bn_momentum: of batch normalisation; None leaves the network's.
    label_smoothing: as in `label_loss`.
    averaged: whether the averaged weights are the result, or the last ones.
    image_size: pixels of a side that the network is shown; None: what suits the image set.
    normalise, scaling: how images are read, as in `data.classification`: CIFAR's by "measured" or "published" mean and
        deviation, files by "bilinear" or "bicubic" interpolation.
    teacher_size: pixels of the images that a teacher is shown, where there is one.
    features: the least stride of the maps that a teacher teaches; see `distill.Distilled`.
    feature_weight, logit_weight: of a teacher's maps and answers; see `distill.distilled_step`.
    """

    settings: TrainingConfig
    augment: Augmentation = field(default_factory=Augmentation)
    batch_size: int = 64
    per_256: bool = False
    warmup_epochs: float = 5
    init: str = "built"
    bn_momentum: float | None = None
    label_smoothing: float = 0.0
    averaged: bool = False
    image_size: int | None = None
    normalise: str = "measured"
    scaling: str = "bilinear"
    teacher_size: int | None = None
    features: int = 16
    feature_weight: float = 1.0
    logit_weight: float = 1.0

    def __post_init__(self):
        check_name("initialisation", self.init, INITIALS)
        check_whole("batch_size", self.batch_size)
        check_whole("features", self.features)
        check_name("normalisation", self.normalise, NORMALISED)
        check_name("interpolation", self.scaling, SCALINGS)
        check_kind("settings", self.settings, TrainingConfig, "a TrainingConfig")
        check_kind("augment", self.augment, Augmentation, "an Augmentation")
        for name in ("per_256", "averaged"):
            check_kind(name, getattr(self, name), bool, "true or false")
        for name, most in {"label_smoothing": 1.0, "feature_weight": math.inf, "logit_weight": math.inf}.items():
            check_number(name, getattr(self, name), most=most)
        if self.bn_momentum is not None:
            check_number("bn_momentum", self.bn_momentum, most=1, above=True)
        for name in ("image_size", "teacher_size"):
            if getattr(self, name) is not None:
                check_whole(name, getattr(self, name), 8, 2048)
        epochs = self.settings.epochs
        if self.per_256 and not 0 <= check_number("warmup_epochs", self.warmup_epochs) < max(epochs, 1):
            raise ParameterError(
                f"warmup_epochs {self.warmup_epochs}: must be at least 0 and below the {epochs} epochs"
            )

    def training(self, n_images: int) -> TrainingConfig:
        """The settings of a training on so many images. Raises `ParameterError`.

        With `per_256` the learning rate grows with the batch, and warm-up and decay move with every batch.
        """
        if check_whole("the number of images", n_images) and not self.per_256:
            return self.settings
        batches = max(1, n_images // self.batch_size)
        return replace(
            self.settings,
            lr=self.settings.lr * self.batch_size / 256,
            decay_steps=self.settings.epochs * batches,
            warmup_steps=round(self.warmup_epochs * batches),
        )

    def task(self, train: ImageSet) -> dict[str, Any]:
        """What of a `task.Classification(train, ...)` is the recipe's: batches, augmentation, smoothing.

        Raises `UnknownName` where the set's augmentation is not known.
        """
        how = self.augment
        mix = mixup(len(train.classes), how.mixup) if how.mixup else None
        changed = {"augment": how.of(train), "mix": mix, "crop": RandomCrop() if how.crop == "resized" else None}
        return {"batch_size": self.batch_size, "label_smoothing": self.label_smoothing, **changed}

    def reading(self, name: str) -> dict[str, object]:
        """Options of `data.classification` for an image set by its name; random crops come from whole pictures."""
        if name.startswith("cifar"):
            return {"normalise": self.normalise}
        files = {"scaling": self.scaling, "stream": self.augment.crop == "resized"}
        return files if name in ("folder", "imagenet") else {}

    def start(self, network: nn.Module, generator: torch.Generator | None) -> nn.Module:
        """A network with the recipe's first weights and BN momentum, in place.

        network: what will be trained.
        generator: draws the weights; None: those that it has stay.
        """
        if generator:
            INITIALS[self.init](network, generator)
        for part in network.modules():
            if isinstance(part, _BatchNorm) and self.bn_momentum is not None:
                part.momentum = self.bn_momentum
        return network


SHORT = TrainingConfig(
    optimizer="adamw", lr=0.01, final_lr=0.01, weight_decay=0.02,
    warmup_steps=20, warmup_bias_lr=0.0, ema_decay=0.95, ema_ramp=10,
)  # fmt: skip
# Of idstcv/ZenNAS, scripts/*.sh and global_utils.py: SGD, lr .1 for 256 images to 0, momentum .9, no decay of biases
# and normalisations, nothing clipped.
ZEN = TrainingConfig(
    epochs=1440, lr=0.1, final_lr=0.0, momentum=0.9, warmup_momentum=0.9,
    weight_decay=5e-4, warmup_bias_lr=0.0, clip=math.inf,
)  # fmt: skip
ZEN_CIFAR = ClassifierConfig(
    ZEN,
    Augmentation("padded", policy="set", erasing=0.5, mixup=0.2),  # DataLoader/__init__.py
    batch_size=64,  # on one GPU; its issue 3 tells that 256 loses 3 to 4 points on CIFAR-100
    per_256=True,
    warmup_epochs=5,
    init="zen",  # --weight_init custom
    bn_momentum=0.01,
    label_smoothing=0.1,
    image_size=32,
    normalise="published",
    scaling="bicubic",
)
ZEN_IMAGENET = replace(
    ZEN_CIFAR,
    settings=replace(ZEN, epochs=480, weight_decay=4e-5),
    augment=Augmentation("resized", policy="set", lighting=0.1, erasing=0.5, mixup=0.2),
    image_size=224,
    teacher_size=320,  # of tf_efficientnet_b3_ns, with weights 1 and strides from 16 on
)

RECIPES = {
    # Few epochs of small networks: AdamW, averaged weights that follow fast.
    "short": ClassifierConfig(replace(SHORT, epochs=20), averaged=True),
    # Zen-NAS's CIFAR-10 and CIFAR-100.
    "zen_cifar": ZEN_CIFAR,
    # Zen-NAS's ImageNet, on one GPU.
    "zen_imagenet": ZEN_IMAGENET,
    # Adlik/zen_nas's: 8 GPUs with 256 images each in half precision (apex O1), so lr .8; for 1.2 ms 100 epochs.
    "zen_imagenet_apex": replace(
        ZEN_IMAGENET, batch_size=2048, settings=replace(ZEN_IMAGENET.settings, precision="bfloat16")
    ),
    # The truth of the CVPR 2022 ranking track: xiteng01/CVPR_2022_Track1_demo, pretrain.py; 4 GPUs, crop and flip.
    "resnet48": ClassifierConfig(
        replace(ZEN, epochs=90, weight_decay=1e-4, nesterov=False),
        Augmentation("resized"),
        batch_size=1024,
        per_256=True,
        warmup_epochs=2,
        image_size=224,
    ),
}


def classifier_recipe(name: str, **changes) -> ClassifierConfig:
    """A named recipe.

    name: one of `RECIPES`.
    changes: fields of `ClassifierConfig`, of its `TrainingConfig` (such as `epochs=10`) or of its `Augmentation`.
    Raises `UnknownName` for another recipe or field, `ParameterError` for a value out of range.
    """
    base = RECIPES[check_name("recipe", name, RECIPES)]
    inner = {part: [f.name for f in fields(getattr(base, part))] for part in ("settings", "augment")}
    if base.settings.warmup_momentum == base.settings.momentum and "momentum" in changes:
        changes = {"warmup_momentum": changes["momentum"]} | changes  # where it is warmed up with the same it stays so
    check_options("a recipe", changes, [*(f.name for f in fields(base)), *inner["settings"], *inner["augment"]])
    for part, names in inner.items():
        if own := {key: changes.pop(key) for key in names if key in changes}:
            changes[part] = replace(changes.get(part, getattr(base, part)), **own)
    return replace(base, **changes)


def recipe(epochs: int, **changes) -> TrainingConfig:
    """The settings for short trainings of small networks: AdamW, a cosine to zero, averaged weights that follow fast.

    `changes` replace settings by name. Raises `UnknownName` for one that `TrainingConfig` does not have.
    """
    return _changed(replace(SHORT, epochs=epochs), changes)


def published_recipe(
    epochs: int, batch_size: int, n_images: int, *, warmup_epochs: float = 5, **changes
) -> TrainingConfig:
    """The settings with which Zen-NAS trains its winners on CIFAR (Lin et al. 2021; its public scripts).

    SGD with Nesterov momentum .9; a learning rate of .1 for every 256 images of a batch, on a cosine to 0 after a
    linear warm-up; weight decay 5e-4 (4e-5 for ImageNet) on weights alone; gradients unclipped. The authors train
    1,440 epochs at a batch of 64 on CIFAR, 480 on ImageNet, and judge the plain weights: `Trained.model`, not `.ema`.

    To the recipe belong `zen_init(net, generator, bn_momentum=0.01)`, `published_augment`, `mixup(classes)`, and label
    smoothing .1 or `distilled_step`; `classifier_recipe("zen_cifar")` holds all of it. Raises `ParameterError`,
    `UnknownName`.

        epochs: passes over the training set.
        batch_size: images of a batch.
        n_images: the training set's size.
        warmup_epochs: how long the learning rate rises.
        changes: other settings by name.
    """
    counted = {"epochs": epochs, "batch_size": batch_size, "warmup_epochs": warmup_epochs}
    return _changed(classifier_recipe("zen_cifar", **counted).training(n_images), changes)


def _changed(settings: TrainingConfig, changes: dict) -> TrainingConfig:
    check_options("a training", changes, [field.name for field in fields(TrainingConfig)])
    return replace(settings, **changes)
