"""The lookup table: a fixed part plus one entry per choice of every decision group.

It is exact on an architecture, and differentiable in expectation on weights. FLOPs, parameters, latency, depth and
WZDNAS's zero-cost maps are all tables.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path as FilePath

from torch import Tensor

from nasedu.errors import ArchitectureError, TableError, check_name
from nasedu.spaces.base import Arch, Path, SearchSpace
from nasedu.tables import file as table_file
from nasedu.tables.pricing import Progress, price
from nasedu.tables.stack import TableStack, padded

# What costs something, and what a score is measured in: a cost is never below 0, a score of a zero-cost map may be.
UNITS = {
    "macs": "MACs",
    "params": "parameters",
    "depth": "bottlenecks",
    "boundaries": "boundaries",
    "latency_ms": "ms",
}
SCORES = {"naswot": "log |det K| per image", "snip": "log saliency", "synflow": "log saliency"}


@dataclass
class LookupTable:
    """`fixed` plus, per decision group, a tensor with one axis per decision: entry[i, j] is the cost of (i, j).

    `metric` is one of `UNITS` (a cost, at least 0) or `SCORES`, in its unit; with `own` it is one of your own, in any
    unit and of any sign, which cannot be saved. `provenance` says how the figures came about.
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
        if self.metric in UNITS:
            self._check_signs()

    def _check_metric(self) -> None:
        where, known = f"a table of {self.space.name}", UNITS | SCORES
        if self.own and self.metric in known:
            raise TableError(f"{where}: {self.metric} is nasedu's, a metric of your own needs another name")
        if not self.own:
            table_file.check_unit(self.metric, self.unit, known, where)

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
        return self.fixed + sum(row[tuple(arch[d] for d in group)] for group, row in self._rows)

    @cached_property
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
        shapes = [entry.shape[-1] if isinstance(entry, Tensor) and entry.ndim else None for entry in path]
        if len(path) != len(self.space.choices) or any(
            n not in (None, wanted) for n, wanted in zip(shapes, self.space.choices, strict=True)
        ):
            raise ArchitectureError(
                f"a path of {self.space.name} has weights for {self.space.choices} choices, got {shapes}"
            )
        for entry, decision in zip(path, self.space.decisions, strict=True):
            if isinstance(entry, int) and not 0 <= entry < len(decision.choices):
                raise ArchitectureError(f"{decision.name} has {len(decision.choices)} choices, got index {entry}")
        return self._stack.expected(padded(path, self.space).float())[..., 0]

    @cached_property
    def _stack(self) -> TableStack:
        """What `expected` multiplies with: made once, as a search asks twice a step."""
        return TableStack([self])

    def bounds(self) -> tuple[float, float]:
        """The lowest and the highest value that any architecture reaches."""
        low = self.fixed + sum(float(entry.min()) for entry in self.entries)
        return low, self.fixed + sum(float(entry.max()) for entry in self.entries)

    @classmethod
    def build(cls, space: SearchSpace, metric: str, *, progress: Progress | None = None, **options) -> LookupTable:
        """Count or measure every choice of every slot at its place in the network.

        `metric`: macs, params, depth (bottlenecks), boundaries (pieces that run) or latency_ms, the only one that takes
        `options`: those of `hardware.measure`. `progress(done, total)` is called after every piece.
        Raises `UnknownName`, `ParameterError`, and as `measure`.
        """
        check_name("metric", metric, UNITS)
        fixed, entries, provenance = price(space, metric, progress, options)
        return cls(space, metric, UNITS[metric], fixed, entries, provenance)

    def save(self, path: str | FilePath) -> None:
        """Write as JSON (see `hardware.table_file`). Raises `TableError` for a metric in another unit than its own."""
        table_file.write(self, path)

    @classmethod
    def load(cls, path: str | FilePath, space: SearchSpace) -> LookupTable:
        """Read what `save` wrote. Raises `TableError` when it is malformed or was made for another space."""
        return cls(space, **table_file.read(path, space, UNITS | SCORES))
