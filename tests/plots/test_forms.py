"""Every form draws what it was given, says what its axes are, and works for one item as for many."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
import torch
from matplotlib.colors import to_hex

from nasedu import plots, spaces
from nasedu.errors import ParameterError
from nasedu.plots.forms import Dress

LABELS = {"xlabel": "epoch", "ylabel": "loss (nats)"}
RUNS = np.minimum.accumulate(np.random.default_rng(0).random((9, 40)), axis=1)


def named(ax):
    return {line.get_label(): line for line in ax.lines}


def ticks(axis):
    return [label.get_text() for label in axis.get_ticklabels()]


FORMS = {
    "lines": lambda n: plots.lines({f"c{i}": range(n) for i in range(n)}, **LABELS),
    "scatter": lambda n: plots.scatter({f"p{i}": (range(n), range(n)) for i in range(n)}, **LABELS),
    "named": lambda n: plots.scatter({f"p{i}": (i, i * i) for i in range(n)}, named=True, **LABELS),
    "dots": lambda n: plots.dots({f"r{i}": [1.0 * i] * n for i in range(n)}, **LABELS),
    "bars": lambda n: plots.bars({f"q{i} (ms)": {f"r{i}": i for i in range(n)} for i in range(n)}, **LABELS),
    "stacks": lambda n: plots.stacks(
        {f"s{i}": np.ones((n, n)) for i in range(n)}, [f"p{i}" for i in range(n)], **LABELS
    ),
    "areas": lambda n: plots.stacks({f"r{i}": pd.DataFrame(np.eye(n)) for i in range(n)}, joined=True, **LABELS),
    "histogram": lambda n: plots.histogram({f"h{i}": range(i, n + i) for i in range(n)}, **LABELS),
    "heat": lambda n: plots.heat({f"m{i}": np.eye(n) for i in range(n)}, bar="share", **LABELS),
    "anytime": lambda n: plots.anytime({f"t{i}": {"a": np.ones((n, n))} for i in range(n)}),
}


@pytest.mark.parametrize("n", [1, 2, 7])
@pytest.mark.parametrize("form", FORMS)
def test_a_form_draws_any_number_of_anything_and_tells_what_is_seen(form, n):
    picture = FORMS[form](n)
    assert picture.png() and 10 < len(picture.alt) < 600 and picture.alt.endswith(".")
    if form not in ("anytime", "bars"):
        assert "epoch" in picture.alt and "loss (nats)" in picture.alt


@pytest.mark.parametrize("form", ["lines", "scatter", "dots", "stacks", "histogram", "heat", "anytime"])
def test_nothing_to_draw_is_told(form):
    with pytest.raises(ParameterError, match="nothing to draw"):
        getattr(plots, form)({}, *([[]] if form == "stacks" else []))


def test_a_line_is_its_values_at_its_places_with_a_look_of_its_own():
    series = pd.Series([3.0, 1.0], [10, 20])
    ax = plots.lines({"a": [1, 2], "b": series, "c": ([5, 6, 7], [1, 2, 3])}, **LABELS).axes[0]
    lines = named(ax)
    assert lines["a"].get_xydata().tolist() == [[1, 1], [2, 2]]
    assert lines["b"].get_xydata().tolist() == [[10, 3], [20, 1]]
    assert lines["c"].get_xydata().tolist() == [[5, 1], [6, 2], [7, 3]]
    assert len({(line.get_marker(), line.get_linestyle(), line.get_color()) for line in ax.lines}) == 3
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("epoch", "loss (nats)")
    with pytest.raises(ParameterError, match="'a' has values of shape"):
        plots.lines({"a": [1, 2]}, [1, 2, 3])


def test_the_same_name_has_the_same_look_in_every_panel_and_one_entry_in_the_legend():
    picture = plots.lines({"l": {"a": [1, 2], "b": [2, 1]}, "r": {"b": [5, 6]}}, names="ylabel", share="")
    left, right = picture.axes
    assert right.lines[0].get_color() == left.lines[1].get_color() and right.get_ylabel() == "r"
    assert [text.get_text() for text in picture.legends[0].get_texts()] == ["a", "b"]


def test_several_runs_are_their_median_in_the_band_of_their_quartiles():
    ax = plots.lines({"a": RUNS}).axes[0]
    assert np.allclose(ax.lines[0].get_ydata(), np.median(RUNS, axis=0))
    corners = ax.collections[0].get_paths()[0].vertices[:, 1]
    low, high = np.quantile(RUNS, (0.25, 0.75), axis=0)
    assert corners.max() == pytest.approx(high.max()) and corners.min() == pytest.approx(low.min())


def test_an_any_time_curve_is_logarithmic_and_begins_where_it_is_told():
    ax = plots.anytime({"race": {"a": RUNS, "b": RUNS[:, :30]}}, first=10).axes[0]
    assert ax.get_xscale() == "log" and ax.get_xlabel() == "evaluations" and "regret" in ax.get_ylabel()
    assert [line.get_xdata()[[0, -1]].tolist() for line in ax.lines] == [[10, 40], [10, 30]]
    assert np.allclose(named(ax)["a"].get_ydata(), np.median(RUNS, axis=0)[9:]) and ax.get_ylim()[0] <= 0
    assert plots.anytime({"short": {"a": RUNS}}, first=100).axes[0].lines[0].get_xdata().tolist() == [40]
    for odd in (np.ones(5), np.ones((0, 5)), np.full((2, 3), np.nan)):
        with pytest.raises(ParameterError, match="the curve 'odd' needs finite values"):
            plots.anytime({"race": {"odd": odd}})


def test_points_stand_where_they_are_and_the_crowd_is_grey():
    ax = plots.landscape([1, 2, 3], [50, 60, 70], {"pick": (2, 60)}, xlabel="MACs", ylabel="%").axes[0]
    lines = named(ax)
    assert lines["all 3"].get_xydata().tolist() == [[1, 50], [2, 60], [3, 70]] and lines["all 3"].get_color() == "0.6"
    assert lines["pick: 60.0"].get_xydata().tolist() == [[2, 60]]


def test_names_beside_points_cover_neither_one_another_nor_the_edge():
    rng = np.random.default_rng(0)
    rho, x = rng.uniform(0.6, 0.8, 12), 10 ** rng.uniform(0, 2, 12)
    points = {f"a_long_name_{i}": (x[i], plots.Interval(r, r - 0.02, r + 0.03)) for i, r in enumerate(rho)}
    picture = plots.scatter(points, named=True, log="x", height=4.8)
    picture.png()
    ax = picture.axes[0]
    boxes = [super(type(note), note).get_window_extent() for note in ax.texts]  # the text without its line
    assert not any(a.overlaps(b) for i, a in enumerate(boxes) for b in boxes[:i])
    frame = ax.get_window_extent()
    assert all(frame.x0 <= box.x0 and box.x1 <= frame.x1 for box in boxes)
    assert [note.get_text() for note in ax.texts] == list(points) and not picture.legends


def test_a_row_of_dots_shows_every_value_and_their_mean():
    ax = plots.dots({"winner": [90, 92, 94], "random": [91, 91, 91]}).axes[0]
    assert [list(line.get_xdata()) for line in ax.lines] == [[90, 92, 94], [92], [91, 91, 91], [91]]
    assert ticks(ax.yaxis) == ["winner", "random"] and [t.get_text() for t in ax.texts] == ["92", "91"]


def test_a_row_may_have_an_interval_and_series_stand_beside_each_other():
    around = plots.Interval.around([1.0, 3.0])
    assert around == (2.0, 1.0, 3.0)
    bar, mark = plots.dots({"a": around}).axes[0].lines
    assert list(bar.get_xdata()) == [1, 3] and list(mark.get_xdata()) == [2]
    ax = plots.dots({"before": {"x": 1, "y": 2}, "after": {"x": 3}}).axes[0]
    assert [line.get_xdata()[0] for line in ax.lines] == [1, 2, 3]
    assert len({line.get_ydata()[0] for line in ax.lines}) == 3 and ticks(ax.yaxis) == ["x", "y"]


def test_bars_share_their_names_and_are_as_long_as_their_values():
    left, right = plots.bars({"a (ms)": {"x": 1, "y": 2}, "b": {"x": 30, "y": 0}}).axes
    assert [[bar.get_width() for bar in ax.patches] for ax in (left, right)] == [[1, 2], [30, 0]]
    assert ticks(left.yaxis) == ["x", "y"] and left.get_xlabel() == "a (ms)"
    with pytest.raises(ParameterError, match="the same names"):
        plots.bars({"a": {"x": 1}, "b": {"y": 1}})


def test_parts_are_stacked_to_their_sum():
    table = pd.DataFrame({"x": [1.0, 3.0], "y": [2.0, 4.0]}, ["a", "b"])
    ax = plots.stacks({"": table}, list(table), totals=".3g").axes[0]
    assert [bar.get_y() + bar.get_height() for bar in ax.patches] == [1, 3, 3, 7]
    assert [text.get_text() for text in ax.texts] == ["3", "7"] and ticks(ax.xaxis) == ["a", "b"]


def test_joined_parts_are_areas_that_are_named_where_they_end():
    frame = pd.DataFrame({"x": [0.5, 0.05], "y": [0.5, 0.95]}, [10, 20])
    picture = plots.stacks({"many": frame, "one": frame[:1]}, joined=True)
    assert [[text.get_text() for text in ax.texts] for ax in picture.axes] == [["y"], ["x", "y"]]
    many, one = picture.axes
    assert [area.get_paths()[0].vertices[:, 1].max() for area in many.collections] == pytest.approx([0.5, 1.0])
    assert many.get_xlim() == (10, 20) and one.get_xlim() == (10, 11)


def test_every_histogram_is_in_percent_and_has_its_own_marks():
    picture = plots.histogram({"a": [1, 2, 3], "b": [2, 4]}, {"a": {"mine": 2.5}, "b": {"x": 3, "y": 4}}, columns=1)
    assert [list(named(ax)) for ax in picture.axes] == [["mine: 2.5"], ["x: 3", "y: 4"]]
    assert [sum(bar.get_height() for bar in ax.patches) for ax in picture.axes] == pytest.approx([100, 100])


def test_a_heat_map_writes_its_numbers_and_names_or_explains_its_colours():
    frame = pd.DataFrame([[1.0, np.nan], [3.0, 4.0]], ["r1", "r2"], ["c1", "c2"])
    ax = plots.heat(frame, numbers=".0f").axes[0]
    assert [text.get_text() for text in ax.texts] == ["1", "3", "4"]
    assert (ticks(ax.yaxis), ticks(ax.xaxis)) == (["r1", "r2"], ["c1", "c2"])
    picture = plots.heat(pd.DataFrame([["on", "off"]]), colours={"off": "white", "on": "black"})
    shown = picture.axes[0].images[0]
    assert [to_hex(shown.cmap(shown.norm(value))) for value in shown.get_array()[0]] == ["#000000", "#ffffff"]
    assert [text.get_text() for text in picture.legends[0].get_texts()] == ["off", "on"]
    with pytest.raises(ParameterError, match="needs matrices"):
        plots.heat({"a": np.ones(3)})


def test_a_training_has_a_line_in_every_panel_also_of_no_epochs():
    history = [{"epoch": e, "box": 1 / e, "obj": 2 / e} for e in range(1, 6)]
    picture = plots.progress({"searched": history, "random": history[:3]}, {"box": "box loss", "obj": "object loss"})
    for ax, title in zip(picture.axes, ("box loss", "object loss"), strict=True):
        assert [len(line.get_xdata()) for line in ax.lines] == [5, 3]
        assert ax.get_xlabel() == "epoch" and ax.get_ylabel() == title and ax.get_ylim()[0] == 0
    assert plots.progress({"one": history[:1]}, {"box": "box"}).png()


@pytest.mark.parametrize("name", ["nasbench201", "yolo:course"])
def test_probabilities_have_a_column_for_every_block_and_name_what_they_end_in(name):
    space = spaces.create(name)
    history = [
        [torch.eye(n + 1)[min(step, n - 1)] for n in space.choices] for step in (0, 1, 2, 2, 2)
    ]  # padded, as descents are
    picture = plots.probabilities(space, {"a": history, "b": history[:1]}, xlabel="step")
    most = max(map(len, space.groups))
    assert len(picture.axes) == 2 * most * len(space.groups)
    last = {ax.texts[0].get_text() for ax in picture.axes[: len(space.groups)] if ax.texts}
    assert len(last) == 1 and all(len(ax.texts) == 1 for ax in picture.axes)


def test_a_legend_of_each_panel_begins_with_the_first_look():
    panels = {"one": {"a": ([1], [2])}, "two": {"b": ([1], [2])}}
    left, right = plots.scatter(panels, legend="each").axes
    assert left.lines[0].get_color() == right.lines[0].get_color()


def test_a_misspelt_dress_is_refused():
    with pytest.raises(TypeError, match="xlabl"):
        plots.lines({"a": [1]}, xlabl="epoch")
    assert Dress().names == "title"


def test_a_logarithmic_axis_within_one_decade_has_numbers_on_it():
    ax = plots.lines({"a": [42.0, 57.0]}, log="y").axes[0]
    ax.figure.draw_without_rendering()
    assert any(label.get_text() for label in ax.yaxis.get_ticklabels(minor=True))


def test_a_curve_without_points_is_refused_by_its_name():
    with pytest.raises(ParameterError, match="'a' has values of shape"):
        plots.lines({"a": [], "b": [1.0]})


@pytest.mark.parametrize(
    "values", [{"a": math.nan, "b": 0.5, "c": 0.4}, {"a": math.nan, "b": math.nan}, {"a": math.inf}]
)
def test_names_stand_beside_points_that_are_drawn(values):
    """As an average precision is not a number where no object counts."""
    picture = plots.scatter({name: (i, y) for i, (name, y) in enumerate(values.items())}, named=True)
    texts = [text.get_text() for ax in picture.axes for text in ax.texts]
    assert sorted(texts) == [name for name, y in values.items() if math.isfinite(y)]
