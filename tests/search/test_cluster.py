"""Searches on a Dask cluster of separate processes: workers join, leave, hang, die, and the result stays the same.

One failed worker is enough for this scheduler to give an item up (`allowed-failures`), so that every death is told to
the search at once.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from nasedu.search.evolution import EvolutionConfig, evolution
from nasedu.search.random import random_search
from nasedu.search.settings import SearchConfig

distributed = pytest.importorskip("distributed")
pytestmark = pytest.mark.timeout(300)  # of a machine that is busy; a calm one needs 20 s at most

CHOICES = [4] * 10
CONFIG = {
    "DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES": "0",
    "DASK_DISTRIBUTED__WORKER__MEMORY__SPILL": "False",
    "DASK_DISTRIBUTED__WORKER__MEMORY__PAUSE": "False",
}


class Cluster:
    """A scheduler, and workers that come and go, each a process of its own with a nanny."""

    def __init__(self, folder):
        self.file, self.folder, self.processes = folder / "scheduler.json", folder, []
        self.scheduler = self._start("scheduler", "--port", "0", "--no-dashboard", "--no-show")
        self.client = distributed.Client(scheduler_file=str(self.file), timeout=60)

    def _start(self, *arguments):
        command = [sys.executable, "-m", "distributed.cli.dask_" + arguments[0], "--scheduler-file", str(self.file)]
        with open(self.folder / "log", "a") as log:
            made = subprocess.Popen(
                [*command, *arguments[1:]],
                cwd=self.folder,
                env=os.environ | CONFIG,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self.processes.append(made)
        return made

    def join(self, memory="0"):
        """Start a worker; the process of its nanny."""
        return self._start("worker", "--nthreads", "1", "--no-dashboard", "--memory-limit", memory)

    def ready(self, number):
        """The numbers of so many processes, as soon as there are no more and no less, which know nasedu by now."""
        self.client.wait_for_workers(number, timeout=100)
        limit = time.monotonic() + 100
        while len(self.client.scheduler_info(n_workers=-1)["workers"]) != number:
            assert time.monotonic() < limit, "a worker that was stopped is still there"
            time.sleep(0.05)
        program = lambda: importlib.import_module("nasedu.workers") and os.getpid()  # noqa: E731
        return sorted(self.client.run(program).values())

    def leave(self, process, how=signal.SIGKILL):
        """Stop a worker with its nanny."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, how)
        process.wait(30)

    def close(self):
        self.client.close()
        for process in reversed(self.processes):
            self.leave(process)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    made = Cluster(tmp_path_factory.mktemp("cluster"))
    try:
        yield made
    finally:
        made.close()


@pytest.fixture
def two(cluster):
    """The cluster with two workers, which are stopped afterwards."""
    workers = [cluster.join(), cluster.join()]
    cluster.ready(2)
    yield cluster
    for worker in workers:
        cluster.leave(worker)


def evaluator(folder, special=None, act=lambda again: None, seconds=0.02):
    """A function whose calls are noted in a folder, by process; at one architecture it acts, told if it did before."""
    weights = np.random.default_rng(0).normal(size=10).tolist()
    folder = str(folder)

    def evaluate(arch):
        time.sleep(seconds)
        place = os.path.join(folder, str(os.getpid()))
        with open(place, "a") as file:
            file.write(f"{arch}\n")
        if tuple(arch) == special:
            mark = os.path.join(folder, "mark")
            again = os.path.exists(mark)
            with open(mark, "w"):
                pass
            act(again)
        return sum(w * c for w, c in zip(weights, arch, strict=True))

    return evaluate


def processes(folder):
    return {int(path.name): path.read_text().count("\n") for path in folder.iterdir() if path.name.isdecimal()}


@pytest.fixture
def told(tmp_path):
    (tmp_path / "told").mkdir()
    return tmp_path / "told"


def test_two_workers_find_what_one_process_finds(two, toy, facts, told):
    evaluate, executor = evaluator(told), two.client.get_executor(pure=False)
    space = toy(CHOICES)
    for search, settings in (
        (random_search, SearchConfig(budget=60)),
        (evolution, EvolutionConfig(budget=50)),
        (evolution, EvolutionConfig(budget=50, lag=1)),
    ):
        found = search(space, evaluate, settings, seed=3, executor=executor)
        assert facts(found) == facts(search(space, evaluate, settings, seed=3))
    assert set(processes(told)) == {*two.ready(2), os.getpid()}, "both took part"


def test_an_evaluator_is_sent_to_every_worker_and_not_with_every_task(two, toy, told):
    """Its half a megabyte is made of a file's name, and whoever makes it writes that down."""
    folder, plain = str(told), evaluator(told)

    def load(where, number):
        with open(os.path.join(where, "loads"), "a") as file:
            file.write(f"{os.getpid()}\n")
        return Large(where, number)

    class Large:
        def __init__(self, where, number):
            self.where, self.number, self.data = where, number, np.zeros(60_000)

        def __reduce__(self):
            return load, (self.where, self.number)

        def __call__(self, arch):
            return plain(arch) + self.number

    random_search(toy(CHOICES), Large(folder, 1), SearchConfig(budget=80), executor=two.client.get_executor())
    loads = (told / "loads").read_text().split()
    assert all(1 <= loads.count(str(worker)) <= 5 for worker in two.ready(2)), loads


def test_a_worker_joins_and_one_leaves_in_the_middle(cluster, toy, facts, told):
    evaluate, space, settings = evaluator(told, seconds=0.05), toy(CHOICES), EvolutionConfig(budget=150)
    expected, mine = facts(evolution(space, evaluate, settings)), os.getpid()
    workers = [cluster.join()]
    first = cluster.ready(1)[0]

    def progress(done, total, note=""):
        if done == 20:
            workers.append(cluster.join())
            second = cluster.ready(2)
            assert len(second) == 2
        if done == 80:
            cluster.leave(workers[0])

    try:
        found = evolution(space, evaluate, settings, executor=cluster.client.get_executor(), progress=progress)
        (second,) = cluster.ready(1)
    finally:
        for worker in workers:
            cluster.leave(worker)
    assert facts(found) == expected
    shares = processes(told)
    assert shares[first] >= 20 and shares[second] >= 70 and set(shares) == {first, second, mine}
    assert shares[first] + shares[second] <= 150 + 10, "what the lost one had found is not found again"


def test_what_is_found_is_told_at_once(two, toy, told):
    """Workers that lack the function send their first tasks back: they must not wait behind all others."""
    counts = []

    def progress(done, total, note=""):
        counts.append(sum(processes(told).values()) - done)

    settings = SearchConfig(budget=200)
    random_search(toy(CHOICES), evaluator(told), settings, executor=two.client.get_executor(), progress=progress)
    assert len(counts) >= 200 and max(counts) < 50


def test_an_item_that_hangs_is_given_to_another(two, toy, facts, told):
    space, settings = toy(CHOICES), SearchConfig(budget=40, patience=5)
    special = random_search(space, evaluator(told), settings).history[7]["arch"]

    def hang(again):
        if not again:
            time.sleep(1000)

    def search(executor):
        return facts(random_search(space, evaluator(told, special, hang), settings, executor=executor))

    before = two.ready(2)
    found = search(two.client.get_executor())
    (told / "mark").touch()
    assert found == search(None)
    assert set(two.ready(2)) - set(before), "the one that hung was ended, and its nanny started another"


def deadly(how):
    """What an item does to its worker: a function that can be sent to where this file is unknown."""

    def fill(again):
        held = []
        for _ in range(400):  # bit by bit, so that the nanny sees it in time
            held.append(b"\1" * 10_000_000)
            time.sleep(0.01)

    return {"exits": lambda _: os._exit(3), "fills the memory": fill, "hangs every time": lambda _: time.sleep(99)}[how]


@pytest.mark.parametrize("how", ["exits", "fills the memory", "hangs every time"])
def test_an_item_that_kills_its_workers_fails_alone(cluster, toy, facts, told, how):
    space = toy(CHOICES)
    settings = SearchConfig(budget=24, patience=3 if how == "hangs every time" else None)
    special = random_search(space, evaluator(told), settings).history[5]["arch"]
    workers = [cluster.join("900MB"), cluster.join("900MB")]
    try:
        cluster.ready(2)
        evaluate = evaluator(told, special, deadly(how))
        found = random_search(space, evaluate, settings, executor=cluster.client.get_executor())
    finally:
        for worker in workers:
            cluster.leave(worker)
    expected = random_search(space, evaluator(told), settings).history
    said = "no answer within 3 s, 3 times" if how == "hangs every time" else "every worker that tried it died"
    assert said in found.history[5]["error"] and len(found.history) == 24
    theirs = sum(calls for process, calls in processes(told).items() if process != os.getpid())
    assert theirs < 24 + 12, "what was found is not found again"
    same = [[r[k] for k in ("index", "arch", "score")] for r in found.history if r["arch"] != special]
    assert same == [[r[k] for k in ("index", "arch", "score")] for r in expected if r["arch"] != special]
