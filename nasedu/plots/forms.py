"""A few forms for tables of numbers: lines, dots, bars, stacks, histograms, heat maps. All dress alike.

A form takes one panel, {name: values}, or several, {panel: {name: values}}, and `Dress`'s fields as keywords.
"""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle
from typing import NamedTuple

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.ticker import MaxNLocator

from nasedu.errors import ParameterError
from nasedu.plots.diagram import swatches
from nasedu.plots.labels import label
from nasedu.plots.picture import COLOURS, HATCHES, LINES, MARKERS, THIN, Picture, every, ink, styles

OPERATIONS = ("0.82", "#e76f00", "#1d5fa2", "#5fa55a", "#8b5fbf")  # grey first: it is where nothing happens
ORDERED = ((0.95, 0.9, 0.25), (0.37, 0.78, 0.4), (0.2, 0.45, 0.6), (0.27, 0.0, 0.33))  # light to dark
MOST = 300  # points of one name from which on they are drawn small


@dataclass(frozen=True)
class Dress:
    """What all forms have: labels, scales and sizes.

    Args:
        xlabel: the axis to the right, with its unit.
        ylabel: the axis upwards, with its unit.
        names: what a panel's name becomes, its "title", "xlabel" or "ylabel".
        log: the axes that are logarithmic: "x", "y" or "xy".
        share: the axes that all panels have in common: "", "x", "y" or "xy".
        xlim: the ends of the axis to the right; None where the data decide.
        ylim: the ends of the axis upwards.
        columns: panels in a row, at most.
        width: of the picture, inches; 0 leaves it to the number of panels.
        height: of a row of panels, inches; 0 leaves it to the form.
        legend: "right", "bottom", "each" panel its own, or "none".
        alt: what is seen, in one or two sentences; by default made of names, labels and legend.
    """

    xlabel: str = ""
    ylabel: str = ""
    names: str = "title"
    log: str = ""
    share: str = "y"
    xlim: tuple | None = None
    ylim: tuple | None = None
    columns: int = 4
    width: float = 0
    height: float = 0
    legend: str = "right"
    alt: str = ""


class Interval(NamedTuple):
    """A value between two ends, as `dots` draws it."""

    value: float
    low: float
    high: float

    @classmethod
    def around(cls, values: Sequence[float]) -> Interval:
        """The mean of values (n,), one standard deviation to either side."""
        mean, deviation = float(np.mean(values)), float(np.std(values))
        return cls(mean, mean - deviation, mean + deviation)


def lines(data: Mapping, x: Sequence | None = None, *, joined: bool = True, **dress) -> Picture:
    """Curves with markers, the same name with the same look in every panel. Raises `ParameterError`.

    Args:
        data: the values (n,) of every name; a Series brings its x as its index, a pair (x, values) its own. Of
            several runs (runs, n) the median is drawn, in a band between the quartiles.
        x: the places of all values, numbers or names; 1 to n where None.
        joined: whether there are lines between the markers.
        dress: fields of `Dress`.
    """
    panels, dress = _panels(data), Dress(**dress)
    picture, axes = _grid(panels, dress, "Line chart" if joined else "Chart", 3.2)
    looks = styles(name for curves in panels.values() for name in curves)
    ends: dict[str, dict] = {panel: {} for panel in panels}
    for ax, (panel, curves) in zip(axes, panels.items(), strict=True):
        looks = styles(curves) if dress.legend == "each" else looks
        for name, values in curves.items():
            at, runs = _places(ax, name, values, x)
            look = looks[name] | {"markevery": every(len(at), log="x" in dress.log), "markersize": 6}
            low, y, high = np.quantile(runs, (0.25, 0.5, 0.75), axis=0)
            ax.fill_between(at, low, high, color=look["color"], alpha=0.18, linewidth=0)
            ax.plot(at, y, label=name, **look if joined else look | {"linestyle": "", "markevery": 1})
            ends[panel][name] = y[0], y[-1]
    picture.told = f"First and last: {_values(ends, _span)}"
    return _dressed(picture, axes, panels, dress)


def scatter(data: Mapping, *, crowd: str = "", named: bool = False, diagonal: bool = False, **dress) -> Picture:
    """Points; a single one is large and framed, many are small and let others shine through. Raises `ParameterError`.

    Args:
        data: for every name x and y, numbers or (n,) each; a single y may be an `Interval`.
        crowd: the name that is drawn in grey, behind all others.
        named: whether names stand beside their points, and not in a legend.
        diagonal: whether both axes are alike, with a line where x and y are equal.
        dress: fields of `Dress`.
    """
    panels, dress = _panels(data), Dress(**dress)
    picture, axes = _grid(panels, dress, "Scatter plot", 3.8)
    looks = styles(name for points in panels.values() for name in points if name != crowd)
    looks[crowd] = {"color": "0.6", "marker": "o"}
    heights = {panel: {name: y for name, (_, y) in points.items()} for panel, points in panels.items()}
    picture.told = f"Lowest and highest: {_values(heights, _reach)}"
    for ax, points in zip(axes, panels.values(), strict=True):
        looks = looks | styles(points) if dress.legend == "each" else looks
        for name, (x, y) in points.items():
            _cloud(ax, x, y, looks[name] | {"label": "_" + name if named else name}, name == crowd)
        if diagonal:
            ends = [min(ax.dataLim.x0, ax.dataLim.y0), max(ax.dataLim.x1, ax.dataLim.y1)]
            ax.plot(ends, ends, label="equal", **THIN)
            ax.set_box_aspect(1)
    picture = _dressed(picture, axes, panels, dress)
    for ax, points in zip(axes, panels.values(), strict=True):
        if named:
            ax.margins(0.15)
            label(ax, {name: (x, getattr(y, "value", y)) for name, (x, y) in points.items()})
    return picture


def _cloud(ax: Axes, x: object, y: object, look: dict, crowd: bool) -> None:
    """The points of one name."""
    if hasattr(y, "low"):
        ax.plot([x, x], [y.low, y.high], color=look["color"], linewidth=1.5, linestyle="-")
        y = y.value
    x, y = np.atleast_1d(x), np.atleast_1d(y)
    one, many = len(x) == 1, crowd or len(x) >= MOST
    look = look | ({"markeredgecolor": "black"} if one else {"alpha": 0.65, "markeredgewidth": 0})
    look = look | {"linestyle": "", "markersize": 10 if one else 3.5 if many else 6, "zorder": 2 + one - crowd}
    ax.plot(x, y, **look)


def dots(data: Mapping, **dress) -> Picture:
    """A row for each name: a marker for a number, small dots and their mean for several, a bar for an interval.

    Args:
        data: {row: value}, {series: {row: value}} or {panel: {series: {row: value}}}. A value is a number, several
            numbers (n,), or has `value`, `low` and `high`, as `Interval` and `Correlation` have.
        dress: fields of `Dress`.
    """
    while _depth(data) < 3:
        data = {"": data}
    dress, data = Dress(**dress), {name: dict(panel.items()) for name, panel in data.items()}
    names = list(dict.fromkeys(series for panel in data.values() for series in panel))
    rows = list(dict.fromkeys(r for panel in data.values() for series in panel.values() for r, _ in series.items()))
    picture, axes = _grid(data if rows else {}, dress, "Dot plot", 1 + (0.42 + 0.12 * (len(names) > 1)) * len(rows))
    looks = styles(names if len(names) > 1 else rows)
    picture.told = _values({f"{p} {s}".strip(): values for p, panel in data.items() for s, values in panel.items()})
    for ax, panel in zip(axes, data.values(), strict=True):
        for i, (series, values) in enumerate(panel.items()):
            for j, (row, value) in enumerate(values.items()):
                place = rows.index(row) + 0.2 * (i - (len(panel) - 1) / 2)
                shown = {"label": series if j == 0 else ""} | looks[series if len(names) > 1 else row]
                _dot(ax, place, value, shown, len(names) == 1)
        ax.set_yticks(range(len(rows)), rows)
    return _dressed(picture, axes, data, dress, {"ylim": (len(rows) - 0.5, -0.8)})


def _dot(ax: Axes, place: float, value: object, look: dict, numbered: bool) -> None:
    """One value of a row; `numbered` ones get their mean and its number."""
    look = look | {"linestyle": "", "markersize": 9 if numbered else 7}
    if hasattr(value, "low"):
        ax.plot([value.low, value.high], [place] * 2, color=look["color"], linewidth=5, linestyle="-", alpha=0.4)
        value = value.value
    values = np.atleast_1d(np.asarray(value, dtype=float))
    if not numbered:
        ax.plot(values, [place] * len(values), **look)
        return
    if len(values) > 1:
        ax.plot(values, [place] * len(values), "o", color=look["color"], alpha=0.6, markersize=6, markeredgewidth=0)
    mean = float(values.mean())
    ax.plot([mean], [place], **look, markeredgecolor="black")
    ax.annotate(_number(mean), (mean, place), (0, 8), textcoords="offset points", ha="center", fontsize=9)


def bars(data: Mapping, **dress) -> Picture:
    """Horizontal bars with their numbers: a panel for each quantity, whose name says the unit; the first on top.

    Args:
        data: {quantity: {name: value}}, the same names in the same order for all.
        dress: fields of `Dress`.

    Raises `ParameterError` where names differ.
    """
    names = list(next(iter(data.values()), ()))
    if not names or any(list(values) != names for values in data.values()):
        raise ParameterError("bars need at least one quantity, and the same names in the same order for all")
    dress = Dress(**{"names": "xlabel", "width": 1.2 + 3.2 * len(data)} | dress)
    picture, axes = _grid(data, dress, "Bar chart", 0.9 + 0.42 * len(names))
    picture.told = _values(data)
    for ax, values, colour, hatch in zip(axes, data.values(), cycle(COLOURS), cycle(HATCHES), strict=False):
        found = list(values.values())
        drawn = ax.barh(range(len(names)), found, 0.62, color=colour, hatch=hatch, edgecolor="white")
        ax.bar_label(drawn, [f" {_number(v)}" for v in found], fontsize=9)
        ax.set_xlim(0, 1.22 * max(found) or 1)
        ax.set_yticks(range(len(names)), names)
        ax.grid(False, axis="y")
    return _dressed(picture, axes, data, dress, {"ylim": (len(names) - 0.5, -0.5)})


def stacks(
    data: Mapping, parts: Sequence | None = None, *, colours: Sequence = OPERATIONS, totals="", joined=False, **dress
) -> Picture:
    """A bar for each row of values, its parts on top of one another; or areas, where rows are steps.

    Args:
        data: values (n, parts) for every panel; a DataFrame's index names its bars or is its steps.
        parts: what the columns are called; a DataFrame's own names where None.
        colours: of the parts.
        totals: how a bar's sum is written on it, as ".3g"; not at all where empty.
        joined: whether bars are joined to areas. A part's name stands in the later half of its area, if it fits in.
        dress: fields of `Dress`.
    """
    dress = Dress(**dress)
    picture, axes = _grid(data, dress, "Stacked areas" if joined else "Stacked bars", 1.5 if joined else 3)
    for ax, values in zip(axes, data.values(), strict=True):
        names, table = parts or list(values), np.asarray(values, dtype=float)
        ax.grid(False, axis="both" if joined else "x")
        if joined:
            _areas(ax, list(values.index), table, dict(zip(names, colours, strict=False)))
            continue
        places = _names(ax.xaxis, _index(values, len(values))) or range(1, len(values) + 1)
        for i, (part, heights) in enumerate(zip(names, table.T, strict=True)):
            look = {"color": colours[i % len(colours)], "hatch": HATCHES[i % 4], "edgecolor": "white"}
            drawn = ax.bar(places, heights, 0.8, table[:, :i].sum(1), label=part, linewidth=0.3, **look)
        if totals:
            ax.bar_label(drawn, [format(total, totals) for total in table.sum(1)], fontsize=10)
    last = {" ".join(" ".join(key).split() if isinstance(key, tuple) else [key]): v for key, v in data.items()}
    if joined:
        ends = {name: f"{table.iloc[-1].idxmax()} {_number(table.iloc[-1].max())}" for name, table in last.items()}
        picture.told = f"At the end the largest: {_values({'': ends}, str)}"
    else:
        means = {name: dict(zip(parts or list(v), np.mean(np.asarray(v), 0), strict=True)) for name, v in last.items()}
        picture.told = f"On average: {_values(means)}"
    return _dressed(picture, axes, data, dress)


def _areas(ax: Axes, steps: list, table: np.ndarray, colours: Mapping[str, object]) -> None:
    """Rows of a table (steps, parts) as areas; a single one lasts one step."""
    if len(steps) == 1:
        steps, table = [steps[0], steps[0] + 1], table.repeat(2, axis=0)
    ax.stackplot(steps, table.T, colors=colours.values(), edgecolor="white", linewidth=0.5)
    tops, place, half = table.cumsum(1), steps[0] + 0.95 * (steps[-1] - steps[0]), len(steps) // 2
    for i, (part, colour) in zip(range(table.shape[1]), colours.items(), strict=False):
        low, high = (tops - table)[half:, i].max(), tops[half:, i].min()  # names stand in the later half
        if high - low > 0.14:
            ax.text(place, (low + high) / 2, part, ha="right", va="center", fontsize=8, color=ink(colour))
    ax.set_xlim(steps[0], steps[-1])
    ax.tick_params(labelsize=8)


def histogram(data: Mapping, marks: Mapping[str, Mapping[str, float]] | None = None, **dress) -> Picture:
    """How numbers are distributed: a histogram for every name, all with the same bins, as shares in %.

    Args:
        data: the numbers (n,) of each panel.
        marks: {panel: {label: place}}, lines in it; the legend tells their places.
        dress: fields of `Dress`.
    """
    data, marks = {name: list(values) for name, values in data.items()}, marks or {}
    dress = Dress(**{"ylabel": "share (%)", "legend": "each", "share": "xy"} | dress)
    picture, axes = _grid(data, dress, "Histogram", 2.2)
    everything = [v for values in (*data.values(), *(m.values() for m in marks.values())) for v in values]
    bins = np.linspace(min(everything, default=0), max(everything, default=1), 51)
    for ax, (name, values) in zip(axes, data.items(), strict=True):
        ax.hist(values, bins, weights=[100 / len(values)] * len(values), color="0.75", edgecolor="white")
        looks = zip(marks.get(name, {}).items(), COLOURS, MARKERS, cycle(LINES), strict=False)
        for (mark, place), colour, marker, line in looks:
            look = {"color": colour, "marker": marker, "linestyle": line, "clip_on": False, "markevery": [1]}
            text = f"{mark}: {place:,.4g}"
            ax.plot([place] * 2, [0, 1], transform=ax.get_xaxis_transform(), label=text, **look)
    quartiles = {name: np.quantile(values, (0, 0.25, 0.5, 0.75, 1)) for name, values in data.items() if values}
    picture.told = f"Lowest, quartiles and highest: {_values({'': quartiles}, _listed)}"
    return _dressed(picture, axes, data, dress)


def heat(
    data: Mapping | pd.DataFrame,
    *,
    limits: tuple[float, float] | None = None,
    numbers: str = "",
    colours: str | Mapping[str, str] = "cividis",
    bar: str = "",
    texts: pd.DataFrame | None = None,
    **dress,
) -> Picture:
    """Tables as colours: a panel for every name. Raises `ParameterError`.

    Args:
        data: matrices (rows, columns), or one; a DataFrame names its rows and columns. What is not a number is white.
        limits: of one scale for all panels; where None, `bar` decides between a common scale and one for each panel.
        numbers: how cells are written, as ".2f"; not at all where empty.
        colours: a colour map, or a colour for every value where values are names.
        bar: what the scale is called.
        texts: what is written into the cells instead.
        dress: fields of `Dress`.
    """
    panels = {"": data} if not isinstance(data, Mapping) else data
    named = not isinstance(colours, str)
    codes = {name: i for i, name in enumerate(colours)} if named else {}
    tables = {key: table.map(codes.get) if named else table for key, table in panels.items()}
    values = {key: np.asarray(table, dtype=float) for key, table in tables.items()}
    if any(table.ndim != 2 for table in values.values()):
        raise ParameterError(f"a heat map needs matrices (rows, columns), got {[v.shape for v in values.values()]}")
    dress = Dress(**dress)
    picture, axes = _grid(panels, dress, "Heat map", 3.4)
    if limits is None and bar and values:
        limits = min(map(np.nanmin, values.values())), max(map(np.nanmax, values.values()))
    scale = {"cmap": ListedColormap(list(colours.values())) if named else colours, "aspect": "auto"}
    low, high = (-0.5, len(codes) - 0.5) if named else limits or (None, None)
    ranges = (f"{k} {_reach(v)}".strip() for k, v in values.items())
    picture.told = "" if named else f"Values: {'; '.join(ranges)}"
    for ax, (key, matrix) in zip(axes, values.items(), strict=True):
        image = ax.imshow(matrix, vmin=low, vmax=high, interpolation="nearest", **scale)
        _cells(ax, image, panels[key], numbers, texts)
    if bar:
        picture.colorbar(image, ax=list(axes), label=bar, pad=0.01)
    picture = _dressed(picture, axes, panels, dress)
    if named:
        picture.legend(handles=swatches(colours), loc="outside lower center", ncols=len(colours))
    return picture


def _cells(ax: Axes, image, table: object, numbers: str, texts: pd.DataFrame | None) -> None:
    """The names of rows and columns, and what is written into cells."""
    matrix = image.get_array()
    if isinstance(table, pd.DataFrame):
        _names(ax.yaxis, table.index)
        _names(ax.xaxis, table.columns)
    else:
        ax.set_box_aspect(1)
    for (row, column), value in np.ndenumerate(matrix.filled(np.nan)):
        if np.isfinite(value) and (numbers or texts is not None):
            text = format(value, numbers) if texts is None else texts.iat[row, column]
            dark = ink(image.cmap(image.norm(value)))
            ax.text(column, row, text, ha="center", va="center", fontsize=8, color=dark)
    ax.grid(False)
    if max(matrix.shape) < 12 and not numbers:  # few cells: each with its edge
        for draw, count in zip((ax.axhline, ax.axvline), matrix.shape, strict=True):
            for i in range(count + 1):
                draw(i - 0.5, color="0.6", linewidth=0.6, linestyle="-")
    ax.spines[:].set_visible(False)
    ax.tick_params(labelsize=9)


def _panels(data: Mapping) -> dict:
    """{panel: {name: values}}, whichever of both was given."""
    nested = not isinstance(data, pd.DataFrame) and any(isinstance(v, Mapping | pd.DataFrame) for v in data.values())
    return {name: dict(values.items()) for name, values in (data if nested else {"": data}).items()}


def _number(value: object) -> str:
    """A number, the mean of several, or an interval's value."""
    mean = float(np.mean(getattr(value, "value", value)))
    return f"{mean:.3g}" if abs(mean) < 1000 else f"{mean:,.0f}"


def _span(ends: Sequence) -> str:
    """Two numbers, or one where both are the same."""
    return " to ".join(dict.fromkeys(map(_number, ends)))


def _reach(values: object) -> str:
    """The lowest and the highest of some numbers."""
    found = np.asarray(getattr(values, "value", values), dtype=float)
    known = found[~np.isnan(found)]
    return _span((known.min(), known.max())) if known.size else "not a number"


def _listed(values: Sequence) -> str:
    """Several numbers."""
    return ", ".join(map(_number, values))


def _values(data: Mapping[str, Mapping], show: Callable[..., str] = _number) -> str:
    """All rows and their values, as `show` says them, under every heading; at most 400 letters."""
    told = [f"{head}: " * bool(head) + ", ".join(f"{k} {show(v)}" for k, v in d.items()) for head, d in data.items()]
    return textwrap.shorten("; ".join(told), 400, placeholder=" and so on")


def _depth(data: object) -> int:
    """How many mappings lie in each other."""
    if not isinstance(data, Mapping | pd.DataFrame | pd.Series):
        return 0
    return 1 + max((_depth(value) for _, value in data.items()), default=0)


def _grid(panels: Mapping, dress: Dress, kind: str, height: float) -> tuple[Picture, np.ndarray]:
    """A picture and an axes for every panel; `height` of a row where the dress says none."""
    if not any(len(values) for values in panels.values()):
        raise ParameterError("there is nothing to draw")
    columns = min(dress.columns, len(panels))
    rows = -(-len(panels) // columns)
    width = dress.width or (8 if columns == 1 else min(12.0, 1.4 + 4.2 * columns))
    picture = Picture(width, (dress.height or height) * rows, dress.alt, kind)
    share = {f"share{axis}": axis in dress.share for axis in "xy"}
    axes = picture.subplots(rows, columns, squeeze=False, **share).flatten()
    for ax in axes[len(panels) :]:
        ax.remove()
    return picture, axes[: len(panels)]


def _dressed(
    picture: Picture, axes: Iterable[Axes], panels: Mapping, dress: Dress, defaults: Mapping | None = None
) -> Picture:
    """Labels, scales and the legend."""
    columns = min(dress.columns, len(panels))
    for i, (ax, name) in enumerate(zip(axes, panels, strict=True)):
        below = i + columns >= len(panels)  # nothing stands below it
        if below:
            ax.tick_params(labelbottom=True)
        words = {"xlabel": dress.xlabel * below, "ylabel": dress.ylabel * (i % columns == 0)}
        ax.set(**words | {dress.names: name} if name else words)
        ax.title.set(fontsize=11)
        for axis, scaled in ((ax.xaxis, "x"), (ax.yaxis, "y")):
            if scaled in dress.log:
                ax.set(**{f"{scaled}scale": "log"})
                axis.set_major_formatter("{x:g}")  # 100 instead of a power of ten
                low, high = axis.get_view_interval()
                axis.set_minor_formatter("{x:g}" if high < 10 * low else "")  # within a decade majors are too few
                axis.set_tick_params(which="minor", labelsize=8)
        ends = {"xlim": dress.xlim, "ylim": dress.ylim}
        ax.set(**{**(defaults or {}), **{end: value for end, value in ends.items() if value is not None}})
    return picture.key(dress.legend)


def _places(ax: Axes, name: str, values: Sequence, x: Sequence | None) -> tuple[Sequence, np.ndarray]:
    """Where values stand, and the values (runs, n); raises `ParameterError` where there are not as many of both."""
    x, values = values if isinstance(values, tuple) else (x, values)
    runs = np.atleast_2d(np.asarray(values, dtype=float))
    at = list(x if x is not None else _index(values, runs.shape[1]))
    if runs.ndim != 2 or runs.shape[1] != len(at) or not runs.size:
        raise ParameterError(f"{name!r} has values of shape {runs.shape} at {len(at)} places")
    if not _names(ax.xaxis, at) and all(float(place).is_integer() for place in at):
        ax.xaxis.set_major_locator(MaxNLocator(6, integer=True, min_n_ticks=1))
    return (range(len(at)) if at and isinstance(at[0], str) else at), runs


def _index(values: Sequence, count: int) -> Sequence:
    """The places that values bring, or 1 to `count`."""
    return values.index if isinstance(values, pd.Series | pd.DataFrame) else range(1, count + 1)


def _names(axis, names: Sequence | None) -> Sequence:
    """Names, where they are texts, as ticks of an axis, slanted where they are long to the right; their places."""
    names = [] if names is None else list(names)
    if not names or not isinstance(names[0], str):
        return ()
    crowded = axis.axis_name == "x" and sum(map(len, names)) > 60 and max(map(len, names)) > 3
    slanted = {"rotation": 45, "ha": "right", "rotation_mode": "anchor"} if crowded else {}
    axis.set_ticks(range(len(names)), names, fontsize=9, **slanted)
    return range(len(names))
