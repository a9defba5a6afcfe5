"""From raw maps to a short list of detections: threshold, then class-aware non-maximum suppression."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torchvision.ops import batched_nms, clip_boxes_to_image

from nasedu.detection.boxes import decode


class Predictor(nn.Module):
    """A detector with its head decoded, for use outside this package: images (B, 3, H, W) in, two tensors out.

    Boxes (B, N, 4) are x1 y1 x2 y2 in pixels within the image, scores (B, N, classes) objectness times class
    probability, N over scales, anchors, rows and columns. `suppress` makes detections of them.

    network: the detector.
    anchors: (scales, A, 2) in pixels.
    strides: of each scale.
    """

    def __init__(self, network: nn.Module, anchors: Tensor, strides: Sequence[int]):
        super().__init__()
        self.network, self.strides = network, tuple(strides)
        self.register_buffer("anchors", anchors)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Boxes and scores of `images`, as the class says."""
        return _predictions(self.network(images), self.anchors, self.strides)


def detect(maps: Sequence[Tensor], anchors: Tensor, strides: Sequence[int], **options) -> list[dict[str, Tensor]]:
    """Detections of each image, as `suppress` returns them.

    maps: raw (B, A, H, W, 5 + classes) for each scale.
    anchors: (scales, A, 2) in pixels.
    strides: of each scale.
    options: of `suppress`.
    """
    return suppress(*_predictions(maps, anchors, strides), **options)


def _predictions(maps: Sequence[Tensor], anchors: Tensor, strides: Sequence[int]) -> tuple[Tensor, Tensor]:
    predictions = decode(maps, anchors, strides)
    size = (maps[0].shape[2] * strides[0], maps[0].shape[3] * strides[0])
    return clip_boxes_to_image(predictions[..., :4], size), predictions[..., 4:5] * predictions[..., 5:]


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
    confidence: what a score must exceed.
    iou: the overlap from which the better box suppresses the other.
    max_detections: of an image.
    multi_label: lets a place propose every class above the threshold, else only its best one.
    candidates: how many of an image enter the suppression, the best first. Its time grows with their square, and an
        untrained network proposes everything everywhere.
    """
    return [
        _suppress(*_candidates(*image, confidence, multi_label, candidates), iou, max_detections)
        for image in zip(boxes, scores, strict=True)
    ]


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
