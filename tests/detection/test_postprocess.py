from __future__ import annotations

import pytest
import torch

from nasedu.detection import Predictor
from nasedu.detection.postprocess import View, predict, suppress

STRIDES = (8, 16)


def detect(maps, anchors, strides, **options):
    """What suppression leaves of a network that answers with these maps."""
    return suppress(*Predictor(lambda images: maps, anchors, strides)(None), **options)


@pytest.fixture
def plant(anchors, encode_boxes):
    """Empty maps (2 images of 64 pixels, 3 classes) and a function that puts a prediction into them."""
    maps = [torch.full((2, 2, 8, 8, 8), -20.0), torch.full((2, 2, 4, 4, 8), -20.0)]

    def put(box, scores, image=0, row=2, column=2):
        cells = torch.tensor([column, row])
        raw = encode_boxes(torch.tensor(box).float(), cells, anchors[0, 0], 8)
        classes = torch.logit(torch.tensor(scores), 1e-9)
        maps[0][image, 0, row, column] = torch.cat([raw, torch.tensor([20.0]), classes])

    return maps, put


def labels(found):
    return sorted(found["labels"].tolist())


def test_a_planted_box_is_found_in_its_image_alone(plant, anchors):
    maps, put = plant
    put([12, 14, 30, 28], [0.0, 0.9, 0.0], image=1)
    nothing, found = detect(maps, anchors, STRIDES)
    assert len(nothing["boxes"]) == 0
    assert found["labels"].tolist() == [1]
    torch.testing.assert_close(found["scores"], torch.tensor([0.9]))
    torch.testing.assert_close(found["boxes"], torch.tensor([[12.0, 14, 30, 28]]), atol=1e-3, rtol=0)


def test_suppression_is_by_class(plant, anchors):
    maps, put = plant
    put([12, 14, 30, 28], [0.9, 0.0, 0.0])
    put([13, 14, 31, 28], [0.0, 0.8, 0.0], column=3)
    assert labels(detect(maps, anchors, STRIDES)[0]) == [0, 1]
    put([13, 14, 31, 28], [0.8, 0.0, 0.0], column=3)
    assert detect(maps, anchors, STRIDES)[0]["scores"].tolist() == pytest.approx([0.9])
    assert len(detect(maps, anchors, STRIDES, iou=0.95)[0]["scores"]) == 2


def test_several_labels_or_the_best_one(plant, anchors):
    maps, put = plant
    put([12, 14, 30, 28], [0.9, 0.7, 0.2])
    found = detect(maps, anchors, STRIDES, confidence=0.3)[0]
    assert found["labels"].tolist() == [0, 1]
    torch.testing.assert_close(found["scores"], torch.tensor([0.9, 0.7]))
    assert labels(detect(maps, anchors, STRIDES, confidence=0.3, multi_label=False)[0]) == [0]


def test_the_score_is_objectness_times_class(plant, anchors):
    maps, put = plant
    put([12, 14, 30, 28], [0.8, 0.0, 0.0])
    maps[0][0, 0, 2, 2, 4] = 0
    torch.testing.assert_close(detect(maps, anchors, STRIDES)[0]["scores"], torch.tensor([0.4]))
    assert len(detect(maps, anchors, STRIDES, confidence=0.5)[0]["scores"]) == 0


def test_limits_keep_the_best(anchors):
    generator = torch.Generator().manual_seed(0)
    maps = [torch.randn(2, 2, 8, 8, 8, generator=generator), torch.randn(2, 2, 4, 4, 8, generator=generator)]
    every = detect(maps, anchors, STRIDES, max_detections=10_000)
    for full, few in zip(every, detect(maps, anchors, STRIDES, max_detections=7), strict=True):
        assert len(full["scores"]) > 20
        assert (full["scores"].diff() <= 0).all()
        assert all(torch.equal(few[key], full[key][:7]) for key in full)
    capped = detect(maps, anchors, STRIDES, candidates=5, iou=1.0)
    raw = detect(maps, anchors, STRIDES, iou=1.0, max_detections=5)
    assert torch.equal(capped[0]["scores"], raw[0]["scores"])


def test_boxes_end_at_the_border_and_nan_detects_nothing(plant, anchors):
    maps, put = plant
    put([-8, 1, 22, 50], [0.9, 0.0, 0.0], row=3, column=0)
    (x1, y1, _, _), *_ = detect(maps, anchors, STRIDES)[0]["boxes"].tolist()
    assert x1 == 0
    assert y1 == pytest.approx(1, abs=0.01)
    broken = [torch.full_like(raw, torch.nan) for raw in maps]
    assert [len(found["scores"]) for found in detect(broken, anchors, STRIDES)] == [0, 0]


def test_a_predictor_gives_what_detect_finds(plant, anchors):
    maps, put = plant
    put([12, 14, 30, 28], [0.9, 0.0, 0.3])
    put([40, 40, 66, 62], [0.0, 0.6, 0.0], image=1, row=6, column=6)  # reaches beyond the image's edge
    predictor = Predictor(Fixed(maps), anchors, STRIDES)
    boxes, scores = predictor(torch.zeros(2, 3, 64, 64))
    assert boxes.shape == (2, 2 * (64 + 16), 4) and scores.shape == (2, 2 * (64 + 16), 3)
    assert float(boxes.min()) >= 0 and float(boxes.max()) <= 64
    for ours, theirs in zip(suppress(boxes, scores), detect(maps, anchors, STRIDES), strict=True):
        assert len(ours["boxes"]) and all(torch.equal(ours[name], theirs[name]) for name in theirs)


class Fixed(torch.nn.Module):
    """A network that always says the same."""

    def __init__(self, maps):
        super().__init__()
        self.maps = maps

    def forward(self, images):
        return self.maps


def cells(images):
    """A network that sees the brightest: a map whose objectness is the mean brightness of each 8 px cell."""
    bright = torch.nn.functional.avg_pool2d(images.mean(1, keepdim=True), 8)
    raw = torch.zeros(*bright.shape[:2], *bright.shape[2:], 6)
    raw[..., 4], raw[..., 5] = 20 * (bright - 0.7), 9.0
    return [raw]


@pytest.mark.parametrize("view", [View(), View(1.0, True), View(0.5), View(0.75, True), View(1.5, True)])
def test_every_view_finds_an_object_where_it_is(view):
    images, anchors = torch.zeros(2, 3, 128, 128), torch.tensor([[[12.0, 12.0]]])
    images[0, :, 72:88, 40:56] = 1.0
    boxes, scores = predict(cells, images, anchors, [8], [view])
    best = boxes[0, scores[0, :, 0].argmax()]
    centre = (best[:2] + best[2:]) / 2
    assert 32 <= centre[0] <= 64 and 64 <= centre[1] <= 96
    torch.testing.assert_close(best[2:] - best[:2], torch.full((2,), 12 / view.scale))
    assert boxes.min() >= 0 and boxes.max() <= 128


def test_views_stand_below_one_another():
    images, anchors = torch.rand(1, 3, 64, 64), torch.tensor([[[12.0, 12.0]]])
    views = [View(), View(0.5, True)]
    parts = [predict(cells, images, anchors, [8], [view]) for view in views]
    boxes, scores = predict(cells, images, anchors, [8], views)
    assert torch.equal(boxes, torch.cat([part[0] for part in parts], 1)) and len(scores[0]) == 64 + 16
