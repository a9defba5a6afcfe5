"""Pictures of searches with a budget: where soft networks fall, which loss meets its target, and the price it takes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from nasedu.errors import ParameterError
from nasedu.plots.picture import COLOURS, Picture, every, styles
from nasedu.tables.derive import TOLERANCE

MARKS = {
    "expected": {"marker": "o", "markerfacecolor": "none", "markeredgewidth": 1.6, "color": COLOURS[0]},
    "most probable": {"marker": "D", "color": COLOURS[1], "markeredgecolor": "black"},
    "derived": {"marker": "x", "markeredgewidth": 2.2, "color": COLOURS[2]},
}


def soft_costs(
    draws: Mapping[str, Sequence[float]], expected: Mapping[str, float], derived: Mapping[str, float], target: float
) -> Picture:
    """Histograms of what networks cost that are drawn from soft paths (by name), all with the same axes.

    `expected` and `derived` are the mean cost of each path, and the cost of its most probable network; ms.
    """
    picture = Picture(4.6 * len(draws) + 1.4, 3.3)
    axes = picture.subplots(1, len(draws), sharex=True, sharey=True, squeeze=False).flatten()
    edges = np.linspace(min(map(min, draws.values())), max(map(max, draws.values())), 41)
    for ax, (name, costs) in zip(axes, draws.items(), strict=True):
        ax.hist(costs, edges, color="0.75", label="drawn networks", weights=[100 / len(costs)] * len(costs))
        ax.axvline(target, color="0.2", linestyle=":", label="target")
        ax.axvline(expected[name], color=COLOURS[0], label="expected cost")
        ax.axvline(derived[name], color=COLOURS[1], linestyle="--", linewidth=2.2, label="most probable network")
        ax.set(xlabel="latency (ms)", title=name)
        ax.title.set(fontsize=11)
    axes[0].set_ylabel("share of networks (%)")
    axes[-1].legend(loc="center left", bbox_to_anchor=(1, 0.5))
    return picture


def loss_shapes(
    families: Mapping[str, Mapping[str, tuple[Sequence[float], Sequence[float]]]], r: Sequence[float]
) -> Picture:
    """A column per family of losses: above their values over r = cost / target, below their slopes.

    A family maps names to (values, slopes), both (n,) like `r`.
    """
    picture = Picture(2.75 * len(families), 5.4)
    axes = picture.subplots(2, len(families), sharex=True, squeeze=False)
    for (top, bottom), (family, shapes) in zip(axes.T, families.items(), strict=True):
        for (name, look), (value, slope) in zip(styles(shapes).items(), shapes.values(), strict=True):
            look = look | {"markevery": every(len(r), 6), "markersize": 5}
            top.plot(r, value, label=name, **look)
            bottom.plot(r, slope, **look)
        for ax in (top, bottom):
            ax.axvline(1, color="0.3", linestyle=":", linewidth=1.2)
            ax.tick_params(labelsize=9)
        top.set_title(family, fontsize=11)
        top.legend(fontsize=8, loc="best")
        bottom.set_xlabel("cost / target", fontsize=10)
    axes[0, 0].set_ylabel("loss")
    axes[1, 0].set_ylabel("slope")
    return picture


def budget_hits(
    frames: Mapping[str, pd.DataFrame], tolerance: float = TOLERANCE, lost: str = "objective lost (% of range)"
) -> Picture:
    """A row of panels per target by name: left costs in % of it, right what was given up; a row in them per loss.

    A frame has one row per run with the columns loss, expected, most probable and derived (costs as multiples of the
    target) and lost (what the derived network lacks; `lost` names its axis). A marker per run. Raises `ParameterError`.
    """
    names = list(dict.fromkeys(name for frame in frames.values() for name in frame["loss"]))
    if not names:
        raise ParameterError("there is nothing to draw: no run of any loss")
    picture = Picture(11, 0.9 + (0.9 + 0.27 * len(names)) * len(frames))
    rows = picture.subplots(len(frames), 2, sharey=True, sharex="col", squeeze=False, width_ratios=(2, 1))
    for (left, right), (title, frame) in zip(rows, frames.items(), strict=True):
        _hits(left, frame, names, tolerance)
        places = [names.index(name) for name in frame["loss"]]
        right.plot(frame["lost"], places, linestyle="", markersize=8, **MARKS["derived"])
        left.set_title(title, fontsize=11, loc="left")
        left.set_yticks(range(len(names)), names)
        left.set_ylim(len(names) - 0.4, -0.6)
    rows[-1, 0].set_xlabel("cost (% of the target)")
    rows[-1, 1].set_xlabel(lost)
    handles, labels = rows[0, 0].get_legend_handles_labels()
    picture.legend(handles, labels, loc="outside upper center", ncols=4, fontsize=9)
    return picture


def _hits(ax: Axes, frame: pd.DataFrame, names: Sequence[str], tolerance: float) -> None:
    """Expected, most probable and derived costs of every run, a little apart from each other."""
    ax.axvspan(100 * (1 - tolerance), 100 * (1 + tolerance), color="0.88", label=f"target ± {tolerance:.0%}", zorder=0)
    for shift, (column, mark) in zip((-0.22, 0, 0.22), MARKS.items(), strict=True):
        places = [names.index(name) + shift for name in frame["loss"]]
        ax.plot(100 * frame[column], places, linestyle="", markersize=7, label=column, **mark)


def price_of_budget(
    steps: Sequence[int],
    costs: Mapping[str, Sequence[float]],
    prices: Mapping[str, Sequence[float]],
    xlabel: str = "step",
) -> Picture:
    """Above costs in % of their target, below the multipliers that they moved, both over the steps and by name."""
    picture = Picture(8, 4.6)
    top, bottom = picture.subplots(2, 1, sharex=True)
    for name, look in styles(costs).items():
        look = look | {"markevery": every(len(steps)), "markersize": 5}
        top.plot(steps, costs[name], label=name, **look)
        bottom.plot(steps, prices[name], **look)
    top.axhspan(100 * (1 - TOLERANCE), 100 * (1 + TOLERANCE), color="0.88", zorder=0)
    top.set_ylabel("cost (% of target)")
    bottom.set(ylabel="multiplier", xlabel=xlabel)
    top.legend(loc="center left", bbox_to_anchor=(1, 0.5))
    return picture


def reach(bounds: tuple[float, float], target: float, costs: Mapping[str, float], unit: str = "ms") -> Picture:
    """A bar from the cheapest to the dearest network, the target in it, and named costs (`MARKS`) as markers."""
    picture = Picture(8.5, 1.7)
    ax = picture.subplots()
    low, high = bounds
    ax.barh([0], [high - low], left=low, height=0.5, color="0.93", edgecolor="0.5", label="reachable", zorder=0)
    ax.axvspan(target * (1 - TOLERANCE), target * (1 + TOLERANCE), color="0.75", label=f"target ± {TOLERANCE:.0%}")
    for shift, (name, cost) in zip((0.13, 0, -0.13), costs.items(), strict=False):
        ax.plot([cost], [shift], linestyle="", markersize=11, label=f"{name}, {cost:.2f}", **MARKS[name])
    ax.set(xlabel=unit, yticks=[], ylim=(-0.45, 0.45), xlim=(low - 0.04 * (high - low), high + 0.04 * (high - low)))
    ax.grid(False)
    ax.legend(loc="center left", bbox_to_anchor=(1, 0.5), fontsize=9)
    return picture
