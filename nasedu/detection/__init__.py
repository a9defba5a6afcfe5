"""Anchor-based object detection: anchors, losses, augmentation, batches, post-processing, average precision.

Nothing here knows of architecture search. Boxes are (x1, y1, x2, y2) in pixels, measured between pixel
edges: a box that covers the whole of an image of side S is (0, 0, S, S). A network's output is a list over
scales of raw maps (B, A, H, W, 5 + classes): B images, A anchors, the last axis tx ty tw th objectness
classes. The targets of a batch are one tensor (n, 6): image index, class, x1, y1, x2, y2.
"""

from nasedu.detection.anchors import best_possible_recall, evolve_anchors, fit_anchors
from nasedu.detection.augment import Augment
from nasedu.detection.average_precision import Metrics, evaluate
from nasedu.detection.batches import Batches
from nasedu.detection.losses import DetectionLoss
from nasedu.detection.postprocess import THREE_VIEWS, Predictor, View, find

__all__ = [
    "THREE_VIEWS",
    "Augment",
    "Batches",
    "DetectionLoss",
    "Metrics",
    "Predictor",
    "View",
    "best_possible_recall",
    "evaluate",
    "evolve_anchors",
    "find",
    "fit_anchors",
]
