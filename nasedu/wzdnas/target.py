"""What a person writes for a target, and for the bounds that a network must keep."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

from nasedu.errors import ParameterError, brief
from nasedu.spaces.base import Path
from nasedu.tables.derive import Derived, derive
from nasedu.tables.table import LookupTable
from nasedu.tables.within import Constraint, at_most, within

# units as people write them: the table that they are of, and how many of its own units one is
UNITS = {
    "gflops": ("flops", 5e8),
    "mflops": ("flops", 5e5),
    "ms": ("latency", 1.0),
    "params": ("params", 1.0),
    "kparams": ("params", 1e3),
    "mparams": ("params", 1e6),
}
FORM = 'write "hand", "40%", "0.1 GFLOPs", "latency 1.6 ms", "0.7 M params", or several with commas between'


@dataclass(frozen=True, eq=False)
class Goal:
    """What a search aims at: costs that are met within 3 %, and others that are not exceeded.

    tables: by name: flops (in MACs), latency, params, depth.
    targets: by the same names, in the tables' units; the first one is what a report speaks of.
    most: by the same names, upper bounds.
    """

    tables: Mapping[str, LookupTable]
    targets: Mapping[str, float]
    most: Mapping[str, float] = field(default_factory=dict)

    @property
    def table(self) -> LookupTable:
        """The first target's."""
        return self.tables[next(iter(self.targets))]

    @property
    def value(self) -> float:
        """The first target, in its table's unit."""
        return next(iter(self.targets.values()))

    @cached_property
    def others(self) -> Constraint | None:
        """What has to hold beside the first target. Raises `BudgetError`."""
        parts = [within(self.tables[name], value) for name, value in list(self.targets.items())[1:]]
        parts += [at_most(self.tables[name], value) for name, value in self.most.items()]
        return Constraint([one for part in parts for one in part.ranges]) if parts else None

    @cached_property
    def constraint(self) -> Constraint:
        """True of the architectures that reach it. Raises `BudgetError` where there is none."""
        first = within(self.table, self.value)
        return first & self.others if self.others else first

    def derive(self, path: Path) -> Derived:
        """The most probable architecture that reaches it. Raises `BudgetError`.

        path: weights for every decision.
        """
        return derive(path, self.table, self.value, also=self.others)


def read_goal(target: str, tables: Mapping[str, LookupTable], most: str | None = None) -> Goal:
    """A goal as it is written on the command line.

        target: "hand" (the hand-designed network's cost), "40%" of the reachable range, both of FLOPs unless
            "latency" or "params" stands before; "70 GFLOPs", "1.6 ms", "0.7 M params"; several with commas between.
        tables: by name, see `Goal`.
        most: upper bounds, written likewise; None or "": there are none.

    Raises `ParameterError` when it cannot be read, `BudgetError` when no architecture reaches it.
    """
    given = {"target": target, "within": most}
    read = [_several(str(text), tables, name) if text else {} for name, text in given.items()]
    if not read[0]:
        raise ParameterError(f"target {brief(target)}: {FORM}")
    goal = Goal(tables, *read)
    goal.constraint  # noqa: B018 - refuses what is out of reach, or in a gap, before anything is trained
    return goal


def _several(text: str, tables: Mapping[str, LookupTable], name: str) -> dict[str, float]:
    """Every cost that the text names, by its table."""
    costs = [_read(part, tables, name) for part in text.split(",")]
    named = [of for of, _ in costs]
    if len(set(named)) < len(named):
        raise ParameterError(f"{name} {brief(text)}: one value for each, of {', '.join(dict.fromkeys(named))}")
    return dict(costs)


def _read(text: str, tables: Mapping[str, LookupTable], name: str) -> tuple[str, float]:
    """One cost, as the name of its table and a number in its unit."""
    found = re.fullmatch(r"\s*(flops|latency|params)?\s*(hand|[0-9.]+(?:[eE][+-]?[0-9]+)?\s*(%|[a-zA-Z ]+))\s*", text)
    try:
        named, what, unit = found.groups()
        number = 0.0 if what == "hand" else float(what.removesuffix(unit))
        of, factor = UNITS[unit.replace(" ", "").lower()] if unit not in (None, "%") else (named or "flops", 1.0)
    except (AttributeError, ValueError, KeyError):
        raise ParameterError(f"{name} {brief(text)}: {FORM}") from None
    if named not in (None, of):
        raise ParameterError(f"{name} {brief(text)}: {unit} is no unit of {named}")
    if of not in tables:
        raise ParameterError(f"{name} {brief(text)}: there is no table of {of}, only of {', '.join(tables)}")
    table = tables[of]
    low, high = table.bounds()
    if what == "hand":
        return of, table(table.space.hand_designed)
    return of, low + number / 100 * (high - low) if unit == "%" else number * factor
