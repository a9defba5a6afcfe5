"""An objective and budgets as one loss of expected costs, for a descent over tables.

The objective is a table, higher is better: a zero-cost map, or an additive surrogate of accuracy.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from nasedu.errors import ParameterError
from nasedu.tables.budget import table_identity
from nasedu.tables.losses import HardwareLoss, as_loss
from nasedu.tables.stack import same_space
from nasedu.tables.table import LookupTable

Term = tuple[LookupTable, "float | Sequence[float] | Tensor", HardwareLoss | str]


class ObjectiveLoss:
    """Loss and gradient of expected costs (rows, tables), in the order of `tables`: the objective, then the terms'.

    The task loss is (highest - objective) / (highest - lowest), between 0 and 1 whatever the table, so that weights
    mean the same in every space. `terms` are (table, target, loss) as in `tables.Budget`, with one target or one for
    each row. Raises `ParameterError` for an objective that is the same everywhere, or a target that is not positive,
    `TableError` for tables of several spaces.
    """

    def __init__(self, objective: LookupTable, terms: Sequence[Term]):
        self.tables = [objective, *(table for table, _, _ in terms)]
        same_space(self.tables, objective.space)
        self.low, self.high = objective.bounds()
        if not self.high > self.low:
            raise ParameterError(f"every architecture has the same {objective.metric}: there is nothing to search for")
        self.losses = [as_loss(loss) for _, _, loss in terms]
        self.targets = [torch.as_tensor(target, dtype=torch.float32) for _, target, _ in terms]
        for loss, target in zip(self.losses, self.targets, strict=True):
            loss.check(target)

    def task(self, costs: Tensor) -> Tensor:
        """How far the objective is from its highest value, as a share of its range: (rows, tables) to (rows,)."""
        return (self.high - costs[..., 0]) / (self.high - self.low)

    def value(self, costs: Tensor) -> Tensor:
        """The loss: (rows, tables) to (rows,)."""
        total = self.task(costs)
        for i, (loss, target) in enumerate(zip(self.losses, self.targets, strict=True), 1):
            total = loss.total(total, costs[..., i], target)
        return total

    def gradient(self, costs: Tensor) -> Tensor:
        """d loss / d costs: (rows, tables)."""
        with torch.enable_grad():
            costs = costs.detach().requires_grad_()
            return torch.autograd.grad(self.value(costs).sum(), costs)[0]

    @torch.no_grad()
    def update(self, costs: Tensor) -> None:
        """Let the losses that learn see what the most probable architectures cost: (rows, tables)."""
        for i, (loss, target) in enumerate(zip(self.losses, self.targets, strict=True), 1):
            loss.update(costs[..., i], target)

    def fresh(self) -> ObjectiveLoss:
        """The same loss before any update; a descent works on such a copy."""
        terms = zip(self.tables[1:], self.targets, (loss.fresh() for loss in self.losses), strict=True)
        return ObjectiveLoss(self.tables[0], list(terms))

    def state_dict(self) -> dict:
        """What `update` has changed, by term."""
        return {str(i): loss.state_dict() for i, loss in enumerate(self.losses)}

    def load_state_dict(self, state: dict) -> None:
        """Go on from `state_dict()`."""
        for i, loss in enumerate(self.losses):
            loss.load_state_dict(state[str(i)])

    @property
    def identity(self) -> list:
        """What a stored descent compares: tables, targets, losses and their options."""
        tables = [table_identity(table) for table in self.tables]
        return [tables, [target.tolist() for target in self.targets], [loss.identity for loss in self.losses]]
