"""Local search: climb to the best neighbour in sight, and start anew where there is none (White et al., UAI 2021)."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Executor
from functools import partial
from pathlib import Path

from nasedu.progress import Progress, silent
from nasedu.search.engine import Search, Strategy
from nasedu.search.pool import Pool
from nasedu.search.result import SearchResult
from nasedu.search.settings import Evaluate, SearchConfig
from nasedu.spaces.base import Arch, SearchSpace, check_decided


def local_search(
    space: SearchSpace,
    evaluate: Evaluate,
    settings: SearchConfig,
    *,
    seed: int = 0,
    executor: Executor | None = None,
    state: str | Path | None = None,
    progress: Progress = silent,
) -> SearchResult:
    """Change one decision at a time and keep what is better; from a local optimum, start at a new random architecture.

    Neighbours are tried in random order and the first that is better is climbed to, so evaluations follow one another:
    an executor saves no time.

    space: where to climb.
    evaluate: as in `random_search`.
    settings: as there.
    seed: of the draws.
    executor: as there.
    state: as there.
    progress: as there.

    Raises as `random_search`.
    """
    check_decided("local_search", space)
    strategy = Strategy("local", {}, 1, 1, partial(_propose, _Climb()))
    return Search(strategy, space, evaluate, settings, seed, executor, state, progress).run()


class _Climb:
    """Where the climb stands after a history that grows; reads only what is new."""

    identity = "climb"  # what it knows is the history's

    def __init__(self):
        self.known, self.at = 0, None

    def read(self, history: list[dict]) -> Arch | None:
        """The last start, or the last one after it that was better; None before the first that did not fail."""
        for record in history[self.known :]:
            start = record["origin"] == "random"
            if record["error"] is None and (start or self.at is None or record["score"] > self.at["score"]):
                self.at = record
        self.known = len(history)
        return self.at and self.at["arch"]


def _propose(climb: _Climb, history: list[dict], pool: Pool) -> Iterator[tuple[Arch, str]]:
    here = climb.read(history)
    for arch in neighbours(here, pool) if here else ():
        if pool.fresh(lambda arch=arch: arch, 1):
            yield arch, "neighbour"
    while (arch := pool.draw()) is not None:
        yield arch, "random"


def neighbours(arch: Arch, pool: Pool) -> Iterator[Arch]:
    """Every architecture that differs in one decision, in random order."""
    moves = [(d, c) for d, n in enumerate(pool.space.choices) for c in range(n) if c != arch[d]]
    for index in pool.rng.permutation(len(moves)):
        d, c = moves[index]
        yield pool.space.canonical((*arch[:d], c, *arch[d + 1 :]))
