"""Where a network's cost lies, and what a latency table is worth."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from nasedu.errors import ParameterError
from nasedu.hardware import Count
from nasedu.plots.forms import bars, scatter
from nasedu.plots.picture import THIN, Picture
from nasedu.tables.additivity import Correction

# what a panel shows, its title, and the units that its total is written in: a factor and a name each, largest first
PANELS = {
    "macs": ("MACs", ((1e9, "G"), (1e6, "M"), (1e3, "k"), (1, ""))),
    "params": ("parameters", ((1e6, "M"), (1e3, "k"), (1, ""))),
    "activation_bytes": ("activation memory", ((2**20, "MiB"), (2**10, "KiB"), (1, "bytes"))),
}


def layer_costs(count: Count, depth: int | None = 1, top: int = 30) -> Picture:
    """Every block's share of the MACs, of the parameters and of the memory of all results, in %, as the data flow.

    Args:
        count: of a network.
        depth: a block is what shares so many parts of its layers' names, after the parts that all share; None shows
            every layer.
        top: rows, at most; the cheapest become one, the last.

    Raises `ParameterError`.
    """
    if top < 2 or (depth is not None and depth < 1):
        raise ParameterError(f"layer_costs needs top of 2 or more and depth of 1 or more, got {top} and {depth}")
    shares = _largest(_shares(count, depth), top)
    titles = [f"{title}: {_amount(getattr(count, part), units)}" for part, (title, units) in PANELS.items()]
    panels = {title: {block: row[i] for block, row in shares.items()} for i, title in enumerate(titles)}
    height = 1.1 + 0.24 * len(shares)
    return bars(panels, names="title", xlabel="share of the total (%)", share="xy", width=11, height=height)


def _shares(count: Count, depth: int | None) -> dict[str, np.ndarray]:
    """Per block, in order, its share of every panel's total in % (panels,)."""
    totals = np.array([max(getattr(count, column), 1) for column in PANELS])
    shares: dict[str, np.ndarray] = {}
    for layer, name in zip(count.layers, _blocks(count, depth), strict=True):
        costs = np.array([getattr(layer, column) for column in PANELS])
        shares[name] = shares.get(name, 0) + 100 * costs / totals
    return shares


def _blocks(count: Count, depth: int | None) -> list[str]:
    """The block that each layer belongs to; the parts with which all names begin say nothing, and are left out."""
    names = [layer.name.split(".") for layer in count.layers]
    shared = 0
    while len({tuple(name[: shared + 1]) for name in names}) == 1 and min(map(len, names)) > shared + 1:
        shared += 1
    return [".".join(name[shared:][:depth]) for name in names]


def _largest(shares: Mapping[str, np.ndarray], top: int) -> dict[str, np.ndarray]:
    """At most `top` rows: those with the largest share of anything, in their order, and the sum of the others."""
    if len(shares) <= top:
        return dict(shares)
    kept = set(sorted(shares, key=lambda name: -shares[name].max())[: top - 1])
    others = [row for name, row in shares.items() if name not in kept]
    return {name: row for name, row in shares.items() if name in kept} | {f"{len(others)} others": sum(others)}


def _amount(total: int, units: tuple[tuple[float, str], ...]) -> str:
    factor, unit = next(((f, u) for f, u in units if total >= f), units[-1])
    return f"{total / factor:,.3g} {unit}".strip()


def additivity(corrections: Correction | Mapping[str, Correction]) -> Picture:
    """A row per name: the predicted over the measured latency with the diagonal, and what is left over, in percent.

    "As it is" is the table itself, "corrected" the corrected table on networks that it was not fitted on. The legend
    has the mean absolute percentage error.
    """
    named = {"": corrections} if isinstance(corrections, Correction) else dict(corrections)
    panels = {}
    for name, fitted in named.items():
        measured = np.array(fitted.measured)
        runs = {"as it is": (fitted.predicted, fitted.before), "corrected": (fitted.held_out, fitted.after)}
        told = {f"{n}: {how.mape:.1%}, R² = {how.r2:.2f}": np.array(values) for n, (values, how) in runs.items()}
        panels[name or "predicted"] = {n: (measured, values) for n, values in told.items()}
        panels[f"{name}: error".removeprefix(": ")] = {n: (measured, 100 * (v / measured - 1)) for n, v in told.items()}
    picture = scatter(panels, columns=2, share="", xlabel="measured (ms)", width=10, legend="each")
    for left, right in zip(picture.axes[::2], picture.axes[1::2], strict=True):
        low, high = left.dataLim.y0, max(left.dataLim.x1, left.dataLim.y1)
        left.plot([min(low, left.dataLim.x0), high], [min(low, left.dataLim.x0), high], **THIN)
        left.set_ylabel("predicted (ms)")
        right.set_ylabel("error of the prediction (%)")
        right.axhline(0, **THIN)
    return picture
