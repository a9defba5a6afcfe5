"""What stands in the pictures of proxies."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from nasedu import plots
from nasedu.errors import ParameterError
from nasedu.ranking import combine, spearman


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
    assert texts(ax)[columns.index("a")] == f"{value:+.2f}"


def test_the_heat_map_puts_kin_side_by_side(frame, truth):
    ax = plots.proxy_heatmap(frame[["a", "b", "a2", "b2"]], truth).axes[0]
    columns = [label.get_text() for label in ax.get_xticklabels()]
    assert {frozenset(columns[:2]), frozenset(columns[2:])} == {frozenset({"a", "a2"}), frozenset({"b", "b2"})}


def test_the_heat_map_leaves_out_what_has_no_order(frame, truth):
    odd = pd.DataFrame({"flat": 1.0, "down": -truth, "up": truth})
    assert set(texts(plots.proxy_heatmap(odd, truth).axes[0])) == {"+1.00", "-1.00"}
    assert len(plots.proxy_heatmap(frame[["a"]], truth).axes[0].texts) == 2


def test_the_mixture_stands_below_its_parts(frame, truth):
    weights = dict.fromkeys(frame, 0.0) | {"a": 1.0, "b": 0.5}
    ax = plots.proxy_mix(frame, truth, "average_rank", weights).axes[0]
    combined = combine(frame[["a", "b"]], "average_rank", {"a": 1.0, "b": 0.5})
    assert [label.get_text() for label in ax.get_yticklabels()] == ["a × 1", "b × 0.5", "average_rank"]
    expected = [spearman(frame["a"], truth), spearman(frame["b"], truth), spearman(combined, truth)]
    assert [line.get_xdata()[0] for line in ax.lines[:3]] == pytest.approx(expected)
    other = plots.proxy_mix(frame, truth, "vote").axes[0]
    assert other.get_xlim() == ax.get_xlim()  # so that pictures can be compared


def test_what_cannot_be_drawn_is_told(frame, truth):
    with pytest.raises(ParameterError, match="nothing to draw"):
        plots.proxy_heatmap(frame[[]], truth)
    for draw in (plots.proxy_heatmap, plots.proxy_mix):
        with pytest.raises(ParameterError, match="lacks 1 of 60"):
            draw(frame, truth.drop("arch7"))
