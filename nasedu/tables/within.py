"""Which architectures lie within bounds of one table or several: how many, a random one, and the best by given scores.

A table is a sum over decision groups, so the architectures within its bounds can be counted, and drawn uniformly, by
dynamic programming over the running total: rare ones cost no more than common ones. The best one is a multiple-choice
knapsack, which an integer program solves exactly, for one table or several.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, reduce

import numpy as np
import scipy
import torch
from torch import Tensor

from nasedu.errors import BudgetError, ParameterError
from nasedu.spaces.base import Arch
from nasedu.tables.table import LookupTable, same_space

TOLERANCE = 0.03  # how far a cost may be from its target
MOST_BINS = 200_000  # of a draw; beyond, bins are wider than the figures' unit and what lies just outside is redrawn
BINS_PER_GROUP = 20  # within the bounds, if so; more bins reject fewer draws and take longer to count
MOST_COUNTED = 20_000_000  # bins of an exact count
ESTIMATED = 2_000_000  # bins of a count that cannot be exact


@dataclass(frozen=True, eq=False)
class _Range:
    """The architectures whose `table` value is in [low, high], in the table's unit."""

    table: LookupTable
    low: float
    high: float

    def __post_init__(self):
        if math.isnan(self.low) or math.isnan(self.high) or self.low > self.high:
            raise ParameterError(f"a constraint needs bounds low <= high, got {self.low} and {self.high}")

    def __call__(self, arch: Arch) -> bool:
        return self.low <= self.table(arch) <= self.high

    def __str__(self) -> str:
        bounds = f"at most {self.high:.4g}" if self.low == -math.inf else f"{self.low:.4g} to {self.high:.4g}"
        return f"{self.table.metric} of {bounds} {self.table.unit}"

    @property
    def reach(self) -> str:
        """The reachable range in words, for MACs in GFLOPs as well, two to a MAC."""
        (low, high), unit = self.table.bounds(), self.table.unit
        also = f" ({2e-9 * low:.4g} to {2e-9 * high:.4g} GFLOPs)" if self.table.metric == "macs" else ""
        return f"{low:.4g} to {high:.4g} {unit}{also}"

    @cached_property
    def above(self) -> list[np.ndarray]:
        """Per group, what each option costs above the cheapest."""
        return [(entry - entry.min()).flatten().double().numpy() for entry in self.table.entries]

    @cached_property
    def unit(self) -> float:
        """The largest number of which all of `above` are whole multiples; 0 where they are not whole."""
        figures = np.concatenate(self.above)
        if (figures != figures.round()).any() or figures.max() >= 2**53:
            return 0.0
        return float(np.gcd.reduce(figures.astype(np.int64))) or 1.0

    @cached_property
    def span(self) -> tuple[float, float]:
        """The bounds above the cheapest architecture, no wider than what can be reached; empty where low > high."""
        bottom, top = self.table.bounds()
        return max(self.low, bottom) - bottom, min(self.high, top) - bottom

    def bins(self, width: float, margin: float) -> tuple[list[np.ndarray], int, int]:
        """Per group what options cost in bins of `width`; the first and the last bin within the bounds and a margin."""
        low, high = self.span
        first, last = max(math.ceil(low / width - margin), 0), math.floor(high / width + margin)
        return [np.minimum((x / width).round(), max(last, 0) + 1).astype(int) for x in self.above], first, last

    @property
    def count(self) -> int:
        """How many there are; see `Constraint.count`."""
        low, high = self.span
        if low > high:
            return 0
        exact = bool(self.unit) and high / self.unit <= MOST_COUNTED
        costs, first, last = self.bins(self.unit if exact else high / ESTIMATED or 1.0, 0)
        about = _count(costs, first, last, np.float64)
        if about < 2**53 or about >= 2**110 or not exact:
            return round(about)
        off = (int(_count(costs, first, last, np.uint64)) - int(about)) % 2**64  # the float has the leading digits
        return int(about) + (off if off < 2**63 else off - 2**64)

    @cached_property
    def _grid(self) -> tuple[list[np.ndarray], int, int]:
        """The bins of a draw. Where they are wider than the figures' unit, a total is off by half a bin per group at
        most, so that a margin of as much makes sure to miss none."""
        (low, high), groups = self.span, len(self.above)
        if self.unit and high / self.unit <= MOST_BINS:
            return self.bins(self.unit, 0)
        width = max((high - low) / (BINS_PER_GROUP * groups), 10 * high / MOST_BINS) or 1.0
        return self.bins(width, groups / 2 + 1)

    @cached_property
    def _ways(self) -> list[np.ndarray]:
        """ways[g][t]: in how many ways groups g, g + 1 ... bring a running total of t bins to within the bounds."""
        costs, first, last = self._grid
        ways = np.zeros((len(costs) + 1, 2 * (max(last, 0) + 1)))  # upper half: totals that are too high already
        ways[-1, first : last + 1] = 1
        for g in reversed(range(len(costs))):
            for cost, count in zip(*np.unique(costs[g], return_counts=True), strict=True):
                ways[g, : last + 1] += count * ways[g + 1, cost : cost + last + 1]
        return list(ways)

    @property
    def about(self) -> float:
        """How many there are, give or take the margin of `_grid`; 0 only where there is none."""
        return float(self._ways[0][0]) if self.span[0] <= self.span[1] else 0.0

    def draw(self, rng: np.random.Generator) -> list[int]:
        """An option of every group, one after the other, each as often as it leaves ways to go on."""
        total, chosen = 0, []
        for costs, following, u in zip(self._grid[0], self._ways[1:], rng.random(len(self.above)), strict=True):
            cumulative = following[total + costs].cumsum()
            chosen.append(int(cumulative.searchsorted(u * cumulative[-1], side="right")))
            total += int(costs[chosen[-1]])
        return chosen

    def row(self, tighter: float) -> tuple[np.ndarray, float, float]:
        """The table in a linear program: coefficients of all options, and the bounds of their sum.

        Whole figures are counted in their unit, with bounds half a unit outside; others in millionths of the range,
        with bounds that are `tighter` by so much.
        """
        bottom, top = self.table.bounds()
        unit = self.unit or (top - bottom) / 1e6 or 1.0
        values, low, high = np.concatenate(self.above) / unit, (self.low - bottom) / unit, (self.high - bottom) / unit
        if not self.unit or not math.isfinite(high):
            return values, low + tighter, high - tighter
        return values, (math.ceil(low) if math.isfinite(low) else low) - 0.5, math.floor(high) + 0.5


def _count(costs: list[np.ndarray], first: int, last: int, kind: type) -> float:
    """In how many ways a sum of one cost of each group lies in [first, last], with numbers of `kind`."""
    ways = np.zeros(last + 1, kind)
    ways[0] = 1
    for group in costs:
        before, ways = ways, np.zeros_like(ways)
        for cost, count in zip(*np.unique(group, return_counts=True), strict=True):
            if cost <= last:
                ways[cost:] += kind(count) * before[: last + 1 - cost]
    return ways[first:].sum()


class Constraint:
    """True of the architectures within the bounds of its tables; made by `at_most` and `within`, joined by `&`.

        tables.at_most(macs, 150_000) & tables.within(latency, 5.0)

    Raises `BudgetError` when it is true of none, `TableError` for tables of several spaces.
    """

    def __init__(self, ranges: Sequence[_Range]):
        self.ranges = tuple(ranges)
        self.tables = [one.table for one in ranges]
        self.space = self.tables[0].space
        same_space(self.tables, self.space)
        if not all(one.about for one in ranges):
            raise self.unmet()
        if len(ranges) > 1:
            self.best([torch.zeros(n) for n in self.space.choices])

    def __call__(self, arch: Arch) -> bool:
        return all(one(arch) for one in self.ranges)

    def __and__(self, other: Constraint) -> Constraint:
        return Constraint(self.ranges + other.ranges)

    @property
    def identity(self) -> list:
        """What a stored search compares: bounds and tables."""
        return [[one.low, one.high, one.table] for one in self.ranges]

    @cached_property
    def count(self) -> int:
        """How many architectures there are, within the bounds of one table.

        Exact where the table's figures are whole, as MACs, parameters and depths are, their range is at most 20 million
        times their greatest common divisor, and there are less than 10^33 architectures. Else an estimate: each option
        is rounded to a two-millionth of the largest total, so that totals closer to a bound than half of that per
        decision group may be counted wrongly.
        Raises `ParameterError` for several tables.
        """
        if len(self.ranges) > 1:
            raise ParameterError(f"architectures are counted within the bounds of one table, got {len(self.ranges)}")
        return self.ranges[0].count

    def sample(self, rng: np.random.Generator, tries: int = 10_000) -> Arch:
        """A uniformly random architecture within the bounds.

        Drawn within those of the table that the fewest meet, and again until all are met: `tries` times at most.
        Raises `BudgetError` then.
        """
        rarest = min(self.ranges, key=lambda one: one.about)
        for _ in range(tries):
            arch = self._arch(rarest.draw(rng))
            if self(arch):
                return arch
        raise self.unmet()

    def best(self, scores: LookupTable | Sequence[Tensor]) -> Arch:
        """The architecture within the bounds whose scores have the highest sum, by `scipy.optimize.milp`.

        `scores` is a table, or a vector (n_choices,) for every decision, such as log-probabilities. Raises
        `BudgetError`.
        """
        gains = _by_option(scores, self.space)
        sizes = list(map(len, self._options))
        one_each = np.repeat(np.eye(len(sizes)), sizes, axis=1)
        for tighter in (0.0, 1.0, 10.0):  # the solver takes what lies outside by less than a millionth
            rows, lows, highs = zip(*(one.row(tighter) for one in self.ranges), strict=True)
            rules = [
                scipy.optimize.LinearConstraint(one_each, 1, 1),
                scipy.optimize.LinearConstraint(np.stack(rows), lows, highs),
            ]
            options = {"mip_rel_gap": 0.0}
            found = scipy.optimize.milp(-gains, integrality=1, bounds=(0, 1), constraints=rules, options=options)
            if found.x is None:
                break
            arch = self._arch([int(part.argmax()) for part in np.split(found.x, np.cumsum(sizes)[:-1])])
            if self(arch):
                return arch
        raise self.unmet()

    @cached_property
    def _options(self) -> list[list[tuple[int, ...]]]:
        """For every group, the choices that its options stand for."""
        return [list(itertools.product(*map(range, entry.shape))) for entry in self.tables[0].entries]

    def _arch(self, chosen: Sequence[int]) -> Arch:
        """From the option of every group."""
        arch = [0] * len(self.space.choices)
        for options, i, group in zip(self._options, chosen, self.space.groups, strict=True):
            for decision, choice in zip(group, options[i], strict=True):
                arch[decision] = choice
        return tuple(arch)

    def unmet(self) -> BudgetError:
        """The error that says what was wanted and what can be reached."""
        wanted = " and ".join(map(str, self.ranges))
        inside = all(one.span[0] <= one.span[1] for one in self.ranges)
        gap = ", though costs lie on both sides of it" if inside and len(self.ranges) == 1 else ""
        reach = " and ".join(one.reach for one in self.ranges)
        return BudgetError(f"no architecture of {self.space.name} has {wanted}{gap}: the reachable range is {reach}")


def _by_option(scores: LookupTable | Sequence[Tensor], space) -> np.ndarray:
    """The scores of all options of all decision groups, one after the other."""
    if isinstance(scores, LookupTable):
        same_space([scores], space)
        return torch.cat([entry.flatten() for entry in scores.entries]).double().numpy()
    vectors = [torch.as_tensor(score).detach().cpu().double() for score in scores]
    sums = [reduce(lambda a, b: a[..., None] + b, [vectors[d] for d in group]) for group in space.groups]
    return torch.cat([one.flatten() for one in sums]).numpy()


def at_most(table: LookupTable, budget: float) -> Constraint:
    """Architectures whose `table` value is at most `budget`, in the table's unit. Raises `BudgetError`."""
    return Constraint([_Range(table, -math.inf, float(budget))])


def within(table: LookupTable, target: float, tolerance: float = TOLERANCE) -> Constraint:
    """Architectures whose `table` value is near a target.

        table: of a cost.
        target: in the table's unit.
        tolerance: how far from it, as a share of it.

    Raises `BudgetError` where there is none.
    """
    if not (0 <= tolerance < math.inf and 0 < target < math.inf):
        raise ParameterError(f"a target must be positive and a tolerance at least 0, got {target} and {tolerance}")
    return Constraint([_Range(table, target * (1 - tolerance), target * (1 + tolerance))])
