"""What a search costs beside its evaluations, two workers against one, and a million evaluations on 1,000 workers.

Scheduler and workers are processes of their own, as `dask scheduler` and `dask worker` start them. The costs are
seconds of the processor, so a busy machine changes them little. What is too large to run is simulated with them: see
`simulate`.
"""

from __future__ import annotations

import heapq
import math
import os
import subprocess
import sys
import time
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np
import psutil
import pytest

from nasedu import spaces
from nasedu.search.evolution import EvolutionConfig, evolution
from nasedu.search.random import random_search
from nasedu.search.settings import SearchConfig
from nasedu.tables import LookupTable
from nasedu.workers import AHEAD, TRIES, Workers

TASKS = 3000  # without work, whose cost is the scheduler's and the client's
SLEEPS, SECONDS = 120, 0.1  # evaluations of the race, and how long each takes
STORED = 50_000  # evaluations of a table, with a state
EVALUATIONS, MACHINES = 1_000_000, 1000
TYPICAL = (0.1, 1.0, 10.0)  # seconds of a simulated evaluation, the median


@contextmanager
def cluster(folder, number):
    """A client of a scheduler with so many workers, and the scheduler's process."""
    import distributed

    file, processes = folder / f"scheduler{number}.json", []
    file.unlink(missing_ok=True)

    def start(kind, *more):
        with open(folder / "log", "a") as log:
            command = [sys.executable, "-m", f"distributed.cli.dask_{kind}", "--scheduler-file", str(file), *more]
            processes.append(subprocess.Popen(command, stdout=log, stderr=log, cwd=folder))

    try:
        start("scheduler", "--port", "0", "--no-dashboard")
        for _ in range(number):
            start("worker", "--nthreads", "1", "--no-dashboard", "--no-nanny", "--memory-limit", "0")
        with distributed.Client(scheduler_file=str(file), timeout=120) as client:
            client.wait_for_workers(number, timeout=120)
            client.run(lambda: __import__("nasedu.workers") and os.getpid())
            yield client, psutil.Process(processes[0].pid)
    finally:
        for process in processes:
            process.kill()
            process.wait(30)


def processor(process):
    """Seconds of the processor that a process took so far."""
    times = process.cpu_times()
    return times.user + times.system


def cost_of_a_task(client, scheduler, together=1):
    """Seconds of the scheduler's and of this process's processor for an evaluation that does nothing."""
    executor, mine = client.get_executor(pure=False), psutil.Process()
    with Workers(lambda item: 0.0, executor, together=together) as workers:
        list(workers.map(range(10 * together)))
        before = processor(scheduler), processor(mine)
        list(workers.map(range(TASKS)))
        return [(processor(p) - b) / TASKS for p, b in zip((scheduler, mine), before, strict=True)]


def test_the_cost_of_a_task(tmp_path):
    with cluster(tmp_path, 2) as (client, scheduler):
        for together in (1, 20):
            found = cost_of_a_task(client, scheduler, together)
            shown = " and ".join(f"{1e3 * cost:.2f} ms" for cost in found)
            print(f"\n{together} together: {shown} of the scheduler's and the search's processor per evaluation")


def test_two_workers_against_one(tmp_path):
    """Evaluations that sleep, so that another program on this machine does not count."""
    seconds = SECONDS

    def evaluate(arch):
        time.sleep(seconds)
        return float(sum(arch))

    space, taken = spaces.create("fbnet:course"), {}
    for number in (1, 2):
        with cluster(tmp_path, number) as (client, _):
            executor = client.get_executor(pure=False)
            random_search(space, evaluate, SearchConfig(budget=5), executor=executor)
            for name, search, settings in (
                ("random", random_search, SearchConfig(budget=SLEEPS)),
                ("evolution", evolution, EvolutionConfig(budget=SLEEPS)),
                ("evolution, lag 1", evolution, EvolutionConfig(budget=SLEEPS, lag=1)),
            ):
                start = time.perf_counter()
                search(space, evaluate, settings, executor=executor)
                taken[name, number] = time.perf_counter() - start
    for name in dict.fromkeys(name for name, _ in taken):
        one, two = taken[name, 1], taken[name, 2]
        print(
            f"\n{name}: {SLEEPS} evaluations of {SECONDS} s: {one:.1f} s on 1 worker, {two:.1f} s on 2: {one / two:.2f}"
        )


def test_the_cost_of_a_state(tmp_path):
    space = spaces.create("fbnet:course")
    table = LookupTable.build(space, "macs")
    for name, search, settings in (
        ("random", random_search, SearchConfig(budget=STORED)),
        ("evolution", evolution, EvolutionConfig(budget=STORED, population=1000, children=1000)),
    ):
        taken = {}
        for state in (None, tmp_path / name):
            start = time.process_time()
            search(space, table, settings, state=state)
            taken[state] = (time.process_time() - start) / STORED
        start = time.process_time()
        search(space, table, settings, state=tmp_path / name)
        again, size = (time.process_time() - start) / STORED, (tmp_path / name).stat().st_size / STORED
        print(
            f"\n{name}, {STORED:,} evaluations: {1e3 * taken[None]:.3f} ms each, {1e3 * taken[tmp_path / name]:.3f} ms "
            f"with a state of {size:.0f} bytes each; to read it and go on {1e3 * again:.3f} ms each"
        )


class Plan(NamedTuple):
    """A search on a cluster, as `simulate` runs it; seconds.

    generation: evaluations of one. lag: generations that may still run while the next is bred; infinity: it is blind.
    ahead: tasks on their way at most. together: evaluations of a task.
    task: of the scheduler for one. send: of the search's own process for one. record: of it for an evaluation.
    patience: after which an evaluation that hangs is tried again; hanging: the share of those.
    """

    generation: int
    lag: float
    ahead: int = AHEAD
    together: int = 1
    task: float = 1e-3
    send: float = 1e-3
    record: float = 2e-4
    patience: float = math.inf
    hanging: float = 0.0


def durations(number, typical, seed=0):
    """Seconds of evaluations: log-normal, with a spread of a third, of which 1 % take ten times as long."""
    rng = np.random.default_rng(seed)
    return typical * np.exp(rng.normal(0, 0.33, number)) * np.where(rng.random(number) < 0.01, 10.0, 1.0)


def simulate(plan, seconds, machines, seed=0):
    """When the search ends, and the share of the workers' time that evaluations took.

    Tasks start in the order in which they are proposed, on the worker that is free first; scheduler and search are one
    server each; records are written in order. So one pass over the tasks is an exact simulation of the events.
    """
    useful, hangs = float(seconds.sum()), np.random.default_rng(seed).random(len(seconds)) < plan.hanging
    firsts = np.arange(0, len(seconds), plan.together)
    tasks = np.add.reduceat(np.where(hangs, TRIES * plan.patience, seconds), firsts).tolist()
    size = plan.generation // plan.together or 1  # tasks of a generation
    record = plan.send + plan.record * plan.together
    free, recorded, scheduler, last, waits = [0.0] * machines, [], 0.0, 0.0, 0.0
    for index, task in enumerate(tasks):
        if index % size == 0:
            shown = (index // size - plan.lag) * size  # tasks whose records the generation depends on
            waits = recorded[int(shown) - 1] if shown > 0 else 0.0
        behind = recorded[index - plan.ahead] if index >= plan.ahead else 0.0
        scheduler = max(scheduler, waits, behind) + plan.task
        ended = max(scheduler, free[0]) + task
        heapq.heapreplace(free, ended)
        last = max(last, ended) + record
        recorded.append(last)
    return last, useful / machines / last


PLANS = {
    "random, 25 at once (as it was)": Plan(25, 0),
    "random, 200 ahead": Plan(25, math.inf, 200),
    "random, 10,000 ahead": Plan(25, math.inf, 10_000),
    "random": Plan(25, math.inf),
    "random, 20 together": Plan(25, math.inf, together=20),
    "evolution, 10 children": Plan(10, 0),
    "evolution, 1,000 children": Plan(1000, 0),
    "evolution, 1,000 children, lag 1": Plan(1000, 1),
    "evolution, 1,000 children, lag 3": Plan(1000, 3),
    "evolution, 10,000 children": Plan(10_000, 0),
    "evolution, 10,000 children, lag 1": Plan(10_000, 1),
    "evolution, 10,000 children, lag 3": Plan(10_000, 3),
    "random, one in 100,000 hangs, patience of 30 evaluations": Plan(25, math.inf, hanging=1e-5),
    "evolution, 1,000 children, lag 1, the same": Plan(1000, 1, hanging=1e-5),
}


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    """Seconds of the scheduler for a task, and of the search for an evaluation, here."""
    with cluster(tmp_path_factory.mktemp("measured"), 2) as (client, scheduler):
        return cost_of_a_task(client, scheduler)


def test_a_million_evaluations_on_a_thousand_workers(measured):
    print("\nhours, and the share of the workers' time that is used, by the median time of an evaluation")
    for where, (task, send) in {"a scheduler of its own": (1e-3, 1e-3), "this machine": measured}.items():
        costs = f"{task:.1e} s of the scheduler and {send:.1e} s of the search for a task"
        print(f"simulated, {where}: {EVALUATIONS:,} evaluations on {MACHINES:,} workers; {costs}")
        for name, plan in PLANS.items():
            shown = []
            for typical in TYPICAL:
                own = plan._replace(task=task, send=send, patience=30 * typical)
                end, used = simulate(own, durations(EVALUATIONS, typical), MACHINES)
                shown.append(f"{end / 3600:6.2f} h {100 * used:4.0f} %")
            print(f"  {name:57}" + "   ".join(f"{t:g} s: {text}" for t, text in zip(TYPICAL, shown, strict=True)))
