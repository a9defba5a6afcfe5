"""The front of a sweep."""

from __future__ import annotations

import numpy as np
import torch

from nasedu import plots, spaces
from nasedu.search import DescentConfig, pareto_sweep
from nasedu.tables import LookupTable


def lines(ax):
    return {line.get_label(): line for line in ax.lines if not line.get_label().startswith("_")}


def test_the_front_shows_what_none_beats():
    cost = LookupTable.build(spaces.create("fbnet:course"), "macs")
    objective = LookupTable(cost.space, "gain", "points", 0.0, [e.sqrt() for e in cost.entries], own=True)
    low, high = cost.bounds()
    aims = [low + share * (high - low) for share in (0.3, 0.5, 0.7)]
    front = pareto_sweep(objective, cost, aims, config=DescentConfig(steps=20, every=20))
    ax = plots.pareto_front(front, 1e-6, "million MACs", "gain").axes[0]
    drawn, best = lines(ax)["front: none is cheaper and better"], front.efficient()
    np.testing.assert_allclose(drawn.get_xdata(), best["derived_cost"] * 1e-6)
    assert ax.get_xlabel() == "million MACs" and torch.tensor(drawn.get_ydata()).diff().gt(0).all()
    assert len(lines(ax)["targets"].get_xdata()) == 3
