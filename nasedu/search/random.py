"""Random search: the baseline that every other strategy has to beat at an equal budget (Li & Talwalkar, 2019).

Uniform draws crowd around the middle of a cost's range, where most architectures are. A front needs its ends as well:
`stratified_search` draws as many from each part of the range.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from concurrent.futures import Executor
from dataclasses import replace
from functools import partial
from pathlib import Path

from nasedu.errors import BudgetError, ParameterError, check_kind, check_whole
from nasedu.progress import Progress, silent
from nasedu.search.engine import Pool, Search, Strategy
from nasedu.search.result import SearchResult
from nasedu.search.settings import Evaluate, SearchConfig
from nasedu.spaces.base import Arch, SearchSpace
from nasedu.tables.table import LookupTable
from nasedu.tables.within import Constraint, within

BATCH = 25  # evaluations that an executor gets at once
STALE = 200  # draws in a row from one part of a range that were seen, after which it counts as exhausted


def random_search(
    space: SearchSpace,
    evaluate: Evaluate,
    settings: SearchConfig,
    *,
    seed: int = 0,
    executor: Executor | None = None,
    state: str | Path | None = None,
    progress: Progress = silent,
) -> SearchResult:
    """Score distinct, uniformly random architectures; fewer than the budget where the space has no more.

    space: where they are drawn from.
    evaluate: from an architecture to a score, higher is better; NaN, infinity and whatever it raises (`sys.exit` too)
        are failures, recorded and ranked last.
    settings: the budget, what is feasible, and the costs that are written down.
    seed: of the draws.
    executor: runs evaluations side by side, and gets `evaluate` once per worker; the result is the same.
    state: a file from which a killed search goes on, with its failures. With anything but the budget changed, be it
        the code of an argument, it starts afresh and says so.
    progress: hears of (evaluations that are done, budget).

    Raises `BudgetError` when nothing is feasible, `CheckpointError` when `state` is damaged, `ParameterError` when
    nothing but failures came of the first 25 evaluations or an argument cannot be told from others, `TableError`,
    `WorkersLost`.
    """
    strategy = Strategy("random", {}, BATCH, BATCH, _propose)
    return Search(strategy, space, evaluate, settings, seed, executor, state, progress).run()


def _propose(history: list[dict], pool: Pool) -> Iterator[tuple[Arch, str]]:
    while (arch := pool.draw()) is not None:
        yield arch, "random"


def stratified_search(
    space: SearchSpace,
    evaluate: Evaluate,
    cost: LookupTable,
    settings: SearchConfig,
    *,
    strata: int = 20,
    seed: int = 0,
    executor: Executor | None = None,
    state: str | Path | None = None,
    progress: Progress = silent,
) -> SearchResult:
    """Score distinct random architectures, equally many from each of several equal parts of the range of a cost.

    With `search.pareto.efficient` of the history's costs and scores, that is a front of one trained supernet.

    space: where they are drawn from.
    evaluate: as in `random_search`; a `SupernetScore` takes no training.
    cost: whose range is divided. It joins the history, by its metric.
    settings: as there, except that nothing may be `feasible` beside: the parts are.
    strata: the number of parts; those without an architecture are passed over.
    seed: of the draws.
    executor: as there.
    state: as there.
    progress: as there.

    Raises as `random_search`.
    """
    check_kind("the cost of a stratified search", cost, LookupTable, "a LookupTable")
    check_kind("settings of a stratified search", settings, SearchConfig, "a SearchConfig")
    check_whole("strata", strata, 1)
    if settings.feasible is not None:
        raise ParameterError("a stratified search takes no feasible: it draws from parts of the cost's range")
    low, high = cost.bounds()
    width = (high - low) / strata
    parts = [part for i in range(strata) if (part := _part(cost, low + (i + 0.5) * width, width)) is not None]
    settings = replace(settings, costs={cost.metric: cost, **settings.costs})
    told = {"cost": cost, "strata": strata}
    strategy = Strategy("stratified", told, BATCH, BATCH, partial(_stratified, parts))
    return Search(strategy, space, evaluate, settings, seed, executor, state, progress).run()


def _part(cost: LookupTable, middle: float, width: float) -> Constraint | None:
    """The architectures that cost `middle`, give or take half the width; None where there is none."""
    try:
        part = within(cost, middle, width / 2 / middle)
        return part if part.count else None
    except BudgetError:
        return None


def _stratified(parts: list[Constraint], history: list[dict], pool: Pool) -> Iterator[tuple[Arch, str]]:
    """One of each part in turn; a part that has no new one is passed over."""
    dry = 0
    for index in itertools.count(len(history)):
        arch = pool.fresh(partial(parts[index % len(parts)].sample, pool.rng), STALE)
        dry = 0 if arch else dry + 1
        if arch:
            yield arch, "random"
        elif dry == len(parts):
            return
