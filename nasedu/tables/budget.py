"""Several budgets at once, as one function of a search's task loss and its path."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from nasedu.errors import ParameterError
from nasedu.spaces.base import Path, SearchSpace
from nasedu.tables.losses import HardwareLoss, as_loss
from nasedu.tables.stack import same_space
from nasedu.tables.table import LookupTable


class Budget:
    """Terms (table, target, loss), applied in order: each loss takes what the one before returned as its task loss.

    `target` is in the table's unit; `loss` a `HardwareLoss` or the name of one. Losses that add may come in any order;
    one that multiplies scales all that comes before it. Raises `ParameterError` for a target that is not positive,
    what is no loss, or no term at all, `TableError` for tables of several spaces, `UnknownName`.
    """

    def __init__(self, terms: Sequence[tuple[LookupTable, float, HardwareLoss | str]]):
        self.terms = [(table, target, as_loss(loss)) for table, target, loss in terms]
        if not self.terms:
            raise ParameterError("a budget needs at least one (table, target, loss)")
        for _, target, loss in self.terms:
            loss.check(target)
        same_space([table for table, _, _ in self.terms], self.space)

    @property
    def space(self) -> SearchSpace:
        """The space of its tables."""
        return self.terms[0][0].space

    def __call__(self, task: Tensor | float, path: Path) -> Tensor:
        """The total loss, a scalar on the task loss's device; `path` as in `LookupTable.expected`."""
        for (_, target, loss), cost in zip(self.terms, self.costs(path), strict=True):
            task = loss.total(task, cost, target)
        return task

    def costs(self, path: Path) -> list[Tensor]:
        """The tables' expectations of one path: scalars on the CPU, which join a loss on any device."""
        path = [entry.cpu() if isinstance(entry, Tensor) else entry for entry in path]
        return [table.expected(path).squeeze() for table, _, _ in self.terms]

    @torch.no_grad()
    def update(self, path: Path) -> None:
        """Let the losses that learn see what `path` costs: a search shows them its most probable architecture."""
        for (_, target, loss), cost in zip(self.terms, self.costs(path), strict=True):
            loss.update(cost, target)

    def fresh(self) -> Budget:
        """The same budget before any update; a search works on such a copy."""
        return Budget([(table, target, loss.fresh()) for table, target, loss in self.terms])

    def learnt(self) -> list[dict[str, float]]:
        """What `update` has changed, as numbers: a dict per term, such as {"multiplier": 0.3}."""
        states = [loss.state_dict() for _, _, loss in self.terms]
        return [{name: float(v) for name, v in state.items() if name[0] != "_"} for state in states]

    def state_dict(self) -> dict:
        """What `update` has changed, by term."""
        return {str(i): loss.state_dict() for i, (_, _, loss) in enumerate(self.terms)}

    def load_state_dict(self, state: dict) -> None:
        """Go on from `state_dict()`."""
        for i, (_, _, loss) in enumerate(self.terms):
            loss.load_state_dict(state[str(i)])

    @property
    def identity(self) -> list:
        """What a stored search compares: tables, targets, losses and their options."""
        return [[table_identity(table), float(target), loss.identity] for table, target, loss in self.terms]


def table_identity(table: LookupTable) -> list:
    """What tells a table from others, as JSON: space, metric and values."""
    return [table.space.fingerprint, table.metric, table.fixed, [entry.tolist() for entry in table.entries]]
