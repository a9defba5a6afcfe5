"""How a network's four raw numbers become a box (Scaled-YOLOv4, Wang et al. 2021).

With s = sigmoid: centre = (2 s(t) - 0.5 + cell) * stride, size = (2 s(t))^2 * anchor. A centre therefore
reaches half a cell beyond its own cell, and a size at most four times its anchor: exactly the boxes that
`nasedu.detection.anchors.assign` hands out.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def decode_boxes(raw: Tensor, cells: Tensor, anchors: Tensor, stride: int) -> Tensor:
    """Boxes (..., 4), xyxy in pixels.

    raw: the network's numbers (..., 4).
    cells: (..., 2), column and row.
    anchors: (..., 2) in pixels.
    stride: of the scale.
    """
    reach = 2 * raw.sigmoid()
    centre = (reach[..., :2] - 0.5 + cells) * stride
    half = reach[..., 2:].square() * anchors / 2
    return torch.cat([centre - half, centre + half], dim=-1)


def grid(height: int, width: int, device: torch.device | None = None) -> Tensor:
    """Cells of a map as (height, width, 2): column, row.

    height: of the map.
    width: of the map.
    device: where the result lies.
    """
    rows, columns = torch.arange(height, device=device), torch.arange(width, device=device)
    return torch.stack(torch.meshgrid(columns, rows, indexing="xy"), dim=-1)


def decode(maps: Sequence[Tensor], anchors: Tensor, strides: Sequence[int]) -> Tensor:
    """All predictions (B, N, 5 + classes), N over scales, anchors, rows and columns in that order.

    The last axis is x1 y1 x2 y2 in pixels (not clipped to the image), objectness and class probabilities (sigmoid).

    maps: raw (B, A, H, W, 5 + classes) for each scale.
    anchors: (scales, A, 2) in pixels.
    strides: of each scale.
    """
    decoded = []
    for raw, scale_anchors, stride in zip(maps, anchors, strides, strict=True):
        raw = raw.float()
        cells = grid(*raw.shape[2:4], device=raw.device)
        boxes = decode_boxes(raw[..., :4], cells, scale_anchors.to(raw)[:, None, None], stride)
        decoded.append(torch.cat([boxes, raw[..., 4:].sigmoid()], dim=-1).flatten(1, 3))
    return torch.cat(decoded, dim=1)
