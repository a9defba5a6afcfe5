"""Sums of one whole number of each group: in how many ways they lie within bounds, and random ones of those ways.

Dynamic programmes over the running total and the state between two groups (`spaces.chain`): a dense one for one sum,
over all totals up to a bound, and a sparse one for several sums at once, over the totals that occur and can still end
within the bounds.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from nasedu.errors import ParameterError
from nasedu.spaces.chain import Link

MOST_TOTALS = 4_000_000  # of several sums, that are looked at in one group


class Sum:
    """One sum of one option of each group.

    chain: the groups and their options.
    costs: per group, what its options add: whole numbers from 0 (options,).
    first: the lowest total within the bounds.
    last: the highest.
    """

    def __init__(self, chain: Sequence[Link], costs: list[np.ndarray], first: int, last: int):
        self.chain, self.costs = chain, costs
        # ways[g][s, t]: in how many ways groups g, g + 1 ... bring a running total of t in state s to within the bounds
        width = 2 * (max(last, 0) + 1)  # upper half: totals that are too high already
        self.ways = [np.zeros((states, width)) for states in (1, *(link.states for link in chain))]
        self.ways[-1][:, first : last + 1] = 1
        for link, group, ways, following in reversed(list(zip(chain, costs, self.ways, self.ways[1:], strict=False))):
            for before, after, cost, number in _steps(link, group):
                ways[before, : last + 1] += number * following[after, cost : cost + last + 1]

    def draw(self, rng: np.random.Generator) -> list[int]:
        """An option of every group, one after the other, each as often as it leaves ways to go on."""
        total, state, chosen = 0, 0, []
        draws = rng.random(len(self.costs))
        for link, costs, following, u in zip(self.chain, self.costs, self.ways[1:], draws, strict=True):
            options = link.leaving[state]
            weights = following[link.after[options], total + costs[options]]
            chosen.append(int(options[_pick(weights.cumsum(), u)]))
            total, state = total + int(costs[chosen[-1]]), int(link.after[chosen[-1]])
        return chosen


def count(chain: Sequence[Link], costs: list[np.ndarray], first: int, last: int) -> int:
    """In how many ways one sum is within its bounds; it takes the memory of one of the rows of `Sum`.

    chain: as in `Sum`.
    costs: as there.
    first: as there.
    last: as there.
    """
    about = _ways(chain, costs, last, np.float64)[first:].sum()
    return _whole(about, _ways(chain, costs, last, np.uint64)[first:].sum() if about >= 2**53 else 0)


def _ways(chain: Sequence[Link], costs: list[np.ndarray], last: int, kind: type) -> np.ndarray:
    """In how many ways every total up to `last` comes about, in numbers of `kind`."""
    ways = np.zeros((1, last + 1), kind)
    ways[0, 0] = 1
    for link, group in zip(chain, costs, strict=True):
        ways, earlier = np.zeros((link.states, last + 1), kind), ways
        for before, after, cost, number in _steps(link, group):
            if cost <= last:
                ways[after, cost:] += kind(number) * earlier[before, : last + 1 - cost]
    return ways[0]


def _steps(link: Link, costs: np.ndarray) -> Iterator[tuple[int, int, int, int]]:
    """A group's options that differ: the states before and after, the cost, and how many options are alike."""
    steps, numbers = np.unique(np.stack([link.before, link.after, costs]), axis=1, return_counts=True)
    return zip(*steps.tolist(), numbers.tolist(), strict=True)


class Sums:
    """Several sums at once. Raises `ParameterError` where there are too many totals.

    chain: the groups and their options.
    costs: per group, what its options add to every sum: whole numbers from 0 (options, sums).
    first: the lowest totals within the bounds (sums,).
    last: the highest.
    """

    def __init__(self, chain: Sequence[Link], costs: list[np.ndarray], first: Sequence[int], last: Sequence[int]):
        # a number for every tuple of totals and state; twice as many as there are, so that none stands for one with a
        # minus
        *self.place, self.state = np.cumprod([1, *(2 * (end + 1) for end in last)]).tolist()
        self.chain, self.costs, self.levels = chain, costs, []
        self.totals, states = np.zeros((1, len(last)), int), np.zeros(1, int)
        ways = [np.ones(1), np.ones(1, np.uint64)]
        rest = sum(group.max(0) for group in costs)
        for link, group in zip(chain, costs, strict=True):
            self.levels.append((self.totals @ self.place + states * self.state, ways[0]))
            if np.bincount(link.before)[states].sum() > MOST_TOTALS:
                raise ParameterError(f"more than {MOST_TOTALS:,} combinations of totals: that is too many to count")
            row, option = np.nonzero(states[:, None] == link.before)
            rest = rest - group.max(0)
            totals = self.totals[row] + group[option]
            kept = ((totals <= last) & (totals + rest >= first)).all(1)
            row, totals, reached = row[kept], totals[kept], link.after[option[kept]]
            keys = totals @ self.place + reached * self.state
            order = keys.argsort(kind="stable")
            starts = np.flatnonzero(np.diff(keys[order], prepend=-1))
            self.totals, states = totals[order[starts]], reached[order[starts]]
            ways = [np.add.reduceat(w[row][order], starts) for w in ways]
        self.ways, self.ends = ways, ways[0].cumsum()

    def count(self, first: Sequence[int], last: Sequence[int]) -> int:
        """In how many ways they are within bounds that are as tight or tighter."""
        inside = ((self.totals >= first) & (self.totals <= last)).all(1)
        return _whole(*(w[inside].sum() for w in self.ways))

    def draw(self, rng: np.random.Generator) -> list[int]:
        """An option of every group, each way as likely: from the last group to the first."""
        key, state, chosen = self.totals[_pick(self.ends, rng.random())] @ self.place, 0, []
        for link, costs, (keys, ways) in zip(*map(reversed, (self.chain, self.costs, self.levels)), strict=True):
            before = key - costs @ self.place + link.before * self.state
            at = keys.searchsorted(before).clip(max=len(keys) - 1)
            leads = (keys[at] == before) & (link.after == state)
            chosen.append(_pick(np.where(leads, ways[at], 0.0).cumsum(), rng.random()))
            state = int(link.before[chosen[-1]])
            key = before[chosen[-1]] - state * self.state
        return chosen[::-1]


def _pick(cumulative: np.ndarray, u: float) -> int:
    return int(cumulative.searchsorted(u * cumulative[-1], side="right"))


def _whole(about: float, rest: int) -> int:
    """A number below 2^110 from a float, which has its leading digits, and its remainder modulo 2^64."""
    if not 2**53 <= about < 2**110:
        return round(about)
    off = (int(rest) - int(about)) % 2**64
    return int(about) + (off if off < 2**63 else off - 2**64)
