"""Random search that is spread evenly over a cost: what a front is made of.

Uniform draws crowd around the middle of a cost's range, where most architectures are, and a front needs its ends too.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from nasedu.errors import BudgetError, ParameterError, check_kind, check_whole
from nasedu.progress import Progress, silent
from nasedu.randomness import rng
from nasedu.search.engine import Search, Strategy
from nasedu.search.pool import Pool
from nasedu.search.random import BATCH
from nasedu.search.result import SearchResult
from nasedu.search.settings import Evaluate, SearchConfig
from nasedu.spaces.base import Arch, SearchSpace
from nasedu.tables.table import LookupTable
from nasedu.tables.within import Constraint, within

STALE = 200  # draws in a row from one part of a range that were seen, after which it counts as exhausted


@dataclass(frozen=True, kw_only=True)
class StratifiedConfig(SearchConfig):
    """Over which cost a random search is spread. Raises `ParameterError`.

    cost: whose range is divided. It joins the history, by its metric; nothing may be `feasible` beside its parts.
    strata: the number of equal parts; those without an architecture are passed over.
    """

    cost: LookupTable
    strata: int = 20

    def __post_init__(self):
        super().__post_init__()
        check_kind("the cost of a stratified search", self.cost, LookupTable, "a LookupTable")
        check_whole("strata", self.strata)
        if self.feasible is not None:
            raise ParameterError("a stratified search takes no feasible: it draws from parts of the cost's range")


def stratified_search(
    space: SearchSpace,
    evaluate: Evaluate,
    settings: StratifiedConfig,
    *,
    seed: int = 0,
    executor: Executor | None = None,
    state: str | Path | None = None,
    progress: Progress = silent,
) -> SearchResult:
    """Score distinct random architectures, equally many from each of several equal parts of the range of a cost.

    With `search.pareto.efficient` of the history's costs and scores, that is a front of one trained supernet.

    space: where they are drawn from.
    evaluate: as in `random_search`; a `SupernetScore` takes no training.
    settings: as there, and the cost.
    seed: of the draws.
    executor: as there.
    state: as there.
    progress: as there.

    Raises as `random_search`.
    """
    check_kind("settings of a stratified search", settings, StratifiedConfig, "a StratifiedConfig")
    cost, strata = settings.cost, settings.strata
    parts = strata_of(cost, strata)
    settings = replace(settings, costs={cost.metric: cost, **settings.costs})
    strategy = Strategy("stratified", settings.rules, BATCH, BATCH, partial(_stratified, parts), lag=math.inf)
    return Search(strategy, space, evaluate, settings, seed, executor, state, progress).run()


def strata_of(cost: LookupTable, strata: int) -> list[Constraint]:
    """Equal parts of the range of a cost, from its cheapest to its dearest architecture, without the empty ones.

    cost: the table.
    strata: how many parts.
    """
    low, high = cost.bounds()
    width = (high - low) / strata
    parts = (_part(cost, low + (i + 0.5) * width, width) for i in range(strata))
    return [part for part in parts if part is not None]


def _part(cost: LookupTable, middle: float, width: float) -> Constraint | None:
    """The architectures that cost `middle`, give or take half the width; None where none can be drawn."""
    try:
        # a hair more, lest rounding shut out the cheapest and the dearest, which are ends of a front
        part = within(cost, middle, (1 + 1e-9) * width / 2 / middle)
        part.sample(rng(0, "stratum"), tries=1000)
        return part
    except BudgetError:
        return None


def _stratified(parts: list[Constraint], history: list[dict], pool: Pool) -> Iterator[tuple[Arch, str]]:
    """One of each part in turn; a part that has no new one is passed over."""
    dry = 0
    for index in itertools.count(pool.proposed):
        arch = pool.fresh(partial(parts[index % len(parts)].sample, pool.rng), STALE)
        dry = 0 if arch else dry + 1
        if arch:
            yield arch, "random"
        elif dry == len(parts):
            return
