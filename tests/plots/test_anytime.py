"""What stands in an any-time curve."""

import numpy as np
import pytest

from nasedu import plots
from nasedu.errors import ParameterError

CURVES = {
    "random": np.minimum.accumulate(np.random.default_rng(0).random((9, 40)), axis=1),
    "evolution": np.minimum.accumulate(np.random.default_rng(1).random((9, 30)), axis=1),
}


def test_the_line_is_the_median_over_seeds_and_the_band_its_quantiles():
    ax = plots.anytime({"race": CURVES}, quantiles=(0.1, 0.9)).axes[0]
    lines = {line.get_label(): line for line in ax.lines}
    for name, values in CURVES.items():
        assert np.allclose(lines[name].get_ydata(), np.median(values, axis=0))
        assert lines[name].get_xdata().tolist() == list(range(1, values.shape[1] + 1))
    corners = ax.collections[0].get_paths()[0].vertices
    low, high = np.quantile(CURVES["random"], (0.1, 0.9), axis=0)
    assert corners[:, 1].max() == pytest.approx(high.max()) and corners[:, 1].min() == pytest.approx(low.min())


def test_evaluations_are_logarithmic_and_named_and_lines_differ_by_more_than_colour():
    ax = plots.anytime({"race": CURVES}).axes[0]
    assert ax.get_xscale() == "log" and ax.get_xlabel() == "evaluations" and "regret" in ax.get_ylabel()
    first, second = ax.lines
    assert first.get_marker() != second.get_marker() and first.get_linestyle() != second.get_linestyle()
    assert first.get_drawstyle() == "steps-post"


def test_a_panel_for_each_title_with_the_same_look_for_the_same_name():
    left, right = plots.anytime({"a": CURVES, "b": {"evolution": CURVES["evolution"]}}).axes
    assert [left.get_title(), right.get_title()] == ["a", "b"]
    assert right.lines[0].get_color() == left.lines[1].get_color()


def test_the_first_evaluations_can_be_left_out():
    ax = plots.anytime({"race": CURVES}, first=10).axes[0]
    assert ax.lines[0].get_xdata()[0] == 10
    assert ax.lines[0].get_ydata()[0] == pytest.approx(np.median(CURVES["random"][:, 9]))
    assert plots.anytime({"short": CURVES}, first=100).axes[0].lines[0].get_xdata().tolist() == [40]


def test_zero_is_in_sight_for_a_regret_and_nothing_is_cut_off():
    ax = plots.anytime({"race": CURVES}).axes[0]
    bottom, top = ax.get_ylim()
    assert bottom <= 0 and top >= np.quantile(CURVES["random"], 0.75, axis=0).max()
    ax = plots.anytime({"scores": {"one": np.linspace(0.8, 0.9, 20)[None]}}).axes[0]
    assert 0.7 < ax.get_ylim()[0] < 0.8 and ax.get_ylim()[1] > 0.9


def test_the_legend_says_what_the_band_is():
    legend = plots.anytime({"race": CURVES}, quantiles=(0.05, 0.95)).axes[-1].get_legend()
    assert legend.get_title().get_text() == "median, 5% to 95%"
    single = plots.anytime({"one": {"search": np.ones((1, 5))}}).axes[0].get_legend()
    assert single.get_title().get_text() == ""  # one seed has no quantiles


@pytest.mark.parametrize("values", [np.ones(5), np.ones((0, 5)), np.full((2, 3), np.nan)])
def test_curves_of_another_shape_are_refused(values):
    with pytest.raises(ParameterError, match="the curve 'odd' needs finite values"):
        plots.anytime({"race": {"odd": values}})


def test_quantiles_out_of_order_are_refused():
    with pytest.raises(ParameterError, match="low < high"):
        plots.anytime({"race": CURVES}, quantiles=(0.75, 0.25))
