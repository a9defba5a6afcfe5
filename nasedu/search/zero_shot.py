"""Zen-NAS's evolution: structures mutate under a budget, scored without training (Lin et al., ICCV 2021, algorithm 1).

The population starts as mutations of one small network and keeps its best; a child is a mutation of any member, drawn
uniformly. What the score is, is left to `evaluate`: any zero-cost proxy, or several that are combined by rank.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

from nasedu.errors import BudgetError, ParameterError, brief, check_has, check_kind, check_name, check_whole
from nasedu.progress import Progress, silent
from nasedu.ranking.combine import METHODS
from nasedu.ranking.combine import combine as combine_scores
from nasedu.search.engine import SEVERAL, Search, Strategy
from nasedu.search.plain_budget import PlainBudget
from nasedu.search.pool import TRIES, Pool
from nasedu.search.population import Population
from nasedu.search.result import SearchResult
from nasedu.search.settings import Evaluate, Feasible, SearchConfig
from nasedu.spaces.plainnet.mutation import RULES
from nasedu.spaces.plainnet.space import PlainArch, PlainNetSpace

Combine = Callable[[pd.DataFrame], pd.Series]
SHOWN = 200  # architectures whose cost is told where none is within the budget


@dataclass(frozen=True)
class ZenConfig(SearchConfig):
    """How the population grows; the published rules, but for `children` and the size, which suit a laptop.

    `mutation`: "uniform" over the distinct changes, "origin" with the public code's bias, "shared_ratio" as in Adlik's
    fork. `initial` "fixed" mutates `start`, a structure string or an architecture, until there are more than
    `founders`, "random" draws that many networks. Where an evaluation gives several scores by name, `combine` makes one
    of them: a method of `nasedu.ranking.combine`, or a function of a frame (one row per structure, one column per name)
    to a series.
    """

    population: int = 64  # the authors' scripts keep 512, the paper 256
    founders: int = 10
    children: int = 8  # proposed at once, from the same population; 1 is the published loop, and leaves workers idle
    replacements: int = 2  # blocks of a member that change; of `start`, one
    mutation: str = "uniform"
    initial: str = "fixed"
    start: str | Sequence | None = None
    combine: str | Combine | None = None

    def __post_init__(self):
        super().__post_init__()
        check_name("mutation rule", self.mutation, RULES)
        check_name("initial population", self.initial, ("fixed", "random"))
        for name, least in {"population": 1, "children": 1, "replacements": 1, "founders": 0}.items():
            check_whole(name, getattr(self, name), least)


# The authors' evolution_search.py: one child at a time, 512 members, its own distribution of mutations.
ZENNAS = ZenConfig(budget=480_000, population=512, children=1, mutation="origin")
# Adlik's fork without --fix_initialize: random founders, one ratio for width and bottleneck.
ADLIK = ZenConfig(budget=50_000, population=512, children=1, mutation="shared_ratio", initial="random")


def zero_shot(
    space: PlainNetSpace,
    evaluate: Evaluate,
    settings: ZenConfig,
    *,
    seed: int = 0,
    executor: Executor | None = None,
    state: str | Path | None = None,
    progress: Progress = silent,
) -> SearchResult:
    """Score distinct structures, all of them feasible, and return the best.

    A failure is no one's parent. The history also has "params", "macs" and "layers".

    space: of the structures.
    evaluate: returns a score, or several by name where the settings combine them: ranks are then computed anew over all
        structures so far before every generation, and the scores of the history over all of them.
    settings: as in `random_search`, and how the population grows.
    seed: of the draws.
    executor: as there.
    state: as there.
    progress: as there.

    Raises `BudgetError` with the reachable range, `ArchitectureError`, `ParameterError`.
    """
    check_kind("the space of zero_shot", space, PlainNetSpace, 'a PlainNet space: spaces.create("plainnet")')
    check_kind("settings of zero_shot", settings, ZenConfig, "a ZenConfig")
    counts = {"params": lambda arch: space.cost(arch).params, "macs": lambda arch: space.cost(arch).macs}
    settings = replace(settings, costs={**counts, "layers": space.depth, **settings.costs})
    config, feasible, combine = settings, settings.feasible, settings.combine
    if isinstance(feasible, PlainBudget) and feasible.space.fingerprint != space.fingerprint:
        raise ParameterError("the PlainBudget counts in another space: make it with the one that is searched")
    if isinstance(combine, str):
        check_name("combination", combine, METHODS)
    elif combine is not None:
        check_has("combine", combine, ["__call__"], "a name of ranking.combine or a function of a frame")
    start = _founder(space, config.start, feasible, config.mutation) if config.initial == "fixed" else None
    rules = config.rules | {"start": space.format(start) if start else ""}
    founders = config.founders + 1 if config.initial == "fixed" else max(1, config.founders)
    population = Population(config.population)
    members = (lambda: Population(config.population)) if combine is not None else (lambda: population)
    propose = partial(_propose, config, start, feasible, members)
    combined = None if combine is None else partial(_combined, combine)
    strategy = Strategy("zero_shot", rules, founders, config.children, propose, combined)
    return Search(strategy, space, evaluate, settings, seed, executor, state, progress).run()


def _founder(space: PlainNetSpace, start: str | Sequence | None, feasible: Feasible | None, rule: str) -> PlainArch:
    """The architecture whose mutations found the population. Raises `BudgetError` where none can be feasible."""
    if start is None:
        raise ParameterError("a fixed initial population needs `start`: a structure string or an architecture")
    arch = space.parse(start) if isinstance(start, str) else space.validate(start)
    if isinstance(feasible, PlainBudget):
        feasible.check(arch, rule)
    return arch


def _propose(
    config: ZenConfig,
    start: PlainArch | None,
    feasible: Feasible | None,
    members: Callable[[], Population],
    history: list[dict],
    pool: Pool,
) -> Iterator[tuple[PlainArch, str]]:
    """Mutations of `start`, or random networks, for the first generation; of the population after it."""
    population = members().read(history)
    founding = start is not None and len(population) <= config.founders
    parents, replacements = ([start], 1) if founding else (population, config.replacements)
    born: list[PlainArch] = []
    tried: deque[PlainArch] = deque(maxlen=SHOWN)

    def make() -> PlainArch:
        """A mutation of a random parent; a random network where there are none."""
        if parents:
            parent = parents[pool.rng.integers(len(parents))]
            tried.append(pool.space.mutate(parent, pool.rng, replacements=replacements, rule=config.mutation))
        else:
            tried.append(pool.space.sample(pool.rng))
        return tried[-1]

    while True:
        if (arch := pool.fresh(make, TRIES)) is not None:
            born.append(arch)
            yield arch, "mutation" if parents else "random"
        elif founding and born:  # within a tight budget `start` has fewer neighbours than founders: go on from theirs
            founding, parents, replacements = False, [start, *born], config.replacements
        else:
            break
    if not pool.seen:
        origin = "mutation" if parents else "random"
        told = f"none of {TRIES} networks of {pool.space.name} that were tried ({origin}) is feasible"
        raise feasible.unmet(tried) if isinstance(feasible, PlainBudget) else BudgetError(told)


def _combined(combine: str | Combine, records: list[dict]) -> list[float]:
    """One score for every record, from the scores that `evaluate` gave all of them."""
    frame = pd.DataFrame([record[SEVERAL] for record in records])
    found = combine_scores(frame, combine) if isinstance(combine, str) else combine(frame)
    try:
        scores = np.asarray(found, float)
    except (TypeError, ValueError):
        scores = np.empty(())
    if scores.shape != (len(frame),):
        got = brief(found) if scores.ndim != 1 else f"{len(scores)} scores"
        raise ParameterError(f"combine must return one score for each of {len(frame)} structures, got {got}")
    if math.inf in scores:
        raise ParameterError("combine returned +inf, which would rank best whatever it stands for")
    return np.where(np.isnan(scores), -math.inf, scores).tolist()
