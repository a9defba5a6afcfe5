"""The lookup table: a fixed part plus one entry per choice of every decision group.

It is exact on an architecture, and differentiable in expectation on weights. FLOPs, parameters, latency, depth and
WZDNAS's zero-cost maps are all tables.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path as FilePath

import numpy as np
import torch
from torch import Tensor, nn

from nasedu.errors import ArchitectureError, TableError
from nasedu.progress import Progress, silent
from nasedu.spaces.base import Arch, Path, SearchSpace
from nasedu.spaces.chain import Link, arch_of, best
from nasedu.supernet.mixed import dense
from nasedu.tables import file as table_file
from nasedu.tables.metrics import METRICS
from nasedu.tables.pricing import price


@dataclass
class LookupTable:
    """`fixed` plus, per decision group, a tensor with one axis per decision: entry[i, j] is the cost of (i, j).

    `metric` is one of `metrics.METRICS`, in its unit; with `own` it is one of your own, in any unit and of any sign,
    which cannot be saved. `provenance` says how the figures came about.
    Raises `TableError` for another metric or unit, and for entries of other shapes, not finite, or below 0.
    """

    space: SearchSpace
    metric: str
    unit: str
    fixed: float
    entries: list[Tensor]
    provenance: dict = field(default_factory=dict)
    own: bool = field(default=False, kw_only=True)

    def __post_init__(self):
        self._check_metric()
        shapes = [tuple(self.space.choices[d] for d in group) for group in self.space.groups]
        got = [tuple(entry.shape) for entry in self.entries]
        if got != shapes:
            raise TableError(f"a {self.metric} table of {self.space.name} has entries of shape {shapes}, got {got}")
        if not all(bool(entry.isfinite().all()) for entry in self.entries) or not math.isfinite(self.fixed):
            raise TableError(f"the {self.metric} table of {self.space.name} holds entries that are not finite")
        if not self.own and METRICS[self.metric].cost:
            self._check_signs()

    def _check_metric(self) -> None:
        where = f"a table of {self.space.name}"
        if self.own and self.metric in METRICS:
            raise TableError(f"{where}: {self.metric} is nasedu's, a metric of your own needs another name")
        if not self.own:
            table_file.check_unit(self.metric, self.unit, where)

    def _check_signs(self) -> None:
        where = f"the {self.metric} table of {self.space.name}"
        for name, entry in zip(self.space.group_names, self.entries, strict=True):
            if bool((entry < 0).any()):
                raise TableError(f"{where} has {float(entry.min()):g} {self.unit} at {name}: a cost is at least 0")
        if self.fixed < 0:
            raise TableError(f"{where} has a fixed part of {self.fixed:g} {self.unit}: a cost is at least 0")

    @property
    def identity(self) -> list:
        """What a stored state compares: space, metric, unit and values."""
        return [self.space.fingerprint, self.metric, self.unit, self.fixed, self.entries]

    def __call__(self, arch: Arch) -> float:
        """The value of an architecture, in `unit`. Raises `ArchitectureError`."""
        arch = self.space.validate(arch)
        return self.fixed + sum(row[tuple(arch[d] for d in group)] for group, row in self._prepared[0])

    @property
    def _prepared(self) -> tuple[list[tuple[tuple[int, ...], dict[Arch, float]]], TableStack]:
        """`_rows` and `_stack`, made anew where a figure was changed in place."""
        figures = self.fixed, *((id(entry), entry._version) for entry in self.entries)
        if self.__dict__.get("_figures") != figures:
            self._figures, self._kept = figures, (self._rows(), TableStack([self]))
        return self._kept

    def _rows(self) -> list[tuple[tuple[int, ...], dict[Arch, float]]]:
        """Every decision group with the price of each option: 20 times faster to read than tensors, one by one."""
        options = [itertools.product(*map(range, entry.shape)) for entry in self.entries]
        prices = [dict(zip(o, e.flatten().tolist(), strict=True)) for o, e in zip(options, self.entries, strict=True)]
        return list(zip(self.space.groups, prices, strict=True))

    def expected(self, path: Path) -> Tensor:
        """The expectation under independent choices: fixed + sum over groups of sum_ij p_i q_j entry[i, j].

        `path` holds weights (..., n_choices), of any precision, or indices per decision; the result has shape (...)
        and is float32. Raises `ArchitectureError` for weights of another space and indices out of range.
        """
        return self._prepared[1].expected(padded(path, self.space).float())[..., 0]

    def bounds(self) -> tuple[float, float]:
        """The lowest and the highest value that any architecture reaches."""
        costs, chain = self.by_option, self.space.chain
        most, least = (
            sum(float(c[i]) for c, i in zip(costs, chosen, strict=True)) for chosen in self._chosen(chain, costs)
        )
        return self.fixed + least, self.fixed + most

    def of_choices(self, decision: int) -> Tensor:
        """What each choice of a decision costs (n_choices,), the mean over all that is decided with it, by index."""
        found = [
            entry.movedim(group.index(decision), 0).reshape(self.space.choices[decision], -1).mean(1)
            for group, entry in zip(self.space.groups, self.entries, strict=True)
            if decision in group
        ]
        return torch.stack(found).sum(0)

    def extremes(self) -> tuple[Arch, Arch]:
        """The architectures of the highest and of the lowest cost.

        Of those that cost the same it is the first, where no slots share decisions.
        """
        most, least = self._chosen(self.space.chain, self.by_option)
        return tuple(arch_of(self.space.chain, chosen, len(self.space.choices)) for chosen in (most, least))

    @property
    def by_option(self) -> list[np.ndarray]:
        """The entries of every link of the space's chain (options,)."""
        pairs = zip(self.entries, self.space.chain, strict=True)
        return [entry.flatten().double().numpy()[link.entry] for entry, link in pairs]

    @staticmethod
    def _chosen(chain: list[Link], costs: list[np.ndarray]) -> list[list[int]]:
        return [best(chain, [sign * c for c in costs]) for sign in (1, -1)]

    @classmethod
    def build(cls, space: SearchSpace, metric: str, *, progress: Progress = silent, **options) -> LookupTable:
        """Count or measure every choice of every slot at its place in the network.

            space: any whose architectures are lists of decisions.
            metric: macs, params, depth (blocks that run: `metrics.depth`), boundaries (pieces that run) or latency_ms.
            progress: told of every piece; equal ones are priced once.
            options: those of `hardware.measure`, for latency_ms.

        Raises `UnknownName`, `ParameterError`, and as `measure`.
        """
        return cls(space, metric, METRICS[metric].unit, *price(space, metric, progress, options))

    def save(self, path: str | FilePath) -> None:
        """Write as JSON (see `tables.file`). Raises `TableError` for a metric in another unit than its own."""
        content = {name: getattr(self, name) for name in ("metric", "unit", "provenance", "fixed", "entries")}
        table_file.write(path, self.space, content)

    @classmethod
    def load(cls, path: str | FilePath, space: SearchSpace) -> LookupTable:
        """Read what `save` wrote. Raises `TableError` when it is malformed or was made for another space."""
        return cls(space, **table_file.read(path, space))


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
        self.space, self.tables = tables[0].space, list(tables)
        same_space(tables, self.space)
        self.fixed = torch.tensor([table.fixed for table in tables], dtype=torch.float32)
        self.values = torch.stack([_column(table) for table in tables], 1)
        self.select = _selectors(tuple(self.space.choices), tuple(self.space.groups))

    def refresh(self, tables: Sequence[LookupTable]) -> None:
        """Other tables in the place of these; only the values of those that changed are copied. Raises `TableError`."""
        same_space(tables, self.space)
        for i, (old, new) in enumerate(zip(self.tables, tables, strict=True)):
            if new is not old:
                self.fixed[i], self.values[:, i] = new.fixed, _column(new)
        self.tables = list(tables)

    def expected(self, weights: Tensor) -> Tensor:
        """Weights (..., decisions, most choices), padded with zeros, to the tables' expectations (..., tables)."""
        flat = weights.flatten(-2)
        joint = math.prod(flat @ select + offset for select, offset in self.select)
        return self.fixed + joint @ self.values


def padded(path: Path, space: SearchSpace) -> Tensor:
    """A path as one tensor of weights (..., decisions, most choices), zero where a decision has fewer choices.

    Raises `ArchitectureError` for weights of another space and indices out of range.
    """
    shapes = [entry.shape[-1] if isinstance(entry, Tensor) and entry.ndim else None for entry in path]
    pairs = zip(shapes, space.choices, strict=False)
    if len(path) != len(space.choices) or any(n not in (None, wanted) for n, wanted in pairs):
        raise ArchitectureError(f"a path of {space.name} has weights for {space.choices} choices, got {shapes}")
    most, rows = max(space.choices), []
    for entry, decision in zip(path, space.decisions, strict=True):
        n = len(decision.choices)
        entry = int(entry) if isinstance(entry, np.integer) else entry
        if isinstance(entry, int) and not 0 <= entry < n:
            raise ArchitectureError(f"{decision.name} has {n} choices, got index {entry}")
        rows.append(nn.functional.pad(dense(entry, n), (0, most - n)))
    return torch.stack(rows, -2)


def _column(table: LookupTable) -> Tensor:
    return torch.cat([entry.flatten() for entry in table.entries]).float()


@lru_cache(maxsize=16)
def _selectors(choices: tuple[int, ...], groups: tuple[tuple[int, ...], ...]) -> list[tuple[Tensor, Tensor]]:
    """Per axis of a decision group, the 0/1 matrix (decisions * most, entries) that picks its weight for every entry.

    A group with fewer axes than the largest picks the constant 1 through the offset (entries,).
    """
    most, arity = max(choices), max(map(len, groups))
    picks = []
    for group in groups:
        for index in itertools.product(*(range(choices[d]) for d in group)):
            picks.append([d * most + i for d, i in zip(group, index, strict=True)] + [-1] * (arity - len(group)))
    columns = torch.tensor(picks).T
    width = len(choices) * most
    one_hot = [nn.functional.one_hot(c.clamp_min(0), width).T.float() * (c >= 0) for c in columns]
    return [(m.contiguous(), (c < 0).float()) for m, c in zip(one_hot, columns, strict=True)]
