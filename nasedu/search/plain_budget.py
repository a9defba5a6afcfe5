"""Which structures a zero-shot search may visit: parameters, multiply-accumulates, layers, latency.

The counts are exact and in closed form, so that a structure is refused before anything is built.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from nasedu.errors import BudgetError, ParameterError, check_number, figure
from nasedu.hardware.about import describe_device
from nasedu.hardware.latency import measure
from nasedu.randomness import seeded
from nasedu.spaces.plainnet.mutation import RULES
from nasedu.spaces.plainnet.registry import show
from nasedu.spaces.plainnet.space import PlainArch, PlainNetSpace
from nasedu.storage import identity, load_state, restoring, save_state

UNITS = {"params": "parameters", "macs": "MACs", "layers": "layers", "latency_ms": "ms"}


@dataclass(frozen=True, eq=False)
class PlainBudget:
    """True of the architectures of `space` within every limit that is given; None is no limit.

    `params` and `macs` bound the exact counts, `layers` the depth ΣL (Zen-NAS's max_layers), `latency_ms` the value of
    `latency(arch)` in ms, such as a `PlainLatency`. Raises `ParameterError` for a limit that is no positive number.
    """

    space: PlainNetSpace
    params: float | None = None
    macs: float | None = None
    layers: int | None = None
    latency_ms: float | None = None
    latency: Callable[[PlainArch], float] | None = None

    def __post_init__(self):
        for metric, limit in self.limits.items():
            check_number(f"a budget of {metric}", limit, above=True)
        if (self.latency_ms is None) != (self.latency is None):
            raise ParameterError("a budget of latency_ms needs `latency`, a function that tells an architecture's ms")

    @property
    def limits(self) -> dict[str, float]:
        """The limits that are given, by metric."""
        return {metric: getattr(self, metric) for metric in UNITS if getattr(self, metric) is not None}

    def values(self, arch: Sequence) -> dict[str, float]:
        """What an architecture costs, for every limit that is given, from the cheapest to find out to the dearest."""
        known = self._counted(arch)
        return {m: self.latency(arch) if m == "latency_ms" else known[m] for m in self.limits}

    def __call__(self, arch: Sequence) -> bool:
        """Whether `arch` keeps to every limit."""
        counted = self._counted(arch)
        if any(counted[metric] > limit for metric, limit in self.limits.items() if metric in counted):
            return False  # before the latency, which takes a measurement
        return self.latency is None or self.latency(arch) <= self.latency_ms

    def check(self, start: Sequence, rule: str | None = None) -> None:
        """Raise `BudgetError` where a limit is below the smallest network that mutation can make of `start`.

        It keeps the number of blocks and their strides, so that the smallest has 8 channels and one layer throughout.
        Without the mutation's `rule`, that of the widest reach is taken. A latency is not checked: nobody knows which
        network has the least; `unmet` tells what a search has seen.
        """
        for metric, limit in self.limits.items():
            if metric == "latency_ms":
                continue
            rules = RULES if rule is None else [rule]
            smallest = [self.space.smallest(start, "macs" if metric == "macs" else "params", r) for r in rules]
            value = min(self._counted(arch)[metric] for arch in smallest)
            if limit < value:
                unit, text = UNITS[metric], self.space.format(start)
                raise BudgetError(
                    f"no descendant of {text[:60]}... has at most {figure(limit)} {unit}: "
                    f"the reachable range is {figure(value)} {unit} upwards"
                )

    def unmet(self, tried: Sequence[PlainArch]) -> BudgetError:
        """The error that says what was wanted and what the architectures that were `tried` need."""
        wanted = ", ".join(f"{figure(limit)} {UNITS[metric]}" for metric, limit in self.limits.items())
        values = [self.values(arch) for arch in tried]
        ranges = [
            f"{figure(min(v[m] for v in values))} to {figure(max(v[m] for v in values))} {UNITS[m]}"
            for m in self.limits
        ]
        return BudgetError(
            f"no architecture within {wanted} was found; {len(tried)} that were tried have {', '.join(ranges)}"
        )

    def _counted(self, arch: Sequence) -> dict[str, float]:
        cost = self.space.cost(arch)
        return {"params": cost.params, "macs": cost.macs, "layers": self.space.depth(arch)}


@dataclass
class PlainLatency:
    """Milliseconds of an architecture on this device: the sum of its blocks', each measured once and kept in `table`.

    A call adds up what `table` holds and measures what it lacks, so that a search visits a block again at no cost and
    gets the same value. Sums leave out what blocks share; `hardware.measure` on a built network shows how much.
    `options` are those of `hardware.measure` (batch, repeats, threads, device); values are ms per batch.

    `keep` is a file that holds `table` from one run to the next, so that a search that goes on has the same networks
    within its budget. Without it, or where it was lost, blocks are measured anew, and a stored search starts afresh.
    Raises `CheckpointError` where it is damaged.
    """

    space: PlainNetSpace
    table: dict[str, float] = field(default_factory=dict)
    options: Mapping = field(default_factory=dict)
    keep: str | Path | None = None

    def __post_init__(self):
        device = describe_device(self.options.get("device"), self.options.get("backend"))
        self._owner = identity(self.space, self.options, device)
        saved = load_state(self.keep, self._owner) if self.keep else None
        self._mark = secrets.token_hex(8)
        if saved is not None:
            with restoring(self.keep):
                self._mark = str(saved["mark"])
                self.table |= {str(key): float(ms) for key, ms in saved["table"].items()}

    @property
    def identity(self) -> list:
        """What a stored state compares; not `table`, which grows as the search goes on, but the mark of its begin."""
        return [self.space, self.options, self._mark]

    def __call__(self, arch: Sequence) -> float:
        total, size = 0.0, self.space.input_size
        for block in self.space.validate(arch):
            key = f"{show(block)}@{size}"
            if key not in self.table:
                self.table[key] = self._measured(block, size)
                if self.keep:
                    save_state(self.keep, {"mark": self._mark, "table": self.table}, self._owner)
            total += self.table[key]
            size = self.space.kinds[block.name].cost(block, size)[1]
        return total

    def _measured(self, block: tuple, size: int) -> float:
        with seeded(0):  # weights are drawn from PyTorch's own generator
            module = self.space.block(block)
        return measure(module, (block.c_in, size, size), **self.options).median
