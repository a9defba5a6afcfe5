"""Which paths a step of supernet training takes: a sampler turns a space into a list of paths.

`sampler.paths(space, generator)` gives them in the order in which they run; a step back-propagates each, and the
optimizer steps once. Every draw comes from `generator`. Samplers are values: `sampler.at(fraction)` is the sampler for
that share of a training, from 0 to 1, with another temperature where it anneals.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Protocol, Self

import torch
from torch import Tensor

from nasedu.errors import check_name, check_number, check_whole
from nasedu.registry import Registry
from nasedu.sampling.gates import MODES, binary_gates
from nasedu.sampling.relax import annealed, gumbel_softmax, softmax, uniform_logits
from nasedu.spaces.base import Arch, Path, SearchSpace
from nasedu.tables.table import LookupTable

Logits = Sequence[Tensor] | None  # (n_choices,) per decision; None: every choice equally likely


class Sampler(Protocol):
    """What a step asks for its paths. If it `distils`, the first path's network teaches the later ones."""

    distils: ClassVar[bool] = False

    def paths(self, space: SearchSpace, generator: torch.Generator) -> Sequence[Path]: ...

    def at(self, fraction: float) -> Sampler:
        """The sampler for that share of a training: itself, unless it anneals."""
        return self


@dataclass(frozen=True)
class Uniform(Sampler):
    """One path, every choice equally likely (SPOS, Guo et al. 2020)."""

    def paths(self, space: SearchSpace, generator: torch.Generator) -> list[Arch]:
        """One architecture."""
        return [_uniform(space.choices, generator)]


@dataclass(frozen=True)
class StrictFairness(Sampler):
    """K paths that train every choice equally often (FairNAS, Chu et al. 2021): K is the largest number of choices.

    Every decision deals its choices in an order of its own, a random permutation. A decision with n < K choices, which
    FairNAS has none of, deals permutation after permutation until it has K: within a step its choices' counts differ
    by at most one, and they agree on average over steps.
    """

    def paths(self, space: SearchSpace, generator: torch.Generator) -> list[Arch]:
        """K architectures."""
        most = max(space.choices)
        return list(zip(*(_dealt(n, most, generator) for n in space.choices), strict=True))


@dataclass(frozen=True)
class Sandwich(Sampler):
    """The biggest, the smallest and n - 2 random architectures, in this order (US-Nets, Yu and Huang 2019; BigNAS).

    The biggest learns from the targets and teaches the others (in-place distillation). `extremes` finds both by cost.
    Raises `ParameterError` for an n below 2.
    """

    biggest: Arch
    smallest: Arch
    n: int = 4
    distils: ClassVar[bool] = True

    def __post_init__(self):
        check_whole("n, the networks of a sandwich,", self.n, 2)

    def paths(self, space: SearchSpace, generator: torch.Generator) -> list[Arch]:
        """n architectures."""
        between = (_uniform(space.choices, generator) for _ in range(self.n - 2))
        return [tuple(self.biggest), tuple(self.smallest), *between]


@dataclass(frozen=True)
class Softmax(Sampler):
    """One soft path, softmax(logits / T): every operation runs (DARTS, eq. 2)."""

    logits: Logits = None
    temperature: float = 1.0

    def paths(self, space: SearchSpace, generator: torch.Generator) -> list[Path]:
        """One path of weights (n_choices,), the same at every call. Raises `ParameterError` for T <= 0."""
        return [softmax(_logits(self, space), self.temperature)]


@dataclass(frozen=True)
class Gumbel(Sampler):
    """One soft random path, softmax((logits + Gumbel noise) / T) (FBNet, eq. 8).

    The temperature goes from `start` to `end` as `fraction` goes from 0 to 1. Raises `ParameterError` for those that
    are not positive.
    """

    logits: Logits = None
    start: float = 5.0
    end: float = 0.1
    fraction: float = 0.0

    def __post_init__(self):
        check_number("start, the first temperature,", self.start, above=True)
        check_number("end, the last temperature,", self.end, above=True)
        check_number("fraction, of the training,", self.fraction)

    def at(self, fraction: float) -> Self:
        """The sampler at another share of a training."""
        return replace(self, fraction=fraction)

    @property
    def temperature(self) -> float:
        """T at this `fraction`."""
        return annealed(self.start, self.end, self.fraction)

    def paths(self, space: SearchSpace, generator: torch.Generator) -> list[Path]:
        """One path of weights (n_choices,)."""
        return [gumbel_softmax(_logits(self, space), self.temperature, generator)]


@dataclass(frozen=True)
class Gates(Sampler):
    """One path of binary gates (ProxylessNAS, section 3.2); see `binary_gates` for the modes.

    Weights are trained with mode "full", which draws from softmax(logits): "two" favours the likelier choices, since
    one of them that missed its first draw may still join the pair. Raises `UnknownName` for a mode.
    """

    logits: Logits = None
    mode: str = "full"

    def __post_init__(self):
        check_name("mode of binary gates", self.mode, MODES)

    def paths(self, space: SearchSpace, generator: torch.Generator) -> list[Path]:
        """One path of gates (n_choices,), or of pairs."""
        return [binary_gates(_logits(self, space), generator, self.mode)]


def names() -> list[str]:
    """The names that `create` accepts."""
    return _SAMPLERS.names()


def create(name: str, space: SearchSpace, **options) -> Sampler:
    """A sampler for a space. Raises `UnknownName`, also for an option's name, and `ParameterError`.

    name: one of `names()`.
    space: the space that it is for.
    options: the fields of its class; for "sandwich" `n`, and `table`, by default of MACs, for `extremes`.
    """
    return _SAMPLERS.create(name, *([space] if name == "sandwich" else []), **options)


def extremes(table: LookupTable) -> tuple[Arch, Arch]:
    """The architectures of the highest and of the lowest cost; of choices that cost the same, the first."""
    return _pick(table, torch.argmax), _pick(table, torch.argmin)


def _pick(table: LookupTable, best: Callable[[Tensor], Tensor]) -> Arch:
    arch = [0] * len(table.space.choices)
    for group, entry in zip(table.space.groups, table.entries, strict=True):
        for decision, index in zip(group, torch.unravel_index(best(entry), entry.shape), strict=True):
            arch[decision] = int(index)
    return tuple(arch)


def _sandwich(space: SearchSpace, n: int = 4, table: LookupTable | None = None) -> Sandwich:
    return Sandwich(*extremes(table or LookupTable.build(space, "macs")), n)


def _logits(sampler: Softmax | Gumbel | Gates, space: SearchSpace) -> Sequence[Tensor]:
    return uniform_logits(space.choices) if sampler.logits is None else sampler.logits


def _uniform(choices: Sequence[int], generator: torch.Generator) -> Arch:
    return tuple(int(torch.randint(n, (), generator=generator)) for n in choices)


def _dealt(choices: int, paths: int, generator: torch.Generator) -> list[int]:
    """Choices for `paths` paths: one random permutation after another, the last one cut short."""
    rounds = -(-paths // choices)
    dealt = [i for _ in range(rounds) for i in torch.randperm(choices, generator=generator).tolist()]
    return dealt[:paths]


_SAMPLERS = Registry("sampler", {"uniform": Uniform, "fair": StrictFairness, "sandwich": _sandwich})
_SAMPLERS |= {"softmax": Softmax, "gumbel": Gumbel, "gates": Gates}
