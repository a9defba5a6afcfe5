"""Rank correlation of a score with the truth, with an interval: is this order better than a random one?

The coefficients are SciPy's. A correlation without n, ties and failures says little, so the result
carries all of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy

from nasedu import randomness
from nasedu.errors import ParameterError, check_name, check_whole

KINDS = ("kendall", "spearman", "pearson")
FAILURES = ("last", "drop")
SYMBOLS = {"kendall": "τ", "spearman": "ρ", "pearson": "r"}


@dataclass(frozen=True)
class Correlation:
    """A rank correlation: positive when a higher score means a higher truth.

    `low` to `high` is its bootstrap interval at `confidence`. Of `n` architectures, `ties` pairs have equal scores,
    equal truths or both, and `failures` had no finite score. All three numbers are nan where one side has no order.
    """

    kind: str
    value: float
    low: float
    high: float
    n: int
    ties: int
    failures: int
    confidence: float = 0.95

    def __str__(self) -> str:
        interval = f"[{self.low:+.2f}, {self.high:+.2f}] at {self.confidence:.0%}"
        return f"{SYMBOLS[self.kind]} = {self.value:+.2f} {interval}, n = {self.n}, {self.ties} tied pairs"


def correlation(
    scores: Sequence[float],
    truth: Sequence[float],
    kind: str = "kendall",
    *,
    failures: str = "last",
    resamples: int = 1000,
    confidence: float = 0.95,
    seed: int = 0,
) -> Correlation:
    """Correlation of `scores` with `truth`, and a percentile bootstrap interval over architectures.

    scores: (n,).
    truth: (n,), in the same order.
    kind: "kendall" or "spearman", of ranks, or "pearson", of values.
    failures: "last" or "drop", see below.
    resamples: how many the interval is read off.
    confidence: of the interval, 0 to 1.
    seed: of the resamples; the same ones for all scores of n architectures, so that scores can be compared in pairs.

    "kendall" is tau-b, which takes tied pairs out of what could be reached; "spearman" gives ties their mean rank. A
    score that is nan or infinitely low is a failure: "last" ranks all failures as one tie below everything, "drop"
    leaves them out; among values no place is the last, so "pearson" refuses them. The interval tells how the value
    would change with other architectures of the same kind; it knows nothing of another seed of the training. Raises
    `UnknownName`, `ParameterError`.
    """
    check_name("rank correlation", kind, KINDS)
    check_name("treatment of failures", failures, FAILURES)
    scores, truth = np.asarray(scores, float), np.asarray(truth, float)
    _check(scores, truth, confidence)
    failed = np.isnan(scores) | np.isneginf(scores)
    scores = np.where(failed, -np.inf, scores)
    if failures == "drop":
        scores, truth = scores[~failed], truth[~failed]
    if kind == "pearson" and not np.isfinite(scores).all():
        raise ParameterError("a correlation of values needs finite ones: leave failures out with failures='drop'")
    # ranks order as the scores do, and infinities are gone
    ranks, true_ranks = (scores, truth) if kind == "pearson" else map(scipy.stats.rankdata, (scores, truth))
    value = coefficient(kind, ranks, true_ranks)
    low, high = interval(resampled(kind, ranks, true_ranks, pools(len(ranks), resamples, seed)), confidence)
    return Correlation(kind, value, low, high, len(ranks), _ties(ranks, true_ranks), int(failed.sum()), confidence)


def _check(scores: np.ndarray, truth: np.ndarray, confidence: float) -> None:
    if scores.ndim != 1 or scores.shape != truth.shape or len(scores) < 2:
        raise ParameterError(
            f"a rank correlation needs two lists of the same length, 2 or more, got {scores.shape} and {truth.shape}"
        )
    check_finite(truth)
    if not 0 < confidence < 1:
        raise ParameterError(f"confidence must lie in (0, 1), got {confidence}")


def check_finite(truth: np.ndarray) -> None:
    """Raise `ParameterError` unless every value (n,) is finite."""
    if not np.isfinite(truth).all():
        raise ParameterError(f"the truth must be finite, {int((~np.isfinite(truth)).sum())} values are not")


def coefficient(kind: str, a: np.ndarray, b: np.ndarray) -> float:
    """The coefficient; nan, without a warning, where one side has no order.

    kind: one of `KINDS`.
    a: ranks (n,), or for "pearson" values.
    b: likewise.
    """
    if len(a) < 2 or np.ptp(a) == 0 or np.ptp(b) == 0:
        return float("nan")
    functions = {"kendall": scipy.stats.kendalltau, "spearman": scipy.stats.spearmanr, "pearson": scipy.stats.pearsonr}
    return float(functions[kind](a, b).statistic)


def concordance(scores: Sequence[float], truth: Sequence[float]) -> float:
    """The share of pairs that both order alike (RD-NAS's concordant pair ratio); a pair that ties in either does not.

    Both are (n,), in the same order; failed scores (nan, -inf) are one tie below all. Raises `ParameterError`.
    """
    a, b = np.asarray(scores, float), np.asarray(truth, float)
    _check(a, b, 0.5)
    a, n = np.where(np.isnan(a), -np.inf, a), len(a)
    alike = 0
    for i in range(n - 1):
        above, below = (a[i] > a[i + 1 :]) & (b[i] > b[i + 1 :]), (a[i] < a[i + 1 :]) & (b[i] < b[i + 1 :])
        alike += int((above | below).sum())
    return alike / (n * (n - 1) / 2)


def partial(scores: Sequence[float], truth: Sequence[float], given: Sequence[float], kind: str = "kendall") -> float:
    """How far `scores` know the truth beyond what `given` knows: the partial correlation (Kendall 1942).

    (c_st - c_sg c_tg) / sqrt((1 - c_sg^2) (1 - c_tg^2)); nan where one of them has no order, or the scores or the truth
    order as `given` does. Kendall's is small, but not 0, for a score that knows no more than `given` and errs. Failures
    of scores and of `given` (nan, -inf) rank last, as in `correlation`; "pearson" refuses them. Of a supernet that was
    taught a prior it tells what it has learnt beside the prior. Raises `UnknownName`, `ParameterError`.

    scores: what is judged (n,).
    truth: what they should know (n,), in the same order.
    given: what was known before (n,), likewise.
    kind: one of `KINDS`.
    """
    check_name("rank correlation", kind, KINDS)
    s, t, g = (np.asarray(values, float) for values in (scores, truth, given))
    _check(s, t, 0.5)
    _check(g, t, 0.5)
    if kind == "pearson":
        check_finite(np.concatenate([s, g]))
    else:
        s, g = (scipy.stats.rankdata(np.where(np.isnan(values), -np.inf, values)) for values in (s, g))
    st, sg, tg = (coefficient(kind, x, y) for x, y in ((s, t), (s, g), (t, g)))
    free = (1 - sg**2) * (1 - tg**2)
    return float((st - sg * tg) / np.sqrt(free)) if free > 1e-12 else float("nan")


def interval(drawn: np.ndarray, confidence: float = 0.95) -> tuple[float, float]:
    """The middle of the values (r,) of resamples; those that are nan, where one side has no order, are left out."""
    if np.isnan(drawn).all():
        return float("nan"), float("nan")
    tail = (1 - confidence) / 2
    low, high = np.nanquantile(drawn, [tail, 1 - tail])
    return float(low), float(high)


def pools(n: int, resamples: int, seed: int) -> np.ndarray:
    """How often each of n architectures is in each resampled pool of n, int (resamples, n).

    n: how many there are.
    resamples: how many pools, at least 1; else raises `ParameterError`.
    seed: of the draws.
    """
    check_whole("resamples", resamples)
    return randomness.rng(seed, "bootstrap", n).multinomial(n, np.full(n, 1 / n), size=resamples).astype(np.int32)


def resampled(kind: str, a: np.ndarray, b: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """The coefficient (r,) in every one of r pools.

    kind: one of `KINDS`.
    a: ranks (n,), or for "pearson" values.
    b: likewise.
    counts: how often the pair (a_i, b_i) is in each pool (r, n).

    A resample is how often it has each pair, w (n,). With s_ij = sign(a_i - a_j) and t_ij likewise, tau-b is
    sum w_i w_j s_ij t_ij over its norms, and sum_j w_j s_ij is a's centred rank, twice: so all resamples are a few
    products of matrices, where one call of SciPy each would take a second.
    """
    n = len(a)
    if n < 2 or np.ptp(a) == 0 or np.ptp(b) == 0:
        return np.full(len(counts), np.nan)
    if kind == "pearson":  # of any size, and the products below are in float32
        a, b = ((v - v.mean()) / v.std() for v in (np.asarray(a, float), np.asarray(b, float)))
    weights, products = counts.astype(np.float32), np.zeros((3, len(counts)))
    for rows in np.array_split(np.arange(n), max(1, n * n // 4_000_000)):  # so many signs at a time
        gaps = (v[rows, None] - v for v in (a, b))
        s, t = ((v if kind == "pearson" else np.sign(v)).astype(np.float32) for v in gaps)
        if kind == "kendall":
            parts = [weights @ (x * y).T for x, y in ((s, t), (s, s), (t, t))]
        else:
            p, q = weights @ s.T, weights @ t.T
            parts = [p * q, p * p, q * q]
        products += [(part * weights[:, rows]).sum(1, dtype=float) for part in parts]
    with np.errstate(invalid="ignore", divide="ignore"):
        return products[0] / np.sqrt(products[1] * products[2])


def _ties(a: np.ndarray, b: np.ndarray) -> int:
    """Pairs that are equal in one of both or in both."""
    equal = (a[:, None] == a) | (b[:, None] == b)
    return int(np.triu(equal, 1).sum())
