"""How a detector of the space is trained: its settings, its anchors, and the task that they make."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from nasedu.data import DetectionDataset
from nasedu.detection import Augment, DetectionLoss, best_possible_recall, evolve_anchors, fit_anchors
from nasedu.spaces.base import SearchSpace
from nasedu.task import Detection
from nasedu.training import TrainingConfig


@dataclass(frozen=True)
class DetectorConfig:
    """How a detector is trained; the defaults are Scaled-YOLOv4's. Loss weights as in `DetectionLoss`."""

    training: TrainingConfig = field(default_factory=TrainingConfig)
    augment: Augment = field(default_factory=Augment)
    batch_size: int = 32
    iou: str = "ciou"
    box: float = 0.05
    obj: float = 1.0
    cls: float = 0.5
    autoanchor: bool = True  # anchors that reach few of the data's boxes are fitted to it: see `anchors_for`
    generations: int = 0  # of anchors that are fitted to the data: see `detection.evolve_anchors`
    ratio: float = 4.0  # an anchor takes the objects whose sides differ from its own by less than this factor
    pooled: bool = False  # means over the positives of all scales at once; see `DetectionLoss`


def anchors_for(
    data: DetectionDataset,
    space: SearchSpace,
    ratio: float = 4.0,
    least_recall: float = 0.98,
    generations: int = 0,
) -> Tensor:
    """The space's anchors when they reach nearly all boxes of `data`; else those fitted to it, where they reach more.

    The public training's autoanchor, but for the image sizes, which it varies at random by a tenth. Shape (scales,
    anchors, 2), pixels.

        data: a detection data set.
        space: whose anchors.
        ratio: the recipe's, see `DetectorConfig`.
        least_recall: refit where the best possible recall is below it.
        generations: of mutation after the fit, 1,000 in the public training.
    """
    boxes = torch.cat([data[i][1]["boxes"].as_subclass(Tensor) for i in range(len(data))])
    sizes = boxes[:, 2:] - boxes[:, :2]
    recall = best_possible_recall(sizes, space.anchors, ratio)
    if recall >= least_recall:
        return space.anchors
    fitted = evolve_anchors(sizes, fit_anchors(sizes, *space.anchors.shape[:2]), generations, ratio=ratio)
    return fitted if best_possible_recall(sizes, fitted, ratio) > recall else space.anchors


def detection_task(
    space: SearchSpace,
    config: DetectorConfig,
    train: DetectionDataset,
    *,
    val: DetectionDataset | None = None,
    test: DetectionDataset | None = None,
    seed: int = 0,
) -> Detection:
    """What detectors of a space learn and are tested on.

    space: gives anchors, strides and the number of classes.
    config: gives the loss, the augmentation and the batch size.
    train: the split that they learn.
    val: the one that judges them meanwhile.
    test: the one that judges them in the end.
    seed: of the batches.
    """
    weights = {name: getattr(config, name) for name in ("box", "obj", "cls", "ratio", "pooled")}
    judge = DetectionLoss(space.anchors, space.strides, space.num_classes, config.iou, **weights)
    return Detection(judge, train, val, test, batch_size=config.batch_size, seed=seed, augment=config.augment)
