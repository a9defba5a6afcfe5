"""A function on an executor: it travels once per worker, and no failure of it harms more than its own item."""

from __future__ import annotations

import os
import pickle
import sys
import threading
from concurrent.futures import BrokenExecutor, Future, ProcessPoolExecutor, ThreadPoolExecutor

import pytest
import torch

from nasedu.errors import ParameterError
from nasedu.workers import TRIES, WAIT, Failed, Workers

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
        self.executor, self.bytes, self.sizes = executor, [], []

    def submit(self, function, *arguments):
        self.sizes.append(len(arguments[2]))
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
    assert 1 <= len(large) < 10  # of 120 items: what is meant for one worker may come to the other
    assert max(size for size in weighed.bytes if size not in large) < 1_000


class Many:
    """Holds more tensors than a process may open files."""

    def __init__(self):
        self.tensors = [torch.full((1,), float(i)) for i in range(400)]

    def __call__(self, item):
        return float(self.tensors[item])


def test_a_function_of_many_tensors_needs_no_open_file_for_each(pool):
    resource = pytest.importorskip("resource")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    used = max(map(int, os.listdir("/proc/self/fd"))) if os.path.isdir("/proc/self/fd") else 100
    resource.setrlimit(resource.RLIMIT_NOFILE, (used + 50, hard))
    try:
        with Workers(Many(), pool) as workers:
            assert list(workers.map([3, 399, 0])) == [3, 399, 0]
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


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


@pytest.mark.parametrize("together", [1, 2])
def test_an_answer_that_is_lost_on_the_way_is_asked_for_again(together):
    """As Dask's executor loses it: a worker leaves when it has computed the answer and before it has given it."""
    asked = []

    class Losing:
        def submit(self, function, *arguments):
            future, items = Future(), arguments[2]
            asked.extend(items)
            if asked.count(3) == 1 and 3 in items:
                future.set_exception(ValueError("not enough values to unpack (expected 3, got 1)"))
            else:
                future.set_result(function(*arguments))
            return future

    with Workers(abs, Losing(), together=together) as workers:
        assert list(workers.map(range(6))) == [0, 1, 2, 3, 4, 5]
    assert asked.count(3) == 2 and asked.count(0) == 1


def test_no_two_things_that_are_sent_are_alike():
    """Dask answers what it was sent before with what became of it, a worker's death too."""
    sent = []

    class Keeping:
        def submit(self, function, *arguments):
            future = Future()
            sent.append(repr(arguments))
            if len(sent) < 3:
                future.set_exception(ValueError("lost"))
            else:
                future.set_result(function(*arguments))
            return future

    with Workers(abs, Keeping()) as workers:
        assert list(workers.map([-1, -1, -1])) == [1, 1, 1]
    assert len(sent) == len(set(sent)) == 5


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


def test_what_is_yet_to_be_found_out_waits_for_values():
    """Every item but the first is the value before it, plus one."""
    values = [0]

    def items():
        for count in range(1, 6):
            while len(values) < count:
                yield WAIT
            yield values[-1]

    with ThreadPoolExecutor(2) as executor, Workers(lambda item: item + 1, executor) as workers:
        for value in workers.map(items()):
            values.append(value)
    assert values == [0, 1, 2, 3, 4, 5]


def test_a_value_that_is_there_waits_for_no_item_that_is_found_slowly():
    asked, found = [], threading.Event()

    def items():
        for item in range(400):
            if item == 4:
                found.wait(20)
            asked.append(item)
            yield item

    with ThreadPoolExecutor(1) as executor, Workers(lambda item: item + 1, executor) as workers:
        answers = workers.map(items())
        threading.Timer(0.5, found.set).start()  # the first are done by then
        assert next(answers) == 1 and len(asked) < 10
        assert list(answers) == list(range(2, 401))


@pytest.mark.parametrize("together", [1, 3])
def test_items_travel_together(together, pool):
    weighed = Weighed(pool)
    with Workers(fail, weighed, together=together) as workers:
        found = list(workers.map([0, 5, 1, 6, 7, 8, 9, 10]))
    assert [value for value in found if not isinstance(value, Failed)] == [0, 6, 7, 8, 9, 10]
    assert "lambda" in found[1].sentence and found[2] == Failed("SystemExit: enough")
    assert max(weighed.sizes) == together and (together == 1 or 2 in weighed.sizes)


def test_what_waits_for_values_travels_with_what_is_known():
    seen = []

    def items():
        yield from (1, 2, 3)
        while len(seen) < 3:
            yield WAIT
        yield 4

    with ThreadPoolExecutor(2) as executor, Workers(lambda item: -item, executor, together=2) as workers:
        for value in workers.map(items()):
            seen.append(value)
    assert seen == [-1, -2, -3, -4]


@pytest.mark.parametrize("together", [1, 4])
@pytest.mark.parametrize("times", [1, TRIES])
def test_a_hanging_item_is_tried_again_and_then_given_up(times, together):
    never, tried = threading.Event(), []

    def work(item):
        if item == 3:
            tried.append(item)
            if len(tried) <= times:
                never.wait(20)
        return -item

    with ThreadPoolExecutor(2) as executor, Workers(work, executor, 0.2, together) as workers:
        found = list(workers.map(range(8)))
    never.set()
    assert [found[i] for i in range(8) if i != 3] == [-i for i in range(8) if i != 3]
    assert found[3] == (-3 if times == 1 else Failed(f"no answer within 0.2 s, {TRIES} times"))
    assert len(tried) == min(times + 1, TRIES)


def test_an_interrupt_is_none_of_the_functions_failures_however_it_is_watched():
    def interrupt(item):
        raise KeyboardInterrupt

    for patience in (None, 5):
        with ThreadPoolExecutor(1) as executor, Workers(interrupt, executor, patience) as workers:
            answers = workers.map([1])
            with pytest.raises(KeyboardInterrupt):
                next(answers)


def test_a_connection_that_is_lost_without_a_word_ends_the_wait(monkeypatch):
    """Dask's client can lose its scheduler without telling those who wait for a future."""
    monkeypatch.setattr("nasedu.workers.QUIET", 0.05)

    class Mute:
        def __init__(self, status):
            self._client, self.status = self, status

        def submit(self, function, *arguments, priority=0):
            future = Future()
            threading.Timer(0.3, lambda: future.set_result(function(*arguments))).start()
            return future

    with Workers(abs, Mute("running")) as workers:
        assert list(workers.map([-1])) == [1], "slow is not lost"
    with Workers(abs, Mute("connecting")) as workers, pytest.raises(BrokenExecutor, match="connecting"):
        list(workers.map([-1]))


def test_a_patience_is_a_positive_number():
    for wrong in (0, -1, "long", float("nan")):
        with pytest.raises(ParameterError, match="patience"):
            Workers(abs, None, wrong)


class Cluster:
    """A worker that `deadly` items kill, and what waits beside them dies as well, as Dask tells it."""

    def __init__(self, deadly, beside):
        self.deadly, self.beside, self.waiting, self.tried = deadly, beside, [], set()

    def submit(self, function, *arguments):
        future, items = Future(), arguments[2]
        self.waiting.append((items, future, lambda: function(*arguments)))
        if set(items) <= self.tried or len(self.waiting) == self.beside:
            self.work()
        return future

    def work(self):
        killed = pytest.importorskip("distributed").KilledWorker
        batch, self.waiting = self.waiting, []
        dies = any(self.deadly & set(items) for items, _, _ in batch)
        for items, future, run in batch:
            self.tried |= set(items)
            if dies:
                future.set_exception(killed(f"task {items}", None, 3))
            else:
                future.set_result(run())


@pytest.mark.parametrize(("together", "beside"), [(1, 2), (2, 2), (4, 2)])
def test_what_died_beside_a_killer_is_tried_alone_and_only_the_killer_fails(together, beside):
    cluster = Cluster(deadly={2, 5}, beside=beside)
    with Workers(lambda item: item * 10, cluster, together=together) as workers:
        found = list(workers.map(range(8)))
    assert [found[i] for i in (0, 1, 3, 4, 6, 7)] == [0, 10, 30, 40, 60, 70]
    assert all("every worker that tried it died" in found[i].sentence for i in (2, 5))
