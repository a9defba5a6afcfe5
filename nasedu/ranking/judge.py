"""A score judged against the truth: its correlations, its hits at the top, and what its pick would cost.

A correlation looks at the whole pool, but a search keeps the top of it only: so the same score may rank well and pick
badly. `judge` tells both.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd

from nasedu.errors import ParameterError, check_kind, check_name
from nasedu.ranking.combine import combine, ranks
from nasedu.ranking.correlation import Correlation, check_finite, coefficient, correlation, interval, pools, resampled

CONFIDENCE = 0.95
MEASURES = ("spearman", "kendall", "precision", "regret")


class Estimate(NamedTuple):
    """A value and its interval at 95 %."""

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
        top = self.size if self.top >= 1 else f"{self.top:.0%}"
        return (
            f"ρ = {self.spearman.value:+.2f} [{self.spearman.low:+.2f}, {self.spearman.high:+.2f}], "
            f"τ = {self.kendall.value:+.2f} [{self.kendall.low:+.2f}, {self.kendall.high:+.2f}], "
            f"precision at the top {top} = {self.precision}, regret = {self.regret}, "
            f"n = {self.n}, {self.failures} failures"
        )


def judge(scores: pd.Series, truth: pd.Series, top: float = 0.1, resamples: int = 1000, seed: int = 0) -> Judgement:
    """Judge `scores` against `truth`, both (n,) and indexed by the same architectures, in any order.

    scores: higher is better.
    truth: what they should know.
    top: the fraction that counts as the top, or how many architectures do.
    resamples: how many pools the intervals are read off.
    seed: of the resampled pools.

    Failures (nan, -inf) rank last as one tie. Where scores tie at the edge of the top, or for the pick, the result is
    the expectation over breaking the tie at random; an architecture whose truth equals the last of the true top is no
    mistake. Intervals are percentiles over resampled architectures (the truth's best and the pick change with the
    resample; maxima make them rough), not over seeds: see `judge_all`. Raises `ParameterError`.
    """
    truth = aligned(_series(scores).index, truth)
    size, n = _top_size(top, len(truth)), len(truth)
    options = {"resamples": resamples, "seed": seed, "confidence": CONFIDENCE}
    rho, tau = (correlation(scores, truth, kind, **options) for kind in MEASURES[:2])
    values, drawn = _measured(scores, truth, size, pools(n, resamples, seed))
    precision, regret = (Estimate(values[name], *interval(drawn[name], CONFIDENCE)) for name in MEASURES[2:])
    return Judgement(rho, tau, precision, regret, n, rho.failures, top, size)


def judge_all(
    frames: pd.DataFrame | Mapping[int, pd.DataFrame],
    truth: pd.Series,
    top: float = 0.1,
    resamples: int = 1000,
    seed: int = 0,
) -> pd.DataFrame:
    """Every column of `frames` judged: one row per proxy.

    frames: a frame, one row per architecture and one column per proxy, or such a frame by seed of the initialisation.
    truth: what they should know, by architecture.
    top: the fraction that counts as the top, or how many architectures do.
    resamples: how many pools the intervals are read off.
    seed: of the resampled pools.

    Columns: spearman, kendall, precision and regret as means over the seeds, with `_sd` their standard deviation over
    the seeds (nan for one frame); `_low` and `_high`, the interval of that mean over resampled architectures (every
    seed is judged on the same resample, and the seeds' mean is taken in each); n, failures (mean over the seeds) and
    seeds. Raises `ParameterError`.
    """
    frames = {0: frames} if isinstance(frames, pd.DataFrame) else dict(frames)
    names, rows = _same_columns(frames), {}
    size, counts = _top_size(top, len(truth)), pools(len(truth), resamples, seed)
    for name in names:
        columns = _paired([frame[name] for frame in frames.values()], truth)
        rows[name] = _row([_measured(column, truth, size, counts) for column in columns])
        failures = np.mean([(column.isna() | np.isneginf(column)).sum() for column in columns])
        rows[name] |= {"n": len(truth), "failures": failures, "seeds": len(frames)}
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("proxy")


def difference(
    a: pd.Series | Mapping[int, pd.Series],
    b: pd.Series | Mapping[int, pd.Series],
    truth: pd.Series,
    measure: str = "spearman",
    *,
    top: float = 0.1,
    resamples: int = 1000,
    seed: int = 0,
) -> Estimate:
    """How much better `a` knows the truth than `b`, compared in pairs: a's measure less b's, and its interval at 95 %.

    a: scores (n,) by architecture, or such a series by seed of the initialisation.
    b: likewise, with the same seeds.
    truth: what they should know, of the same architectures.
    measure: "spearman", "kendall", "precision" or "regret".
    top: the fraction that counts as the top, or how many architectures do.
    resamples: how many pools the intervals are read off.
    seed: of the resampled pools.

    Both are measured on the same resampled architectures, so that what they share cancels out: an interval above zero
    says that a is better, also where those of `judge` overlap (for "regret", one below). Raises `UnknownName`,
    `ParameterError`.
    """
    check_name("measure", measure, MEASURES)
    a, b = ({0: x} if isinstance(x, pd.Series) else dict(x) for x in (a, b))
    if not a or a.keys() != b.keys():
        raise ParameterError(f"a difference needs both scores for the same seeds, got {list(a)} and {list(b)}")
    size, counts, gaps = _top_size(top, len(truth)), pools(len(truth), resamples, seed), []
    for key in a:
        found = [_measured(x, truth, size, counts, (measure,)) for x in _paired([a[key], b[key]], truth)]
        gaps.append([mine[measure] - theirs[measure] for mine, theirs in zip(*found, strict=True)])
    values, drawn = zip(*gaps, strict=True)
    return Estimate(float(np.mean(values)), *interval(np.mean(drawn, axis=0), CONFIDENCE))


def _measured(
    scores: pd.Series, truth: pd.Series, size: int, counts: np.ndarray, wanted: Sequence[str] = MEASURES
) -> tuple[dict[str, float], dict[str, np.ndarray]]:
    """By measure its value, and its values (r,) in r resampled pools, all with the same pools."""
    order, true = ranks(scores), truth.to_numpy(float)  # ranks: failures are one tie below all
    check_finite(true)
    values, drawn, true_ranks = {}, {}, ranks(true)
    for kind in set(MEASURES[:2]) & set(wanted):
        values[kind] = coefficient(kind, order, true_ranks)
        drawn[kind] = resampled(kind, order, true_ranks, counts)
    if {"precision", "regret"} & set(wanted):
        blocks = np.array_split(counts, max(1, min(len(counts), counts.size // 2_000_000)))  # all may not fit in memory
        found = np.concatenate([_top_and_pick(order, true, size, block) for block in blocks], axis=1)
        once = _top_and_pick(order, true, size, np.ones((1, len(true)), np.int64))
        values |= {"precision": float(once[0, 0]), "regret": float(once[1, 0])}
        drawn |= {"precision": found[0], "regret": found[1]}
    return values, drawn


def complementary(frame: pd.DataFrame, truth: pd.Series, method: str = "log_rank") -> pd.DataFrame:
    """What every pair of columns is worth together: which proxies add to one another, and which say the same twice.

    frame: one row per architecture, one column per proxy.
    truth: what they should know, by architecture.
    method: how a pair is combined, see `combine`.

    One row per pair, the greatest gain first: `first`, `second`, `spearman` of their combination with the truth,
    `better` and `worse`, their own, `gain`, which is `spearman` less `better`, and `between`, the Spearman of both with
    each other; nan where a column has no order. Raises as `combine`; `ParameterError` for fewer than two
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


def _row(judged: list[tuple[dict, dict]]) -> dict[str, float]:
    row = {}
    for name in MEASURES:
        values = np.array([found[name] for found, _ in judged])
        row[name] = values.mean()
        row[f"{name}_sd"] = values.std(ddof=1) if len(values) > 1 else float("nan")
        row[f"{name}_low"], row[f"{name}_high"] = interval(np.mean([drawn[name] for _, drawn in judged], axis=0))
    return row


def _top_size(top: float, n: int) -> int:
    if isinstance(top, int) and 1 <= top < n:
        return top
    if not 0 < top < 1:
        raise ParameterError(f"top must be a fraction between 0 and 1, or some of {n} architectures, got {top}")
    return max(1, round(top * n))


def aligned(index: pd.Index, truth: pd.Series) -> pd.Series:
    """`truth` in the order of `index`; raises `ParameterError` unless both hold the same architectures, once each."""
    for name, known in (("the scores", index), ("the truth", _series(truth).index)):
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


def _paired(scores: Sequence[pd.Series], truth: pd.Series) -> list[pd.Series]:
    """All in the order of the truth, for pools are drawn by place. Raises as `aligned`."""
    for one in scores:
        aligned(one.index, truth)
    return [one.loc[truth.index] for one in scores]


def _series(values: object) -> pd.Series:
    return check_kind("scores and truth", values, pd.Series, "pandas Series indexed by architecture")


def _same_columns(frames: Mapping[object, pd.DataFrame]) -> list:
    """The columns that all frames have; raises `ParameterError` where they differ, or there are none."""
    if not frames:
        raise ParameterError("there is nothing to judge: no frame of scores")
    for frame in frames.values():
        check_kind("scores", frame, pd.DataFrame, "a frame, one column per proxy")
    names = list(next(iter(frames.values())).columns)
    if not names or len(set(names)) < len(names):
        raise ParameterError(f"a frame of scores needs columns of different names, got {names}")
    for seed, frame in frames.items():
        if set(frame.columns) != set(names):
            raise ParameterError(
                f"all seeds must hold the same proxies: seed {seed!r} has {list(frame.columns)}, not {names}"
            )
    return names
