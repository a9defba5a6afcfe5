"""Evolution: breed the next architectures from the best ones seen, by mutation and crossover."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Iterator, Mapping
from concurrent.futures import Executor
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import numpy as np

from nasedu.errors import ParameterError, check_name
from nasedu.progress import Progress, silent
from nasedu.search.engine import Evaluate, Feasible, Pool, Search, Strategy
from nasedu.search.result import SearchResult
from nasedu.spaces.base import Arch, SearchSpace
from nasedu.tables.table import LookupTable

BREEDING_TRIES = 50  # to breed a feasible and new child, before a random architecture takes its place


@dataclass(frozen=True)
class EvolutionConfig:
    """How a population breeds; the defaults suit budgets of 50 to 1,000 evaluations.

    The population is the best architectures seen, or with `ageing` the latest ones (the oldest dies, however good:
    regularised evolution, Real et al., 2019). A parent is one of its best `k` ("top_k") or the best of `k` drawn from
    it ("tournament").
    """

    population: int = 20  # as many random architectures start it
    children: int = 10  # per generation; they are evaluated side by side
    parents: str = "top_k"
    k: int = 5
    crossover: str | None = "uniform"  # or "single_point", or None: mutation only
    share: float = 0.5  # of the children that come from crossover
    mutation: float = 0.1  # probability that a decision is redrawn
    ageing: bool = False

    def __post_init__(self):
        check_name("way to choose parents", self.parents, ("top_k", "tournament"))
        if self.crossover is not None:
            check_name("crossover", self.crossover, ("uniform", "single_point"))
        if min(self.population, self.children, self.k) < 1 or self.k > self.population:
            raise ParameterError(
                "evolution needs at least 1 child and 1 <= k <= population, "
                f"got {self.children}, k {self.k} and population {self.population}"
            )
        if not (0 <= self.share <= 1 and 0 < self.mutation <= 1):
            raise ParameterError(f"share and mutation are probabilities, got {self.share} and {self.mutation}")


# Single Path One-Shot, the authors' search.py: 20 generations of 50 (25 mutations, 25 crossovers), the best 10 breed.
SPOS = EvolutionConfig(population=50, children=50, parents="top_k", k=10, crossover="uniform", share=0.5, mutation=0.1)


def evolution(
    space: SearchSpace,
    evaluate: Evaluate,
    *,
    budget: int,
    feasible: Feasible | None = None,
    seed: int = 0,
    executor: Executor | None = None,
    state: str | Path | None = None,
    costs: Mapping[str, LookupTable] | None = None,
    config: EvolutionConfig = EvolutionConfig(),
    progress: Progress = silent,
) -> SearchResult:
    """Score a random population, then generations of children of the best, `budget` distinct architectures in all.

    Everything but `config` is as in `random_search`. A failed architecture never breeds.
    """
    propose = partial(_propose, config)
    strategy = Strategy("evolution", asdict(config), config.population, config.children, propose)
    search = Search(strategy, space, evaluate, feasible, seed, executor, state, costs or {}, progress)
    return search.run(budget)


def survivors(history: list[dict], config: EvolutionConfig) -> list[Arch]:
    """The population after `history`, best first."""
    alive = [record for record in history if record["error"] is None]
    if config.ageing:
        alive = alive[-config.population :]
    return [r["arch"] for r in heapq.nlargest(config.population, alive, key=lambda r: r["score"])]


def _propose(config: EvolutionConfig, history: list[dict], pool: Pool) -> Iterator[tuple[Arch, str]]:
    """Random architectures for the first generation, children of the survivors after it."""
    population = survivors(history, config)
    for index in itertools.count(len(history)):
        crossed = config.crossover and int((index + 1) * config.share) > int(index * config.share)
        for origin in ("crossover", "mutation") if crossed else ("mutation",):  # parents may be too alike to cross
            make = partial(_breed, origin, population, config, pool)
            arch = pool.fresh(make, BREEDING_TRIES) if population else None
            if arch is not None:
                break
        else:
            arch, origin = pool.draw(), "random"
        if arch is None:
            return
        yield arch, origin


def _breed(origin: str, population: list[Arch], config: EvolutionConfig, pool: Pool) -> Arch:
    mother = _parent(population, config, pool.rng)
    if origin == "mutation":
        return pool.space.mutate(mother, pool.rng, config.mutation)
    return pool.space.crossover(mother, _parent(population, config, pool.rng), pool.rng, kind=config.crossover)


def _parent(population: list[Arch], config: EvolutionConfig, rng: np.random.Generator) -> Arch:
    k = min(config.k, len(population))
    if config.parents == "top_k":
        return population[rng.integers(k)]
    return population[rng.choice(len(population), k, replace=False).min()]  # the population is sorted: first is best
