"""Evolution: breed the next architectures from the best ones seen, by mutation and crossover."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from nasedu.errors import check_kind, check_name, check_number, check_whole
from nasedu.progress import Progress, silent
from nasedu.search.engine import Search, Strategy
from nasedu.search.pool import Pool
from nasedu.search.population import Population
from nasedu.search.result import SearchResult
from nasedu.search.settings import Evaluate, SearchConfig
from nasedu.spaces.base import Arch, SearchSpace, check_decided

BREEDING_TRIES = 50  # to breed a feasible and new child, before a random architecture takes its place
CROSSING_TRIES = 3  # of these before a crossed child that was seen already is mutated: parents may be too alike


@dataclass(frozen=True)
class EvolutionConfig(SearchConfig):
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
    lag: int = 0  # generations that may still run while the next is bred: slow evaluations hold it up less

    def __post_init__(self):
        super().__post_init__()
        check_name("way to choose parents", self.parents, ("top_k", "tournament"))
        if self.crossover is not None:
            check_name("crossover", self.crossover, ("uniform", "single_point"))
        check_kind("ageing", self.ageing, bool, "True or False")
        for name in ("population", "children"):
            check_whole(name, getattr(self, name))
        check_whole("lag, in generations,", self.lag, 0)
        check_whole("k, of the population,", self.k, 1, self.population)
        check_number("share, a probability,", self.share, most=1)
        check_number("mutation, a probability,", self.mutation, above=True, most=1)


# Single Path One-Shot, the authors' search.py: 20 generations of 50 (25 mutations, 25 crossovers), the best 10 breed.
SPOS = EvolutionConfig(
    budget=1000, population=50, children=50, parents="top_k", k=10, crossover="uniform", share=0.5, mutation=0.1
)


def evolution(
    space: SearchSpace,
    evaluate: Evaluate,
    settings: EvolutionConfig,
    *,
    seed: int = 0,
    executor: Executor | None = None,
    state: str | Path | None = None,
    progress: Progress = silent,
) -> SearchResult:
    """Score a random population, then generations of children of the best, all of them distinct.

    A failed architecture never breeds.

    space: where they are drawn from.
    evaluate: as in `random_search`.
    settings: as there, and how the population breeds.
    seed: of the draws.
    executor: as there.
    state: as there.
    progress: as there.

    Raises as `random_search`.
    """
    check_kind("settings of evolution", settings, EvolutionConfig, "an EvolutionConfig")
    if settings.crossover:
        check_decided("crossover", space)
    propose = partial(_propose, settings, Population(settings.population, settings.ageing))
    generations = settings.population, settings.children
    strategy = Strategy("evolution", settings.rules, *generations, propose, lag=settings.lag)
    return Search(strategy, space, evaluate, settings, seed, executor, state, progress).run()


def _propose(
    config: EvolutionConfig, members: Population, history: list[dict], pool: Pool
) -> Iterator[tuple[Arch, str]]:
    """Random architectures for the first generation, children of the population after it."""
    population = members.read(history)
    for index in itertools.count(pool.proposed):
        crossed = config.crossover and int((index + 1) * config.share) > int(index * config.share)
        origin = "crossover" if crossed else "mutation"
        children = _children(origin, population, config, pool)
        arch = pool.fresh(partial(next, children), BREEDING_TRIES) if population else None
        if arch is None:
            arch, origin = pool.draw(), "random"
        if arch is None:
            return
        yield arch, origin


def _children(origin: str, population: list[Arch], config: EvolutionConfig, pool: Pool) -> Iterator[Arch]:
    """Without end. A child that was seen already is mutated on, for around a good parent hardly any is new."""
    child, rng = None, pool.rng
    for tries in itertools.count():
        if child in pool.seen and (origin == "mutation" or tries >= CROSSING_TRIES):
            child = pool.space.mutate(child, rng, config.mutation)
        elif origin == "mutation":
            child = pool.space.mutate(_parent(population, config, rng), rng, config.mutation)
        else:
            mother, father = (_parent(population, config, rng) for _ in range(2))
            child = pool.space.crossover(mother, father, rng, kind=config.crossover)
        yield child


def _parent(population: list[Arch], config: EvolutionConfig, rng: np.random.Generator) -> Arch:
    k = min(config.k, len(population))
    if config.parents == "top_k":
        return population[rng.integers(k)]
    return population[rng.choice(len(population), k, replace=False).min()]  # the population is sorted: first is best
