"""How far apart two architectures are: in how many places they differ, and in how many that matter."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from nasedu.errors import ParameterError
from nasedu.spaces.base import Arch, SearchSpace
from nasedu.tables.table import LookupTable


def hamming(a: Sequence, b: Sequence) -> int:
    """In how many places two architectures, or two texts of the same length, differ. Raises `ParameterError`."""
    if len(a) != len(b):
        raise ParameterError(f"a Hamming distance needs two of the same length, got {len(a)} and {len(b)}")
    return sum(x != y for x, y in zip(a, b, strict=True))


@dataclass(frozen=True)
class GroupDistance:
    """RD-NAS's group distance: per decision 0 for the same choice, 0.5 within a group of choices, 2 across groups.

    groups: for every decision, the group of each of its choices; `group_distance` makes them by what has weights.
    """

    groups: tuple[tuple[int, ...], ...]

    def __call__(self, a: Arch, b: Arch) -> float:
        pairs = zip(self.groups, a, b, strict=True)
        return sum(0.0 if i == j else 0.5 if group[i] == group[j] else 2.0 for group, i, j in pairs)


def group_distance(space: SearchSpace) -> GroupDistance:
    """The distance whose groups are operations with weights and operations without, as a skip or a pool is.

    A decision that shares its blocks with others, as widths and depths do, chooses no operation: its choices are one
    group.
    """
    weights = LookupTable.build(space, "params")
    alone = {group[0] for group in space.groups if len(group) == 1} - {d for g in space.groups if len(g) > 1 for d in g}
    groups = [
        tuple((weights.of_choices(d) > 0).int().tolist()) if d in alone else (0,) * n
        for d, n in enumerate(space.choices)
    ]
    return GroupDistance(tuple(groups))
