"""What stands in the pictures of proxies."""

from __future__ import annotations

import itertools

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex
from scipy import stats

from nasedu import plots
from nasedu.errors import ParameterError, UnknownName
from nasedu.plots.picture import COLOURS
from nasedu.ranking import combine, complementary, judge_all, spearman


@pytest.fixture
def truth():
    return pd.Series(90 + np.random.default_rng(0).normal(size=60), index=[f"arch{i}" for i in range(60)])


@pytest.fixture
def frame(truth):
    """a and a2 say the same, b and b2 too; failed has two failures, wild spans decades."""
    rng = np.random.default_rng(1)
    a, b = (truth - 90 + rng.normal(size=60) for _ in range(2))
    frame = pd.DataFrame({"a": a, "b": b, "a2": a + 0.01 * rng.normal(size=60), "b2": 2 * b, "wild": np.exp(9 * a)})
    frame["failed"] = a
    frame.loc["arch3", "failed"], frame.loc["arch5", "failed"] = -np.inf, np.nan
    return frame


def texts(ax):
    return [note.get_text() for note in ax.texts]


def test_the_scatter_has_a_panel_per_proxy_with_its_correlation(frame, truth):
    picture = plots.proxy_scatter(frame, truth.sample(frac=1, random_state=0), columns=4)
    shown = [ax for ax in picture.axes if ax.get_visible()]
    assert len(shown) == 6 and len(picture.axes) == 8
    for ax, name in zip(shown[:5], frame, strict=False):
        assert ax.get_title() == f"{name}\nρ = {stats.spearmanr(frame[name], truth).statistic:+.2f}"
        assert np.array_equal(ax.lines[0].get_xdata(), stats.rankdata(frame[name]))
        assert np.array_equal(ax.lines[0].get_ydata(), truth) and len(ax.lines) == 1


def test_failures_stand_at_the_left_edge_whatever_the_axis(frame, truth):
    for x in plots.proxies.AXES:
        picture = plots.proxy_scatter(frame[["failed"]], truth, x)
        picture.png()
        ax = picture.axes[0]
        dots, crosses = ax.lines
        assert len(dots.get_xdata()) == 58 and np.isfinite(dots.get_xdata()).all()
        assert crosses.get_marker() == "x" and crosses.get_ydata().tolist() == [truth["arch3"], truth["arch5"]]
        at = crosses.get_transform().transform(crosses.get_xydata())[:, 0]
        left = ax.transData.transform(dots.get_xydata())[:, 0].min()
        assert (at == ax.bbox.x0).all() and at[0] < left
        assert ax.get_title().endswith(", 2 failed")


def test_values_that_span_decades_are_on_a_logarithmic_axis(frame, truth):
    axes = plots.proxy_scatter(frame[["a", "wild"]], truth, "value").axes
    assert [ax.get_xscale() for ax in axes] == ["linear", "log"]
    assert np.array_equal(axes[0].lines[0].get_xdata(), frame["a"])
    assert plots.proxy_scatter(frame[["wild"]], truth).axes[0].get_xscale() == "linear"  # ranks


def test_the_heat_map_writes_every_correlation_the_truth_first(frame, truth):
    ax = plots.proxy_heatmap(frame, truth, "accuracy").axes[0]
    rows, columns = ([label.get_text() for label in axis.get_ticklabels()] for axis in (ax.yaxis, ax.xaxis))
    assert rows == ["accuracy", *columns] and sorted(columns) == sorted(frame)
    shown = np.asarray(ax.images[0].get_array())
    assert shown.shape == (7, 6)
    for i, name in enumerate(columns):
        assert shown[0, i] == pytest.approx(spearman(frame[name], truth))
        for j, other in enumerate(columns):
            assert shown[1 + i, j] == pytest.approx(spearman(frame[name], frame[other]))
    assert len(ax.texts) == 42
    value = spearman(frame["a"], truth)
    assert texts(ax)[columns.index("a")] == f"{value:.2f}".replace("0.", ".") and "1" in texts(ax)


def test_the_heat_map_puts_kin_side_by_side(frame, truth):
    ax = plots.proxy_heatmap(frame[["a", "b", "a2", "b2"]], truth).axes[0]
    columns = [label.get_text() for label in ax.get_xticklabels()]
    assert {frozenset(columns[:2]), frozenset(columns[2:])} == {frozenset({"a", "a2"}), frozenset({"b", "b2"})}


def test_the_heat_map_writes_of_values_that_are_none_small_or_negative(frame, truth):
    odd = pd.DataFrame({"flat": 1.0, "down": -truth, "up": truth})
    ax = plots.proxy_heatmap(odd, truth).axes[0]
    assert set(texts(ax)) == {"–", "1", "−1"}
    assert plots.proxies._short(-0.001) == ".00" and plots.proxies._short(-0.256) == "−.26"
    assert len(plots.proxy_heatmap(frame[["a"]], truth).axes[0].texts) == 2


def crowd(n):
    """A table and times of n proxies that stand close together."""
    rng = np.random.default_rng(0)
    rho = rng.uniform(0.6, 0.8, n)
    names = [f"a_long_name_{i}" for i in range(n)]
    table = pd.DataFrame({"spearman": rho, "spearman_low": rho - 0.02, "spearman_high": rho + 0.03}, index=names)
    return table, dict(zip(names, 10 ** rng.uniform(0, 2, n), strict=True))


def test_the_cost_picture_has_a_point_and_its_interval_for_each(frame, truth):
    table = judge_all(frame, truth, resamples=50)
    milliseconds = dict(zip(frame, (1.0, 2.0, 4.0, 80.0, 0.1, 3.0), strict=True))
    ax = plots.proxy_cost(table, milliseconds).axes[0]
    assert ax.get_xscale() == "log" and "milliseconds" in ax.get_xlabel()
    for name, bars in zip(frame, ax.containers, strict=True):
        point, _, (bar,) = bars
        assert point.get_xydata().tolist() == [[milliseconds[name], table.loc[name, "spearman"]]]
        ends = bar.get_segments()[0][:, 1]
        assert ends == pytest.approx(table.loc[name, ["spearman_low", "spearman_high"]].to_numpy(float))
    assert texts(ax) == list(frame)


def test_labels_overlap_neither_one_another_nor_the_edge():
    table, milliseconds = crowd(12)
    picture = plots.proxy_cost(table, milliseconds)
    picture.png()
    ax = picture.axes[0]
    boxes = [super(type(note), note).get_window_extent() for note in ax.texts]  # the text without its line
    assert not any(one.overlaps(other) for one, other in itertools.combinations(boxes, 2))
    frame = ax.get_window_extent()
    assert all(frame.x0 <= box.x0 and box.x1 <= frame.x1 for box in boxes)


def test_a_time_that_is_none_is_told():
    table, milliseconds = crowd(3)
    for wrong in ({}, milliseconds | {"a_long_name_1": 0}, milliseconds | {"a_long_name_1": float("nan")}):
        with pytest.raises(ParameterError, match=r"'a_long_name_[01]' needs a positive time"):
            plots.proxy_cost(table, wrong)


def test_the_picture_of_pairs_splits_gains_from_losses(frame, truth):
    pairs = complementary(frame, truth)
    ax = plots.proxy_pairs(pairs, names=2).axes[0]
    gains, losses = ax.collections
    points = np.concatenate([gains.get_offsets(), losses.get_offsets()])
    assert (gains.get_offsets()[:, 1] > 0).all() and (losses.get_offsets()[:, 1] <= 0).all()
    assert sorted(map(tuple, points)) == sorted(zip(pairs["between"], pairs["gain"], strict=True))
    best, last = pairs.iloc[:2], pairs.iloc[-1]
    expected = [f"{a} + {b}" for a, b in zip(best["first"], best["second"], strict=True)]
    assert texts(ax) == [*expected, f"{last['first']} + {last['second']}"]
    assert len(plots.proxy_pairs(pairs[:1]).axes[0].texts) == 1


def test_the_mixture_stands_beside_its_parts(frame, truth):
    weights = dict.fromkeys(frame, 0.0) | {"a": 1.0, "b": 0.5}
    left, right = plots.proxy_mix(frame, truth, "average_rank", weights).axes
    combined = combine(frame[["a", "b"]], "average_rank", {"a": 1.0, "b": 0.5})
    rows = [label.get_text() for label in left.get_yticklabels()]
    assert rows == ["a × 1", "b × 0.5", "average_rank"]
    expected = [spearman(frame["a"], truth), spearman(frame["b"], truth), spearman(combined, truth)]
    assert [line.get_xdata()[0] for line in left.lines[:3]] == pytest.approx(expected)
    assert [to_hex(line.get_color()) for line in left.lines[:3]] == [to_hex(COLOURS[i]) for i in (0, 0, 1)]
    assert np.array_equal(right.lines[0].get_xdata(), stats.rankdata(combined))
    other = plots.proxy_mix(frame, truth, "vote").axes[0]
    assert other.get_xlim() == left.get_xlim()  # so that pictures can be compared


def test_what_cannot_be_drawn_is_told(frame, truth):
    with pytest.raises(UnknownName, match="did you mean 'rank'"):
        plots.proxy_scatter(frame, truth, "ranks")
    with pytest.raises(ParameterError, match="nothing to draw"):
        plots.proxy_heatmap(frame[[]], truth)
    for draw in (plots.proxy_scatter, plots.proxy_heatmap, plots.proxy_mix):
        with pytest.raises(ParameterError, match="lacks 1 of 60"):
            draw(frame, truth.drop("arch7"))
