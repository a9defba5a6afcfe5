"""What stands in the pictures of searches with a budget."""

from __future__ import annotations

import pandas as pd
import pytest

from nasedu import plots
from nasedu.errors import ParameterError


def test_soft_costs_share_their_axes_and_mark_target_mean_and_most_probable():
    draws = {"undecided": [1.0, 2.0, 3.0, 4.0], "decided": [3.0, 3.0, 3.1, 2.9]}
    axes = plots.soft_costs(draws, {"undecided": 2.5, "decided": 3.0}, dict.fromkeys(draws, 3.0), 2.5).axes
    assert len(axes) == 2 and axes[0].get_xlim() == axes[1].get_xlim()
    for ax, mean in zip(axes, (2.5, 3.0), strict=True):
        assert [line.get_xdata()[0] for line in ax.lines] == [2.5, mean, 3.0]
        assert sum(bar.get_height() for bar in ax.patches) == pytest.approx(100)


def test_shapes_show_values_above_slopes_for_every_family():
    r = [0.5, 1.0, 1.5]
    families = {"add": {"a": ([1, 2, 3], [1, 1, 1])}, "one-sided": {"b": ([0, 0, 1], [0, 0, 2])}}
    picture = plots.loss_shapes(families, r)
    top, bottom = picture.axes[:2], picture.axes[2:]
    assert [ax.get_title() for ax in top] == ["add", "one-sided"]
    assert list(top[1].lines[0].get_ydata()) == [0, 0, 1] and list(bottom[1].lines[0].get_ydata()) == [0, 0, 2]
    assert all(ax.lines[-1].get_xdata()[0] == 1 for ax in picture.axes)


def test_hits_put_each_run_in_its_losses_row_in_percent():
    frame = pd.DataFrame(
        {"loss": ["hinge", "fbnet", "hinge"], "expected": [1.1, 0.5, 1.2], "most probable": [1.0, 0.4, 1.02]}
        | {"derived": [1.0, 0.98, 1.02], "lost": [0.0, 9.0, 1.0]}
    )
    left, right = plots.budget_hits({"tight": frame}).axes
    assert [label.get_text() for label in left.get_yticklabels()] == ["hinge", "fbnet"]
    probable = next(line for line in left.lines if line.get_label() == "most probable")
    assert list(probable.get_xdata()) == pytest.approx([100, 40, 102])
    assert list(probable.get_ydata()) == [0, 1, 0]
    assert list(right.lines[0].get_xdata()) == [0, 9, 1]
    assert plots.budget_hits({"tight": frame}, lost="points").axes[1].get_xlabel() == "points"
    with pytest.raises(ParameterError, match="no run"):
        plots.budget_hits({"tight": frame[:0]})


def test_a_price_stands_below_the_cost_that_moved_it():
    top, bottom = plots.price_of_budget([0, 1], {"tight": [120, 101]}, {"tight": [0, 0.1]}).axes
    assert list(top.lines[0].get_ydata()) == [120, 101] and list(bottom.lines[0].get_ydata()) == [0, 0.1]
    assert top.lines[0].get_color() == bottom.lines[0].get_color()


def test_reach_shows_the_range_the_target_and_every_cost():
    costs = {"expected": 2.4, "most probable": 3.0, "derived": 2.6}
    (ax,) = plots.reach((1.0, 5.0), 2.5, costs, "ms").axes
    assert [line.get_xdata()[0] for line in ax.lines] == list(costs.values())
    assert {line.get_label() for line in ax.lines} == {f"{name}, {cost:.2f}" for name, cost in costs.items()}
    assert ax.patches[0].get_x() == 1.0 and ax.patches[0].get_width() == 4.0
