"""Where a search's proposals come from: architectures that are feasible, and that it has not seen yet."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from functools import cached_property

from nasedu.errors import BudgetError
from nasedu.randomness import rng
from nasedu.search.settings import Feasible
from nasedu.spaces.base import Arch, SearchSpace
from nasedu.tables.within import Constraint

ENUMERABLE = 20_000  # a space of so many architectures is gone through one by one where draws bring nothing new
TRIES = 5_000  # draws in a row, in a larger space, after which it counts as exhausted


class Pool:
    """Where proposals come from: feasible architectures that are not in `seen`, drawn with `rng`."""

    def __init__(self, space: SearchSpace, feasible: Feasible | None):
        self.space, self.feasible = space, feasible
        self.rng, self.seen, self.proposed = rng(0, "proposals"), set(), 0
        self._sample = feasible.sample if isinstance(feasible, Constraint) else space.sample

    def restart(self, seed: int, generation: int, archs: list[Arch]) -> None:
        """Forget everything but these.

        seed: of the draws.
        generation: which has draws of its own.
        archs: all that were proposed before it; `proposed` is their number.
        """
        self.rng = rng(seed, "proposals", generation)
        if len(archs) < self.proposed or self.proposed == 0:
            self.seen, self.proposed = set(), 0
        # what was proposed only grows: going through all of it in every generation would be quadratic
        self.seen.update(archs[self.proposed :])
        self.proposed = len(archs)

    def fresh(self, make: Callable[[], Arch], tries: int) -> Arch | None:
        """The first of `tries` architectures of `make` that is feasible and new, from now on seen."""
        for _ in range(tries):
            arch = make()
            if arch not in self.seen and (self.feasible is None or self.feasible(arch)):
                self.seen.add(arch)
                return arch
        return None

    def draw(self) -> Arch | None:
        """A uniformly random feasible and new architecture, or None where there seems to be no more.

        Raises `BudgetError` when there never was one.
        """
        small = self.space.size <= ENUMERABLE
        arch = self.fresh(lambda: self._sample(self.rng), 200 if small else TRIES)
        if arch is None and small:
            rest = [other for other in self._everything if other not in self.seen]
            arch = rest[self.rng.integers(len(rest))] if rest else None
            self.seen |= {arch} - {None}
        if arch is None and not self.seen:
            number = f"the {self.space.size}" if small else f"{TRIES} random"
            raise BudgetError(f"none of {number} architectures of {self.space.name} that were tried is feasible")
        return arch

    @cached_property
    def _everything(self) -> list[Arch]:
        every = itertools.product(*map(range, self.space.choices))
        return [arch for arch in every if self.feasible is None or self.feasible(arch)]
