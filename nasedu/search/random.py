"""Random search: the baseline that every other strategy has to beat at an equal budget (Li & Talwalkar, 2019)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Executor
from pathlib import Path

from nasedu.search.engine import Evaluate, Feasible, Pool, Search, Strategy
from nasedu.search.result import SearchResult
from nasedu.spaces.base import Arch, SearchSpace
from nasedu.tables.table import LookupTable

BATCH = 25  # evaluations that an executor gets at once


def random_search(
    space: SearchSpace,
    evaluate: Evaluate,
    *,
    budget: int,
    feasible: Feasible | None = None,
    seed: int = 0,
    executor: Executor | None = None,
    state: str | Path | None = None,
    run: str = "",
    costs: Mapping[str, LookupTable] | None = None,
    progress: Callable[[int], None] = lambda count: None,
) -> SearchResult:
    """Score `budget` distinct, uniformly random architectures; fewer where the space has no more.

    `evaluate(arch)` returns a score, higher is better; NaN, infinity or an exception is a failure, recorded and ranked
    last. `feasible` is a `Constraint` or a predicate. `executor` runs evaluations side by side; the result is the same.
    `state` is a file from which a killed search goes on, with its failures; `run` names what its settings cannot: the
    evaluator. `costs` are tables whose values join the history.
    `progress(n)` hears of n more evaluations. Raises `BudgetError` when nothing is feasible, `CheckpointError` when
    `state` is another search's, `ParameterError` when every evaluation of a batch fails, `TableError`.
    """
    strategy = Strategy("random", {}, BATCH, BATCH, _propose)
    search = Search(strategy, space, evaluate, feasible, seed, executor, state, costs or {}, progress, run)
    return search.run(budget)


def _propose(history: list[dict], pool: Pool) -> Iterator[tuple[Arch, str]]:
    while (arch := pool.draw()) is not None:
        yield arch, "random"
