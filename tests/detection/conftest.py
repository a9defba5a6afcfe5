from __future__ import annotations

import pytest
import torch
from torchvision import tv_tensors

SIDE = 32


class Scenes:
    """Eleven images: image i is filled with i and has i % 3 boxes of class i; a second one is ignored."""

    def __len__(self):
        return 11

    def __getitem__(self, i):
        boxes = torch.tensor([[2, 3, 12 + i, 20.0], [8, 8, 24, 24]])[: i % 3]
        target = {
            "boxes": tv_tensors.BoundingBoxes(boxes.view(-1, 4), format="XYXY", canvas_size=(SIDE, SIDE)),
            "labels": torch.full((i % 3,), i),
            "ignore": torch.tensor([False, True])[: i % 3],
            "image_id": i,
        }
        return tv_tensors.Image(torch.full((3, SIDE, SIDE), i, dtype=torch.uint8)), target


@pytest.fixture
def scenes():
    return Scenes()


@pytest.fixture
def anchors():
    """Two scales of two anchors, for strides 8 and 16."""
    return torch.tensor([[[16.0, 16.0], [12.0, 30.0]], [[60.0, 60.0], [40.0, 100.0]]])


@pytest.fixture(scope="session")
def encode_boxes():
    """The inverse of `decode_boxes`: the raw numbers (..., 4) that decode to boxes (..., 4) within reach."""

    def encode(boxes, cells, anchors, stride):
        centre, size = (boxes[..., :2] + boxes[..., 2:]) / 2, boxes[..., 2:] - boxes[..., :2]
        reach = torch.cat([centre / stride - cells + 0.5, (size / anchors).sqrt()], dim=-1)
        return torch.logit(reach / 2, 1e-6)

    return encode
