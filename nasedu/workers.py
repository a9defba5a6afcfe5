"""One function on many items, here or on an executor whose workers get the function once each.

A task carries a name and items. A worker that does not know the name says so, and gets the function with a task of
its own, by whatever means its executor sends things. So this needs no more than `submit`: threads know the function
from the start, and it reaches processes and other machines once per worker, however large it is.

Workers may come and go, hang, or die of an item. Dask gives what a lost worker was doing to another, and tells of an
item that several workers died with. It may only have waited beside the one that killed them, so it is tried once more,
alone; only what dies then is a failure. Values come in the order of the items, whatever happens on the way.
"""

from __future__ import annotations

import heapq
import itertools
import os
import pickle
import socket
import sys
import threading
import time
import uuid
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import BrokenExecutor, CancelledError, Executor, Future, ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any

from nasedu.errors import WorkersLost, check_number, check_whole

AHEAD = 100_000  # tasks on their way at most: a hundred for each of 1,000 workers, behind one that takes long
LOST = (BrokenExecutor, CancelledError)  # the workers are gone, which says nothing about an item
LONGEST = 200  # characters of what an exception says
KEPT = 2  # functions that a worker remembers
QUIET = 60.0  # seconds without news after which a connection is looked at
FOR_EACH = 8  # tasks that a pool has for each of its processes
TRIES = 3  # of an item whose workers hang
HUNG = "nasedu: ended itself for want of an answer"  # the topic under which Dask keeps that
WAIT = object()  # among items: what comes next depends on values that are yet to come
KILLED = "every worker that tried it died: it may need more memory than there is, crash, or hang"

_functions: dict[str, Callable] = {}  # by name, in each process
_numbers = itertools.count()  # of what is sent


def lost(done: int, unit: str, state: str | Path | None) -> WorkersLost:
    """The error of work that cannot go on, in one sentence.

    done: how much there is already.
    unit: of what.
    state: the file that keeps it, if any.
    """
    after = f"run it again with state={str(state)!r} to go on" if state else "a `state` file would keep them"
    return WorkersLost(f"the executor's workers are gone after {done} {unit}; {after}")


@dataclass(frozen=True)
class Failed:
    """What a worker hands back where the function failed, in whatever way: a sentence about it."""

    sentence: str


class _Hung(Failed):
    """What a worker hands back for an item that it lost its patience with."""


@dataclass(frozen=True)
class _Unknown:
    """What a worker hands back where it does not know the function: who it is."""

    worker: str


class _Packed:
    """A function that travels as bytes and arrives as itself.

    Between processes of one machine each of its tensors would take an open file on both sides until it is read, and a
    supernet has more of them than a system lets a process open.
    """

    def __init__(self, function: Callable):
        self.function = function

    def __reduce__(self) -> tuple:
        return pickle.loads, (pickle.dumps(self.function),)


class Workers:
    """`function` on an executor's workers, or here; a context, after which the function is forgotten here.

    Args:
        function: of one item.
        executor: whose workers call it; None: it is called here.
        patience: seconds that a worker gives an item, after which another try begins, `TRIES` at most. A Dask worker
            that has a nanny ends itself then, since what hangs may hold what the next item needs, and its nanny starts
            another. (Dask itself tries once more than its `allowed-failures` says, four times where nobody set it.)
            None: it may take for ever. Here it is not watched.
        together: items of a task. What a scheduler does for a task takes a millisecond or so, which is much beside
            short evaluations on many workers.
    """

    def __init__(
        self,
        function: Callable[[Any], Any],
        executor: Executor | None = None,
        patience: float | None = None,
        together: int = 1,
    ):
        self.function, self.executor, self.name = function, executor, uuid.uuid4().hex
        self.patience = patience if patience is None else check_number("patience", patience, above=True)
        self.together = check_whole("together", together)
        self.teaching: dict[str, list[_Task]] = {}  # workers that are sent the function, and what waits for that
        self.kept: list[tuple[int, _Task, Callable | None]] = []  # by their place
        self.flying = 0  # tasks that the executor has

    def __enter__(self) -> Workers:
        _functions[self.name] = self.function
        return self

    def __exit__(self, *_) -> None:
        _functions.pop(self.name, None)

    def map(self, items: Iterable) -> Iterator:
        """The function's values, or `Failed`, in the order of `items`.

        Items are asked for as they can be sent. `WAIT` in place of one means that it is yet to be found out from the
        values of those before it, of which at least one must be on its way.

        Raises what the executor raises, such as `BrokenExecutor` where its workers are gone, and `KeyboardInterrupt`.
        """
        if self.executor is None:
            yield from (call(self.function, item) for item in items)
            return
        parts, news = _parts(iter(items), self.together), SimpleQueue[_Task]()
        running: deque[_Task] = deque()
        try:
            while True:
                for sent in itertools.count():  # what is proposed slowly holds up no value that is there already
                    if len(running) >= AHEAD or (sent > 1 and running[0].rests) or not (part := next(parts)):
                        break
                    running.append(_Task(self, part, news))
                    while not news.empty():
                        self._hear(news)
                if not running:
                    return
                yield from self._first(running, news)
        finally:
            for task in running:
                if task.future:
                    task.future.cancel()

    def send(self, task: _Task, function: Callable | None) -> None:
        """Send a task, or keep it until there is room for it.

        A pool takes tasks in the order in which they come: what is sent again would wait behind all others, and hold up
        their values. So there it gets few at a time, and the first ones first.

        task: not on its way.
        function: goes along.
        """
        heapq.heappush(self.kept, (task.place, task, function))
        self.launch()

    def launch(self) -> None:
        """Send what was kept, as far as there is room."""
        processes = self.executor._max_workers if isinstance(self.executor, ProcessPoolExecutor) else AHEAD
        while self.kept and self.flying < FOR_EACH * processes:
            _, task, function = heapq.heappop(self.kept)
            self.flying += 1
            task.launch(function)

    def _first(self, running: deque[_Task], news: SimpleQueue[_Task]) -> list:
        """The values of the first task; news of others is heard on the way."""
        first = running[0]
        while not first.rests:
            self._hear(news)
        values = first.values
        if first.deadly:
            for other in running:  # alone: nothing beside it can be what kills its workers
                while not other.rests:
                    self._hear(news)
            values = []
            for item in first.items:
                single = _Task(self, [item], news, alone=True)
                while not single.rests:
                    self._hear(news)
                values += single.values
        running.popleft()
        return values

    def _hear(self, news: SimpleQueue[_Task]) -> None:
        """Wait for news. A Dask client that lost its scheduler may never tell of any: `BrokenExecutor`."""
        while True:
            try:
                news.get(timeout=QUIET).hear()
                return self.launch()
            except Empty:
                client = getattr(self.executor, "_client", None)
                if (status := getattr(client, "status", "running")) != "running":
                    raise BrokenExecutor(f"the client of the scheduler is {status}") from None


def _parts(items: Iterator, size: int) -> Iterator[list]:
    """Up to so many items at a time, without end: none where nothing is left, or what is next is to be found out."""
    while True:
        yield list(itertools.takewhile(lambda item: item is not WAIT, itertools.islice(items, size)))


class _Task:
    """Items on their way; the function goes along where a worker said that it lacks it, and is not sent it already.

    values: what came of them, in the end.
    deadly: whether it is to be tried again alone, item by item.
    """

    def __init__(self, workers: Workers, items: list, news: SimpleQueue, alone: bool = False):
        self.workers, self.items, self.news, self.alone = workers, items, news, alone
        self.hung, self.place = 0, next(_numbers)
        self.values: list = []
        self.deadly, self.pupil = False, ""
        self.future: Future | None = None
        workers.send(self, None)

    @property
    def rests(self) -> bool:
        """Whether nothing more will be heard of it."""
        return self.deadly or bool(self.values)

    def launch(self, function: Callable | None = None) -> None:
        """Hand the items to the executor; what comes of them is put into `news`.

        function: goes along.
        """
        workers, executor = self.workers, self.workers.executor
        if function is not None and isinstance(executor, ProcessPoolExecutor):
            function = _Packed(function)
        urgent = {}
        if hasattr(executor, "_client"):  # Dask; what is sent again would wait behind its queue, and hold up all values
            urgent = {"priority": getattr(executor, "_kwargs", {}).get("priority", 0) - self.place}
        try:
            # a number of its own keeps Dask from answering with what became of an earlier try
            self.number = next(_numbers)
            what = workers.name, function, self.items, workers.patience, self.number
            self.future = executor.submit(_run, *what, **urgent)
        except RuntimeError as error:  # it was shut down
            raise BrokenExecutor(str(error)) from error
        self.future.add_done_callback(lambda _: self.news.put(self))

    def hear(self) -> None:
        """Take what came back, or send the items once more.

        A failure on the way counts as one of the function where it comes back alone, but for a loss of workers.
        """
        workers = self.workers
        workers.flying -= 1
        self._taught()
        future, self.future = self.future, None  # Dask keeps what anyone holds, and makes it again where it is lost
        try:
            answer = future.result()
        except (KeyboardInterrupt, *LOST):
            raise
        except BaseException as error:
            killed = isinstance(error, getattr(sys.modules.get("distributed"), "KilledWorker", ()))
            if killed and len(self.items) == 1 and (hung := self._hangs()):
                self.hung += hung
                if self.hung < TRIES:
                    workers.send(self, None)
                else:
                    self.values = [Failed(_late(workers.patience, self.hung))]
                return
            if not self.alone:  # Dask also fails where a worker leaves while its answer is on the way
                self.deadly = True
                return
            answer = [Failed(KILLED if killed else _sentence(error))]
        if isinstance(answer, _Unknown):
            self._teach(answer.worker)
        elif any(isinstance(value, _Hung) for value in answer) and self.hung < TRIES - 1:
            self.hung += 1
            workers.send(self, None)
        else:
            self.values = [Failed(value.sentence) if isinstance(value, _Hung) else value for value in answer]

    def _hangs(self) -> int:
        """How many Dask workers ended themselves because of these items."""
        client = getattr(self.workers.executor, "_client", None)
        return sum(number == self.number for _, number in client.get_events(HUNG)) if client else 0

    def _teach(self, worker: str) -> None:
        """Send the items with the function, or wait while another task takes it to this worker.

        A worker that lacks it empties a queue in no time, and a copy for each of these tasks would fill the network.
        The one that takes it may come to another worker: then this one says once more that it lacks it.
        """
        if worker in self.workers.teaching:
            self.workers.teaching[worker].append(self)
        else:
            self.workers.teaching[worker], self.pupil = [], worker
            self.workers.send(self, self.workers.function)

    def _taught(self) -> None:
        """What waited for the function may go."""
        for task in self.workers.teaching.pop(self.pupil, []):
            self.workers.send(task, None)
        self.pupil = ""


def _run(name: str, function: Callable | None, items: list, patience: float | None, number: int) -> Any:
    """In a worker: the values of the function of that name, which it keeps when it gets it."""
    if function is not None:
        _functions[name] = function
        for old in list(_functions)[:-KEPT]:
            _functions.pop(old, None)
    if name not in _functions:
        return _Unknown(f"{socket.gethostname()} {os.getpid()}")
    function = _functions[name]
    if patience is None:
        return [call(function, item, BaseException) for item in items]
    return [_within(patience, function, item, number) for item in items]


def _within(patience: float, function: Callable[[Any], Any], item: Any, number: int) -> Any:
    """`call` in a thread of its own, which is left behind where it takes longer; `number` is that of the task."""
    told: Future = Future()

    def work() -> None:
        try:
            told.set_result(call(function, item, BaseException))
        except BaseException as error:
            told.set_exception(error)

    threading.Thread(target=work, daemon=True).start()
    try:
        return told.result(patience)
    except TimeoutError:  # one of the function's own is `Failed`
        try:
            worker = sys.modules["distributed"].get_worker()
        except (KeyError, ValueError):  # no worker of Dask
            worker = None
        if worker and worker.nanny:  # this process is started again when it ends
            worker.log_event(HUNG, number)
            time.sleep(0.5)  # for that to get through
            os._exit(1)
        return _Hung(_late(patience, TRIES))


def _late(patience: float, tries: int) -> str:
    return f"no answer within {patience:g} s, {tries} times"


def plain(function: Callable[[Any], Any], item: Any) -> float | dict[str, float]:
    """A number, or several by name, as Python's own: those can be read anywhere, without PyTorch as well."""
    value = function(item)
    return {str(k): float(v) for k, v in value.items()} if isinstance(value, Mapping) else float(value)


def call(function: Callable[[Any], Any], item: Any, caught: type | tuple = (Exception, SystemExit)) -> Any:
    """function(item), or `Failed`: no exception travels, since another process may not be able to read it.

    function: what is called.
    item: its argument.
    caught: the exceptions that are a failure of the function.
    """
    try:
        return function(item)
    except KeyboardInterrupt:
        raise
    except caught as error:
        return Failed(_sentence(error))


def _sentence(error: BaseException) -> str:
    try:
        said = " ".join(str(error).split())
        return f"{type(error).__name__}: {said[:LONGEST]}{'...' * (len(said) > LONGEST)}"
    except Exception:  # its own text fails
        return type(error).__name__
