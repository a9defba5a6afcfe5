"""Pictures of what was timed: bars side by side, and runs in their order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from nasedu.errors import ParameterError
from nasedu.plots.picture import COLOURS, Picture

PALE = "#c6dbef"


def bars(panels: Mapping[str, Mapping[str, float]], *, width: float = 3.2) -> Picture:
    """Horizontal bars that share their names: a panel for every quantity, whose name says the unit.

    `panels[quantity]` maps a name to its value, the first name on top. Raises `ParameterError` where names differ.
    """
    names = list(next(iter(panels.values()), ()))
    if not names or any(list(values) != names for values in panels.values()):
        raise ParameterError("bars need at least one quantity, and the same names in the same order for all")
    picture = Picture(1.2 + width * len(panels), 0.9 + 0.42 * len(names))
    axes = picture.subplots(1, len(panels), sharey=True, squeeze=False).flatten()
    looks = zip(COLOURS, ("", "///", "...", "xx", "\\\\", "++", "oo", ""), strict=True)
    for ax, (quantity, values), (colour, hatch) in zip(axes, panels.items(), looks, strict=False):
        found = list(values.values())
        drawn = ax.barh(names, found, 0.62, color=colour, hatch=hatch, edgecolor="white")
        ax.bar_label(drawn, [f" {v:.3g}" if v < 1000 else f" {v:,.0f}" for v in found], fontsize=9)
        ax.set_xlim(0, 1.22 * max(found) or 1)
        ax.set_xlabel(quantity)
        ax.grid(False, axis="y")
    axes[0].invert_yaxis()
    return picture


def runs(times: Sequence[float], warmup: int, *, unit: str = "ms") -> Picture:
    """Every run's duration in order: `warmup` runs that do not count as hollow squares, then those that do.

    The line is the median of what counts, the band its quartiles. The axis is logarithmic. Raises `ParameterError` for
    fewer than 2 runs that count.
    """
    times = np.asarray(times, dtype=float)
    if len(times) < warmup + 2:
        raise ParameterError(f"2 runs or more must count, got {len(times)} runs with {warmup} of warm-up")
    low, median, high = np.quantile(times[warmup:], (0.25, 0.5, 0.75))
    picture = Picture(8, 3.2)
    ax = picture.subplots()
    number = np.arange(1, len(times) + 1)
    cold = {"marker": "s", "markerfacecolor": "white", "markersize": 7, "color": COLOURS[1]}
    ax.plot(number[:warmup], times[:warmup], linestyle="", label="warm-up, not counted", **cold)
    ax.plot(number[warmup:], times[warmup:], "o", markersize=5, color=COLOURS[0], label="counted")
    ax.axhspan(low, high, color=PALE, zorder=0, label=f"quartiles: {low:.3g} to {high:.3g}")
    ax.axhline(median, color="black", linewidth=1.3, linestyle="--", label=f"median: {median:.3g}")
    ax.set(xlabel="run", ylabel=unit, yscale="log")
    for formatter in (ax.yaxis.set_major_formatter, ax.yaxis.set_minor_formatter):
        formatter("{x:g}")
    ax.tick_params(which="minor", labelsize=8)
    ax.legend(loc="center left", bbox_to_anchor=(1, 0.5))
    return picture
