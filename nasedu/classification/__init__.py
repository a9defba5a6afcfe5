"""Training a classifier: recipes, batches, augmentation, the loss, a teacher, the accuracy."""

from nasedu.classification.augment import (
    Augment,
    Mix,
    auto_augment,
    crop_and_flip,
    from_torchvision,
    in_turn,
    mixup,
    published_augment,
    random_erasing,
)
from nasedu.classification.batches import batches
from nasedu.classification.distill import Distilled, distilled_step
from nasedu.classification.initial import zen_init
from nasedu.classification.recipes import published_recipe, recipe
from nasedu.classification.scoring import accuracy, error, label_loss

__all__ = [
    "Augment",
    "Distilled",
    "Mix",
    "accuracy",
    "auto_augment",
    "batches",
    "crop_and_flip",
    "distilled_step",
    "error",
    "from_torchvision",
    "in_turn",
    "label_loss",
    "mixup",
    "published_augment",
    "published_recipe",
    "random_erasing",
    "recipe",
    "zen_init",
]
