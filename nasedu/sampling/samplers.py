"""The samplers by name, so that any of them trains any space."""

from __future__ import annotations

import inspect
from collections.abc import Sequence

from torch import Tensor

from nasedu.errors import check_name
from nasedu.sampling.paths import Gates, Gumbel, Sampler, Sandwich, Softmax, StrictFairness, Uniform, extremes
from nasedu.sampling.relax import uniform_logits
from nasedu.spaces.base import SearchSpace
from nasedu.tables.table import LookupTable

Logits = Sequence[Tensor] | None


def names() -> list[str]:
    """The names that `create` accepts."""
    return list(_SAMPLERS)


def create(name: str, space: SearchSpace, **options) -> Sampler:
    """A sampler for a space, by name. Raises `UnknownName`, also for an option's name, and `ParameterError`.

    Options: `n` and `table`, by default of MACs, for "sandwich"; `logits`, by default zeros, for "softmax", "gumbel"
    and "gates"; and those of the classes `Softmax`, `Gumbel` and `Gates`.
    """
    make = _SAMPLERS[check_name("sampler", name, _SAMPLERS)]
    valid = list(inspect.signature(make).parameters)[1:]
    for option in options:
        check_name(f"option of {name}", option, valid)
    return make(space, **options)


def _sandwich(space: SearchSpace, n: int = 4, table: LookupTable | None = None) -> Sampler:
    return Sandwich(*extremes(table or LookupTable.build(space, "macs")), n)


def _softmax(space: SearchSpace, logits: Logits = None, temperature: float = 1.0) -> Sampler:
    return Softmax(_logits(space, logits), temperature)


def _gumbel(space: SearchSpace, logits: Logits = None, start: float = 5.0, end: float = 0.1) -> Sampler:
    return Gumbel(_logits(space, logits), start, end)


def _gates(space: SearchSpace, logits: Logits = None, mode: str = "full") -> Sampler:
    return Gates(_logits(space, logits), mode)


def _logits(space: SearchSpace, logits: Logits) -> Sequence[Tensor]:
    return uniform_logits(space.choices) if logits is None else logits


_SAMPLERS = {
    "uniform": lambda space: Uniform(),
    "fair": lambda space: StrictFairness(),
    "sandwich": _sandwich,
    "softmax": _softmax,
    "gumbel": _gumbel,
    "gates": _gates,
}
