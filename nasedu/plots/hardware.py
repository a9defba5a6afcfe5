"""Where a network's cost lies, and what a latency table is worth."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.ticker import EngFormatter

from nasedu.errors import ParameterError
from nasedu.hardware import Count
from nasedu.plots.forms import bars, scatter
from nasedu.plots.picture import THIN, Picture
from nasedu.tables.additivity import Correction

PANELS = {"macs": "MACs", "params": "parameters", "activation_bytes": "bytes of results"}  # of a layer's cost


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
    costs = pd.DataFrame([[getattr(layer, part) for part in PANELS] for layer in count.layers], columns=list(PANELS))
    shares = (100 * costs / costs.sum().clip(lower=1)).groupby(_blocks(count, depth), sort=False).sum()
    if len(shares) > top:
        kept = shares.index.isin(shares.max(axis=1).nlargest(top - 1).index)
        others = pd.DataFrame([shares[~kept].sum()], [f"{(~kept).sum()} others"])
        shares = pd.concat([shares[kept], others])
    amount = EngFormatter(places=2)
    panels = {f"{title}: {amount(costs[part].sum())}": dict(shares[part]) for part, title in PANELS.items()}
    look = {"names": "title", "xlabel": "share of the total (%)", "width": 11}
    return bars(panels, height=1.1 + 0.24 * len(shares), **look)


def _blocks(count: Count, depth: int | None) -> list[str]:
    """The block that each layer belongs to; the parts with which all names begin say nothing, and are left out."""
    names = [layer.name.split(".") for layer in count.layers]
    shared = 0
    while len({tuple(name[: shared + 1]) for name in names}) == 1 and min(map(len, names)) > shared + 1:
        shared += 1
    return [".".join(name[shared:][:depth]) for name in names]


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
        left.axline((left.dataLim.x0, left.dataLim.x0), slope=1, **THIN)
        left.set_ylabel("predicted (ms)")
        right.set_ylabel("error of the prediction (%)")
        right.axhline(0, **THIN)
    return picture
