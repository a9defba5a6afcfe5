"""The lookup table: a fixed part plus one entry per choice of every decision group.

It is exact on an architecture, and differentiable in expectation on weights. FLOPs, parameters, latency, depth and
WZDNAS's zero-cost maps are all tables.
"""

from __future__ import annotations

import datetime
import itertools
import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path as FilePath

import torch
from torch import Tensor, nn

from nasedu.blocks import Bottleneck
from nasedu.errors import ArchitectureError, TableError, check_name
from nasedu.hardware.count import count
from nasedu.hardware.latency import describe_device, measure
from nasedu.hardware.pieces import pieces
from nasedu.spaces.base import Arch, Path, SearchSpace
from nasedu.storage import write_atomically
from nasedu.supernet.mixed import dense

UNITS = {"macs": "MACs", "params": "parameters", "depth": "bottlenecks", "latency_ms": "ms"}
SCHEMA = "nasedu-lookup-1"


@dataclass
class LookupTable:
    """`fixed` plus, per decision group, a tensor with one axis per decision: entry[i, j] is the cost of (i, j).

    `provenance` says how the figures came about.
    """

    space: SearchSpace
    metric: str
    unit: str
    fixed: float
    entries: list[Tensor]
    provenance: dict = field(default_factory=dict)

    def __post_init__(self):
        shapes = [tuple(self.space.choices[d] for d in group) for group in self.space.groups]
        got = [tuple(entry.shape) for entry in self.entries]
        if got != shapes:
            raise TableError(f"a {self.metric} table of {self.space.name} has entries of shape {shapes}, got {got}")
        if not all(bool(entry.isfinite().all()) for entry in self.entries) or not math.isfinite(self.fixed):
            raise TableError(f"the {self.metric} table of {self.space.name} holds entries that are not finite")

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

        `path` holds weights (..., n_choices) or indices per decision; the result has shape (...).
        Raises `ArchitectureError` for weights of another space.
        """
        shapes = [entry.shape[-1] if isinstance(entry, Tensor) and entry.ndim else None for entry in path]
        if len(path) != len(self.space.choices) or any(
            n not in (None, wanted) for n, wanted in zip(shapes, self.space.choices, strict=True)
        ):
            raise ArchitectureError(
                f"a path of {self.space.name} has weights for {self.space.choices} choices, got {shapes}"
            )
        return TableStack([self]).expected(padded(path, self.space))[..., 0]

    def bounds(self) -> tuple[float, float]:
        """The lowest and the highest value that any architecture reaches."""
        low = self.fixed + sum(float(entry.min()) for entry in self.entries)
        return low, self.fixed + sum(float(entry.max()) for entry in self.entries)

    @classmethod
    def build(cls, space: SearchSpace, metric: str, **options) -> LookupTable:
        """Count or measure every choice of every slot at its place in the network.

        `metric`: macs, params, depth (bottlenecks) or latency_ms (options as in `hardware.latency.measure`).
        Raises `UnknownName`.
        """
        check_name("metric", metric, UNITS)
        device = options.get("device", "cpu") if metric == "latency_ms" else "meta"
        fixed, entries = (
            0.0,
            [torch.zeros([space.choices[d] for d in group], dtype=torch.float64) for group in space.groups],
        )
        for piece in pieces(space):
            cost = _PRICES[metric](piece.make(device), piece.input_shapes, **options)
            if piece.group is None:
                fixed += cost
            else:
                entries[piece.group][piece.option] += cost
        return cls(space, metric, UNITS[metric], float(fixed), entries, _provenance(metric, options))

    def save(self, path: str | FilePath) -> None:
        """Write as JSON with schema, unit, choices, the space's fingerprint and provenance."""
        slots = {
            name: {
                "decisions": {self.space.decisions[d].name: list(self.space.decisions[d].choices) for d in group},
                "values": [[_plain(v) for v in row] for row in entry.reshape(entry.shape[0], -1).tolist()],
            }
            for name, group, entry in zip(self.space.group_names, self.space.groups, self.entries, strict=True)
        }
        stored = {
            "schema": SCHEMA,
            "space": self.space.name,
            "input_shape": list(self.space.input_shape),
            "fingerprint": self.space.fingerprint,
            "metric": self.metric,
            "unit": self.unit,
            "provenance": self.provenance,
            "fixed": _plain(self.fixed),
            "slots": slots,
        }
        write_atomically(path, _compact_rows(json.dumps(stored, indent=1)))

    @classmethod
    def load(cls, path: str | FilePath, space: SearchSpace) -> LookupTable:
        """Read what `save` wrote. Raises `TableError` when it is malformed or was made for another space."""
        try:
            stored = json.loads(FilePath(path).read_text())
        except (OSError, ValueError) as error:
            raise TableError(f"no lookup table can be read from {path}: {error}") from None
        if not isinstance(stored, dict) or stored.get("schema") != SCHEMA:
            raise TableError(f"{path} is no lookup table of nasedu (schema {SCHEMA!r})")
        try:
            return cls._read(stored, space, path)
        except (KeyError, TypeError, ValueError, RuntimeError) as error:
            if isinstance(error, TableError):
                raise
            raise TableError(f"{path} is malformed: {type(error).__name__} at {error}") from None

    @classmethod
    def _read(cls, stored: dict, space: SearchSpace, path: str | FilePath) -> LookupTable:
        if stored["fingerprint"] != space.fingerprint:
            raise TableError(
                f"{path} was made for {stored['space']} at {tuple(stored['input_shape'])}, "
                f"not for this {space.name} at {space.input_shape}: other layers, choices or classes"
            )
        entries = []
        for name, group in zip(space.group_names, space.groups, strict=True):
            values = torch.tensor(stored["slots"][name]["values"], dtype=torch.float64)
            entries.append(values.reshape([space.choices[d] for d in group]))
        return cls(space, stored["metric"], stored["unit"], stored["fixed"], entries, stored["provenance"])


class TableStack:
    """Several tables of one space, priced together: one small matrix product gives all their expectations."""

    def __init__(self, tables: Sequence[LookupTable]):
        self.space = tables[0].space
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


_PRICES: dict[str, Callable[..., float]] = {
    "macs": lambda module, shapes: count(module, *shapes).macs,
    "params": lambda module, shapes: sum(p.numel() for p in module.parameters() if p.requires_grad),
    "depth": lambda module, shapes: sum(isinstance(m, Bottleneck) for m in module.modules()),
    "latency_ms": lambda module, shapes, **options: measure(module, *shapes, **options).median,
}


def _provenance(metric: str, options: dict) -> dict:
    if metric != "latency_ms":
        return {"how": "counted by nasedu"}
    settings = {"batch": 1, "threads": 1, "repeats": 30, "precision": "float32"} | options
    made = {k: str(v) if isinstance(v, torch.device) else v for k, v in settings.items() if k != "device"}
    today = datetime.date.today().isoformat()
    return {"how": "measured by nasedu", "date": today} | describe_device(options.get("device", "cpu")) | made


def _plain(value: float) -> int | float:
    return int(value) if float(value).is_integer() else round(value, 6)


def _compact_rows(text: str) -> str:
    """Put every innermost list of a JSON text on one line."""
    lines, row = [], None
    for line in text.splitlines():
        if row is not None:
            row += line.strip() + (" " if line.endswith(",") else "")
            if line.strip().rstrip(",") == "]":
                lines.append(row.rstrip())
                row = None
        elif line.endswith("[") and not line.strip().startswith('"values"'):
            row = line
        else:
            lines.append(line)
    return "\n".join(lines) + "\n"
