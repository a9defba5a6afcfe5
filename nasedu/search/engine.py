"""What random search and evolution share: propose a generation, evaluate it, write it down, go on after a kill.

A generation is a pure function of the seed, its number, the architectures that were proposed before it and the scores
that its strategy waits for. So the history is all that a state file has to hold, and neither an executor's timing nor a
kill changes what is found.
"""

from __future__ import annotations

import itertools
import math
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Executor
from contextlib import closing
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path

from nasedu.errors import BudgetError, ParameterError, check_has, check_kind, check_whole
from nasedu.journal import Journal
from nasedu.progress import Progress, silent
from nasedu.randomness import rng
from nasedu.search.pool import Pool
from nasedu.search.result import SearchResult
from nasedu.search.settings import Evaluate, SearchConfig
from nasedu.spaces.base import Arch, SearchSpace
from nasedu.storage import identity, restoring
from nasedu.tables.table import LookupTable, same_space
from nasedu.tables.within import Constraint
from nasedu.workers import LOST, WAIT, Failed, Workers, lost, plain

SAVE_SECONDS = 10  # what takes longer is stored in between
PATIENCE = 25  # failures at the start, and nothing else, after which a search gives up: `evaluate` is at fault
SHORT = 200  # a history so short is stored after every generation
SEVERAL = "scores"  # where a record keeps the scores that are yet to be combined
FIELDS = ("index", "arch", "score", "seconds", "generation", "origin", "error")


@dataclass(frozen=True)
class Strategy:
    """How to look: `propose(history, pool)` yields (architecture, origin), without end unless the pool runs dry.

    A search takes `first` proposals for generation 0 and `rest` for each one after it. With `combine`, `evaluate`
    returns several scores by name, and the score of a record depends on all of those before it: `combine(records)`
    gives it for each of the records, none of them a failure.

    `lag` generations before a new one need not have ended: `propose` is not shown their records. With infinity it is
    blind, is never shown any, and no slow evaluation holds it up.
    """

    name: str
    settings: dict
    first: int
    rest: int
    propose: Callable[[list[dict], Pool], Iterator[tuple[Arch, str]]]
    combine: Callable[[list[dict]], list[float]] | None = None
    lag: float = 0

    def start(self, generation: int) -> int:
        """The index of the first evaluation of a generation."""
        return self.first + (generation - 1) * self.rest if generation else 0

    def generation(self, index: int) -> int:
        """The generation of an evaluation."""
        return 0 if index < self.first else 1 + (index - self.first) // self.rest

    def shown(self, generation: int) -> int:
        """How many records its proposals may depend on."""
        return self.start(int(max(0, generation - self.lag)))


@dataclass
class Search:
    """One run of a strategy: `history` so far, and where to store it. The rest is as in `random_search`."""

    strategy: Strategy
    space: SearchSpace
    evaluate: Evaluate
    settings: SearchConfig
    seed: int = 0
    executor: Executor | None = None
    state: str | Path | None = None
    progress: Progress = silent

    def __post_init__(self):
        check_whole("seed", self.seed, 0)
        check_has("the space of a search", self.space, ["sample", "validate"], "a space, as spaces.create makes")
        check_kind("settings of a search", self.settings, SearchConfig, "a SearchConfig")
        self.feasible, self.costs = self.settings.feasible, self.settings.costs
        for name in self.costs:
            if name in FIELDS:
                raise ParameterError(f"a cost cannot be named {name!r}: the history has a column of that name")
        constraint = self.feasible.tables if isinstance(self.feasible, Constraint) else []
        same_space([t for t in [*self.costs.values(), *constraint] if isinstance(t, LookupTable)], self.space)
        self.history: list[dict] = []
        self.pool = Pool(self.space, self.feasible)
        self.begin = self.saved = time.perf_counter()
        self.stored = 0  # records of the history that the state file has

    def run(self) -> SearchResult:
        """Evaluate as many architectures as the settings say."""
        budget = self.settings.budget
        self._resume()
        self.progress(min(budget, len(self.history)), budget)
        sent = self.executor, self.settings.patience, self.settings.together
        with Workers(partial(plain, self.evaluate), *sent) as workers:
            try:
                if len(self.history) < budget:
                    self._fill(budget, workers)
            except LOST as error:
                raise lost(len(self.history), "evaluations", self.state) from error
            finally:  # after an interrupt too, and costs that fail
                self._save()
        return self._result(self._scored(self.history[:budget]))

    def _fill(self, budget: int, workers: Workers) -> None:
        """Score architectures, here or on the executor, and record them in the order in which they were proposed.

        Until the history has `budget` records or the space is exhausted.
        """
        proposed: deque[tuple[Arch, str]] = deque()
        with closing(workers.map(self._proposals(budget, proposed))) as answers:
            for answer in answers:
                self._record(answer, *proposed.popleft())
                self.progress(len(self.history), budget)
                count = len(self.history)
                ended = count in (budget, self.strategy.start(self.strategy.generation(count - 1) + 1))
                if ended and count >= min(PATIENCE, budget) and all(record["error"] for record in self.history):
                    _succeeded(self.history)
                if (ended and count <= SHORT) or time.perf_counter() - self.saved > SAVE_SECONDS:
                    self._save()

    def _proposals(self, budget: int, proposed: deque) -> Iterator[Arch | object]:
        """Architectures to score, generation by generation, each put into `proposed` with its origin.

        `WAIT` where the next generation depends on what is being scored. What is in the history already, since a kill
        or a smaller budget cut a generation short, is left out.
        """
        generation = self.strategy.generation(len(self.history))
        archs = [record["arch"] for record in self.history[: self.strategy.start(generation)]]
        past: list[dict] = []
        while (start := self.strategy.start(generation)) < budget:
            while len(self.history) < (shown := self.strategy.shown(generation)):
                yield WAIT
            past += self.history[len(past) : shown]
            self.pool.restart(self.seed, generation, archs)
            size = min(self.strategy.start(generation + 1), budget) - start
            try:
                found = list(itertools.islice(self.strategy.propose(self._scored(past), self.pool), size))
            except BudgetError as error:
                raise self._with_costs(error) from None
            archs += [arch for arch, _ in found]
            for arch, origin in found[max(0, len(self.history) - start) :]:
                proposed.append((arch, origin))
                yield arch
            if len(found) < size:
                return  # the space is exhausted
            generation += 1

    def _record(self, answer: float | dict | Failed, arch: Arch, origin: str) -> None:
        """Write down what came of an architecture."""
        score, error, several = _outcome(answer, self.strategy.combine is not None)
        index = len(self.history)
        values = (index, arch, score, self._seconds(), self.strategy.generation(index), origin, error)
        prices = {name: float(table(arch)) for name, table in self.costs.items()}
        record = dict(zip(FIELDS, values, strict=True)) | prices
        self.history.append(record | ({SEVERAL: several} if several else {}))

    def _scored(self, history: list[dict]) -> list[dict]:
        """The records with scores that are combined over all of them, each single score in a column of its own.

        The stored history keeps to what `evaluate` said, so that these depend on nothing but the records.
        """
        if self.strategy.combine is None:
            return history
        alive = [record for record in history if record["error"] is None]
        scores = dict(zip([r["index"] for r in alive], self.strategy.combine(alive) if alive else [], strict=True))
        return [_combined(record, scores.get(record["index"], -math.inf)) for record in history]

    def _result(self, history: list[dict]) -> SearchResult:
        best = max(_succeeded(history), key=lambda r: r["score"])  # the first, among equals
        prices = {name: best[name] for name in self.costs}
        return SearchResult(self.space, best["arch"], best["score"], history, self._seconds(), prices)

    def _seconds(self) -> float:
        return time.perf_counter() - self.begin

    @cached_property
    def identity(self) -> str:
        """What its state belongs to: everything but the budget."""
        return identity(self.strategy, self.space, self.evaluate, self.feasible, int(self.seed), dict(self.costs))

    @cached_property
    def _journal(self) -> Journal | None:
        return Journal(self.state, self.identity) if self.state else None

    def _save(self) -> None:
        """Store what is new, unless there are nothing but failures: a mended `evaluate` shall start afresh."""
        new = self.history[self.stored :]
        if self._journal and new and not all(record["error"] for record in self.history):
            self._journal.append(map(_entry, new))
            self.stored += len(new)
        self.saved = time.perf_counter()

    def _resume(self) -> None:
        """Load the history where there is a state file, and one of this very search."""
        if not self._journal:
            return
        entries = self._journal.read()
        with restoring(self.state):
            self.history = [self._restored(*entry) for entry in entries]
            if [record["index"] for record in self.history] != list(range(len(entries))):
                raise ValueError("its evaluations are not in order")
        self.stored = len(self.history)
        if self.history:
            self.begin -= self.history[-1]["seconds"]

    def _restored(self, *entry) -> dict:
        record = dict(zip(FIELDS, entry[:-1], strict=True)) | entry[-1]
        return record | {"arch": self.space.validate(_plain(record["arch"]))}

    def _with_costs(self, error: BudgetError) -> BudgetError:
        """The error, with the range of costs that random architectures have."""
        draws = rng(self.seed, "costs")
        archs = [self.space.sample(draws) for _ in range(200)]
        ranges = []
        for name, table in self.costs.items():
            if not isinstance(table, LookupTable):
                continue
            prices = [table(arch) for arch in archs]
            ranges.append(f"{name} from {min(prices):.4g} to {max(prices):.4g} {table.unit}")
        return BudgetError(f"{error}; random ones have {', '.join(ranges)}") if ranges else error


def _succeeded(history: list[dict]) -> list[dict]:
    """The records that are no failures. Raises `ParameterError` where there are none: then `evaluate` is at fault."""
    records = [record for record in history if record["error"] is None]
    if not records:
        raise ParameterError(f"evaluate failed on all of {len(history)} architectures: {history[0]['error']}")
    return records


def _combined(record: dict, score: float) -> dict:
    """A record with its combined score, each single score in a column of its own; -inf is a failure."""
    plain = {k: v for k, v in record.items() if k != SEVERAL} | {"score": score} | record.get(SEVERAL, {})
    return plain | {"error": "combined it is a failure"} if score == -math.inf and not record["error"] else plain


def _outcome(answer: float | dict | Failed, many: bool) -> tuple[float, str | None, dict[str, float]]:
    """A score, None and single scores; or -inf and what went wrong: a failure ranks last and never stops the search.

    Raises `ParameterError` where there are several scores and nothing to combine them, or the other way round.
    """
    if isinstance(answer, Failed):
        return -math.inf, answer.sentence, {}
    _check_kind(answer, many)
    single = answer if many else {"score": answer}
    failed = next((name for name, score in single.items() if not math.isfinite(score)), None)
    if failed is not None:
        what = f"the score {failed}" if many else "the score"
        return -math.inf, f"{what} is {single[failed]}", single if many else {}
    return (0.0, None, single) if many else (answer, None, {})


def _check_kind(value: float | Mapping, many: bool) -> None:
    """Raise `ParameterError` unless `value` is what the strategy can use: one score, or several by name."""
    if isinstance(value, Mapping) != many:
        wanted = "several scores by name, to be combined" if many else "one score: name a way to combine several"
        raise ParameterError(f"evaluate must return {wanted}; it returned {value!r:.80}")
    if many and (taken := set(value) & {*FIELDS, SEVERAL}):
        raise ParameterError(f"a score cannot be named {min(taken)!r}: the history has a column of that name")


def _entry(record: dict) -> list:
    """A record as a line of the state file: the fields, then what else it has by name."""
    return [*(record[name] for name in FIELDS), {name: record[name] for name in record if name not in FIELDS}]


def _plain(arch: Iterable) -> tuple:
    """The architecture as plain tuples, from what JSON makes of them."""
    return tuple(_plain(entry) if isinstance(entry, list | tuple) else entry for entry in arch)
