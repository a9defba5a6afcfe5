"""What a person writes for a FLOPs target."""

from __future__ import annotations

import re

from nasedu.errors import ParameterError
from nasedu.spaces.base import SearchSpace
from nasedu.tables.table import LookupTable
from nasedu.tables.within import within


def read_target(text: str, table: LookupTable, space: SearchSpace) -> float:
    """A FLOPs target in MACs.

        text: "hand" (the hand-designed network's), "40%" of the reachable range, or "70 GFLOPs".
        table: of MACs.
        space: the table's.

    Raises `ParameterError` when it cannot be read, `BudgetError` when it is out of reach.
    """
    low, high = table.bounds()
    if str(text).strip() == "hand":
        return table(space.hand_designed)
    match = re.fullmatch(r"\s*([0-9.]+(?:[eE][+-]?[0-9]+)?)\s*(%|[GM]FLOPs)\s*", str(text))
    try:
        number = float(match.group(1))
    except (AttributeError, ValueError):
        raise ParameterError(f'target {text!r}: write "hand", "40%" or "0.1 GFLOPs"') from None
    if match.group(2) == "%":
        target = low + number / 100 * (high - low)
    else:
        target = number * {"G": 1e9, "M": 1e6}[match.group(2)[0]] / 2
    within(table, target)  # refuses what is out of reach, or in a gap, before anything is trained
    return target
