"""Pictures of proxies: against the truth, against one another, and combined."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from scipy.cluster.hierarchy import leaves_list, linkage
from scipy.spatial.distance import squareform

from nasedu.errors import ParameterError
from nasedu.plots.forms import dots, heat
from nasedu.plots.picture import Picture
from nasedu.ranking import combine, ranks, spearman
from nasedu.ranking.judge import aligned


def proxy_heatmap(frame: pd.DataFrame, truth: pd.Series, label: str = "truth") -> Picture:
    """Spearman's ρ between all proxies, in the order of a clustering, so that those of one kind stand together.

    Purple is positive, orange negative, every value is written; empty where a proxy has no order.

    Args:
        frame: a row per architecture, a column per proxy.
        truth: with the same index; the first row is what each has in common with it.
        label: what the truth is called.

    Raises `ParameterError`.
    """
    truth = _same_index(frame, truth)
    names = _clustered(frame)
    order = {name: ranks(frame[name]) for name in names}
    table = {label: truth} | order
    rows = pd.DataFrame([[spearman(a, b) for b in order.values()] for a in table.values()], list(table), names)
    size = {"width": 0.52 * len(names) + 2.6, "height": 0.4 * len(names) + 1.8}
    picture = heat(rows, limits=(-1, 1), numbers="+.2f", colours="PuOr", bar="Spearman's ρ", **size)
    picture.axes[0].axhline(0.5, color="white", linewidth=4, linestyle="-")
    return picture


def proxy_mix(
    frame: pd.DataFrame, truth: pd.Series, method: str = "log_rank", weights: Mapping[str, float] | None = None, **dress
) -> Picture:
    """A combination beside its parts: Spearman's ρ of each part, and of all of them, which is the line.

    The axis of ρ is the same for every method and weight, so that pictures can be compared.

    Args:
        frame: a row per architecture, a column per proxy.
        truth: with the same index.
        method: of combining.
        weights: for every proxy of `frame`; those of weight 0 are left out, and 1 each where None.
        dress: fields of `Dress`.

    Raises as `ranking.combine`.
    """
    truth = _same_index(frame, truth)
    weights = dict.fromkeys(frame.columns, 1.0) if weights is None else weights
    whole = spearman(combine(frame, method, weights), truth)
    parts = {f"{name} × {weights[name]:g}": spearman(frame[name], truth) for name in frame if weights[name]}
    lowest = min([0.0, *(spearman(frame[name], truth) for name in frame)])
    look = {"xlabel": "Spearman's ρ with the truth", "xlim": (lowest - 0.05, 1.05)}
    return dots(parts | {method: whole}, **look | dress).guide(x=whole, linestyle="--")


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


def _same_index(frame: pd.DataFrame, truth: pd.Series) -> pd.Series:
    """The truth in the frame's order; raises `ParameterError` where there is nothing to draw or they do not match."""
    if not len(frame) or not len(frame.columns):
        raise ParameterError(f"there is nothing to draw: {len(frame)} architectures, {len(frame.columns)} proxies")
    return aligned(frame.index, truth)
