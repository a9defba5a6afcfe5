"""Which paths a step of supernet training takes: a sampler turns a space into a list of paths.

`sampler.paths(space, generator)` gives them in the order in which they run; a step back-propagates each, and the
optimizer steps once. Every draw comes from `generator`. Samplers are values: `sampler.at(fraction)` is the sampler for
that share of a training, from 0 to 1, with another temperature where it anneals.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple, Protocol, Self

import torch
from torch import Tensor

from nasedu.errors import (
    BudgetError,
    ParameterError,
    brief,
    check_has,
    check_kind,
    check_name,
    check_number,
    check_whole,
)
from nasedu.registry import Registry
from nasedu.sampling.gates import MODES, binary_gates
from nasedu.sampling.relax import annealed, gumbel_softmax, softmax, uniform_logits
from nasedu.spaces.base import Arch, Path, SearchSpace, check_decided
from nasedu.tables.table import LookupTable, same_space

MOST = 10_000  # paths of a step
Logits = Sequence[Tensor] | None  # (n_choices,) per decision; None: every choice equally likely


class Pair(NamedTuple):
    """Two architectures that run on one batch, for a loss of both (`ranking.RankingLoss`)."""

    first: Arch
    second: Arch


class Sampler(Protocol):
    """What a step asks for its paths."""

    @property
    def distils(self) -> bool:
        """Whether the first path's network teaches the later ones."""
        return False

    def paths(self, space: SearchSpace, generator: torch.Generator) -> Sequence[Path | Pair]: ...

    def at(self, fraction: float) -> Sampler:
        """The sampler for that share of a training: itself, unless it anneals."""
        return self


@dataclass(frozen=True)
class Uniform(Sampler):
    """n paths, every choice equally likely (SPOS, Guo et al. 2020)."""

    n: int = 1

    def __post_init__(self):
        check_whole("n, the networks of a step,", self.n, 1, MOST)

    def paths(self, space: SearchSpace, generator: torch.Generator) -> list[Arch]:
        """n architectures."""
        return [_uniform(space, generator) for _ in range(self.n)]


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
        dealt = zip(*(_dealt(n, most, generator) for n in space.choices), strict=True)
        return list(map(space.canonical, dealt))


@dataclass(frozen=True)
class Sandwich(Sampler):
    """The biggest, the smallest and n - 2 random architectures, in this order (US-Nets, Yu and Huang 2019; BigNAS).

    The biggest learns from the targets and teaches the others (in-place distillation). `LookupTable.extremes` has both.
    Raises `ParameterError` for an n below 2.
    """

    biggest: Arch
    smallest: Arch
    n: int = 4

    def __post_init__(self):
        check_whole("n, the networks of a sandwich,", self.n, 2, MOST)

    @property
    def distils(self) -> bool:
        """The biggest teaches."""
        return True

    def paths(self, space: SearchSpace, generator: torch.Generator) -> list[Arch]:
        """n architectures."""
        between = (_uniform(space, generator) for _ in range(self.n - 2))
        return [space.validate(self.biggest), space.validate(self.smallest), *between]


@dataclass(frozen=True)
class Progressive(Sampler):
    """Once-for-All's progressive shrinking (Cai et al. 2020, section 3.3): the largest network first, then ever more.

    order: for every decision, its choices in the order in which they join.
    opens: for every decision, at what share of the training each of these does.
    n: networks of a step.
    fraction: of the training, from 0 to 1; one of a single epoch stays at 0, with the largest network.
    """

    order: tuple[tuple[int, ...], ...]
    opens: tuple[tuple[float, ...], ...]
    n: int = 1
    fraction: float = 0.0

    def __post_init__(self):
        check_whole("n, the networks of a step,", self.n, 1, MOST)
        check_number("fraction, of the training,", self.fraction)

    def at(self, fraction: float) -> Self:
        """The sampler at another share of a training."""
        return replace(self, fraction=fraction)

    def paths(self, space: SearchSpace, generator: torch.Generator) -> list[Arch]:
        """n architectures whose choices have joined, each of them equally likely."""
        joined = [
            order[: sum(share <= self.fraction for share in opens)]
            for order, opens in zip(self.order, self.opens, strict=True)
        ]
        drawn = ([open_[_index(len(open_), generator)] for open_ in joined] for _ in range(self.n))
        return list(map(space.canonical, drawn))


@dataclass(frozen=True)
class Pairs(Sampler):
    """The paths of another sampler, if any, then pairs of architectures for a loss of their order (RD-NAS).

    n: pairs of a step, of all choices: a base that opens choices one after the other is refused.
    base: what runs before them; if it distils, its first path teaches its others.
    distance: of two architectures; `ranking.hamming`, or what `ranking.group_distance` makes.
    above: how far from the first network the second must be: it is drawn again until it is (RD-NAS's margin subnet
        sampler), so among those that are far enough each is equally likely.
    tries: draws for one pair, after which `BudgetError` says how far the farthest was.
    """

    n: int = 1
    base: Sampler | None = None
    distance: Callable[[Arch, Arch], float] | None = None
    above: float = 0.0
    tries: int = 1000

    def __post_init__(self):
        check_whole("n, the pairs of a step,", self.n, 1, MOST)
        check_whole("tries of a pair", self.tries, 1, 10**9)
        check_number("above, the distance of a pair,", self.above)
        if self.distance is not None:
            check_has("the distance of pairs", self.distance, ["__call__"], "a function of two architectures")
        if self.base is not None:
            check_has("what runs before pairs", self.base, ("paths", "at", "distils"), "a sampler")
            if isinstance(self.base, Progressive):
                raise ParameterError(
                    "pairs are drawn from all choices, which progressive shrinking keeps shut at first"
                )

    @property
    def distils(self) -> bool:
        """Whether the other sampler's first path teaches."""
        return bool(self.base and self.base.distils)

    def at(self, fraction: float) -> Self:
        """The sampler for that share of a training."""
        return replace(self, base=self.base.at(fraction)) if self.base else self

    def paths(self, space: SearchSpace, generator: torch.Generator) -> list[Path | Pair]:
        """The other sampler's paths, and n pairs. Raises `BudgetError` where no pair is far enough apart."""
        before = list(self.base.paths(space, generator)) if self.base else []
        return [*before, *(self._pair(space, generator) for _ in range(self.n))]

    def _pair(self, space: SearchSpace, generator: torch.Generator) -> Pair:
        first, farthest = _uniform(space, generator), 0.0
        for _ in range(self.tries):
            second = _uniform(space, generator)
            apart = self.distance(first, second) if self.distance else math.inf
            if apart > self.above:
                return Pair(first, second)
            farthest = max(farthest, apart)
        wanted = f"more than {self.above:g} apart, the farthest {farthest:g}"
        raise BudgetError(f"none of {self.tries:,} pairs of {space.name} was {wanted}")


@dataclass(frozen=True)
class Softmax(Sampler):
    """One soft path, softmax(logits / T): every operation runs (DARTS, eq. 2)."""

    logits: Logits = None
    temperature: float = 1.0

    def __post_init__(self):
        check_number("the temperature", self.temperature, above=True)

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


def create(name: str, space: SearchSpace, /, **options) -> Sampler:
    """A sampler for a space. Raises `UnknownName`, also for an option's name, and `ParameterError`.

    name: one of `names()`.
    space: the space that it is for.
    options: the fields of its class; for "sandwich" `n`, and the `table` whose extremes it takes, by default of MACs;
        for "progressive" `n`, a `table`, and `phases`, which are pairs of a text and of shares of the training: all
        decisions with this text in their name are opened between them, choice by choice, from the dearest on. By
        default depths in the first half and all others in the second, or all from start to end where there are none.
    """
    check_decided("a sampler", space)
    return _SAMPLERS.create(name, *([space] if name in ("sandwich", "progressive") else []), **options)


def _sandwich(space: SearchSpace, n: int = 4, table: LookupTable | None = None) -> Sandwich:
    check_whole("n, the networks of a sandwich,", n, 2, MOST)
    return Sandwich(*_priced(table, space).extremes(), n)


def _progressive(
    space: SearchSpace,
    n: int = 1,
    table: LookupTable | None = None,
    phases: Sequence[tuple[str, tuple[float, float]]] | None = None,
) -> Progressive:
    check_whole("n, the networks of a step,", n, 1, MOST)
    names = [d.name for d in space.decisions]
    if phases is None:
        phases = [("depth", (0.0, 0.5)), ("", (0.5, 1.0))] if any("depth" in name for name in names) else [("", (0, 1))]
    try:
        phases = [(str(text), (float(start), float(end))) for text, (start, end) in phases]
    except (TypeError, ValueError):
        raise ParameterError(f"phases are pairs of a text and of two shares, got {brief(phases)}") from None
    for text, (start, end) in phases:
        if not any(text in name for name in names) or not 0 <= start <= end <= 1:
            told = f"from {start} to {end} of the training for decisions with {text!r} in their name"
            raise ParameterError(f"phases open decisions of {space.name} between shares from 0 to 1; not {told}")
    table, order, opens = _priced(table, space), [], []
    for d, name in enumerate(names):
        costs = table.of_choices(d)
        start, end = next((span for text, span in phases if text in name), (0.0, 0.0))
        order.append(tuple(costs.argsort(descending=True, stable=True).tolist()))
        opens.append((0.0, *(start + (end - start) * k / len(costs) for k in range(1, len(costs)))))
    return Progressive(tuple(order), tuple(opens), n)


def _priced(table: LookupTable | None, space: SearchSpace) -> LookupTable:
    """The table that is given, if it is one of this space, or that of MACs."""
    if table is None:
        return LookupTable.build(space, "macs")
    same_space([check_kind("the table of a sampler", table, LookupTable, "a LookupTable")], space)
    return table


def _logits(sampler: Softmax | Gumbel | Gates, space: SearchSpace) -> Sequence[Tensor]:
    logits = uniform_logits(space.choices) if sampler.logits is None else sampler.logits
    if [list(getattr(entry, "shape", ()))[-1:] for entry in logits] != [[n] for n in space.choices]:
        raise ParameterError(f"logits must be a tensor (n_choices,) per decision of {space.name}, got {brief(logits)}")
    return logits


def _uniform(space: SearchSpace, generator: torch.Generator) -> Arch:
    return space.canonical([_index(n, generator) for n in space.choices])


def _index(n: int, generator: torch.Generator) -> int:
    return int(torch.randint(n, (), generator=generator))


def _dealt(choices: int, paths: int, generator: torch.Generator) -> list[int]:
    """Choices for `paths` paths: one random permutation after another, the last one cut short."""
    rounds = -(-paths // choices)
    dealt = [i for _ in range(rounds) for i in torch.randperm(choices, generator=generator).tolist()]
    return dealt[:paths]


_SAMPLERS = Registry("sampler", {"uniform": Uniform, "fair": StrictFairness, "sandwich": _sandwich})
_SAMPLERS |= {"progressive": _progressive, "pairs": Pairs}
_SAMPLERS |= {"softmax": Softmax, "gumbel": Gumbel, "gates": Gates}
