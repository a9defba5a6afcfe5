"""What stands in the pictures of blocks, groups and prices."""

import numpy as np
import pytest
from matplotlib.patches import Polygon, Rectangle

from nasedu import plots, spaces
from nasedu.blocks import FBNetBlock, MBConv
from nasedu.hardware import count
from nasedu.plots.units import BOTH
from nasedu.supernet.superkernel import SuperKernel
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


def test_scores_are_shown_as_leads_over_the_lowest_of_their_block():
    space = spaces.create("yolo:course")
    table = LookupTable.build(space, "depth")
    drawn = np.ma.filled(plots.price_map(table, "lead", 1, lead=True).axes[0].images[0].get_array(), np.nan)
    assert (np.nanmin(drawn, axis=0) == 0).all()
    assert np.allclose(np.nanmax(drawn, axis=0), [float(e.max() - e.min()) for e in table.entries])


def test_shuffle_units_name_the_channels_of_both_branches():
    kept, reduced = plots.shuffle_units(16, 64).axes
    assert "odd:\n32" in texts(kept) and "even: 32" in texts(kept)
    assert "48" in texts(reduced)  # what the projection's 16 leave of 64
    assert texts(reduced).count("16") == 4 and len(reduced.patches) == 5


@pytest.mark.parametrize("skip", [True, False])
def test_superkernel_fills_the_taps_that_each_choice_keeps(skip):
    picture = plots.superkernel(SuperKernel(4, 4, skip=skip))
    kept = {ax.get_title(): int((ax.images[0].get_array() != 2).sum()) for ax in picture.axes}
    halves = {"k3e3": (9, 0), "k3e6": (9, 9), "k5e3": (25, 0), "k5e6": (25, 25)} | ({"skip": (0, 0)} if skip else {})
    assert kept == {
        f"{name}, {half} half": n
        for i, half in enumerate(("first", "second"))
        for name, n in zip(halves, [h[i] for h in halves.values()], strict=True)
    }
    assert [text.get_text() for text in picture.legends[0].get_texts()] == ["3 × 3 core", "ring", "masked"]
