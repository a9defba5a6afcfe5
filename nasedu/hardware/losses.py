"""Terms of a search's loss that keep a cost in bounds: functions of a path's weights that return a scalar tensor."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from torch import Tensor

from nasedu.errors import ParameterError
from nasedu.hardware.table import LookupTable

HardwareTerm = Callable[[Sequence[Tensor]], Tensor]


def target_loss(table: LookupTable, target: float, weight: float = 1.0) -> HardwareTerm:
    """weight * (E / target - 1)^2, with E the expectation of `table` under the path: two-sided, and free of units.

    `target` is in the table's unit. Raises `ParameterError` for one that is not positive.
    """
    if not target > 0:
        raise ParameterError(f"a target must be positive, got {target} {table.unit}")

    def term(path: Sequence[Tensor]) -> Tensor:
        # tables live on the CPU; a scalar from there joins a loss on any device
        expected = table.expected([entry.cpu() if isinstance(entry, Tensor) else entry for entry in path])
        return weight * (expected.squeeze() / target - 1) ** 2

    term.identity = [table.metric, table.fixed, [e.tolist() for e in table.entries], float(target), float(weight)]
    return term
