"""Random search: the baseline that every other strategy has to beat at an equal budget (Li & Talwalkar, 2019)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from concurrent.futures import Executor
from pathlib import Path

from nasedu.progress import Progress, silent
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
    costs: Mapping[str, LookupTable] | None = None,
    progress: Progress = silent,
) -> SearchResult:
    """Score `budget` distinct, uniformly random architectures; fewer where the space has no more.

    space: where they are drawn from.
    evaluate: from an architecture to a score, higher is better; NaN, infinity and whatever it raises (`sys.exit` too)
        are failures, recorded and ranked last.
    budget: how many evaluations.
    feasible: a `Constraint` or a predicate that all of them meet.
    seed: of the draws.
    executor: runs evaluations side by side, and gets `evaluate` once per worker; the result is the same.
    state: a file from which a killed search goes on, with its failures. With another argument than `budget` changed,
        or the code of one, it starts afresh and says so.
    costs: tables, or functions, whose values join the history by name.
    progress: hears of (evaluations that are done, budget).

    Raises `BudgetError` when nothing is feasible, `CheckpointError` when `state` is damaged, `ParameterError` when
    every evaluation of a batch fails or an argument cannot be told from others, `TableError`, `WorkersLost`.
    """
    strategy = Strategy("random", {}, BATCH, BATCH, _propose)
    search = Search(strategy, space, evaluate, feasible, seed, executor, state, costs or {}, progress)
    return search.run(budget)


def _propose(history: list[dict], pool: Pool) -> Iterator[tuple[Arch, str]]:
    while (arch := pool.draw()) is not None:
        yield arch, "random"
