"""Training a classifier: recipes, batches, augmentation, the loss, a teacher, the accuracy."""

from nasedu.classification.augment import mixup, published_augment
from nasedu.classification.batches import batches
from nasedu.classification.initial import zen_init
from nasedu.classification.recipes import classifier_recipe, published_recipe, recipe
from nasedu.classification.scoring import accuracy, error, judged, label_loss

__all__ = [
    "accuracy",
    "batches",
    "classifier_recipe",
    "error",
    "judged",
    "label_loss",
    "mixup",
    "published_augment",
    "published_recipe",
    "recipe",
    "zen_init",
]
