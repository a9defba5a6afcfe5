"""Which paths a step of supernet training takes: a sampler turns a space into a list of paths.

`sampler.paths(space, generator)` gives them in the order in which they run; a step back-propagates each, and the
optimizer steps once. Every draw comes from `generator`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import torch
from torch import Tensor

from nasedu.errors import ParameterError, check_name
from nasedu.sampling.gates import MODES, binary_gates
from nasedu.sampling.relax import annealed, gumbel_softmax, softmax
from nasedu.spaces.base import Arch, Path, SearchSpace
from nasedu.tables.table import LookupTable


class Sampler(Protocol):
    """What a step asks for its paths. If it `distils`, the first path's network teaches the later ones."""

    distils: bool

    def paths(self, space: SearchSpace, generator: torch.Generator) -> list[Path]: ...


class Uniform:
    """One path, every choice equally likely (SPOS, Guo et al. 2020)."""

    distils = False

    def paths(self, space: SearchSpace, generator: torch.Generator) -> list[Arch]:
        """One architecture."""
        return [_uniform(space.choices, generator)]


class StrictFairness:
    """K paths that train every choice equally often (FairNAS, Chu et al. 2021): K is the largest number of choices.

    Every decision deals its choices in an order of its own, a random permutation. A decision with n < K choices, which
    FairNAS has none of, deals permutation after permutation until it has K: within a step its choices' counts differ
    by at most one, and they agree on average over steps.
    """

    distils = False

    def paths(self, space: SearchSpace, generator: torch.Generator) -> list[Arch]:
        """K architectures."""
        most = max(space.choices)
        return list(zip(*(_dealt(n, most, generator) for n in space.choices), strict=True))


class Sandwich:
    """The biggest, the smallest and n - 2 random architectures, in this order (US-Nets, Yu and Huang 2019; BigNAS).

    The biggest learns from labels and teaches the others (in-place distillation). `extremes` finds both by cost.
    """

    distils = True

    def __init__(self, biggest: Arch, smallest: Arch, n: int = 4):
        if n < 2:
            raise ParameterError(f"a sandwich needs at least the biggest and the smallest network, got n = {n}")
        self.biggest, self.smallest, self.n = tuple(biggest), tuple(smallest), n

    def paths(self, space: SearchSpace, generator: torch.Generator) -> list[Arch]:
        """n architectures."""
        return [self.biggest, self.smallest, *(_uniform(space.choices, generator) for _ in range(self.n - 2))]


class Softmax:
    """One soft path, softmax(logits / T): every operation runs (DARTS, eq. 2). `logits`: (n_choices,) per decision."""

    distils = False

    def __init__(self, logits: Sequence[Tensor], temperature: float = 1.0):
        self.logits, self.temperature = logits, temperature

    def paths(self, space: SearchSpace, generator: torch.Generator) -> list[Path]:
        """One path of weights (n_choices,), the same at every call. Raises `ParameterError` for T <= 0."""
        return [softmax(self.logits, self.temperature)]


class Gumbel:
    """One soft random path, softmax((logits + Gumbel noise) / T) (FBNet, eq. 8).

    The temperature goes from `start` to `end` as `fraction`, which the caller sets, goes from 0 to 1. Set it at the
    start of every epoch from the epoch's number (in `batches(epoch)`), so that a resumed training anneals alike.
    """

    distils = False

    def __init__(self, logits: Sequence[Tensor], start: float = 5.0, end: float = 0.1):
        if min(start, end) <= 0:
            raise ParameterError(f"temperatures must be positive, got {start} and {end}")
        self.logits, self.start, self.end, self.fraction = logits, start, end, 0.0

    @property
    def temperature(self) -> float:
        """T at the present `fraction`."""
        return annealed(self.start, self.end, self.fraction)

    def paths(self, space: SearchSpace, generator: torch.Generator) -> list[Path]:
        """One path of weights (n_choices,)."""
        return [gumbel_softmax(self.logits, self.temperature, generator)]


class Gates:
    """One path of binary gates (ProxylessNAS, section 3.2); see `binary_gates` for the modes.

    Weights are trained with mode "full", which draws from softmax(logits): "two" favours the likelier choices, since
    one of them that missed its first draw may still join the pair.
    """

    distils = False

    def __init__(self, logits: Sequence[Tensor], mode: str = "full"):
        self.logits, self.mode = logits, check_name("mode of binary gates", mode, MODES)

    def paths(self, space: SearchSpace, generator: torch.Generator) -> list[Path]:
        """One path of gates (n_choices,), or of pairs."""
        return [binary_gates(self.logits, generator, self.mode)]


def extremes(table: LookupTable) -> tuple[Arch, Arch]:
    """The architectures of the highest and of the lowest cost; of choices that cost the same, the first."""
    return _pick(table, torch.argmax), _pick(table, torch.argmin)


def _pick(table: LookupTable, best: Callable[[Tensor], Tensor]) -> Arch:
    arch = [0] * len(table.space.choices)
    for group, entry in zip(table.space.groups, table.entries, strict=True):
        for decision, index in zip(group, torch.unravel_index(best(entry), entry.shape), strict=True):
            arch[decision] = int(index)
    return tuple(arch)


def _uniform(choices: Sequence[int], generator: torch.Generator) -> Arch:
    return tuple(int(torch.randint(n, (), generator=generator)) for n in choices)


def _dealt(choices: int, paths: int, generator: torch.Generator) -> list[int]:
    """Choices for `paths` paths: one random permutation after another, the last one cut short."""
    rounds = -(-paths // choices)
    dealt = [i for _ in range(rounds) for i in torch.randperm(choices, generator=generator).tolist()]
    return dealt[:paths]
