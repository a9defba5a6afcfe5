"""What stands in the pictures of blocks, groups and prices."""

import numpy as np
import pytest
from matplotlib.patches import Polygon, Rectangle

from nasedu import plots, spaces
from nasedu.blocks import FBNetBlock, MBConv
from nasedu.hardware import count
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


def test_branches_have_a_box_for_every_layer_and_name_the_channels_between():
    units = {
        "kept": (64, [["odd", "1 × 1", 32], [32]], 64),
        "reduced": (16, [[16, "a", 32, "b", 48], [16, "c", 16]], 64),
    }
    kept, reduced = plots.branches(units).axes
    assert "odd" in texts(kept) and "in\n64" in texts(kept) and len(kept.patches) == 1
    assert texts(reduced).count("16") == 3 and "concatenate\n64" in texts(reduced) and len(reduced.patches) == 3
