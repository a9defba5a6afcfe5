"""What stands in the pictures of rankings, of fairness and of probabilities."""

from __future__ import annotations

import numpy as np
import pytest

from nasedu import plots, spaces
from nasedu.ranking import correlation


@pytest.fixture
def space():
    return spaces.create("nasbench201", operations=("none", "skip_connect", "nor_conv_3x3"))


@pytest.fixture
def ranked():
    truth = [1, 2, 3, 4, 5, 6]
    scores = {"a": [1, 3, 2, 5, 4, 6], "b": [6, 5, 4, 3, 1, 2]}
    return scores, truth, {name: correlation(values, truth, resamples=50) for name, values in scores.items()}


def test_a_scatter_has_a_panel_per_score_with_its_correlation(ranked):
    scores, truth, correlations = ranked
    axes = plots.score_scatter(scores, truth, correlations, x="score").axes
    for ax, (name, values) in zip(axes, scores.items(), strict=True):
        assert ax.lines[0].get_xdata().tolist() == values and ax.lines[0].get_ydata().tolist() == truth
        assert ax.get_title() == f"{name}\nτ = {correlations[name].value:.2f} " + (
            f"[{correlations[name].low:.2f}, {correlations[name].high:.2f}]"
        )
    assert axes[0].lines[0].get_marker() != axes[1].lines[0].get_marker()
    assert plots.score_scatter({"a": scores["a"]}, truth).axes[0].get_title() == "a"


def test_correlation_bars_reach_from_low_to_high(ranked):
    correlations = ranked[2]
    ax = plots.correlation_bars(correlations).axes[0]
    for i, (name, c) in enumerate(correlations.items()):
        bar, point = ax.lines[2 * i : 2 * i + 2]
        assert bar.get_xdata().tolist() == [c.low, c.high]
        assert point.get_xdata().tolist() == [c.value]
        assert ax.get_yticklabels()[i].get_text() == name
    assert ax.get_ylim()[0] > ax.get_ylim()[1]  # the first on top


def test_choice_counts_show_the_lead_over_the_mean():
    even, odd = np.ones((4, 3), int), np.tile([2, 0, 1], (4, 1))
    axes = plots.choice_counts({"fair": even, "uniform": odd}, ["x", "y", "z"], "edge").axes
    assert all((line.get_ydata() == 0).all() for line in axes[0].lines)
    assert [line.get_ydata().tolist() for line in axes[1].lines] == [[1, 2, 3, 4], [-1, -2, -3, -4], [0, 0, 0, 0]]


def test_before_and_after_are_joined_for_every_name():
    ax = plots.before_after({"p": 10.0, "q": 20.0}, {"p": 50.0, "q": 40.0}).axes[0]
    assert [line.get_ydata().tolist() for line in ax.lines[:2]] == [[10, 50], [20, 40]]
    labelled = {line.get_label(): list(line.get_ydata()) for line in ax.lines[2:]}
    assert labelled == {"before": [10, 20], "after": [50, 40]}


def test_weights_are_stacked_to_one_and_named():
    weights = np.random.default_rng(0).dirichlet([1, 1, 1], size=5)
    picture = plots.weight_bars({"T = 1": weights}, ["none", "skip", "conv"])
    (ax,) = picture.axes
    assert len(ax.patches) == 15
    assert max(bar.get_y() + bar.get_height() for bar in ax.patches) == pytest.approx(1)
    assert [bar.get_height() for bar in ax.patches[5:10]] == pytest.approx(weights[:, 1].tolist())
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["none", "skip", "conv"]


def test_probabilities_have_a_row_per_search_and_a_column_per_decision(space):
    p = [0.2, 0.3, 0.5]
    history = [{"probabilities": [p] * 6} for _ in range(4)]
    picture = plots.choice_probabilities(space, {"one": history, "two": history})
    assert len(picture.axes) == 12
    assert [ax.get_title() for ax in picture.axes[:6]] == [d.name for d in space.decisions]
    assert picture.axes[6].get_ylabel() == "two"
    tops = [area.get_paths()[0].vertices[:, 1].max() for area in picture.axes[0].collections]
    assert tops == pytest.approx([0.2, 0.5, 1.0])
    assert [text.get_text() for text in picture.legends[0].get_texts()] == ["none", "skip_connect", "conv_3x3"]


def test_curves_have_a_panel_per_quantity_and_a_line_per_search():
    picture = plots.over_epochs(
        {"entropy": {"a": [3, 2, 1], "b": [3, 3, 3]}, "skips": {"a": [0, 1, 2], "b": [0, 0, 0]}}
    )
    assert [ax.get_ylabel() for ax in picture.axes] == ["entropy", "skips"]
    assert picture.axes[0].lines[0].get_ydata().tolist() == [3, 2, 1]
    assert picture.axes[1].lines[0].get_xdata().tolist() == [1, 2, 3]


def test_gradients_show_mean_spread_and_the_exact_slope():
    samples = {"noisy": np.array([[0.0, 1.0], [2.0, 1.0]]), "biased": np.array([[3.0, 3.0]])}
    picture = plots.gradient_spread(samples, [1.0, 0.5], ["x", "y"])
    bar, mean, *_ = picture.axes[0].lines
    assert bar.get_xdata().tolist() == [0, 2] and mean.get_xdata().tolist() == [1]
    assert picture.axes[1].lines[-1].get_xdata()[0] == 0.5
    assert [label.get_text() for label in picture.axes[0].get_yticklabels()] == ["noisy", "biased"]
    assert picture.png()
