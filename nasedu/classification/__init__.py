"""Training a classifier: recipes, batches, augmentation, steps with and without a teacher, the accuracy."""

from nasedu.classification.augment import mixup, published_augment
from nasedu.classification.batches import batches
from nasedu.classification.initial import zen_init
from nasedu.classification.recipes import published_recipe, recipe
from nasedu.classification.steps import accuracy, classifier_step

__all__ = [
    "accuracy",
    "batches",
    "classifier_step",
    "mixup",
    "published_augment",
    "published_recipe",
    "recipe",
    "zen_init",
]
