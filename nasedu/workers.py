"""One function on many items, here or on an executor whose workers get the function once each.

A task carries a name and an item. A worker that does not know the name says so, and gets the function with a task of
its own, by whatever means its executor sends things. So this needs no more than `submit`: threads know the function
from the start, and it reaches processes and other machines once per worker, however large it is.
"""

from __future__ import annotations

import os
import socket
import uuid
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, CancelledError, Executor, Future, wait
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nasedu.errors import WorkersLost

AHEAD = 200  # tasks that wait at an executor at most
LOST = (BrokenExecutor, CancelledError)  # the workers are gone, which says nothing about an item
LONGEST = 200  # characters of what an exception says
KEPT = 2  # functions that a worker remembers

_functions: dict[str, Callable] = {}  # by name, in each process


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


@dataclass(frozen=True)
class _Unknown:
    """What a worker hands back where it does not know the function: who it is."""

    worker: str


class Workers:
    """`function` on an executor's workers, or here; a context, after which the function is forgotten here."""

    def __init__(self, function: Callable[[Any], Any], executor: Executor | None = None):
        self.function, self.executor, self.name = function, executor, uuid.uuid4().hex
        self._served: set[str] = set()

    def __enter__(self) -> Workers:
        _functions[self.name] = self.function
        return self

    def __exit__(self, *_) -> None:
        _functions.pop(self.name, None)

    def map(self, items: Iterable) -> Iterator:
        """The function's values, or `Failed`, in the order of `items`.

        Raises what the executor raises, such as `BrokenExecutor` where its workers are gone, and `KeyboardInterrupt`.
        """
        if self.executor is None:
            yield from (call(self.function, item) for item in items)
            return
        items, running = iter(items), deque()
        try:
            for item in items:
                running.append(_Task(self, item))
                if len(running) == AHEAD:
                    yield self._first(running)
            while running:
                yield self._first(running)
        finally:
            for task in running:
                task.future.cancel()

    def _first(self, running: deque[_Task]) -> Any:
        """The value of the first task; meanwhile workers that lack the function get it."""
        while True:
            done = {task for task in running if task.future.done()}  # asked once: the next is done a moment later
            lacking = {task: answer.worker for task in done if isinstance(answer := task.answer(), _Unknown)}
            for task, worker in lacking.items():
                task.again(worker)
            if running[0] in done and running[0] not in lacking:
                return running.popleft().answer()
            wait([t.future for t in running if t not in done or t in lacking], return_when=FIRST_COMPLETED)


class _Task:
    """An item on its way; the function goes along where a worker is known to lack it, or did so twice."""

    def __init__(self, workers: Workers, item: Any):
        self.workers, self.item, self.tries = workers, item, 0
        self.future = self._submitted(None)

    def answer(self) -> Any:
        """What came back. A failure on the way counts as one of the function, but for a loss of workers."""
        try:
            return self.future.result()
        except (KeyboardInterrupt, *LOST):
            raise
        except BaseException as error:
            return Failed(_sentence(error))

    def again(self, worker: str) -> None:
        """Send the item once more."""
        self.tries += 1
        with_function = worker not in self.workers._served or self.tries > 1
        self.workers._served.add(worker)
        function = self.workers.function if with_function else None
        self.future = self._submitted(function)

    def _submitted(self, function: Callable | None) -> Future:
        try:
            return self.workers.executor.submit(_run, self.workers.name, function, self.item)
        except RuntimeError as error:  # it was shut down
            raise BrokenExecutor(str(error)) from error


def _run(name: str, function: Callable | None, item: Any) -> Any:
    """In a worker: the value of the function of that name, which it keeps when it gets it."""
    if function is not None:
        _functions[name] = function
        for old in list(_functions)[:-KEPT]:
            _functions.pop(old, None)
    if name not in _functions:
        return _Unknown(f"{socket.gethostname()} {os.getpid()}")
    return call(_functions[name], item, BaseException)


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
