"""Pictures of proxies: each against the truth, against one another, against their time, and in pairs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.text import Annotation
from matplotlib.transforms import Bbox
from scipy.cluster.hierarchy import leaves_list, linkage
from scipy.spatial.distance import squareform

from nasedu.errors import ParameterError, check_name
from nasedu.plots.picture import COLOURS, Picture, styles
from nasedu.ranking import combine, ranks, spearman
from nasedu.ranking.judge import aligned

AXES = ("rank", "value")
ENDS = ["spearman_low", "spearman_high"]
# where a label may stand: directions, and how many points away, the nearest first
DIRECTIONS = [(np.cos(a), np.sin(a)) for a in np.radians([0, 180, 90, 270, 45, 135, 225, 315])]
PLACES = [(direction, distance) for distance in (8, 18, 30, 44, 60, 80) for direction in DIRECTIONS]


def proxy_scatter(
    frame: pd.DataFrame, truth: pd.Series, x: str = "rank", *, ylabel: str = "true accuracy (%)", columns: int = 4
) -> Picture:
    """The truth over every proxy's score, a panel each, with Spearman's ρ; failures are crosses at the left.

    `frame` has a row per architecture and a column per proxy, `truth` the same index. `x` is "rank" (1 the worst), or
    "value", on a logarithmic axis where positive values span more than two decades. Raises `UnknownName`,
    `ParameterError`.
    """
    check_name("axis", x, AXES)
    truth = _same_index(frame, truth)
    columns = min(columns, len(frame.columns))
    rows = -(-len(frame.columns) // columns)
    picture = Picture(2.9 * columns + 0.4, 2.7 * rows + 0.2)
    axes = picture.subplots(rows, columns, sharey=True, squeeze=False).flatten()
    for ax, name in zip(axes, frame, strict=False):
        scores = frame[name].to_numpy(float)
        failed = int((~np.isfinite(scores)).sum())
        ax.set_title(f"{name}\nρ = {spearman(scores, truth):+.2f}{f', {failed} failed' * bool(failed)}", fontsize=11)
        _points(ax, scores, truth.to_numpy(), x)
    for ax in axes[len(frame.columns) :]:
        ax.set_visible(False)
    for ax in axes[::columns]:
        ax.set_ylabel(ylabel)
    picture.supxlabel("rank of the score (1 = worst)" if x == "rank" else "score", fontsize=11)
    return picture


def proxy_heatmap(frame: pd.DataFrame, truth: pd.Series, label: str = "truth") -> Picture:
    """Spearman's ρ between all proxies, in the order of a clustering, so that those of one kind stand together.

    The first row is their ρ with `truth`. Purple is positive, orange negative, and every value is written; "–" where a
    proxy has no order. Raises `ParameterError`.
    """
    truth = _same_index(frame, truth)
    names = _clustered(frame)
    order = np.stack([ranks(frame[name]) for name in names])
    rows = [[spearman(a, b) for b in order] for a in (truth, *order)]
    picture = Picture(0.52 * len(names) + 2.6, 0.4 * len(names) + 1.8)
    ax = picture.subplots()
    image = ax.imshow(rows, cmap="PuOr", vmin=-1, vmax=1, aspect="auto")
    for (i, j), value in np.ndenumerate(rows):
        colour = "white" if abs(value) > 0.6 else "black"
        ax.text(j, i, _short(value), ha="center", va="center", fontsize=8, color=colour)
    ax.axhline(0.5, color="white", linewidth=4, linestyle="-")
    ax.set_xticks(range(len(names)), names, rotation=45, ha="right", rotation_mode="anchor", fontsize=9)
    ax.set_yticks(range(len(names) + 1), [label, *names], fontsize=9)
    ax.get_yticklabels()[0].set_fontweight("bold")
    ax.grid(False)
    ax.spines[:].set_visible(False)
    picture.colorbar(image, label="Spearman's ρ", shrink=0.8, pad=0.02)
    return picture


def proxy_cost(
    table: pd.DataFrame, milliseconds: Mapping[str, float], ylabel: str = "Spearman's ρ with the truth"
) -> Picture:
    """What a proxy knows over what it takes: ρ with its interval against milliseconds per architecture, on a log axis.

    `table` is `ranking.judge_all`'s: a row per proxy with spearman, spearman_low and spearman_high. `milliseconds` has
    a positive number for each. Raises `ParameterError`.
    """
    missing = [name for name in table.index if not milliseconds.get(name, 0) > 0]
    if missing:
        raise ParameterError(
            f"{missing[0]!r} needs a positive time in milliseconds, got {milliseconds.get(missing[0])}"
        )
    picture = Picture(8, 4.8)
    ax = picture.subplots()
    for name, look in styles(table.index).items():
        value, low, high = table.loc[name, ["spearman", "spearman_low", "spearman_high"]]
        bar = [[max(0.0, value - low)], [max(0.0, high - value)]]
        look = look | {"linestyle": "", "markersize": 8, "elinewidth": 1.5, "capsize": 2, "markeredgecolor": "white"}
        ax.errorbar([milliseconds[name]], [value], yerr=bar, **look)
    ax.axhline(0, color="0.5", linewidth=1, linestyle="-")
    ax.set(xscale="log", xlabel="milliseconds per architecture", ylabel=ylabel)
    ax.margins(x=0.12, y=0.1)
    x, y = [milliseconds[name] for name in table.index], table["spearman"]
    bars = [np.column_stack([x, y + t * (table[end] - y)]) for end in ENDS for t in (0, 0.25, 0.5, 0.75, 1)]
    _label(ax, table.index, x, y, np.concatenate(bars))
    return picture


def proxy_pairs(pairs: pd.DataFrame, names: int = 4) -> Picture:
    """What each pair of proxies gains over its better half, against how much both agree.

    `pairs` is `ranking.complementary`'s. Dots gain, triangles lose; the colour is the worse one's own ρ, for a proxy
    that knows nothing agrees with none and drags every pair down. The `names` pairs that gain most are named, and the
    one that loses most.
    """
    picture = Picture(8, 4.8)
    ax = picture.subplots()
    limits = {"vmin": pairs["worse"].min(), "vmax": pairs["worse"].max(), "cmap": "cividis"}
    for gains, marker, label in ((True, "o", "gains"), (False, "v", "loses")):
        some = pairs[(pairs["gain"] > 0) == gains]
        look = {"marker": marker, "s": 38, "edgecolor": "white", "linewidth": 0.5}
        dots = ax.scatter(some["between"], some["gain"], c=some["worse"], label=label, **look, **limits)
    ax.axhline(0, color="0.5", linewidth=1, linestyle="-")
    ax.set(xlabel="Spearman's ρ between both proxies", ylabel="ρ of the combination\nless ρ of the better one")
    ax.margins(x=0.12, y=0.12)
    ax.legend(loc="lower right")
    picture.colorbar(dots, label="ρ of the worse one with the truth", pad=0.02)
    ordered = pairs.dropna(subset="gain").sort_values("gain", ascending=False)
    told = ordered if len(ordered) <= names else pd.concat([ordered[:names], ordered[-1:]])
    labels = [f"{first} + {second}" for first, second in zip(told["first"], told["second"], strict=True)]
    _label(ax, labels, told["between"], told["gain"], pairs[["between", "gain"]].to_numpy())
    return picture


def proxy_mix(
    frame: pd.DataFrame,
    truth: pd.Series,
    method: str = "log_rank",
    weights: Mapping[str, float] | None = None,
    *,
    ylabel: str = "true accuracy (%)",
) -> Picture:
    """A combination beside its parts: on the left Spearman's ρ of each part and of all, on the right its scatter.

    `weights` has a weight for every proxy of `frame`; those of weight 0 are left out. The axis of ρ is the same for
    every method and weight, so that pictures can be compared. Raises as `ranking.combine`.
    """
    truth = _same_index(frame, truth)
    weights = dict.fromkeys(frame.columns, 1.0) if weights is None else weights
    combined = combine(frame, method, weights)
    parts = {f"{name} × {weights[name]:g}": spearman(frame[name], truth) for name in frame if weights[name]}
    lowest = min([0.0, *(spearman(frame[name], truth) for name in frame)])
    picture = Picture(9, max(3.2, 1.2 + 0.42 * len(parts)))
    left, right = picture.subplots(1, 2)
    _ladder(left, parts | {method: spearman(combined, truth)}, (lowest - 0.05, 1.05))
    _points(right, combined.to_numpy(), truth.to_numpy(), "rank")
    right.set(xlabel=f"rank of the {method} (1 = worst)", ylabel=ylabel)
    return picture


def _ladder(ax: Axes, values: Mapping[str, float], limits: tuple[float, float]) -> None:
    """One row per name with its ρ as a dot; the last, the combination, as a diamond with a line through all rows."""
    for i, value in enumerate(values.values()):
        last = i == len(values) - 1
        look = {"color": COLOURS[1], "marker": "D"} if last else {"color": COLOURS[0], "marker": "o"}
        ax.plot([value], [i], linestyle="", markersize=9, **look)
        ax.annotate(f"{value:+.2f}", (value, i), (0, 7), textcoords="offset points", ha="center", fontsize=9)
    ax.axvline(value, color=COLOURS[1], linewidth=1, linestyle="--", zorder=0)
    ax.set_yticks(range(len(values)), list(values))
    ax.get_yticklabels()[-1].set_fontweight("bold")
    ax.set(xlabel="Spearman's ρ with the truth", xlim=limits, ylim=(len(values) - 0.5, -0.8))


def _points(ax: Axes, scores: np.ndarray, truth: np.ndarray, x: str) -> None:
    """Dots where a score is finite; the others as crosses left of all."""
    valid = np.isfinite(scores)
    places = ranks(scores) if x == "rank" else scores
    dots = {"color": COLOURS[0], "alpha": 0.55, "markersize": 4, "markeredgewidth": 0}
    ax.plot(places[valid], truth[valid], "o", **dots)
    shown = places[valid]
    if x == "value" and len(shown) and shown.min() > 0 and shown.max() > 100 * shown.min():
        ax.set_xscale("log")
    ax.locator_params(axis="x", nbins=4) if ax.get_xscale() == "linear" else None
    if not valid.all():
        # x in parts of the axes: the edge stays the edge, whatever the scores
        crosses = {"color": COLOURS[1], "markersize": 6, "markeredgewidth": 1.5, "clip_on": False}
        ax.plot(np.full((~valid).sum(), 0.0), truth[~valid], "x", transform=ax.get_yaxis_transform(), **crosses)


def _clustered(frame: pd.DataFrame) -> list:
    """The columns in an order that puts correlated ones side by side."""
    names = list(frame.columns)
    if len(names) < 3:
        return names
    order = [ranks(frame[name]) for name in names]
    distance = np.array([[1 - np.nan_to_num(spearman(a, b)) for b in order] for a in order])
    np.fill_diagonal(distance, 0)
    tree = linkage(squareform(distance, checks=False), "average", optimal_ordering=True)
    return [names[i] for i in leaves_list(tree)]


def _short(value: float) -> str:
    """Two decimals without the leading zero, as they fit into a cell."""
    if np.isnan(value):
        return "–"
    text = f"{round(value, 2) + 0.0:.2f}"  # + 0.0: no negative zero
    return text.replace("0.", ".").replace("-", "−").replace("1.00", "1")


def _label(ax: Axes, labels: Sequence[str], x: Sequence[float], y: Sequence[float], marks: np.ndarray) -> None:
    """Write each label near its point (x, y), over no other label and no mark as far as there is room.

    `marks` (m, 2) are all points that should stay visible. A label that stands away from its point has a line to it.
    """
    figure = ax.figure
    figure.draw_without_rendering()  # the layout decides where data lie in pixels
    size, frame = 4 * figure.dpi / 72, ax.get_window_extent()
    taken = [Bbox.from_bounds(*(mark - size), 2 * size, 2 * size) for mark in ax.transData.transform(marks)]
    for text, *point in zip(labels, x, y, strict=True):
        best = None
        for place in PLACES:
            note = _note(ax, text, point, *place, line=False)
            box = note.get_window_extent()
            note.remove()
            # leaving the axes is worse than covering something
            cost = box.count_overlaps(taken) + 10 * (not _inside(box, frame))
            if best is None or cost < best[0]:
                best = (cost, place, box)
            if not cost:
                break
        _note(ax, text, point, *best[1], line=best[1][1] > 10)
        taken.append(best[2])


def _note(ax: Axes, text: str, point: Sequence[float], direction: tuple, distance: float, line: bool) -> Annotation:
    """A label so many points away from its point in a direction, with a thin line or without."""
    cos, sin = direction
    ha = "left" if cos > 0.1 else "right" if cos < -0.1 else "center"
    va = "bottom" if sin > 0.1 else "top" if sin < -0.1 else "center"
    look = {"arrowstyle": "-", "color": "0.6", "linewidth": 0.8, "shrinkA": 0, "shrinkB": 4} if line else None
    where = {"xytext": (distance * cos, distance * sin), "textcoords": "offset points", "ha": ha, "va": va}
    note = ax.annotate(text, point, fontsize=9, arrowprops=look, **where)
    note.set_in_layout(False)
    return note


def _inside(box: Bbox, frame: Bbox) -> bool:
    return frame.x0 <= box.x0 and box.x1 <= frame.x1 and frame.y0 <= box.y0 and box.y1 <= frame.y1


def _same_index(frame: pd.DataFrame, truth: pd.Series) -> pd.Series:
    """The truth in the frame's order; raises `ParameterError` where there is nothing to draw or they do not match."""
    if not len(frame) or not len(frame.columns):
        raise ParameterError(f"there is nothing to draw: {len(frame)} architectures, {len(frame.columns)} proxies")
    return aligned(frame.index, truth)
