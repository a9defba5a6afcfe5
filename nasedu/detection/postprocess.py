"""From raw maps to a short list of detections: threshold, then class-aware non-maximum suppression."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from operator import call
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.ops import batched_nms, clip_boxes_to_image

from nasedu.detection.augment import GREY
from nasedu.detection.batches import Batches
from nasedu.detection.boxes import decode
from nasedu.errors import ParameterError, check_number, check_whole
from nasedu.modules import evaluation_mode, placed


class View(NamedTuple):
    """How a network is shown an image: its sides times `scale`, mirrored or not."""

    scale: float = 1.0
    mirrored: bool = False


ONE_VIEW = (View(),)
THREE_VIEWS = (View(), View(0.83, True), View(0.67))  # the public code's test-time augmentation


class Predictor(nn.Module):
    """A detector with its head decoded, for use outside this package: images (B, 3, H, W) in, two tensors out.

    Boxes (B, N, 4) are x1 y1 x2 y2 in pixels within the image, scores (B, N, classes) objectness times class
    probability, N over scales, anchors, rows and columns. `suppress` makes detections of them.

    network: the detector.
    anchors: (scales, A, 2) in pixels.
    strides: of each scale.
    multi_label: False leaves each place only its best class; the others' scores are 0.
    """

    def __init__(self, network: nn.Module, anchors: Tensor, strides: Sequence[int], multi_label: bool = True):
        super().__init__()
        self.network, self.strides, self.multi_label = network, tuple(strides), multi_label
        self.register_buffer("anchors", anchors)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Boxes and scores of `images`, as the class says."""
        boxes, scores = _predictions(self.network(images), self.anchors, self.strides)
        return boxes, scores if self.multi_label else scores * (scores == scores.amax(-1, keepdim=True))


def _predictions(maps: Sequence[Tensor], anchors: Tensor, strides: Sequence[int]) -> tuple[Tensor, Tensor]:
    predictions = decode(maps, anchors, strides)
    size = (maps[0].shape[2] * strides[0], maps[0].shape[3] * strides[0])
    return clip_boxes_to_image(predictions[..., :4], size), predictions[..., 4:5] * predictions[..., 5:]


def predict(
    network: Callable[[Tensor], Sequence[Tensor]],
    images: Tensor,
    anchors: Tensor,
    strides: Sequence[int],
    views: Sequence[View] = ONE_VIEW,
) -> tuple[Tensor, Tensor]:
    """Boxes (B, N, 4) in pixels of the images and scores (B, N, classes), those of all views below one another.

    network: from images to raw maps.
    images: (B, 3, S, S), 0 to 1.
    anchors: (scales, A, 2) in pixels.
    strides: of each scale.
    views: how the network is shown the images.
    """
    side, found = images.shape[-1], []
    if not views:
        raise ParameterError("a network must be shown an image at least once: views is empty")
    for view in views:
        pixels = round(side * view.scale)
        shown = images.flip(-1) if view.mirrored else images
        if pixels != side:
            shown = F.interpolate(shown, (pixels, pixels), mode="bilinear", antialias=True, align_corners=False)
            shown = F.pad(shown, [0, -pixels % max(strides)] * 2, value=GREY / 255)
        boxes, scores = _predictions([raw.float() for raw in network(shown)], anchors, strides)
        boxes = boxes * (side / pixels)
        if view.mirrored:
            boxes = torch.stack([side - boxes[..., 2], boxes[..., 1], side - boxes[..., 0], boxes[..., 3]], -1)
        boxes = clip_boxes_to_image(boxes, (side, side))
        within = (boxes[..., 2:] > boxes[..., :2]).all(-1, keepdim=True)  # not in the grey that a view is padded with
        found.append((boxes, scores if pixels == side else scores * within))
    boxes, scores = zip(*found, strict=True)
    return torch.cat(boxes, dim=1), torch.cat(scores, dim=1)


@torch.inference_mode()
def find(
    model: nn.Module,
    dataset: Sequence,
    anchors: Tensor,
    strides: Sequence[int],
    forward: Callable[[nn.Module, Tensor], Sequence[Tensor]] | None = None,
    views: Sequence[View] = ONE_VIEW,
    **options,
) -> list[dict[str, Tensor]]:
    """Detections for every image of a data set, in order, as `suppress` returns them, on the CPU.

    model: a detector, or a supernet.
    dataset: a detection data set.
    anchors: (scales, A, 2) in pixels.
    strides: of each scale.
    forward: `forward(model, images)` returns raw maps; None calls the model.
    views: how the model is shown an image.
    options: of `suppress`; its defaults are the published test settings.
    """
    found, run = [], forward or call
    with evaluation_mode(model):
        for images, _ in Batches(dataset, 50, shuffle=False):
            (images,) = placed(model, images)
            network = lambda shown: run(model, shown)  # noqa: E731
            found += suppress(*predict(network, images, anchors.to(images.device), strides, views), **options)
    return [{name: value.cpu() for name, value in image.items()} for image in found]


@torch.no_grad()
def suppress(
    boxes: Tensor,
    scores: Tensor,
    confidence: float = 0.001,
    iou: float = 0.65,
    max_detections: int = 300,
    multi_label: bool = True,
    candidates: int = 3000,
) -> list[dict[str, Tensor]]:
    """Detections of each image, best first: dict(boxes (k, 4) pixels in the image, scores (k,), labels (k,)).

    Boxes of different classes never suppress each other.

    boxes: (B, N, 4), as a `Predictor` gives them.
    scores: (B, N, classes), likewise.
    confidence: what a score must exceed, 0 to 1.
    iou: the overlap from which the better box suppresses the other, 0 to 1.
    max_detections: of an image.
    multi_label: lets a place propose every class above the threshold, else only its best one.
    candidates: how many of an image enter the suppression, the best first. Its time grows with their square, and an
        untrained network proposes everything everywhere.

    Raises `ParameterError`.
    """
    check_overlaps(confidence, iou, max_detections)
    return [
        _suppress(*_candidates(*image, confidence, multi_label, candidates), iou, max_detections)
        for image in zip(boxes, scores, strict=True)
    ]


def check_overlaps(confidence: float, iou: float, max_detections: int) -> None:
    """Raise `ParameterError` unless these are settings of a suppression, as in `suppress`.

    confidence: 0 to 1.
    iou: 0 to 1.
    max_detections: 1 or more.
    """
    check_number("confidence", confidence, most=1)
    check_number("iou, an overlap,", iou, most=1)
    check_whole("max_detections", max_detections, 1)


def _candidates(
    boxes: Tensor, scores: Tensor, confidence: float, multi_label: bool, limit: int
) -> tuple[Tensor, Tensor, Tensor]:
    """boxes (N, 4) and scores (N, classes) to the best (boxes, scores, labels) above the threshold."""
    if not multi_label:
        scores = scores * torch.zeros_like(scores).scatter(1, scores.argmax(dim=1, keepdim=True), 1)
    best, flat = scores.flatten().topk(min(limit, scores.numel()))
    keep = best > confidence  # not so for NaN: a network that diverged detects nothing
    place, label = flat[keep] // scores.shape[1], flat[keep] % scores.shape[1]
    return boxes[place], best[keep], label


def _suppress(boxes: Tensor, scores: Tensor, labels: Tensor, iou: float, limit: int) -> dict[str, Tensor]:
    kept = batched_nms(boxes, scores, labels, iou)[:limit]
    return {"boxes": boxes[kept], "scores": scores[kept], "labels": labels[kept]}
