"""Pictures of proxies: each against the truth, against one another, against their time, and in pairs."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from scipy.cluster.hierarchy import leaves_list, linkage
from scipy.spatial.distance import squareform

from nasedu.errors import ParameterError
from nasedu.plots.forms import dots, heat, scatter
from nasedu.plots.labels import label
from nasedu.plots.picture import Picture
from nasedu.ranking import combine, ranks, spearman
from nasedu.ranking.judge import aligned


def proxy_scatter(frame: pd.DataFrame, truth: pd.Series, *, ylabel: str = "true accuracy (%)", **dress) -> Picture:
    """The truth over the rank of every proxy's score, a panel each, with Spearman's ρ; failures stand at the left.

    Args:
        frame: a row per architecture, a column per proxy.
        truth: with the same index.
        ylabel: what the truth is.
        dress: fields of `Dress`.

    Raises `ParameterError`.
    """
    truth = _same_index(frame, truth)
    panels = {}
    for name in frame:
        scores = frame[name].to_numpy(float)
        valid = np.isfinite(scores)
        failed = f", {(~valid).sum()} failed" * (not valid.all())
        points = {"scored": (ranks(scores)[valid], truth[valid]), "failed": (np.zeros((~valid).sum()), truth[~valid])}
        panels[f"{name}\nρ = {spearman(scores, truth):+.2f}{failed}"] = points
    look = {"xlabel": "rank of the score (1 = worst)", "width": 12, "height": 2.7, "share": "xy", "legend": "none"}
    return scatter(panels, ylabel=ylabel, **look | dress)


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


def proxy_pairs(pairs: pd.DataFrame, names: int = 4) -> Picture:
    """What each pair of proxies gains over its better half, against how much both agree, by the worse one's own ρ.

    A proxy that knows nothing agrees with none and drags every pair down. Some pairs that gain most are named.

    Args:
        pairs: `ranking.complementary`'s.
        names: how many are named.
    """
    pairs = pairs.dropna(subset="gain").sort_values("gain", ascending=False)
    thirds = pairs["worse"].rank(pct=True).mul(3).sub(1e-9).astype(int)
    points = {}
    for _, some in pairs.groupby(thirds):
        points[f"weaker: ρ from {some['worse'].min():.2f} to {some['worse'].max():.2f}"] = some["between"], some["gain"]
    look = {"xlabel": "Spearman's ρ between both proxies", "ylabel": "ρ of the combination\nless ρ of the better one"}
    picture = scatter(points, height=4.8, **look).guide(y=0)
    label(
        picture.axes[0], {f"{row.first} + {row.second}": (row.between, row.gain) for row in pairs[:names].itertuples()}
    )
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
