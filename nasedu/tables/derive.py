"""From architecture parameters to an architecture that meets its budget."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from nasedu.errors import BudgetError
from nasedu.spaces.base import Arch, Path
from nasedu.tables.table import LookupTable

TOLERANCE = 0.03  # how far a derived cost may be from the target


@dataclass(frozen=True)
class Derived:
    """What a derivation found. Costs are in the unit of the table.

    `expected` is the price of the probabilities, `argmax` the most probable architecture, `arch` the one that is kept:
    the same, or after repair the one within tolerance that gives up the least log-probability (`regret`, nats).
    """

    arch: Arch
    argmax: Arch
    expected: float
    argmax_cost: float
    cost: float
    target: float
    regret: float

    @property
    def repaired(self) -> bool:
        """Whether the most probable architecture missed the target."""
        return self.arch != self.argmax


def derive(path: Path, table: LookupTable, target: float, tolerance: float = TOLERANCE) -> Derived:
    """The most probable architecture under `path`, repaired when its cost misses `target` by over `tolerance`.

    Raises `BudgetError` when no architecture comes that close.
    """
    space = table.space
    if not target > 0:
        raise unreachable(table, target)
    argmax = tuple(int(p.argmax()) for p in path)
    regrets = [(p.max().log() - p.clamp_min(1e-30).log()).double() for p in path]
    fits = abs(table(argmax) / target - 1) <= tolerance
    arch = argmax if fits else least_regret(regrets, table, target, tolerance)
    regret = sum(float(r[i]) for r, i in zip(regrets, arch, strict=True))
    expected = float(table.expected(path))
    return Derived(space.validate(arch), argmax, expected, table(argmax), table(arch), target, regret)


def least_regret(regrets: list[Tensor], table: LookupTable, target: float, tolerance: float = TOLERANCE) -> Arch:
    """The architecture of least total regret whose cost is within `tolerance` of `target`.

    `regrets` has one vector (n_choices,) per decision. Costs add up over decision groups, so this is a multiple-choice
    knapsack: exact by dynamic programming over the cost, in bins too fine to matter. Raises `BudgetError`.
    """
    space, groups = table.space, table.space.groups
    bin_width = tolerance * target / (100 * len(groups))
    size = int((1 + tolerance) * target / bin_width) + 1
    best = np.full(size, np.inf)
    start = round(table.fixed / bin_width)
    if start < size:
        best[start] = 0.0
    chosen = []
    for group, entry in zip(groups, table.entries, strict=True):
        options = list(itertools.product(*(range(space.choices[d]) for d in group)))
        shifted = np.stack([_shift(best, round(float(entry[o]) / bin_width)) for o in options])
        shifted += np.array([sum(float(regrets[d][i]) for d, i in zip(group, o, strict=True)) for o in options])[
            :, None
        ]
        chosen.append((options, shifted.argmin(0)))
        best = shifted.min(0)
    margin = len(groups) // 2 + 2  # rounding moves a total by at most half a bin per group, and the fixed part's
    low = int((1 - tolerance) * target / bin_width) + margin
    window = best[low : size - margin]
    if not np.isfinite(window).any():
        raise unreachable(table, target)
    return _trace(low + int(window.argmin()), chosen, table, bin_width)


def _shift(best: np.ndarray, bins: int) -> np.ndarray:
    """`best` moved up by `bins`: what it takes to arrive at each total after adding that much."""
    moved = np.full_like(best, np.inf)
    if bins < len(best):
        moved[bins:] = best[: len(best) - bins]
    return moved


def _trace(total: int, chosen: list, table: LookupTable, bin_width: float) -> Arch:
    picks = []
    for (options, winner), entry in zip(reversed(chosen), reversed(table.entries), strict=True):
        option = options[winner[total]]
        picks.append(option)
        total -= round(float(entry[option]) / bin_width)
    return tuple(i for option in reversed(picks) for i in option)


def nearest(arch: Arch, table: LookupTable, target: float, tolerance: float = TOLERANCE) -> Arch:
    """`arch` itself when it meets the target, else the architecture that differs from it by the fewest steps."""
    if abs(table(arch) / target - 1) <= tolerance:
        return arch
    steps = [(torch.arange(n) - i).abs().double() for i, n in zip(arch, table.space.choices, strict=True)]
    return least_regret(steps, table, target, tolerance)


def random_within(table: LookupTable, target: float, seed: int, tolerance: float = TOLERANCE, tries=5_000) -> Arch:
    """A random architecture within `tolerance` of `target`: uniform among them, by rejection.

    Near the ends of the range, where `tries` draws find none, the one of least regret under random regrets, which is
    no longer uniform. Raises `BudgetError` when no architecture comes that close.
    """
    rng = np.random.default_rng(seed)
    for _ in range(tries):
        arch = table.space.sample(rng)
        if abs(table(arch) / target - 1) <= tolerance:
            return arch
    regrets = [torch.from_numpy(rng.gumbel(size=n)) for n in table.space.choices]
    return least_regret(regrets, table, target, tolerance)


def unreachable(table: LookupTable, target: float) -> BudgetError:
    """The error that names the reachable range; MACs are told as GFLOPs, two to a MAC."""
    scale, unit = (2e-9, "GFLOPs") if table.metric == "macs" else (1.0, table.unit)
    low, high = (scale * bound for bound in table.bounds())
    inside = low <= scale * target <= high
    gap = "costs lie further apart there than the tolerance, and " if inside else ""
    return BudgetError(
        f"no architecture of {table.space.name} was found at {scale * target:.4g} {unit}: "
        f"{gap}the reachable range is {low:.4g} to {high:.4g} {unit}"
    )
