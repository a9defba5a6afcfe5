"""What stands in the pictures of blocks, groups and prices."""

import numpy as np
import pytest
from matplotlib.patches import Polygon, Rectangle

from nasedu import plots, spaces
from nasedu.blocks import FBNetBlock, MBConv
from nasedu.hardware import count
from nasedu.plots.mobile import BOTH
from nasedu.tables import LookupTable


def texts(ax):
    return [text.get_text() for text in ax.texts]


def test_maps_are_as_high_as_their_channels_and_layers_say_what_they_cost():
    block = MBConv(24, 40, 5, 6, stride=2)
    picture = plots.bottlenecks({"k5e6": block, "k3e3": MBConv(24, 24, 3, 3)}, 56)
    ax = picture.axes[0]
    heights = [patch.get_height() for patch in ax.patches if isinstance(patch, Rectangle)]
    assert heights == [24, 144, 144, 40]
    millions = [float(text.split("\n")[-1].split()[0]) for text in texts(ax) if "MACs" in text]
    assert sum(millions) == pytest.approx(count(block, (24, 56, 56)).macs / 1e6, rel=5e-3)
    assert [any("shortcut" in text for text in texts(ax)) for ax in picture.axes] == [False, True]


@pytest.mark.parametrize("groups", [1, 2, 4])
def test_a_grouped_convolution_has_a_face_for_each_group(groups):
    ax = plots.bottlenecks({"block": FBNetBlock(16, 16, 3, 1, groups)}, 14).axes[0]
    assert sum(isinstance(patch, Polygon) for patch in ax.patches) == 2 * groups
    assert any(f"{groups} groups" in text for text in texts(ax)) == (groups > 1)


@pytest.mark.parametrize(("middle", "knowing"), [(np.eye(8), 0), (np.eye(8)[[0, 4, 1, 5, 2, 6, 3, 7]], 8)])
def test_wiring_marks_the_channels_that_heard_from_all(middle, knowing):
    grouped = np.kron(np.eye(2), np.ones((4, 4)))
    ax = plots.wiring({"steps": [grouped, middle, grouped]}).axes[0]
    dots = [line for line in ax.lines if len(line.get_xdata()) == 1]
    assert len(dots) == 4 * 8
    assert sum(dot.get_marker() == BOTH for dot in dots) == knowing
    assert sum(len(line.get_xdata()) == 2 for line in ax.lines) == 32 + 8 + 32


def test_the_price_map_shows_every_entry_and_leaves_out_what_is_no_choice():
    space = spaces.create("proxylessnas", **spaces.COURSE)
    table = LookupTable.build(space, "macs")
    ax = plots.price_map(table, scale=1).axes[0]
    drawn = np.ma.filled(ax.images[0].get_array(), np.nan)
    assert drawn.shape == (7, len(space.slots))
    assert np.isnan(drawn).sum() == sum(n == 6 for n in space.choices)
    for column, entry in enumerate(table.entries):
        assert np.allclose(drawn[: len(entry), column], entry.numpy())
    assert [label.get_text() for label in ax.get_yticklabels()][-1] == "skip"


def test_options_that_are_decided_together_have_a_row_for_every_pair():
    table = LookupTable.build(spaces.create("yolo:course"), "depth")
    ax = plots.price_map(table, "blocks", 1).axes[0]
    rows = [label.get_text() for label in ax.get_yticklabels()]
    assert rows == [f"{width}, {depth}" for width in ("0.25", "0.5", "0.75") for depth in range(5)]
    drawn = np.ma.filled(ax.images[0].get_array(), np.nan)
    assert np.allclose(drawn[[1, 2, 3, 4], 0], table.entries[0][0]) and np.isnan(drawn[0, 0])
    assert np.allclose(drawn[[5, 6, 7, 8], 8], table.entries[8][1]) and np.isnan(drawn[9, 8])


def test_part_costs_are_stacked_to_their_sum():
    ax = plots.part_costs({"a": {"x": 1.0, "y": 2.0}, "b": {"x": 3.0, "y": 4.0}}).axes[0]
    assert [bar.get_y() + bar.get_height() for bar in ax.patches] == [1, 3, 3, 7]
    assert texts(ax) == ["3", "7"]


def test_every_histogram_has_its_own_marks():
    picture = plots.cost_histogram({"a": [1, 2, 3], "b": [2, 4]}, {"a": {"mine": 2.5}, "b": {"x": 3, "y": 4}})
    assert [
        len([line for line in ax.lines if line.get_marker() in "os" and len(line.get_xdata())]) for ax in picture.axes
    ] == [1, 2]
    assert "mine: 2.5" in [text.get_text() for text in picture.axes[0].get_legend().get_texts()]
    counts = [sum(bar.get_height() for bar in ax.patches) for ax in picture.axes]
    assert counts == [3, 2]
