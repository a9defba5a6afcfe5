"""Pictures of what a latency table is worth: predicted against measured networks, before and after its correction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes

from nasedu.plots.picture import Picture, styles
from nasedu.tables.additivity import Additivity, Correction


def additivity(corrections: Correction | Mapping[str, Correction]) -> Picture:
    """A row per name: the predicted over the measured latency with the diagonal, and what is left over, in percent.

    Hollow points are the table as it is, solid ones the corrected table on networks that it was not fitted on. The
    legend has the mean absolute relative error.
    """
    named = {"": corrections} if isinstance(corrections, Correction) else dict(corrections)
    picture = Picture(9, 3.7 * len(named))
    axes = picture.subplots(len(named), 2, squeeze=False, width_ratios=(1, 1.25))
    for (scatter, rest), (name, fitted) in zip(axes, named.items(), strict=True):
        measured = np.array(fitted.measured)
        runs = {"before": (fitted.predicted, fitted.before), "after": (fitted.held_out, fitted.after)}
        _scatter(scatter, measured, runs)
        _left_over(rest, measured, runs)
        scatter.set(title=name, xlabel="measured (ms)", ylabel="predicted (ms)")
        rest.set(xlabel="measured (ms)", ylabel="error of the prediction (%)")
        rest.legend(loc="center left", bbox_to_anchor=(1, 0.5), title="mean absolute\npercentage error")
    return picture


def _scatter(ax: Axes, measured: np.ndarray, runs: Mapping[str, tuple[Sequence[float], Additivity]]) -> None:
    for name, (predicted, _) in runs.items():
        ax.plot(measured, predicted, **_look(name))
    ends = [min(ax.get_xlim()[0], ax.get_ylim()[0]), max(ax.get_xlim()[1], ax.get_ylim()[1])]
    ax.plot(ends, ends, color="0.5", linewidth=1, linestyle="-", zorder=1)
    ax.set(xlim=ends, ylim=ends, aspect="equal")


def _left_over(ax: Axes, measured: np.ndarray, runs: Mapping[str, tuple[Sequence[float], Additivity]]) -> None:
    for name, (predicted, how_well) in runs.items():
        error = 100 * (np.array(predicted) - measured) / measured
        ax.plot(measured, error, **_look(name), label=f"{name}: {how_well.mape:.1%}\nR² = {how_well.r2:.2f}")
    ax.axhline(0, color="0.5", linewidth=1, linestyle="-", zorder=1)


def _look(name: str) -> dict:
    look = styles(["before", "after"])[name] | {"linestyle": "", "markersize": 6}
    return look | ({"markerfacecolor": "white"} if name == "before" else {})
