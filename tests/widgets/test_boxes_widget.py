"""The box widget, moved as a person would: by setting its controls' values."""

from __future__ import annotations

import pytest

from nasedu.widgets import BoxWidget


@pytest.fixture
def widget():
    return BoxWidget()


def moved(widget, x, y, wide, high):
    widget.x.value, widget.y.value, widget.wide.value, widget.high.value = x, y, wide, high
    return widget


def test_on_the_truth_every_measure_is_one(widget):
    assert moved(widget, 60, 55, 40, 30).values == pytest.approx({"IoU": 1, "GIoU": 1, "CIoU": 1})


def test_where_boxes_do_not_touch_only_iou_is_flat(widget):
    moved(widget, 15, 15, 20, 20)
    assert widget.values["IoU"] == 0 and not widget.pulls["IoU"].any()
    for name in ("GIoU", "CIoU"):
        assert widget.values[name] < 0 and (widget.pulls[name] > 0).all(), f"{name} pulls right and down, to the truth"
    assert "No pull on the centre: IoU." in widget.view.value


def test_by_hand_where_they_overlap(widget):
    """Boxes of 40 x 30, 20 px apart: 20 * 30 of 1800 px; a hull of 60 x 30 has nothing of its own."""
    moved(widget, 40, 55, 40, 30)
    assert [widget.values[name] for name in ("IoU", "GIoU")] == pytest.approx([1 / 3, 1 / 3])
    assert widget.values["CIoU"] == pytest.approx(1 / 3 - 20**2 / (60**2 + 30**2)), "equal shapes: the centres alone"
    assert all(pull[0] > 0 and abs(pull[1]) < 1e-6 for pull in widget.pulls.values())


def test_it_can_be_used_by_keyboard_and_tells_what_the_picture_shows(widget):
    for slider in (widget.x, widget.y, widget.wide, widget.high):
        assert slider.description and slider.readout and not slider.continuous_update
    page = widget.view.value
    assert 'role="status"' in page and "data:image/png;base64,iVBOR" in page
    assert f"IoU {widget.values['IoU']:.3f}" in page and 'alt="A box and the true one' in page
