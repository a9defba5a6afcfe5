"""The precision widget, moved as a person would: by setting its controls' values."""

from __future__ import annotations

import pytest
import torch

from nasedu.detection import evaluate
from nasedu.errors import DataError
from nasedu.widgets import PrecisionWidget


def sides(shift):
    """Two images with an object each, found a few pixels beside; the second class is found once, and wrongly."""
    boxes = torch.tensor([[10.0, 10.0, 30.0, 30.0]])
    truths = [{"boxes": boxes, "labels": torch.tensor([0]), "ignore": torch.tensor([False])} for _ in range(2)]
    found = [{"boxes": boxes + shift, "labels": torch.tensor([0]), "scores": torch.tensor([0.9])} for _ in range(2)]
    return truths, found


@pytest.fixture
def widget():
    return PrecisionWidget(*sides(2.0), ["<b>ant</b>", "bee"])


def test_the_threshold_decides(widget):
    overlap = 18**2 / (2 * 20**2 - 18**2)  # .68
    for least, ap in ((0.5, 1.0), (0.65, 1.0), (0.7, 0.0), (0.95, 0.0)):
        assert (overlap >= least) == bool(ap)
        widget.iou.value = least
        assert widget.ap == pytest.approx(ap)
        assert f"{least:.2f}" in widget.view.value and f"average precision {ap:.3f}" in widget.view.value


def test_it_is_cocos_average_precision():
    truths, found = sides(0.0)
    found[1]["boxes"] = found[1]["boxes"] + 50
    widget = PrecisionWidget(truths, found, ["ant"])
    assert widget.ap == pytest.approx(evaluate(truths, found).ap50, abs=1e-9) and 0 < widget.ap < 1


def test_only_classes_that_occur_are_offered_and_names_are_escaped(widget):
    assert [name for name, _ in widget.kind.options] == ["<b>ant</b>"] and "<b>ant" not in widget.view.value
    assert not widget.iou.continuous_update and widget.iou.description and widget.kind.description
    with pytest.raises(DataError, match="at least one object"):
        PrecisionWidget([{"boxes": torch.zeros(0, 4), "labels": torch.zeros(0).long()}], [], ["ant"])
