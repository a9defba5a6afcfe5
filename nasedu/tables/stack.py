"""Several tables of one space, priced together by one matrix product."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from nasedu.errors import TableError
from nasedu.spaces.base import Path, SearchSpace
from nasedu.supernet.mixed import dense

if TYPE_CHECKING:
    from nasedu.tables.table import LookupTable


def same_space(tables: Iterable[LookupTable], space: SearchSpace) -> None:
    """Raise `TableError` unless every table is of `space`: the same layers, choices and input."""
    for table in tables:
        if table.space is not space and table.space.fingerprint != space.fingerprint:
            named = [f"{s.name} at {list(s.input_shape)} ({s.fingerprint})" for s in (table.space, space)]
            raise TableError(f"the {table.metric} table is of {named[0]}, it is to price {named[1]}")


class TableStack:
    """Several tables of one space, priced together: one small matrix product gives all their expectations.

    Raises `TableError` for tables of several spaces.
    """

    def __init__(self, tables: Sequence[LookupTable]):
        self.space = tables[0].space
        same_space(tables, self.space)
        self.fixed = torch.tensor([table.fixed for table in tables], dtype=torch.float64).float()
        self.values = torch.stack([torch.cat([e.flatten() for e in table.entries]) for table in tables], 1).float()
        self.select = _selectors(self.space)

    def expected(self, weights: Tensor) -> Tensor:
        """Weights (..., decisions, most choices), padded with zeros, to the tables' expectations (..., tables)."""
        flat = weights.flatten(-2)
        joint = math.prod(flat @ select + offset for select, offset in self.select)
        return self.fixed + joint @ self.values


def padded(path: Path, space: SearchSpace) -> Tensor:
    """A path as one tensor of weights (..., decisions, most choices), zero where a decision has fewer choices."""
    most = max(space.choices)
    rows = []
    for entry, n in zip(path, space.choices, strict=True):
        rows.append(nn.functional.pad(dense(entry, n), (0, most - n)))
    return torch.stack(rows, -2)


def _selectors(space: SearchSpace) -> list[tuple[Tensor, Tensor]]:
    """Per axis of a decision group, the 0/1 matrix (decisions * most, entries) that picks its weight for every entry.

    A group with fewer axes than the largest picks the constant 1 through the offset (entries,).
    """
    most, arity = max(space.choices), max(map(len, space.groups))
    picks = []
    for group in space.groups:
        for index in itertools.product(*(range(space.choices[d]) for d in group)):
            picks.append([d * most + i for d, i in zip(group, index, strict=True)] + [-1] * (arity - len(group)))
    columns = torch.tensor(picks).T
    width = len(space.choices) * most
    one_hot = [nn.functional.one_hot(c.clamp_min(0), width).T.float() * (c >= 0) for c in columns]
    return [(m.contiguous(), (c < 0).float()) for m, c in zip(one_hot, columns, strict=True)]
