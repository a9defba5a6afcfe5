"""The block's cost follows its settings: counts are the package's, and the words say what is drawn."""

from __future__ import annotations

import pytest

from nasedu.blocks import MBConv
from nasedu.hardware import count
from nasedu.widgets import BlockCostWidget


@pytest.fixture(scope="module")
def widget():
    return BlockCostWidget(channels=16, size=14)


def test_it_counts_the_block_of_its_settings(widget):
    assert widget.count == count(MBConv(16, 16, 3, 6), (16, 14, 14))
    widget.kernel.value, widget.stride.value = 7, 2
    assert widget.count == count(MBConv(16, 16, 7, 6, stride=2), (16, 14, 14))
    assert "7×7" in widget.view.value and "stride 2" in widget.view.value
    widget.kernel.value, widget.stride.value = 3, 1


def test_every_layer_has_a_bar_and_the_first_is_gone_at_expansion_1(widget):
    names = [t.get_text() for t in widget.figure.axes[0].get_yticklabels()]
    assert names == ["first 1×1", "depthwise", "last 1×1", "the rest"]
    drawn = [[p.get_width() for p in ax.patches] for ax in widget.figure.axes]
    assert sum(drawn[0]) == pytest.approx(widget.count.macs / 1e6)
    assert sum(drawn[1]) == pytest.approx(widget.count.moved_bytes / 1e6)
    widget.expansion.value = 1
    assert len(widget.figure.axes[0].patches) == 3
    widget.expansion.value = 6


def test_every_slider_is_labelled(widget):
    _, *sliders, _ = widget.children
    assert len(sliders) == 5 and all(slider.description for slider in sliders)
    assert 'role="status"' in widget.view.value and 'alt="' in widget.view.value
