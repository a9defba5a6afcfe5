"""What stands in the picture of a network's cost by layer."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from nasedu import plots, spaces
from nasedu.errors import ParameterError
from nasedu.hardware import count
from nasedu.hardware.count import Count, LayerCost
from nasedu.tables import LookupTable, correct, random_networks


@pytest.fixture(scope="module")
def counted():
    space = spaces.create("fbnet:course")
    with torch.device("meta"):
        return count(space.build(space.sample(np.random.default_rng(0))), space.input_shape)


def widths(ax):
    return [bar.get_width() for bar in ax.patches]


def labels(picture):
    return [label.get_text() for label in picture.axes[0].get_yticklabels()]


@pytest.mark.parametrize(("depth", "top"), [(1, 30), (2, 30), (None, 8), (None, 1000)])
def test_every_panel_shows_all_of_its_total(counted, depth, top):
    picture = plots.layer_costs(counted, depth, top)
    assert len(labels(picture)) <= top
    for ax in picture.axes:
        assert ax.get_xlim()[1] > max(widths(ax)), "a bar is cut off"
        assert sum(widths(ax)) == pytest.approx(100) and len(ax.patches) == len(labels(picture))
    assert picture.axes[0].get_xlabel() == "share of the total (%)"


def test_bars_are_the_blocks_shares_in_the_order_of_the_network(counted):
    picture = plots.layer_costs(counted)
    blocks = list(dict.fromkeys(layer.name.split(".")[1] for layer in counted.layers))
    assert labels(picture) == blocks and blocks[0] == "stem" and blocks[-1] == "classifier"
    bottom, top = picture.axes[0].get_ylim()
    assert bottom > top  # the first block is the highest
    for ax, column in zip(picture.axes, ("macs", "params", "activation_bytes"), strict=True):
        shares = [
            sum(getattr(layer, column) for layer in counted.layers if layer.name.split(".")[1] == block)
            for block in blocks
        ]
        assert np.allclose(widths(ax), 100 * np.array(shares) / getattr(counted, column))


def test_the_cheapest_become_one_row_and_a_block_dear_in_one_respect_only_stays():
    costs = {"a": (90, 1), "b": (1, 90), "c": (2, 2), "d": (3, 3), "e": (4, 4)}
    layers = tuple(LayerCost(n, "Conv2d", macs, params, (), 0, 0, 0) for n, (macs, params) in costs.items())
    picture = plots.layer_costs(Count(100, 100, layers), top=3)
    assert labels(picture) == ["a", "b", "3 others"]
    assert [widths(ax) for ax in picture.axes] == [[90, 1, 9], [1, 90, 9], [0, 0, 0]]


def test_it_refuses_what_no_picture_can_show(counted):
    for options in ({"top": 1}, {"depth": 0}):
        with pytest.raises(ParameterError, match="top of 2 or more"):
            plots.layer_costs(counted, **options)


def test_both_predictions_stand_over_the_measurement_with_their_errors():
    space = spaces.create("nasbench201", depth=0.2, width=0.25, input_size=8)
    entries = [torch.tensor([0.0, 0.0, 1.0, 2.0, 0.5], dtype=torch.float64) for _ in space.groups]
    table = LookupTable(space, "latency_ms", "ms", 3.0, entries)
    archs = random_networks(space, 15)
    fitted = correct(table, archs, [table(a) + 1 + 0.1 * (i % 3) for i, a in enumerate(archs)])
    picture = plots.additivity({"one": fitted, "other": fitted})
    assert len(picture.axes) == 4
    runs = ((fitted.predicted, fitted.before), (fitted.held_out, fitted.after))
    for points, rest, (predicted, how) in zip(picture.axes[0].lines, picture.axes[1].lines, runs, strict=False):
        assert points.get_xdata().tolist() == list(fitted.measured) and list(points.get_ydata()) == list(predicted)
        errors = [100 * (p - m) / m for p, m in zip(predicted, fitted.measured, strict=True)]
        assert rest.get_ydata().tolist() == pytest.approx(errors) and f"{how.mape:.1%}" in rest.get_label()
