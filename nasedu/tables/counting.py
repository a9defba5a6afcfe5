"""Sums of one whole number of each group: in how many ways they lie within bounds, and random ones of those ways.

Dynamic programmes over the running total: a dense one for one sum, over all totals up to a bound, and a sparse one for
several sums at once, over the totals that occur and can still end within the bounds.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from nasedu.errors import ParameterError

MOST_TOTALS = 4_000_000  # of several sums, that are looked at in one group


class Sum:
    """One sum of one option of each group.

    costs: per group, what its options add: whole numbers from 0 (options,).
    first: the lowest total within the bounds.
    last: the highest.
    """

    def __init__(self, costs: list[np.ndarray], first: int, last: int):
        self.costs = costs
        # ways[g][t]: in how many ways groups g, g + 1 ... bring a running total of t to within the bounds
        self.ways = np.zeros((len(costs) + 1, 2 * (max(last, 0) + 1)))  # upper half: totals that are too high already
        self.ways[-1, first : last + 1] = 1
        for g in reversed(range(len(costs))):
            for cost, count in zip(*np.unique(costs[g], return_counts=True), strict=True):
                self.ways[g, : last + 1] += count * self.ways[g + 1, cost : cost + last + 1]

    def draw(self, rng: np.random.Generator) -> list[int]:
        """An option of every group, one after the other, each as often as it leaves ways to go on."""
        total, chosen = 0, []
        for costs, following, u in zip(self.costs, self.ways[1:], rng.random(len(self.costs)), strict=True):
            chosen.append(_pick(following[total + costs].cumsum(), u))
            total += int(costs[chosen[-1]])
        return chosen


def count(costs: list[np.ndarray], first: int, last: int) -> int:
    """In how many ways one sum is within its bounds; it takes the memory of one of the rows of `Sum`.

    costs: as in `Sum`.
    first: as there.
    last: as there.
    """
    about = _ways(costs, last, np.float64)[first:].sum()
    return _whole(about, _ways(costs, last, np.uint64)[first:].sum() if about >= 2**53 else 0)


def _ways(costs: list[np.ndarray], last: int, kind: type) -> np.ndarray:
    """In how many ways every total up to `last` comes about, in numbers of `kind`."""
    ways = np.zeros(last + 1, kind)
    ways[0] = 1
    for group in costs:
        before, ways = ways, np.zeros_like(ways)
        for cost, number in zip(*np.unique(group, return_counts=True), strict=True):
            if cost <= last:
                ways[cost:] += kind(number) * before[: last + 1 - cost]
    return ways


class Sums:
    """Several sums at once. Raises `ParameterError` where there are too many totals.

    costs: per group, what its options add to every sum: whole numbers from 0 (options, sums).
    first: the lowest totals within the bounds (sums,).
    last: the highest.
    """

    def __init__(self, costs: list[np.ndarray], first: Sequence[int], last: Sequence[int]):
        # a number for every tuple of totals; twice as many as there are, so that none stands for one with a minus
        self.place = np.cumprod([1, *(2 * (end + 1) for end in last[:-1])])
        self.totals, ways = np.zeros((1, len(last)), int), [np.ones(1), np.ones(1, np.uint64)]
        self.costs, self.levels = [group @ self.place for group in costs], []
        rest = sum(group.max(0) for group in costs)
        for group in costs:
            self.levels.append((self.totals @ self.place, ways[0]))
            if len(self.totals) * len(group) > MOST_TOTALS:
                raise ParameterError(f"more than {MOST_TOTALS:,} combinations of totals: that is too many to count")
            rest = rest - group.max(0)
            totals = (self.totals[:, None] + group).reshape(-1, len(last))
            kept = ((totals <= last) & (totals + rest >= first)).all(1)
            keys = totals[kept] @ self.place
            order = keys.argsort()
            starts = np.flatnonzero(np.diff(keys[order], prepend=-1))
            self.totals = totals[kept][order[starts]]
            ways = [np.add.reduceat(np.repeat(w, len(group))[kept][order], starts) for w in ways]
        self.ways, self.ends = ways, ways[0].cumsum()

    def count(self, first: Sequence[int], last: Sequence[int]) -> int:
        """In how many ways they are within bounds that are as tight or tighter."""
        inside = ((self.totals >= first) & (self.totals <= last)).all(1)
        return _whole(*(w[inside].sum() for w in self.ways))

    def draw(self, rng: np.random.Generator) -> list[int]:
        """An option of every group, each way as likely: from the last group to the first."""
        key, chosen = self.totals[_pick(self.ends, rng.random())] @ self.place, []
        for costs, (keys, ways) in zip(reversed(self.costs), reversed(self.levels), strict=True):
            before = key - costs
            at = keys.searchsorted(before).clip(max=len(keys) - 1)
            chosen.append(_pick(np.where(keys[at] == before, ways[at], 0.0).cumsum(), rng.random()))
            key = before[chosen[-1]]
        return chosen[::-1]


def _pick(cumulative: np.ndarray, u: float) -> int:
    return int(cumulative.searchsorted(u * cumulative[-1], side="right"))


def _whole(about: float, rest: int) -> int:
    """A number below 2^110 from a float, which has its leading digits, and its remainder modulo 2^64."""
    if not 2**53 <= about < 2**110:
        return round(about)
    off = (int(rest) - int(about)) % 2**64
    return int(about) + (off if off < 2**63 else off - 2**64)
