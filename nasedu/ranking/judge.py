"""A score judged against the truth: its correlations, its hits at the top, and what its pick would cost.

A correlation looks at the whole pool, but a search keeps the top of it only: so the same score may rank well and pick
badly. `judge` tells both.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from nasedu.errors import ParameterError
from nasedu.ranking.combine import combine, ranks
from nasedu.ranking.correlation import Correlation, correlation

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Estimate:
    """A value and its bootstrap interval at 95 %."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.2f} [{self.low:.2f}, {self.high:.2f}]"


@dataclass(frozen=True)
class Judgement:
    """How well a score knows the truth about `n` architectures, `failures` of which had no finite score.

    `spearman` and `kendall` (tau-b) are positive when higher scores mean higher truths. `precision` is the share of the
    `size` highest scored (the fraction `top`) that are truly among the `size` best; by chance it is about `top`.
    `regret` is how far the highest scored is below the best, in the truth's unit.
    """

    spearman: Correlation
    kendall: Correlation
    precision: Estimate
    regret: Estimate
    n: int
    failures: int
    top: float
    size: int

    def __str__(self) -> str:
        return (
            f"ρ = {self.spearman.value:+.2f} [{self.spearman.low:+.2f}, {self.spearman.high:+.2f}], "
            f"τ = {self.kendall.value:+.2f} [{self.kendall.low:+.2f}, {self.kendall.high:+.2f}], "
            f"precision at the top {self.top:.0%} = {self.precision}, regret = {self.regret}, "
            f"n = {self.n}, {self.failures} failures"
        )


def judge(scores: pd.Series, truth: pd.Series, top: float = 0.1, resamples: int = 1000, seed: int = 0) -> Judgement:
    """Judge `scores` against `truth`, both (n,) and indexed by the same architectures, in any order.

    Failures (nan, -inf) rank last as one tie. Where scores tie at the edge of the top, or for the pick, the result is
    the expectation over breaking the tie at random; an architecture whose truth equals the last of the true top is no
    mistake. Intervals are percentiles over resampled architectures (the truth's best and the pick change with the
    resample; maxima make them rough), not over seeds: see `judge_all`. Raises `ParameterError`.
    """
    truth = aligned(scores.index, truth) if isinstance(scores, pd.Series) else _no_series(scores)
    size = _top_size(top, len(truth))
    if resamples < 1:
        raise ParameterError(f"resamples must be positive, got {resamples}")
    order, true = ranks(scores), truth.to_numpy(float)  # ranks: failures are one tie below all
    drawn = _bootstrap(order, true, size, resamples, np.random.default_rng(seed))
    once = _top_and_pick(order, true, size, np.ones((1, len(true)), np.int64))
    low, high = np.quantile(drawn, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2], axis=1)
    precision, regret = (Estimate(float(once[i, 0]), float(low[i]), float(high[i])) for i in range(2))
    options = {"resamples": resamples, "seed": seed, "confidence": CONFIDENCE}
    rho, tau = (correlation(scores, truth, kind, **options) for kind in ("spearman", "kendall"))
    return Judgement(rho, tau, precision, regret, len(true), rho.failures, top, size)


def judge_all(
    frames: pd.DataFrame | Mapping[int, pd.DataFrame],
    truth: pd.Series,
    top: float = 0.1,
    resamples: int = 1000,
    seed: int = 0,
) -> pd.DataFrame:
    """Every column of `frames` judged: one row per proxy.

    `frames` is a frame, one row per architecture, or such a frame by seed of the initialisation. Columns: spearman,
    kendall, precision and regret as means over the seeds, with `_sd` their standard deviation over the seeds (nan for
    one frame) and `_low` and `_high` the seeds' mean interval over architectures; n, failures (mean over the
    seeds) and seeds. Raises `ParameterError`.
    """
    frames = {0: frames} if isinstance(frames, pd.DataFrame) else dict(frames)
    names = _same_columns(frames)
    rows = {}
    for name in names:
        judged = [judge(frame[name], truth, top, resamples, seed) for frame in frames.values()]
        rows[name] = _row(judged)
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("proxy")


def complementary(frame: pd.DataFrame, truth: pd.Series, method: str = "log_rank") -> pd.DataFrame:
    """What every pair of columns is worth together: which proxies add to one another, and which say the same twice.

    One row per pair, the greatest gain first: `first`, `second`, `spearman` of their combination by `method` with the
    truth, `better` and `worse`, their own, `gain`, which is `spearman` less `better`, and `between`, the Spearman of
    both with each other; nan where a column has no order. Raises as `combine`; `ParameterError` for fewer than two
    columns, or where the truth has another index.
    """
    names = _same_columns({0: frame})
    if len(names) < 2:
        raise ParameterError(f"pairs need two proxies or more, got {len(names)}")
    truth, rows = aligned(frame.index, truth), []
    alone = {name: spearman(frame[name], truth) for name in names}
    for pair in itertools.combinations(names, 2):
        together = spearman(combine(frame[list(pair)], method), truth)
        worse, better = np.sort([alone[name] for name in pair])
        between = spearman(*(frame[name] for name in pair))
        rows.append((*pair, together, better, worse, together - better, between))
    columns = ["first", "second", "spearman", "better", "worse", "gain", "between"]
    return pd.DataFrame(rows, columns=columns).sort_values("gain", ascending=False, ignore_index=True)


def spearman(scores: Sequence[float], truth: Sequence[float]) -> float:
    """Spearman's ρ alone, without an interval: ties averaged, failures last, nan where one side has no order.

    Both are (n,), in the same order. Quick enough to be computed at every move of a slider; `correlation` tells more.
    """
    a, b = ranks(scores), ranks(truth)
    if len(a) != len(b):
        raise ParameterError(f"a rank correlation needs lists of the same length, got {len(a)} and {len(b)}")
    if np.ptp(a) == 0 or np.ptp(b) == 0:
        return float("nan")
    return float(np.corrcoef(a, b)[0, 1])


def _bootstrap(order: np.ndarray, truth: np.ndarray, size: int, resamples: int, rng: np.random.Generator) -> np.ndarray:
    """Precision and regret (2, resamples), some resamples at a time: all of a large pool do not fit in memory."""
    n = len(truth)
    blocks = np.array_split(np.arange(resamples), max(1, min(resamples, resamples * n // 2_000_000)))
    counts = (rng.multinomial(n, np.full(n, 1 / n), size=len(block)) for block in blocks)
    return np.concatenate([_top_and_pick(order, truth, size, count) for count in counts], axis=1)


def _top_and_pick(order: np.ndarray, truth: np.ndarray, size: int, counts: np.ndarray) -> np.ndarray:
    """Precision at the top and regret (2, r) of r pools in which architecture i is there `counts[r, i]` times.

    `order` (n,) are the scores' ranks. Of a group of equal scores, as many as the top still holds are taken at random:
    in expectation every member is taken with the same probability.
    """
    down, rows = np.argsort(-order, kind="stable"), np.arange(len(counts))
    starts = np.flatnonzero(np.diff(order[down], prepend=np.nan) != 0)
    group = np.add.reduceat(counts[:, down], starts, axis=1)
    taken = np.clip(size - (group.cumsum(1) - group), 0, group)
    share = taken / np.maximum(group, 1)  # the probability of each member to be taken

    best = np.argsort(-truth, kind="stable")
    reached = counts[:, best].cumsum(1)
    edge = truth[best][(reached >= size).argmax(1)]  # the last of the true top
    hits = np.add.reduceat(counts[:, down] * (truth[down] >= edge[:, None]), starts, axis=1)
    precision = (hits * share).sum(1) / size

    first = (group > 0).argmax(1)
    picked = np.add.reduceat(counts[:, down] * truth[down], starts, axis=1)[rows, first] / group[rows, first]
    return np.stack([precision, truth[best][(reached > 0).argmax(1)] - picked])


def _row(judged: list[Judgement]) -> dict[str, float]:
    row = {}
    for name in ("spearman", "kendall", "precision", "regret"):
        parts = [getattr(one, name) for one in judged]
        values = np.array([part.value for part in parts])
        row[name] = values.mean()
        row[f"{name}_sd"] = values.std(ddof=1) if len(values) > 1 else float("nan")
        row[f"{name}_low"] = np.mean([part.low for part in parts])
        row[f"{name}_high"] = np.mean([part.high for part in parts])
    failures = np.mean([one.failures for one in judged])
    return row | {"n": judged[0].n, "failures": failures, "seeds": len(judged)}


def _top_size(top: float, n: int) -> int:
    if not 0 < top < 1:
        raise ParameterError(f"top must be a fraction between 0 and 1, got {top}")
    return max(1, round(top * n))


def aligned(index: pd.Index, truth: pd.Series) -> pd.Series:
    """`truth` in the order of `index`; raises `ParameterError` unless both hold the same architectures, once each."""
    if not isinstance(truth, pd.Series):
        _no_series(truth)
    for name, known in (("the scores", index), ("the truth", truth.index)):
        if not known.is_unique:
            raise ParameterError(f"{name} hold {known[known.duplicated()][0]!r} more than once")
    lacking, more = index.difference(truth.index), truth.index.difference(index)
    if len(lacking):
        raise ParameterError(f"the truth lacks {len(lacking)} of {len(index)} scored architectures, as {lacking[0]!r}")
    if len(more):
        raise ParameterError(
            f"the truth has {len(more)} architectures without a score, as {more[0]!r}: pass truth[scores.index] to "
            "judge among the scored ones"
        )
    return truth.loc[index]


def _no_series(values: object):
    raise ParameterError(f"scores and truth must be pandas Series indexed by architecture, got {type(values).__name__}")


def _same_columns(frames: Mapping[object, pd.DataFrame]) -> list:
    """The columns that all frames have; raises `ParameterError` where they differ, or there are none."""
    if not frames:
        raise ParameterError("there is nothing to judge: no frame of scores")
    for frame in frames.values():
        if not isinstance(frame, pd.DataFrame):
            raise ParameterError(f"scores must be a frame, one column per proxy, got {type(frame).__name__}")
    names = list(next(iter(frames.values())).columns)
    if not names or len(set(names)) < len(names):
        raise ParameterError(f"a frame of scores needs columns of different names, got {names}")
    for seed, frame in frames.items():
        if set(frame.columns) != set(names):
            raise ParameterError(
                f"all seeds must hold the same proxies: seed {seed!r} has {list(frame.columns)}, not {names}"
            )
    return names
