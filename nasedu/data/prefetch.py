"""Batches made beside the trainings that use them: ahead of time, and once for several that run side by side."""

from __future__ import annotations

import itertools
import threading
from collections import OrderedDict, deque
from collections.abc import Callable, Hashable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from functools import partial
from typing import TypeVar

T = TypeVar("T")


def prefetched(items: Iterable[T], ahead: int = 2) -> Iterator[T]:
    """The same items in the same order, up to `ahead` of them made in a thread before they are asked for.

    What making one raises is raised where it is asked for. The thread ends with the items, or when the iterator is
    closed. The items must not draw from the global random state, which the consumer may use at the same time.
    """
    iterator, end = iter(items), object()
    with closing(made_ahead(itertools.repeat(partial(next, iterator, end)), ahead=ahead)) as made:
        for item in made:
            if item is end:
                return
            yield item


def made_ahead(makers: Iterable[Callable[[], T]], workers: int = 1, ahead: int = 2) -> Iterator[T]:
    """What each maker gives, in their order, up to `ahead` of them called in threads before they are asked for.

    The rest is as in `prefetched`. Makers that are called side by side must not depend on one another.

    makers: functions.
    workers: threads.
    ahead: how many results wait at the most.
    """
    makers, pool = iter(makers), ThreadPoolExecutor(workers, "prefetch")
    try:
        waiting = deque(pool.submit(make) for make in itertools.islice(makers, ahead))
        while waiting:
            item = waiting.popleft().result()
            waiting.extend(pool.submit(make) for make in itertools.islice(makers, 1))
            yield item
    finally:
        pool.shutdown(cancel_futures=True)


class Shared:
    """The last `room` results by key: several threads that ask for the same ones make each of them once.

    A thread that asks for what another is making waits for it. One that lags behind by more than `room` makes its own.
    """

    def __init__(self, room: int):
        self._room, self._lock = room, threading.Lock()
        self._kept: OrderedDict[Hashable, Future] = OrderedDict()

    def __call__(self, key: Hashable, make: Callable[[], T]) -> T:
        """What `make()` gave for this key; an error is raised for all who wait for it, and forgotten."""
        with self._lock:
            mine = key not in self._kept
            future = self._kept.setdefault(key, Future())
            if len(self._kept) > self._room:
                self._kept.popitem(last=False)
        if mine:
            try:
                future.set_result(make())
            except BaseException as error:
                future.set_exception(error)
                with self._lock:
                    self._kept.pop(key, None)
        return future.result()

    def __reduce__(self) -> tuple:
        return Shared, (self._room,)  # another process shares nothing with this one
