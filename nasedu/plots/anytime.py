"""Any-time curves: how good is what a search has found, had it been stopped after so many evaluations?"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from nasedu.errors import ParameterError
from nasedu.plots.picture import Picture, styles

MARKED = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000)  # evaluations at which a line carries its marker


def anytime(
    panels: Mapping[str, Mapping[str, np.ndarray]],
    *,
    ylabel: str = "regret (percentage points)",
    quantiles: tuple[float, float] = (0.25, 0.75),
    first: int = 1,
    xlabel: str = "evaluations",
) -> Picture:
    """The median over seeds after every evaluation, in a band of two `quantiles`; evaluations on a logarithmic axis.

    `panels` maps a title to named curves (seeds, evaluations), in their own order of evaluations; a panel each, one
    line for each name. Curves are drawn from evaluation `first` on, so that the first few, which are luck, do not
    flatten the rest. Raises `ParameterError` for a curve of another shape, or quantiles that are not in order.
    """
    low, high = quantiles
    if not 0 <= low < high <= 1:
        raise ParameterError(f"a band needs two quantiles 0 <= low < high <= 1, got {low} and {high}")
    names = list(dict.fromkeys(name for curves in panels.values() for name in curves))
    looks = styles(names)
    picture = Picture(5.2 * len(panels) + 1.6, 3.7)
    axes = picture.subplots(1, len(panels), squeeze=False).flatten()
    for ax, (title, curves) in zip(axes, panels.items(), strict=True):
        for name, values in curves.items():
            _curve(ax, name, _checked(name, values), quantiles, first, looks[name])
        _dress(ax, title, xlabel)
    axes[0].set_ylabel(ylabel)
    repeated = any(len(values) > 1 for curves in panels.values() for values in curves.values())
    title = f"median, {low:.0%} to {high:.0%}" if repeated else None
    axes[-1].legend(loc="center left", bbox_to_anchor=(1, 0.5), title=title)
    return picture


def _checked(name: str, values: np.ndarray) -> np.ndarray:
    values = np.asarray(values, dtype=float)
    if values.ndim != 2 or 0 in values.shape or not np.isfinite(values).all():
        raise ParameterError(f"the curve {name!r} needs finite values (seeds, evaluations), got shape {values.shape}")
    return values


def _curve(ax: Axes, name: str, values: np.ndarray, quantiles: tuple[float, float], first: int, look: dict) -> None:
    """One band and its median: steps, for nothing is known of a search between two evaluations."""
    counts = np.arange(1, values.shape[1] + 1)
    shown = counts >= min(first, counts[-1])
    low, middle, high = np.quantile(values[:, shown], (quantiles[0], 0.5, quantiles[1]), axis=0)
    marks = [i for i, count in enumerate(counts[shown]) if count in MARKED or count == counts[-1]]
    ax.fill_between(counts[shown], low, high, step="post", color=look["color"], alpha=0.18, linewidth=0)
    ax.plot(counts[shown], middle, drawstyle="steps-post", label=name, markevery=marks, markersize=6, **look)


def _dress(ax: Axes, title: str, xlabel: str) -> None:
    ax.set_xscale("log")
    ax.set(title=title, xlabel=xlabel)
    ax.autoscale_view()
    if 0 <= ax.dataLim.y0 < 0.5 * ax.dataLim.y1:  # a regret: zero is the goal
        ax.set_ylim(bottom=-0.02 * ax.dataLim.y1)
    ax.title.set(fontsize=11)
    ax.xaxis.set_major_locator(LogLocator(10, subs=(1, 2, 5)))
    ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    ax.xaxis.set_minor_formatter(NullFormatter())
