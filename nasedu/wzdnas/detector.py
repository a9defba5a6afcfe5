"""Phase 4 and its yardstick: train a detector from scratch, test it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor, nn

from nasedu.detection import (
    Augment,
    DetectionLoss,
    Metrics,
    batches,
    best_possible_recall,
    detect,
    evaluate,
    fit_anchors,
)
from nasedu.modules import evaluation_mode
from nasedu.progress import Progress, silent
from nasedu.spaces.base import Network, SearchSpace
from nasedu.training import Step, Trained, TrainingConfig, train

DetectorData = Sequence  # a nasedu.data.DetectionDataset


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
    ratio: float = 4.0  # an anchor takes the objects whose sides differ from its own by less than this factor
    pooled: bool = False  # means over the positives of all scales at once; see `DetectionLoss`


def anchors_for(data: DetectorData, space: SearchSpace, ratio: float = 4.0, least_recall: float = 0.98) -> Tensor:
    """The space's anchors when they reach nearly all boxes of `data`, else anchors fitted to them.

    As the public training's autoanchor: refit where the best possible recall at the recipe's `ratio` is below
    `least_recall`. Shape (scales, anchors, 2), pixels.
    """
    boxes = torch.cat([data[i][1]["boxes"].as_subclass(Tensor) for i in range(len(data))])
    sizes = boxes[:, 2:] - boxes[:, :2]
    if best_possible_recall(sizes, space.anchors, ratio) >= least_recall:
        return space.anchors
    return fit_anchors(sizes, *space.anchors.shape[:2])


def detector_batches(data: DetectorData, config: DetectorConfig, seed: int) -> Callable[[int], Iterator]:
    """epoch -> augmented batches of images (B, 3, S, S) and targets (n, 6); the same for the same seed and epoch."""
    size = min(config.batch_size, len(data))
    return lambda epoch: batches(data, size, seed=seed, epoch=epoch, augment=config.augment)


def detection_loss(space: SearchSpace, config: DetectorConfig) -> DetectionLoss:
    """The loss that `config` trains detectors of `space` with."""
    weights = {"box": config.box, "obj": config.obj, "cls": config.cls}
    assignment = {"ratio": config.ratio, "pooled": config.pooled}
    return DetectionLoss(space.anchors, space.strides, space.num_classes, config.iou, **weights, **assignment)


def detector_step(space, config: DetectorConfig, forward: Callable, device: torch.device | str) -> Step:
    """A training step: `forward(model, images, generator)` gives the raw maps that the detection loss judges."""
    loss = detection_loss(space, config)

    def step(model: nn.Module, batch: tuple[Tensor, Tensor], generator: torch.Generator) -> dict[str, Tensor]:
        images, targets = (part.to(device, non_blocking=True) for part in batch)
        return loss(forward(model, images.contiguous(memory_format=torch.channels_last), generator), targets)

    return step


def train_detector(
    space: SearchSpace,
    network: Network,
    data: DetectorData,
    config: DetectorConfig,
    *,
    seed: int = 0,
    device: torch.device | str = "cpu",
    state: str | Path | None = None,
    progress: Progress = silent,
) -> Trained:
    """Train a stand-alone network from its initial weights (WZDNAS phase 4). Raises `CheckpointError`."""
    return train(
        network.to(memory_format=torch.channels_last),
        detector_batches(data, config, seed),
        detector_step(space, config, lambda model, images, _: model(images), device),
        config.training,
        seed=seed,
        device=device,
        state=state,
        progress=progress,
    )


@torch.inference_mode()
def find_objects(space, network: nn.Module, data: DetectorData, batch_size: int = 50, **options) -> list[dict]:
    """Detections for every image of `data`, in order: dicts of boxes (k, 4), scores (k,), labels (k,) on the CPU.

    `options` as in `nasedu.detection.detect`.
    """
    device = next(network.parameters()).device
    found = []
    with evaluation_mode(network):
        for images, _ in batches(data, batch_size, seed=0, epoch=0, shuffle=False, drop_last=False):
            maps = network(images.to(device, memory_format=torch.channels_last))
            found += detect([m.float() for m in maps], space.anchors.to(device), space.strides, **options)
    return [{name: value.cpu() for name, value in image.items()} for image in found]


def test_detector(space, network: nn.Module, data: DetectorData) -> Metrics:
    """Average precision with the published test settings: confidence .001, class-aware NMS at IoU .65."""
    return evaluate(data, find_objects(space, network, data))


test_detector.__test__ = False  # not a test, whatever pytest makes of the name
