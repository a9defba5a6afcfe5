"""Random search: the baseline that every other strategy has to beat at an equal budget (Li & Talwalkar, 2019)."""

from __future__ import annotations

import math
from collections.abc import Iterator
from concurrent.futures import Executor
from pathlib import Path

from nasedu.progress import Progress, silent
from nasedu.search.engine import Search, Strategy
from nasedu.search.pool import Pool
from nasedu.search.result import SearchResult
from nasedu.search.settings import Evaluate, SearchConfig
from nasedu.spaces.base import Arch, SearchSpace

BATCH = 25  # evaluations of a generation; none waits for the scores of another


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
    strategy = Strategy("random", {}, BATCH, BATCH, _propose, lag=math.inf)
    return Search(strategy, space, evaluate, settings, seed, executor, state, progress).run()


def _propose(history: list[dict], pool: Pool) -> Iterator[tuple[Arch, str]]:
    while (arch := pool.draw()) is not None:
        yield arch, "random"
