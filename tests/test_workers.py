"""A function on an executor: it travels once per worker, and no failure of it harms more than its own item."""

from __future__ import annotations

import os
import pickle
import sys
from concurrent.futures import BrokenExecutor, Future, ProcessPoolExecutor, ThreadPoolExecutor

import pytest
import torch

from nasedu.workers import Failed, Workers

LARGE = 100_000  # bytes


class Heavy:
    """A function with half a megabyte of data."""

    def __init__(self):
        self.data = torch.arange(LARGE + 1, dtype=torch.float32)

    def __call__(self, item):
        return float(self.data[item])


class Unreadable(Exception):
    """Pickle stores it, and cannot make it again."""

    def __init__(self, one, two):
        super().__init__(f"{one} and {two}")


class Nameless(Exception):
    def __str__(self):
        raise ValueError


def fail(item):
    if item == 1:
        sys.exit("enough")
    if item == 2:
        raise Unreadable("this", "that")
    if item == 3:
        raise Nameless
    if item == 4:
        raise GeneratorExit
    if item == 5:
        return lambda: None  # no process can send it
    return item


def die(item):
    os._exit(1)


class Weighed:
    """An executor that notes how many bytes each task takes."""

    def __init__(self, executor):
        self.executor, self.bytes = executor, []

    def submit(self, function, *arguments):
        self.bytes.append(len(pickle.dumps((function, arguments))))
        return self.executor.submit(function, *arguments)


@pytest.fixture(scope="module")
def pool():
    """Two processes that live before any function is known."""
    with ProcessPoolExecutor(2) as executor:
        list(executor.map(abs, range(8)))
        yield executor


def test_a_function_travels_once_per_worker(pool):
    weighed = Weighed(pool)
    with Workers(Heavy(), weighed) as workers:
        for _ in range(3):
            assert list(workers.map(range(40))) == [float(i) for i in range(40)]
    large = [size for size in weighed.bytes if size > LARGE]
    assert 1 <= len(large) < 40  # of 120 items: where a worker is slow to begin, another may get it twice
    assert max(size for size in weighed.bytes if size not in large) < 1_000


def test_one_worker_gets_it_once():
    with ProcessPoolExecutor(1) as executor:
        executor.submit(abs, 1).result()
        weighed = Weighed(executor)
        with Workers(Heavy(), weighed) as workers:
            assert [list(workers.map(range(n))) for n in (5, 30)][1] == [float(i) for i in range(30)]
    assert sum(size > LARGE for size in weighed.bytes) == 1


def test_threads_know_it_from_the_start():
    with ThreadPoolExecutor(2) as executor:
        weighed = Weighed(executor)
        with Workers(lambda item: item + 1, weighed) as workers:  # no process could be sent a lambda
            assert list(workers.map(range(500))) == list(range(1, 501))
        assert len(weighed.bytes) == 500 and max(weighed.bytes) < 1_000


@pytest.mark.parametrize("where", ["here", "threads", "processes"])
def test_every_failure_is_a_sentence(where, pool):
    with ThreadPoolExecutor(2) as threads:
        executor = {"here": None, "threads": threads, "processes": pool}[where]
        items = [0, 1, 2, 3, 6] if where == "here" else [0, 1, 2, 3, 4, 6]
        with Workers(fail, executor) as workers:
            found = dict(zip(items, workers.map(items), strict=True))
            after = list(workers.map([7, 8]))
    assert after == [7, 8] and found[0] == 0 and found[6] == 6
    assert found[1] == Failed("SystemExit: enough") and found[2] == Failed("Unreadable: this and that")
    assert found[3] == Failed("Nameless")
    assert where == "here" or found[4].sentence.startswith("GeneratorExit")


def test_a_value_that_cannot_be_sent_is_a_failure_of_its_item(pool):
    with Workers(fail, pool) as workers:
        found = list(workers.map([5, 6]))
    assert isinstance(found[0], Failed) and "lambda" in found[0].sentence and found[1] == 6


def test_workers_that_die_are_gone():
    with ProcessPoolExecutor(1) as executor, Workers(die, executor) as workers, pytest.raises(BrokenExecutor):
        list(workers.map([1]))


class Late(Future):
    """Ends right after it was asked whether it has."""

    def __init__(self, ready):
        super().__init__()
        ready.add_done_callback(lambda _: self.set_result(ready.result()))

    def done(self):
        done = super().done()
        self.result()
        return done


def test_a_worker_may_say_at_any_moment_that_it_lacks_the_function(pool):
    class Executor:
        def submit(self, function, *arguments):
            return Late(pool.submit(function, *arguments))

    with Workers(abs, Executor()) as workers:
        assert list(workers.map([-1, -2, -3])) == [1, 2, 3]
