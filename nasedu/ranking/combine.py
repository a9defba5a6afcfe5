"""Several scores made one: ranks, votes and z-scores over a pool of architectures.

A combined score means something only inside the pool it was computed from: with another pool the ranks are others. So
`combine` keeps nothing, and a search whose pool grows calls it again on the whole pool.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import scipy

from nasedu.errors import ParameterError, check_name, check_number
from nasedu.registry import Registry

FORMS = ("log", "sqrt")
# a proxy that is a combination: its parts and how they are combined (TE-NAS, ICLR 2021; AZ-NAS, CVPR 2024)
COMPOSITES = {
    "te_nas": (("ntk", "linear_regions"), "average_rank"),
    "az_nas": (("az_expressivity", "az_progressivity", "az_trainability", "macs"), "log_rank"),
}


def ranks(scores: Sequence[float]) -> np.ndarray:
    """Ranks (n,) of `scores` (n,): 1 is the worst, n the best; equal scores get the mean of their ranks.

    A score of nan or -inf is a failure: all failures are one tie below everything else. Raises `ParameterError` for
    +inf, which is an overflow that would rank best, and for anything but a list of numbers.
    """
    return scipy.stats.rankdata(_checked("scores", scores))


def combine(
    frame: pd.DataFrame | Mapping[str, Sequence[float]], method: str = "log_rank", weights: Mapping | None = None
) -> pd.Series:
    """One score for every architecture; higher is better.

    frame: n architectures, one column per proxy.
    method: one of those below.
    weights: of every column, by name; None weighs all alike.

    With r the rank in a column (1 worst, n best, ties averaged, failures last) and w the column's weight:

    - "log_rank": Σ w ln(r/n), at most 0. It falls steeply towards low ranks, so an architecture must be good in every
      column. This is AZ-NAS's non-linear rank sum as well (Lee and Ham, CVPR 2024).
    - "average_rank": Σ w r / Σ w, the plain mean, as in TE-NAS.
    - "min_rank": n · min (r/n)^w, the worst rank; a heavier column binds sooner, one of weight 0 never.
    - "vote": how many of the n - 1 others it beats, an undecided pair counting half (Copeland's method). In a pair each
      column gives its weight to the better one, as the vote of Abdelfattah et al. (ICLR 2021) does. Majorities
      may run in a circle; then their members tie.
    - "z_log": Σ w z, the z-scores over the pool of each column's logarithm (`signed_log`). It uses distances, not
      ranks, so it depends on the unit in which a proxy is written (SynFlow or its logarithm), and one wild
      value moves all. A failure in any column is -inf.

    With ranks, a failure has the lowest rank of its column and may still do well in others. Raises `UnknownName` for
    a method or weight that is none, `ParameterError` for a frame without rows or columns, a column in which everything
    failed, or weights that are negative, missing or all 0.
    """
    by = METHODS[method]
    frame = pd.DataFrame(frame)
    scores, weight = _columns(frame, weights)
    return pd.Series(by(scores, weight), index=frame.index, name=method)


def incorporated(
    zen: Sequence[float],
    entropy: Sequence[float],
    form: str = "log",
    weights: tuple[float, float] = (0.9, 0.1),
    *,
    ratio: Sequence[float] | None = None,
    limit: float = 0.5,
) -> np.ndarray | pd.Series:
    """Incorporated-NAS: w_z · Zen + w_e · φ(H), φ = ln ("log") or √ ("sqrt"), H DeepMAD's entropy; higher is better.

    zen: the Zen-scores (n,); the result is a Series where they are one.
    entropy: H (n,).
    form: "log" or "sqrt".
    weights: (w_z, w_e), by default those of the published ImageNet script; (0.5, 0.01) is in one for CIFAR.
    ratio: DeepMAD's depth over geometric-mean width (n,), the worst of the stages.
    limit: where `ratio` is above it, the architecture is a failure, -inf, as it is where a score failed or φ(H) does
        not exist.

    On the published networks the limit decides more than the entropy: 0.1 ln H varies less than Zen's noise.

    Source: Nguyen and Han, Electronics 13(16):3325, 2024; the limit is from DeepMAD (Shen et al., CVPR 2023). Raises
    `UnknownName` for a form, `ParameterError` for lengths, indices or weights that do not fit.
    """
    check_name("form", form, FORMS)
    given = [zen, entropy] if ratio is None else [zen, entropy, ratio]
    index = _one_index(given)
    if len(weights) != 2 or not np.isfinite(weights).all() or min(weights) < 0 or not max(weights) > 0:
        raise ParameterError(f"the weights must be two numbers of 0 or more, one of them positive, got {weights}")
    zen, entropy = _checked("zen", zen), _checked("entropy", entropy)
    exists = np.isfinite(zen) & np.isfinite(entropy) & (entropy > 0 if form == "log" else entropy >= 0)
    if ratio is not None:
        exists &= np.asarray(ratio, float) <= limit  # nan is not
    phi = np.log if form == "log" else np.sqrt
    total = np.full(len(zen), -np.inf)
    total[exists] = weights[0] * zen[exists] + weights[1] * phi(entropy[exists])
    return total if index is None else pd.Series(total, index=index, name=f"incorporated_{form}")


def signed_log(scores: Sequence[float]) -> np.ndarray:
    """A logarithm (n,) for scores of any sign, rising with them; failures are -inf.

    Scores of one sign: sign · ln|x|, so -1e8 lies as far from -1e4 as 1e8 from 1e4; a zero counts as half the smallest
    magnitude. Scores of both signs: sign · ln(1 + |x| / m), m the median magnitude, which is linear around zero. Either
    way z-scores of it do not depend on a positive factor of the scores.
    """
    scores = _checked("scores", scores)
    result, valid = np.full(len(scores), -np.inf), np.isfinite(scores)
    values = scores[valid]
    size, sign = np.abs(values), np.sign(values)
    if not size.any():
        result[valid] = 0.0
    elif sign.min() * sign.max() < 0:
        result[valid] = sign * np.log1p(size / np.median(size[size > 0]))
    else:
        half = size[size > 0].min() / 2
        result[valid] = np.sign(sign.sum()) * np.log(np.where(size > 0, size, half))
    return result


def _log_rank(scores: np.ndarray, weights: np.ndarray) -> np.ndarray:
    return np.log(scipy.stats.rankdata(scores, axis=0) / len(scores)) @ weights


def _average_rank(scores: np.ndarray, weights: np.ndarray) -> np.ndarray:
    return scipy.stats.rankdata(scores, axis=0) @ weights / weights.sum()


def _min_rank(scores: np.ndarray, weights: np.ndarray) -> np.ndarray:
    n = len(scores)
    return n * ((scipy.stats.rankdata(scores, axis=0) / n) ** weights).min(axis=1)


def _vote(scores: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Pairs won (n,), some rows at a time: all n x n margins of a large pool do not fit in memory."""
    order = scipy.stats.rankdata(scores, axis=0).astype(np.float32)  # -inf less -inf would be nan
    won, even = np.empty(len(order)), 1e-9 * weights.sum()
    for rows in np.array_split(np.arange(len(order)), max(1, len(order) ** 2 // 4_000_000)):
        margin = np.zeros((len(rows), len(order)))
        for column, weight in zip(order.T, weights, strict=True):
            margin += weight * np.sign(column[rows, None] - column)
        # the pair with itself counts half, and is taken off again
        won[rows] = (margin > even).sum(1) + 0.5 * (np.abs(margin) <= even).sum(1) - 0.5
    return won


def _z_log(scores: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Weighted sum of z-scores (n,) over the architectures that did not fail; a column without spread adds nothing."""
    total = np.zeros(len(scores))
    for column, weight in zip(scores.T, weights, strict=True):
        logs = signed_log(column)
        valid = np.isfinite(logs)
        spread = logs[valid].std()
        # equal values may still differ by rounding
        z = (logs - logs[valid].mean()) / spread if np.ptp(logs[valid]) > 1e-12 else np.where(valid, 0.0, -np.inf)
        total += weight * z
    return total


METHODS = Registry(
    "combination",
    {"log_rank": _log_rank, "average_rank": _average_rank, "min_rank": _min_rank, "vote": _vote, "z_log": _z_log},
)


def _checked(name: str, scores: Sequence[float]) -> np.ndarray:
    """Scores as float64 (n,), failures as -inf; raises `ParameterError`."""
    try:
        scores = np.asarray(scores, float)
    except (TypeError, ValueError):
        raise ParameterError(f"{name!r} must hold numbers, one for each architecture") from None
    if scores.ndim != 1 or not len(scores):
        raise ParameterError(f"{name!r} must be a list of one or more numbers, got the shape {scores.shape}")
    if np.isposinf(scores).any():
        raise ParameterError(
            f"{name!r} has {int(np.isposinf(scores).sum())} scores of +inf, an overflow that would rank best: "
            "mark failures by -inf"
        )
    return np.where(np.isnan(scores), -np.inf, scores)


def _columns(frame: pd.DataFrame, weights: Mapping | None) -> tuple[np.ndarray, np.ndarray]:
    """Scores (n, k), failures as -inf, and weights (k,) of the columns that weigh anything."""
    if not len(frame) or not len(frame.columns):
        raise ParameterError(f"there is nothing to combine: {len(frame)} architectures, {len(frame.columns)} proxies")
    if not frame.columns.is_unique:
        raise ParameterError(f"column {frame.columns[frame.columns.duplicated()][0]!r} is there more than once")
    weight = _weights(list(frame.columns), weights)
    kept = [name for name in frame.columns if weight[name]]
    scores = [_checked(name, frame[name]) for name in kept]
    for name, column in zip(kept, scores, strict=True):
        if not np.isfinite(column).any():
            raise ParameterError(f"{name!r} failed on all {len(frame)} architectures: leave it out")
    return np.stack(scores, axis=1), np.array([weight[name] for name in kept])


def _weights(names: list[str], weights: Mapping | None) -> dict[str, float]:
    if weights is None:
        return dict.fromkeys(names, 1.0)
    for name, weight in weights.items():
        check_name("proxy in weights", name, names)
        check_number(f"the weight of {name!r}", weight)
    missing = [name for name in names if name not in weights]
    if missing:
        raise ParameterError(f"weights name no weight for {missing[0]!r}: give every column one, 0 to leave it out")
    if not any(weights.values()):
        raise ParameterError("all weights are 0: at least one proxy must count")
    return {name: float(weights[name]) for name in names}


def _one_index(given: Sequence) -> pd.Index | None:
    """The index that the Series among `given` share, None where there is none; lengths must agree."""
    lengths = {np.shape(part) for part in given}
    if len(lengths) > 1:
        raise ParameterError(f"zen, entropy and ratio must be of the same length, got {sorted(lengths)}")
    indices = [part.index for part in given if isinstance(part, pd.Series)]
    if any(not index.equals(indices[0]) for index in indices):
        raise ParameterError("zen, entropy and ratio must have the same index, in the same order")
    return indices[0] if indices else None
