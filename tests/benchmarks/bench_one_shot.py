"""What a supernet's hard path costs beside the network alone, what channels_last buys, how fast every sampler trains.

Both at 32 px and batch 64, at the course's size, on one core. What is compared takes turns and is compared by minimum
and median, in seconds of the processor, since other work on the machine disturbs the mean.
"""

from __future__ import annotations

import statistics
import time

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from nasedu import sampling, spaces
from nasedu.classification import recipe
from nasedu.divergence import alpha_divergence
from nasedu.hardware.latency import fixed_threads
from nasedu.ranking import RankingLoss
from nasedu.sampling import softmax, supernet_step, uniform_logits
from nasedu.tables import LookupTable
from nasedu.task import Classification
from nasedu.training import train
from nasedu.training.loop import make_optimizer

NAMES = [name for name in spaces.names() if name != "yolo"]
BATCH, ARCHS, ROUNDS, STEPS, LEAST = 64, 3, 12, 3, 1.5


@pytest.fixture(scope="module", params=NAMES)
def space(request):
    return spaces.create(f"{request.param}:course")


@pytest.fixture(scope="module")
def batch():
    generator = torch.Generator().manual_seed(0)
    return torch.randn(BATCH, 3, 32, 32, generator=generator), torch.randint(10, (BATCH,), generator=generator)


def passes(model, batch, path=None):
    """Forward and backward, as a function."""
    x, y = batch
    return lambda: F.cross_entropy(model(x) if path is None else model(x, path), y).backward()


def steps(model, batch, path=None):
    """Whole steps of the training loop, as a function: the seconds of each, the first left out."""

    def step(model, batch, generator):
        x, y = batch
        return {"total": F.cross_entropy(model(x) if path is None else model(x, path), y)}

    def run():
        starts = []

        def batches(epoch):
            for _ in range(STEPS + 2):
                starts.append(time.process_time())
                yield batch

        train(model, batches, step, recipe(1))
        return np.diff(starts)[1:].tolist()

    return run


def seconds(run) -> list[float]:
    """Of this process on its core, where the run does not tell: other work on the machine does not count."""
    start = time.process_time()
    return run() or [time.process_time() - start]


def in_turn(one, other, rounds) -> tuple[list[float], list[float]]:
    """The seconds of both; whichever is first has no advantage."""
    taken = {one: [], other: []}
    for i in range(rounds):
        for run in (one, other) if i % 2 else (other, one):
            taken[run] += seconds(run)
    return taken[one], taken[other]


KINDS = {"forward and backward": passes, "whole step": steps}


def test_a_hard_path_beside_the_network_alone(space, batch):
    """Wanted: at most 5 % more."""
    rng, over = np.random.default_rng(0), {part: [] for part in KINDS}
    torch.manual_seed(0)
    supernet = space.supernet()
    with fixed_threads(1):
        for _ in range(ARCHS):
            arch = space.sample(rng)
            network = space.build(arch)
            for (part, kind), rounds in zip(KINDS.items(), (ROUNDS, ROUNDS // STEPS), strict=True):
                supernet.zero_grad(set_to_none=True)
                alone, hard = kind(network.train(), batch), kind(supernet.train(), batch, arch)
                alone(), hard()
                a, h = in_turn(alone, hard, rounds)
                over[part].append((min(h) / min(a), statistics.median(h) / statistics.median(a), min(a)))
    for part, ratios in over.items():
        shown = ", ".join(f"{100 * (low - 1):+.1f} % / {100 * (mid - 1):+.1f} %" for low, mid, _ in ratios)
        mean = 100 * (statistics.mean(low for low, _, _ in ratios) - 1)
        alone = 1e3 * statistics.mean(ms for *_, ms in ratios)
        print(f"\n{space.name}, {part} ({alone:.0f} ms alone): {mean:+.1f} %; per network, min / median: {shown}")


@pytest.mark.parametrize("kind", ["single path", "mixture"])
def test_a_step_with_channels_last_beside_one_without(space, batch, kind):
    """Wanted: nowhere slower. Both in one run, in turn."""
    arch = space.sample(np.random.default_rng(0))
    path = arch if kind == "single path" else softmax(uniform_logits(space.choices))
    runs = []
    for layout in (torch.contiguous_format, torch.channels_last):
        supernet = space.supernet(seed=0).to(memory_format=layout)
        x = batch[0].contiguous(memory_format=layout)
        runs.append(steps(supernet, (x, batch[1]), path))
    with fixed_threads(1):
        before, after = map(min, in_turn(*runs, ROUNDS // STEPS if kind == "single path" else 1))
    print(f"\n{space.name}, {kind}: {1e3 * before:.0f} ms, channels_last {1e3 * after:.0f} ms: {before / after:.2f} x")


def test_steps_per_second_of_every_sampler(space, batch):
    generator = torch.Generator().manual_seed(0)
    for name in sampling.names():
        torch.manual_seed(0)
        supernet = space.supernet().train()
        optimizer = make_optimizer(supernet, recipe(1))
        ranking = RankingLoss(LookupTable.build(space, "macs")) if name == "pairs" else None
        step = supernet_step(space, sampling.create(name, space), Classification(None), ranking=ranking)

        def once(supernet=supernet, optimizer=optimizer, step=step):
            optimizer.zero_grad(set_to_none=True)
            for losses in step(supernet, batch, generator):
                losses["total"].backward()
            optimizer.step()

        with fixed_threads(1):
            once()
            taken = []
            while len(taken) < STEPS or sum(taken) < LEAST:
                taken += seconds(once)
        print(f"\n{space.name}, {name}: {1 / statistics.median(taken):.2f} steps/s of {BATCH} images")


def methods(space):
    """Every way to train a supernet, by name: the step, and the passes forward and backward that it makes."""
    macs, task = LookupTable.build(space, "macs"), Classification(None)
    sandwich, teacher = sampling.create("sandwich", space, n=4), space.build(macs.extremes()[0], seed=0)
    pairs, ranking = sampling.Pairs(2), RankingLoss(macs)
    most = max(space.choices)
    return {
        "uniform": (supernet_step(space, sampling.Uniform(4), task), 4),
        "with a teacher": (supernet_step(space, sampling.Uniform(4), task, teacher=teacher), 4),
        "strict fairness": (supernet_step(space, sampling.StrictFairness(), task), most),
        "sandwich": (supernet_step(space, sandwich, task), 4),
        "sandwich, alpha-divergence": (supernet_step(space, sandwich, task, divergence=alpha_divergence), 4),
        "progressive, at its end": (supernet_step(space, sampling.create("progressive", space, n=4).at(1.0), task), 4),
        "two ranked pairs": (supernet_step(space, pairs, task, ranking=ranking), 4),
        "sandwich, two ranked pairs": (
            supernet_step(space, sampling.Pairs(2, sandwich), task, ranking=RankingLoss(macs, labels=False)),
            8,
        ),
    }


@pytest.mark.parametrize("name", ["resnet48:course", "fbnet:course"])
def test_passes_per_second_of_every_training_method(name, batch):
    """Beside the plain uniform step, in turn. Wanted: a ranking step costs at most 1.1 times the passes it makes."""
    space, generator = spaces.create(name), torch.Generator().manual_seed(0)
    runs, passes_of = {}, {}
    for method, (step, count) in methods(space).items():
        supernet = space.supernet(seed=0).train()
        optimizer = make_optimizer(supernet, recipe(1))

        def once(step=step, supernet=supernet, optimizer=optimizer):
            optimizer.zero_grad(set_to_none=True)
            for losses in step(supernet, batch, generator):
                losses["total"].backward()
            optimizer.step()

        runs[method], passes_of[method] = once, count
    with fixed_threads(1):
        for run in runs.values():
            run()
        for method, run in runs.items():
            plain, own = in_turn(runs["uniform"], run, ROUNDS) if method != "uniform" else (seconds(run),) * 2
            pace, ratio = passes_of[method] / statistics.median(own), statistics.median(own) / statistics.median(plain)
            told = f"{pace:.1f} passes/s, {ratio * passes_of['uniform'] / passes_of[method]:.2f} times a uniform pass"
            print(f"\n{space.name}, {method}: {told}")
