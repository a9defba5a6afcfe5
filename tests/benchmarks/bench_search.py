"""How fast black-box search is on a table, on one core, and how much it gains over chance at an equal budget."""

from __future__ import annotations

import statistics
import time
from dataclasses import replace

import numpy as np
import pytest

from nasedu import spaces
from nasedu.hardware.latency import fixed_threads
from nasedu.search.evolution import SPOS, EvolutionConfig, evolution
from nasedu.search.local import local_search
from nasedu.search.random import random_search
from nasedu.search.settings import SearchConfig
from nasedu.tables import LookupTable
from nasedu.tables.within import at_most, within

DRAWS, BUDGET, EARLY, LATE, WINDOW = 100_000, 1000, 100, 20_000, 1000
GAINS = {50: 20, 200: 20, 1000: 5}  # seeds by budget


@pytest.fixture(scope="module", params=["fbnet", "spos", "yolo"])
def table(request):
    return LookupTable.build(spaces.create(request.param), "macs")


def seconds(run):
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def test_a_hundred_thousand_architectures(table):
    space, rng = table.space, np.random.default_rng(0)
    with fixed_threads(1):
        arch = space.sample(rng)
        for name, call in (
            ("sample", lambda: space.sample(rng)),
            ("mutate", lambda: space.mutate(arch, rng)),
            ("crossover", lambda: space.crossover(arch, arch, rng)),
            ("table", lambda: table(arch)),
        ):
            taken = seconds(lambda call=call: [call() for _ in range(DRAWS)])
            print(f"\n{space.name}: {DRAWS:,} x {name}: {taken:.2f} s (wanted: 3 s)")


def test_a_thousand_evaluations(table, tmp_path):
    space, (low, high) = table.space, table.bounds()
    middle = (low + high) / 2
    searched, bred = SearchConfig(budget=BUDGET), EvolutionConfig(budget=BUDGET)
    few, rare = within(table, middle), within(table, low * 1.1)
    single = replace(bred, population=100, children=1, parents="tournament", k=25, crossover=None, ageing=True)
    with fixed_threads(1):
        for name, search, settings, options in (
            ("random", random_search, searched, {}),
            ("random, at most", random_search, replace(searched, feasible=at_most(table, middle)), {}),
            ("random, within 3% (rare)", random_search, replace(searched, feasible=rare), {}),
            ("local", local_search, searched, {}),
            ("evolution", evolution, bred, {}),
            ("evolution, within 3%", evolution, replace(bred, feasible=few), {}),
            ("evolution, SPOS", evolution, replace(SPOS, budget=BUDGET), {}),
            ("evolution, regularised, one child", evolution, single, {}),
            ("evolution, stored", evolution, bred, {"state": tmp_path / "a.pt"}),
            ("evolution, one child, stored", evolution, single, {"state": tmp_path / "b.pt"}),
        ):
            taken = seconds(lambda find=search, s=settings, o=options: find(space, table, s, **o))
            print(f"\n{space.name}: {BUDGET:,} x {name}: {taken:.2f} s (wanted: 1 s)")


def test_the_cost_does_not_grow_with_the_history(table):
    """Processor's time between evaluations, the table's own included."""
    for name, config in (("default", EvolutionConfig()), ("ageing", EvolutionConfig(ageing=True))):
        times = []

        def evaluate(arch, times=times):
            times.append(time.process_time())
            return table(arch)

        with fixed_threads(1):
            evolution(table.space, evaluate, replace(config, budget=LATE + WINDOW))
        early, late = (1e3 * (times[at + WINDOW] - times[at]) / WINDOW for at in (EARLY, LATE - EARLY))
        print(
            f"\n{table.space.name}, {name}: {early:.3f} ms an architecture at {EARLY}, {late:.3f} at {LATE:,} "
            f"(wanted: 0.05), {late / early:.2f} times (wanted: 1.3)"
        )


def test_the_gain_over_random_search(table):
    """Additive scores with a standard deviation of 1 over the space, median over the seeds."""
    space = table.space
    configs = {
        "default": EvolutionConfig(),
        "single point": EvolutionConfig(crossover="single_point"),
        "mutation only": EvolutionConfig(crossover=None),
        "tournament": EvolutionConfig(parents="tournament"),
        "tournament, ageing": EvolutionConfig(parents="tournament", ageing=True),
        "SPOS": SPOS,
    }
    for budget, seeds in GAINS.items():
        lead = {name: [] for name in configs}
        for seed in range(seeds):
            gains = np.random.default_rng(seed).normal(size=(len(space.choices), max(space.choices)))

            def evaluate(arch, gains=gains):
                return gains[range(len(arch)), arch].sum() / len(arch) ** 0.5

            chance = random_search(space, evaluate, SearchConfig(budget=budget), seed=seed).score
            for name, config in configs.items():
                lead[name].append(evolution(space, evaluate, replace(config, budget=budget), seed=seed).score - chance)
        medians = ", ".join(f"{name} {statistics.median(values):+.2f}" for name, values in lead.items())
        print(f"\n{space.name}: gain over random search at {budget}: {medians}")
