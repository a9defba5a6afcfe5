"""Pictures of proxies: each against the truth, against one another, against their time, and in pairs."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from scipy.cluster.hierarchy import leaves_list, linkage
from scipy.spatial.distance import squareform

from nasedu.errors import ParameterError
from nasedu.plots.forms import Interval, dots, heat, scatter
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


def proxy_cost(
    table: pd.DataFrame, milliseconds: Mapping[str, float], ylabel: str = "Spearman's ρ with the truth"
) -> Picture:
    """What a proxy knows over what it takes: ρ with its interval against milliseconds per architecture, on a log axis.

    Args:
        table: `ranking.judge_all`'s, a row per proxy with spearman, spearman_low and spearman_high.
        milliseconds: a positive number for each.
        ylabel: what ρ is.

    Raises `ParameterError`.
    """
    points = {}
    for name, row in table.iterrows():
        if not milliseconds.get(name, 0) > 0:
            raise ParameterError(f"{name!r} needs a positive time in milliseconds, got {milliseconds.get(name)}")
        points[name] = milliseconds[name], Interval(row.spearman, row.spearman_low, row.spearman_high)
    look = {"xlabel": "milliseconds per architecture", "ylabel": ylabel, "log": "x", "height": 4.8}
    return scatter(points, named=True, **look).guide(y=0, linestyle="-")


def proxy_pairs(pairs: pd.DataFrame, names: int = 4) -> Picture:
    """What each pair of proxies gains over its better half, against how much both agree.

    Colour and marker tell the worse one's own ρ, for a proxy that knows nothing agrees with none and drags every pair
    down. The pairs that gain most are named, and the one that loses most.

    Args:
        pairs: `ranking.complementary`'s.
        names: how many of the best are named.
    """
    pairs = pairs.dropna(subset="gain").sort_values("gain", ascending=False)
    thirds = pd.cut(pairs["worse"], np.unique(np.quantile(pairs["worse"], (0, 1 / 3, 2 / 3, 1))), include_lowest=True)
    groups = {f"{part.left:.2f} to {part.right:.2f}": some for part, some in pairs.groupby(thirds, observed=True)}
    look = {"xlabel": "Spearman's ρ between both proxies", "ylabel": "ρ of the combination\nless ρ of the better one"}
    points = {f"weaker one's ρ {part}": (some["between"], some["gain"]) for part, some in groups.items()}
    picture = scatter(points, height=4.8, **look).guide(y=0, linestyle="-")
    told = pairs if len(pairs) <= names else pd.concat([pairs[:names], pairs[-1:]])
    picture.axes[0].margins(0.12)
    label(picture.axes[0], {f"{row.first} + {row.second}": (row.between, row.gain) for row in told.itertuples()})
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
