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
from functools import cached_property

import numpy as np
import scipy
import torch
from torch import Tensor

from nasedu.errors import BudgetError, ParameterError, brief, check_kind, check_number, figure
from nasedu.spaces.base import Arch, SearchSpace
from nasedu.spaces.chain import arch_of
from nasedu.tables import counting
from nasedu.tables.table import LookupTable, same_space

TOLERANCE = 0.03  # how far a cost may be from its target
MOST_BINS = 200_000  # of a draw; beyond, bins are wider than the figures' unit and what lies just outside is redrawn
BINS_PER_GROUP = 20  # within the bounds, if so; more bins reject fewer draws and take longer to count
MOST_COUNTED = 20_000_000  # bins of an exact count
ESTIMATED = 2_000_000  # bins of a count that cannot be exact
SLACK = 1e-6  # of a bin: a bound that is an architecture's own cost may have lost that to rounding
PATIENCE = 200  # draws of one table that miss the others, before those that meet all are counted


@dataclass(frozen=True, eq=False)
class _Range:
    """The architectures whose `table` value is in [low, high], in the table's unit."""

    table: LookupTable
    low: float
    high: float

    def __post_init__(self):
        check_kind("the table of a constraint", self.table, LookupTable, "a LookupTable")

    def __call__(self, arch: Arch) -> bool:
        return self.low <= self.table(arch) <= self.high

    def __str__(self) -> str:
        bounds = ("at most " if self.low == -math.inf else f"{figure(self.low)} to ") + figure(self.high)
        return f"{self.table.metric} of {bounds} {self.table.unit}"

    @property
    def reach(self) -> str:
        """The reachable range in words, for MACs in GFLOPs as well, two to a MAC."""
        (low, high), unit = self.table.bounds(), self.table.unit
        also = f" ({2e-9 * low:.4g} to {2e-9 * high:.4g} GFLOPs)" if self.table.metric == "macs" else ""
        return f"{figure(low)} to {figure(high)} {unit}{also}"

    @cached_property
    def above(self) -> list[np.ndarray]:
        """Per group, what each option costs above the cheapest."""
        return [costs - costs.min() for costs in self.table.by_option]

    @cached_property
    def base(self) -> float:
        """What `above` is counted from: the sum of the groups' cheapest options, whether or not they go together."""
        return self.table.fixed + sum(float(costs.min()) for costs in self.table.by_option)

    @cached_property
    def unit(self) -> float:
        """The largest number of which all of `above` are whole multiples; 0 where they are not whole."""
        figures = np.concatenate(self.above)
        if (figures != figures.round()).any() or figures.max() >= 2**53:
            return 0.0
        return float(np.gcd.reduce(figures.astype(np.int64))) or 1.0

    @cached_property
    def span(self) -> tuple[float, float]:
        """The bounds above `base`, no wider than what can be reached; empty where low > high."""
        bottom, top = self.table.bounds()
        return max(self.low, bottom) - self.base, min(self.high, top) - self.base

    def bins(self, width: float, margin: float) -> tuple[list[np.ndarray], int, int]:
        """Per group what options cost in bins of `width`; the first and the last bin within the bounds and a margin."""
        low, high = self.span
        first, last = max(math.ceil(low / width - margin - SLACK), 0), math.floor(high / width + margin + SLACK)
        return [np.minimum((x / width).round(), max(last, 0) + 1).astype(int) for x in self.above], first, last

    def grid(self, most: int) -> tuple[float, float]:
        """The width of bins for a count, and the margin within which totals that they round may be off: the figures'
        unit and 0 if the bounds are at most `most` of them, else a share of the bounds and half a bin per group.
        Where groups share decisions there are bins for every state between them."""
        high, most = self.span[1], most // max(link.states for link in self.table.space.chain)
        if self.unit and high / self.unit <= most:
            return self.unit, 0
        return high / min(ESTIMATED, most) or 1.0, len(self.above) / 2 + 1

    @property
    def count(self) -> int:
        """How many there are; see `Constraint.count`."""
        low, high = self.span
        bins = self.bins(self.grid(MOST_COUNTED)[0], 0)
        return counting.count(self.table.space.chain, *bins) if low <= high else 0

    @cached_property
    def draws(self) -> counting.Sum:
        """What draws them, and those within a margin where bins are wider than the figures' unit."""
        (low, high), (width, margin) = self.span, self.grid(MOST_BINS)
        if margin:
            width = max((high - low) / (BINS_PER_GROUP * len(self.above)), 10 * high / MOST_BINS) or 1.0
        return counting.Sum(self.table.space.chain, *self.bins(width, margin))

    @property
    def about(self) -> float:
        """How many there are, give or take those within the margin of `draws`; 0 only where there is none."""
        return float(self.draws.ways[0][0, 0]) if self.span[0] <= self.span[1] else 0.0

    def row(self, tighter: float) -> tuple[np.ndarray, float, float]:
        """The table in a linear program: coefficients of all options, and the bounds of their sum.

        Whole figures are counted in their unit, with bounds half a unit outside; others in millionths of the range,
        with bounds that are `tighter` by so much.
        """
        bottom, top = self.table.bounds()
        unit = self.unit or (top - bottom) / 1e6 or 1.0
        values, low, high = (
            x / unit for x in (np.concatenate(self.above), self.low - self.base, self.high - self.base)
        )
        if not self.unit or not math.isfinite(high):
            return values, low + tighter, high - tighter
        return values, (math.ceil(low) if math.isfinite(low) else low) - 0.5, math.floor(high) + 0.5


class Constraint:
    """True of the architectures within the bounds of its tables; made by `at_most` and `within`, joined by `&`.

        tables.at_most(macs, 150_000) & tables.within(latency, 5.0)

    Raises `BudgetError` when it is true of none, `TableError` for tables of several spaces, `ParameterError` where
    something else is joined.
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
        check_kind("what a constraint is joined with", other, Constraint, "made by at_most or within")
        return Constraint(self.ranges + other.ranges)

    @property
    def identity(self) -> list:
        """What a stored search compares: bounds and tables."""
        return [[one.low, one.high, one.table] for one in self.ranges]

    @cached_property
    def count(self) -> int:
        """How many architectures there are.

        Exact where the tables' figures are whole, as MACs, parameters and depths are, their ranges are at most 20
        million times their greatest common divisor (so many millions fewer as there are states between slots that share
        decisions: `spaces.chain`), and there are less than 10^33 architectures. Else an estimate: each
        option is rounded to a two-millionth of the largest total, so that totals closer to a bound than half of that
        per decision group may be counted wrongly. More than three tables are rounded to fewer parts.

        Raises `ParameterError` where several tables have too many combinations of totals.
        """
        if len(self.ranges) == 1:
            return self.ranges[0].count
        if isinstance(self._joint, ParameterError):
            raise self._joint
        _, *bounds = zip(*(one.bins(one.grid(self._most)[0], 0) for one in self.ranges), strict=True)
        return self._joint.count(*bounds)

    @cached_property
    def _most(self) -> int:
        """Of how many parts the bounds of each table are at most, so that 64 bits number all combinations of them."""
        states = max(link.states for link in self.space.chain)
        return min(MOST_COUNTED, 2 ** ((58 - states.bit_length()) // len(self.ranges)))

    @cached_property
    def _joint(self) -> counting.Sums | ParameterError:
        """The totals of all tables at once, with the margins of their grids; or why there are none."""
        costs, first, last = zip(*(one.bins(*one.grid(self._most)) for one in self.ranges), strict=True)
        try:
            return counting.Sums(self.space.chain, [np.stack(g, -1) for g in zip(*costs, strict=True)], first, last)
        except ParameterError as error:
            return error

    def sample(self, rng: np.random.Generator, tries: int = 10_000) -> Arch:
        """A uniformly random architecture within the bounds.

        Drawn within those of the table that the fewest meet, and again until all are met: `tries` times at most. Where
        200 draws missed the others, from all combinations of totals, unless these are too many. Raises `BudgetError`.
        """
        rarest = min(self.ranges, key=lambda one: one.about)
        for i in range(tries):
            joint = self._joint if i >= PATIENCE and len(self.ranges) > 1 else None
            arch = self._arch((joint if isinstance(joint, counting.Sums) else rarest.draws).draw(rng))
            if self(arch):
                return arch
        wanted = " and ".join(map(str, self.ranges))
        why = "such architectures are rare: widen a bound, or ask `best` for one"
        raise BudgetError(f"none of {tries:,} draws of {self.space.name} had {wanted}; {why}")

    def best(self, scores: LookupTable | Sequence[Tensor]) -> Arch:
        """The architecture within the bounds whose scores have the highest sum, by `scipy.optimize.milp`.

        `scores` is a table, or a vector (n_choices,) for every decision, such as log-probabilities: a decision that has
        nothing to decide adds nothing, and a choice of -inf is never taken. Raises `BudgetError`,
        `ParameterError` for other scores, `TableError` for another space's table.
        """
        gains = _by_option(scores, self.space)
        possible, sizes = gains > -math.inf, [len(link.options) for link in self.space.chain]
        one_each = np.repeat(np.eye(len(sizes)), sizes, axis=1)
        flow, wanted = _flow(self.space), _losses(gains, possible, sizes)
        for tighter in (0.0, 1.0, 10.0):  # the solver takes what lies outside by less than a millionth
            rows, lows, highs = zip(*(one.row(tighter) for one in self.ranges), strict=True)
            rules = [
                scipy.optimize.LinearConstraint(one_each, 1, 1),
                scipy.optimize.LinearConstraint(np.stack(rows), lows, highs),
                *([scipy.optimize.LinearConstraint(flow, 0, 0)] if len(flow) else []),
            ]
            options, limits = {"mip_rel_gap": 0.0}, scipy.optimize.Bounds(0, possible.astype(float))
            found = scipy.optimize.milp(wanted, integrality=1, bounds=limits, constraints=rules, options=options)
            if found.x is None:
                break
            arch = self._arch([int(part.argmax()) for part in np.split(found.x, np.cumsum(sizes)[:-1])])
            if self(arch):
                return arch
        raise self.unmet("" if possible.all() else "without a choice whose score is -inf")

    def _arch(self, chosen: Sequence[int]) -> Arch:
        """From the option of every group."""
        return arch_of(self.space.chain, chosen, len(self.space.choices))

    def unmet(self, also: str = "") -> BudgetError:
        """The error that says what was wanted, and what can be reached; or `also`, what else was wanted."""
        wanted = " and ".join(map(str, self.ranges))
        if also:
            return BudgetError(f"no architecture of {self.space.name} has {wanted} {also}")
        inside = all(one.span[0] <= one.span[1] for one in self.ranges)
        gap = ", though costs lie on both sides of it" if inside and len(self.ranges) == 1 else ""
        reach = " and ".join(one.reach for one in self.ranges)
        return BudgetError(f"no architecture of {self.space.name} has {wanted}{gap}: the reachable range is {reach}")


def _by_option(scores: LookupTable | Sequence[Tensor], space: SearchSpace) -> np.ndarray:
    """The scores of all options of all decision groups, one after the other. Raises `ParameterError`."""
    if isinstance(scores, LookupTable):
        same_space([scores], space)
        return np.concatenate(scores.by_option)
    try:
        vectors = [torch.as_tensor(score).detach().cpu().double() for score in scores]
    except (TypeError, ValueError, RuntimeError):
        vectors = []
    got = [tuple(vector.shape) for vector in vectors]
    if got != [(n,) for n in space.choices]:
        wanted = f"a table, or vectors of {brief(space.choices)} numbers, one for every decision"
        raise ParameterError(f"scores must be {wanted}; got {brief(got or scores)}")
    if not all(bool((vector < math.inf).all()) for vector in vectors):
        raise ParameterError("scores must be numbers or -inf, some are NaN or +inf")
    gains, told = [], set()
    for link in space.chain:  # a decision counts where it is first asked for, and where it decides anything
        new = [(column, d) for column, d in enumerate(link.decisions) if d not in told]
        parts = [
            np.where(link.active[:, column], vectors[d].numpy()[link.options[:, column]], 0.0) for column, d in new
        ]
        gains.append(sum(parts, np.zeros(len(link.options))))
        told.update(link.decisions)
    return np.concatenate(gains)


def _losses(gains: np.ndarray, possible: np.ndarray, sizes: Sequence[int]) -> np.ndarray:
    """What each option loses against the best of its group, the most of all as 1,000; 0 for what is not possible.

    The solver stops within a millionth of the optimum, whatever the unit: so the scale is not to be the table's.
    """
    best = [group.max() for group in np.split(np.where(possible, gains, -math.inf), np.cumsum(sizes)[:-1])]
    losses = np.where(possible, np.repeat(np.nan_to_num(best), sizes) - np.where(possible, gains, 0.0), 0.0)
    return losses * (1000 / (losses.max() or 1.0))


def _flow(space: SearchSpace) -> np.ndarray:
    """Rows over all options: what leads into a state between two groups less what leads out of it, which must be 0."""
    sizes = [len(link.options) for link in space.chain]
    starts, rows = np.cumsum([0, *sizes]), []
    for g, (link, following) in enumerate(itertools.pairwise(space.chain)):
        for state in range(link.states) if link.states > 1 else ():
            row = np.zeros(starts[-1])
            row[starts[g] : starts[g + 1]] = link.after == state
            row[starts[g + 1] : starts[g + 2]] = -(following.before == state).astype(float)
            rows.append(row)
    return np.array(rows)


def at_most(table: LookupTable, budget: float) -> Constraint:
    """Architectures whose `table` value is at most `budget`, in the table's unit.

    Raises `BudgetError` where there is none, `ParameterError` for what is no table or no number.
    """
    most = budget if budget == math.inf else check_number("a budget", budget, -math.inf)
    return Constraint([_Range(table, -math.inf, most)])


def within(table: LookupTable, target: float, tolerance: float = TOLERANCE) -> Constraint:
    """Architectures whose `table` value is near a target.

        table: of a cost.
        target: in the table's unit.
        tolerance: how far from it, as a share of it.

    Raises `BudgetError` where there is none, `ParameterError` for what is no table, target or tolerance.
    """
    target, tolerance = check_number("a target", target, above=True), check_number("a tolerance", tolerance)
    return Constraint([_Range(table, target * (1 - tolerance), target * (1 + tolerance))])
