"""Curves of hardware losses and the front of a sweep."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from nasedu import plots, spaces
from nasedu.errors import UnknownName
from nasedu.hardware import LookupTable, losses
from nasedu.search import DescentConfig, pareto_sweep


def lines(ax):
    return {line.get_label(): line for line in ax.lines if not line.get_label().startswith("_")}


def test_a_curve_for_every_loss_with_its_slope():
    picture = plots.loss_curves(losses.names(), symlog=True)
    left, right = picture.axes
    assert set(lines(left)) == set(losses.names())
    looks = {(line.get_color(), line.get_marker(), line.get_linestyle()) for line in lines(left).values()}
    assert len(looks) == len(losses.names())
    r, value = lines(left)["squared"].get_data()
    np.testing.assert_allclose(value, (np.array(r) - 1) ** 2, atol=1e-6)
    slope = right.lines[losses.names().index("squared")].get_ydata()
    np.testing.assert_allclose(slope, 2 * (np.array(r) - 1), atol=1e-6)


def test_updates_are_seen_and_leave_the_loss_as_it_was():
    loss = losses.create("lagrange", rho=1.0)
    slope = plots.loss_curves({"λ": loss}, updates=5).axes[1].lines[0].get_ydata()
    assert float(slope[0]) == pytest.approx(1.0) and float(loss.multiplier) == 0
    with pytest.raises(UnknownName, match="hardware loss"):
        plots.loss_curves(["hing"])


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
