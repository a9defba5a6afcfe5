"""Which architectures a search may visit: a lookup table's value between two bounds.

A table is a sum over decision groups, so the architectures within the bounds can be counted, and drawn uniformly, by
dynamic programming over the running total. Rare ones cost no more than common ones, and "none" is found out at once.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from nasedu.errors import BudgetError, ParameterError
from nasedu.spaces.base import Arch
from nasedu.tables.table import LookupTable

BINS_PER_GROUP = 20  # within the bounds; more bins reject fewer draws and take longer to count
MOST_BINS = 20_000


@dataclass(frozen=True, eq=False)
class Constraint:
    """True of the architectures whose `table` value is in [low, high], in the table's unit. See `at_most`, `within`.

    Raises `BudgetError` when it is true of none.
    """

    table: LookupTable
    low: float
    high: float

    def __post_init__(self):
        if math.isnan(self.low) or math.isnan(self.high) or self.low > self.high:
            raise ParameterError(f"a constraint needs bounds low <= high, got {self.low} and {self.high}")
        bottom, top = self.table.bounds()
        if self.high < bottom or self.low > top or not self._ways[0][0]:
            raise self.unmet()

    def __call__(self, arch: Arch) -> bool:
        return self.low <= self.table(arch) <= self.high

    def sample(self, rng: np.random.Generator, tries: int = 1000) -> Arch:
        """A uniformly random architecture among those within the bounds. Raises `BudgetError` where there is none."""
        for _ in range(tries):
            arch = self._draw(rng)
            if self(arch):  # the bins are rounded, so that a few draws lie just outside
                return arch
        raise self.unmet()

    @property
    def wanted(self) -> str:
        """The bounds in words: "macs of at most 3e+08 MACs"."""
        unit, low, high = self.table.unit, f"{self.low:.4g}", f"{self.high:.4g}"
        bounds = f"at most {high}" if self.low == -math.inf else f"{low} to {high}"
        return f"{self.table.metric} of {bounds} {unit}"

    @property
    def identity(self) -> list:
        """What a stored search compares: the bounds and the table."""
        return [self.low, self.high, self.table]

    def unmet(self) -> BudgetError:
        """The error that says what was wanted and what can be reached."""
        bottom, top = self.table.bounds()
        return BudgetError(
            f"no architecture of {self.table.space.name} has {self.wanted}: "
            f"the reachable range is {bottom:.4g} to {top:.4g} {self.table.unit}"
        )

    @cached_property
    def _bins(self) -> tuple[list[np.ndarray], int, int]:
        """Per group the cost of each option above the cheapest, in bins; the first and the last bin of a total.

        A total is off by half a bin per group at most, so that a margin of as much makes sure to miss none.
        """
        bottom, top = self.table.bounds()
        groups = self.table.entries
        low, high = max(self.low, bottom) - bottom, min(self.high, top) - bottom
        width = max((high - low) / (BINS_PER_GROUP * len(groups)), high / MOST_BINS) or 1.0
        margin = len(groups) / 2 + 1
        first, last = math.floor(low / width - margin), math.ceil(high / width + margin)
        above = [((entry - entry.min()).flatten().numpy() / width).round() for entry in groups]
        return [np.minimum(x, last + 1).astype(int) for x in above], max(first, 0), last

    @cached_property
    def _ways(self) -> list[np.ndarray]:
        """ways[g][t]: in how many ways groups g, g + 1 ... bring a running total of t bins to within the bounds."""
        costs, first, last = self._bins
        ways = np.zeros((len(costs) + 1, 2 * (last + 1)))  # upper half: totals that are too high already
        ways[-1, first : last + 1] = 1
        for g in reversed(range(len(costs))):
            for cost, count in zip(*np.unique(costs[g], return_counts=True), strict=True):
                ways[g, : last + 1] += count * ways[g + 1, cost : cost + last + 1]
        return list(ways)

    def _draw(self, rng: np.random.Generator) -> Arch:
        """Choose option after option, each as often as it leaves ways to go on."""
        total, arch = 0, [0] * len(self.table.space.choices)
        for costs, following, entry, group in zip(
            self._bins[0], self._ways[1:], self.table.entries, self.table.space.groups, strict=True
        ):
            cumulative = following[total + costs].cumsum()
            option = int(np.searchsorted(cumulative, rng.random() * cumulative[-1], side="right"))
            for decision, choice in zip(group, np.unravel_index(option, entry.shape), strict=True):
                arch[decision] = int(choice)
            total += int(costs[option])
        return tuple(arch)


def at_most(table: LookupTable, budget: float) -> Constraint:
    """Architectures whose `table` value is at most `budget`, in the table's unit. Raises `BudgetError`."""
    return Constraint(table, -math.inf, float(budget))


def within(table: LookupTable, target: float, tolerance: float = 0.03) -> Constraint:
    """Architectures whose `table` value is within `tolerance` (relative) of `target`. Raises `BudgetError`."""
    if not (0 <= tolerance < math.inf and 0 < target < math.inf):
        raise ParameterError(f"a target must be positive and a tolerance at least 0, got {target} and {tolerance}")
    return Constraint(table, target * (1 - tolerance), target * (1 + tolerance))
