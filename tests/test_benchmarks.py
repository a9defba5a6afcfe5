"""The benchmarks still run: each one, short and small, so that `make bench` does not rot between two uses."""

from __future__ import annotations

import importlib.util
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from nasedu import spaces
from nasedu.hardware.latency import fixed_threads
from nasedu.search.pareto import SWEEP
from nasedu.tables import LookupTable

FILES = sorted(Path(__file__).parent.glob("benchmarks/bench_*.py"))
CELLS, YOLO = "nasbench201:course", "yolo:course"


def load(path, **small):
    """The benchmark as a module with other sizes, each of which it must know, on one thread."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert small.keys() <= vars(module).keys()
    vars(module).update(small)
    if hasattr(module, "fixed_threads"):
        module.fixed_threads = lambda _: fixed_threads(1)
    return module


def additivity(path, tmp_path):
    bench = load(path)
    print(bench.report(CELLS, bench.fitted(CELLS, 10, repeats=3)))


def average_precision(path, tmp_path):
    load(path, IMAGES=10, CLASSES=3, OBJECTS=30, DETECTIONS=30).test_average_precision()


def cluster(path, tmp_path):
    bench = load(path, STORED=300, EVALUATIONS=3000, MACHINES=20, TYPICAL=(1.0,), SECONDS=0.001, SLEEPS=10)
    bench.test_the_cost_of_a_state(tmp_path)
    bench.test_a_million_evaluations_on_a_thousand_workers((1e-3, 1e-3))
    seconds = bench.durations(2000, 1.0)
    ideal, used = bench.simulate(bench.Plan(1, float("inf"), 10**9, task=0.0, send=0.0, record=0.0), seconds, 1)
    assert abs(ideal - seconds.sum()) < 1e-6 and abs(used - 1) < 1e-9, "one worker does one after the other"
    barrier, _ = bench.simulate(bench.Plan(10, 0, task=0.0, send=0.0, record=0.0), seconds, 10)
    assert abs(barrier - seconds.reshape(-1, 10).max(1).sum()) < 1e-6, "a generation lasts as long as its slowest"
    slow, _ = bench.simulate(bench.Plan(10, float("inf"), task=1.0, send=0.0, record=0.0), seconds[:500] * 0, 10)
    assert slow == 500, "a scheduler that takes a second for a task"


def gpu(path, tmp_path):
    bench = load(path)
    found = bench.report(bench.TINY, torch.device("cpu"))
    assert (found.measured[[name for name in found.index if "error" not in name and "memory" not in name]] > 0).all()
    known = {name.replace("batch 16", "batch 2") for name in bench.WANTED} - {"imagenet 600M, structures/s"}
    assert known - {"training, share of the time that kernels run"} <= set(found.index), "and a GPU tells its share"


def losses(path, tmp_path):
    bench = load(path, SPACES=(YOLO,), SEEDS=(5,), OUT=tmp_path, LOSSES={"linear": ("linear", {"weight": 1.0})})
    assert len(bench.summary(bench.measure(20))) == 2


def one_shot(path, tmp_path):
    bench, space = load(path, BATCH=2, ARCHS=1, ROUNDS=2, STEPS=1, LEAST=0), spaces.create(CELLS)
    batch = torch.randn(2, 3, 32, 32), torch.arange(2)
    bench.test_a_hard_path_beside_the_network_alone(space, batch)
    bench.test_a_step_with_channels_last_beside_one_without(space, batch, "single path")
    bench.test_steps_per_second_of_every_sampler(space, batch)
    bench.test_passes_per_second_of_every_training_method(CELLS, batch)


def pareto(path, tmp_path):
    sweep = replace(SWEEP, steps=20, every=10)
    load(path, SPACE=CELLS, TARGETS=2, SEEDS=1, SINGLES=1, SWEEP=sweep).test_a_sweep_of_256_descents()


def proxies(path, tmp_path):
    bench = load(path, BATCH=4, REPEATS=1)
    texts = ["all snip zen", "pass", "each snip", "textbook snip", "textbook zen"]
    assert len(bench.child("resnet18", *texts)["ms"]) == len(texts)


def search(path, tmp_path):
    bench = load(path, DRAWS=5, BUDGET=60, EARLY=5, LATE=80, WINDOW=5, GAINS={20: 1})
    table = LookupTable.build(spaces.create("fbnet:course"), "macs")
    bench.test_a_hundred_thousand_architectures(table)
    bench.test_a_thousand_evaluations(table, tmp_path)
    bench.test_the_cost_does_not_grow_with_the_history(table)
    bench.test_the_gain_over_random_search(table)


def tables(path, tmp_path):
    bench = load(path, STEPS=8, REPEATS=1)
    p5 = bench.p5.__wrapped__()
    bench.test_a_theta_step(p5)
    bench.test_a_uniform_draw(p5, "yolo:p5")
    bench.test_the_best_within_three_budgets(p5)


def wzdnas(path, tmp_path):
    bench = load(path, RUNS={1: 10, 2: 10}, TEMPLATE="course", PIXELS=32)
    bench.test_phase_two_steps(spaces.create(CELLS))
    bench.test_map_refresh("sliced")


def zero_shot(path, tmp_path):
    load(path, ROUNDS=3).test_mutation_parsing_and_counting("xxbl")


@pytest.mark.filterwarnings("ignore::nasedu.hardware.latency.NoisyMeasurement")
@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_benchmark_runs(path, tmp_path):
    globals()[path.stem.removeprefix("bench_")](path, tmp_path)
