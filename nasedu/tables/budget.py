"""Several budgets at once, and what is wanted within them: one loss of a path, and of expected costs."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from nasedu.errors import ParameterError, brief, check_kind
from nasedu.spaces.base import Path, SearchSpace
from nasedu.tables.losses import HardwareLoss, as_loss
from nasedu.tables.table import LookupTable, TableStack, padded

Term = tuple[LookupTable, float | Tensor, HardwareLoss | str]


class Budget:
    """Terms (table, target, loss), applied in order: each loss takes what the one before returned as its task loss.

    Losses that add may come in any order; one that multiplies scales all that comes before it. `tables` are those of
    the costs (..., tables) that the methods take and return: the objective, where there is one, then the terms'.

        terms: tables, targets in their units (one, or one for each row of costs), and losses or names of losses.
        objective: a table whose values are better when higher, such as a zero-cost map. How far it is from its highest
            value, as a share of its range, joins the task loss: between 0 and 1 whatever the table.

    Raises `ParameterError` for a target that is not positive, what is no table or loss, no term at all or an objective
    that is the same everywhere, `TableError` for tables of several spaces, `UnknownName`.
    """

    def __init__(self, terms: Sequence[Term], objective: LookupTable | None = None):
        self.terms = list(map(_checked, check_kind("terms of a budget", terms, Sequence, "(table, target, loss) each")))
        if not self.terms:
            raise ParameterError("a budget needs at least one (table, target, loss)")
        if objective is not None:
            check_kind("the objective", objective, LookupTable, "a LookupTable")
        self.objective, self._first = objective, int(objective is not None)
        self.tables = [*([objective] if objective else []), *(table for table, _, _ in self.terms)]
        self.stack = TableStack(self.tables)
        self.low, self.high = objective.bounds() if objective else (0.0, 1.0)
        if not self.high > self.low:
            raise ParameterError(f"every architecture has the same {objective.metric}: there is nothing to search for")
        self._in_closed_form = all(loss.in_closed_form for _, _, loss in self.terms)
        self._slopes, self._bent = self._sorted() if self._in_closed_form else (torch.empty(0), [])

    @property
    def space(self) -> SearchSpace:
        """The space of its tables."""
        return self.stack.space

    def __call__(self, task: Tensor | float, path: Path) -> Tensor:
        """The total loss, a scalar on the task loss's device; `path` as in `LookupTable.expected`."""
        return self.value(self.costs(path), task)

    def costs(self, path: Path) -> Tensor:
        """The tables' expectations of one path: (tables,), on the CPU, whose scalars join a loss on any device."""
        path = [entry.cpu() if isinstance(entry, Tensor) else entry for entry in path]
        return self.stack.expected(padded(path, self.space).float()).reshape(len(self.tables))

    def value(self, costs: Tensor, task: Tensor | float = 0.0) -> Tensor:
        """The loss of costs (..., tables) on top of a task loss: (...)."""
        if self.objective:
            task = task + (self.high - costs[..., 0]) / (self.high - self.low)
        for i, (_, target, loss) in enumerate(self.terms, self._first):
            task = loss.total(task, costs[..., i], target)
        return task

    def parts(self, costs: Tensor) -> Tensor:
        """What each term alone makes of costs (..., tables): (..., terms)."""
        terms = enumerate(self.terms, self._first)
        return torch.stack([loss.total(0.0, costs[..., i], target) for i, (_, target, loss) in terms], -1)

    def gradient(self, costs: Tensor) -> Tensor:
        """d value / d costs: (..., tables). In closed form where every loss has a slope, else by autograd."""
        if not self._in_closed_form:
            with torch.enable_grad():
                costs = costs.detach().requires_grad_()
                return torch.autograd.grad(self.value(costs).sum(), costs)[0]
        slopes = self._slopes.expand_as(costs).clone()
        for i, target, loss in self._bent:
            slopes[..., i] = loss.slope(costs[..., i], target)
        return slopes

    def _sorted(self) -> tuple[Tensor, list]:
        """The slopes (tables,) that do not depend on costs, 0 at the others; and those terms, by their columns."""
        slopes, bent = [-1 / (self.high - self.low)] * self._first, []
        for i, (_, target, loss) in enumerate(self.terms, self._first):
            slope = loss.slope(torch.ones(()), target)
            slopes.append(0.0 if isinstance(slope, Tensor) else slope)
            bent += [(i, target, loss)] if isinstance(slope, Tensor) else []
        return torch.tensor(slopes), bent

    @torch.no_grad()
    def learn(self, costs: Tensor) -> None:
        """Let the losses that learn see what the most probable architectures cost: (..., tables)."""
        for i, (_, target, loss) in enumerate(self.terms, self._first):
            loss.update(costs[..., i], target)

    def update(self, path: Path) -> None:
        """`learn` from what `path` costs: a search shows its most probable architecture."""
        self.learn(self.costs(path))

    def fresh(self) -> Budget:
        """The same budget before any update; a search works on such a copy."""
        return Budget([(table, target, loss.fresh()) for table, target, loss in self.terms], self.objective)

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
        targets = [torch.as_tensor(target).tolist() for _, target, _ in self.terms]
        return [list(self.tables), targets, [loss.identity for _, _, loss in self.terms], self._first]


def _checked(term: Term) -> tuple[LookupTable, float | Tensor, HardwareLoss]:
    """A term whose target is a number, or a tensor where there is one for each row; with its loss."""
    if not isinstance(term, tuple | list) or len(term) != 3 or not isinstance(term[0], LookupTable):
        raise ParameterError(f"a term of a budget is (table, target, loss), got {brief(term)}")
    table, target, loss = term[0], term[1], as_loss(term[2])
    loss.check(target)
    return table, target.float() if isinstance(target, Tensor) and target.ndim else float(target), loss
