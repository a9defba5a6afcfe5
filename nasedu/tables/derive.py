"""From architecture parameters to an architecture that meets its budget."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from nasedu.spaces.base import Arch, Path
from nasedu.tables.table import LookupTable
from nasedu.tables.within import TOLERANCE, Constraint, within


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


def derive(
    path: Path, table: LookupTable, target: float, tolerance: float = TOLERANCE, also: Constraint | None = None
) -> Derived:
    """The most probable architecture under `path`, repaired when it misses its budget.

        path: weights (n_choices,) for every decision.
        table: of a cost.
        target: in the table's unit.
        tolerance: how far from the target the cost may be, as a share of it.
        also: further budgets, such as `at_most(latency, 5.0)`.

    Raises `BudgetError` when no architecture meets them all.
    """
    argmax = table.space.canonical([int(p.argmax()) for p in path])
    fits = target > 0 and abs(table(argmax) / target - 1) <= tolerance and (also is None or also(argmax))
    logs = [p.detach().clamp_min(1e-30).log().double() for p in path]
    if fits:
        arch = argmax
    else:
        budget = within(table, target, tolerance)
        arch = (budget & also if also else budget).best(logs)
    regret = sum(float(p.max() - p[i]) for p, i in zip(logs, arch, strict=True))
    expected = float(table.expected(path))
    return Derived(table.space.validate(arch), argmax, expected, table(argmax), table(arch), target, regret)


def nearest(
    arch: Arch, table: LookupTable, target: float, tolerance: float = TOLERANCE, also: Constraint | None = None
) -> Arch:
    """`arch` itself when it meets the target, else the architecture that differs from it by the fewest steps.

        arch: where to start.
        table: of a cost.
        target: in the table's unit.
        tolerance: how far from the target the cost may be, as a share of it.
        also: further budgets, as in `derive`.

    Raises `BudgetError`, `ArchitectureError`.
    """
    chosen = zip(table.space.validate(arch), table.space.choices, strict=True)
    steps = [-(torch.arange(n) - i).abs() for i, n in chosen]
    return derive([torch.softmax(s.double(), 0) for s in steps], table, target, tolerance, also).arch
