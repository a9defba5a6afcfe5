"""Zero-shot search: what an architecture costs before it is scored, and how many two processes score a second."""

from __future__ import annotations

import multiprocessing
import os
import time
from concurrent.futures import ProcessPoolExecutor

import numpy as np
import pytest
import torch

from nasedu import search, spaces
from nasedu.hardware.latency import fixed_threads
from nasedu.search.plain_budget import PlainBudget
from nasedu.search.zero_shot import ZenConfig, zero_shot
from nasedu.spaces.plainnet import CIFAR_SEED

ROUNDS, ARCHITECTURES, WORKERS = 2000, 120, 2


@pytest.mark.parametrize("blocks", ["xxbl", "idw"])
def test_mutation_parsing_and_counting(blocks):
    """Wanted: under 2 ms an architecture, in seconds of the processor."""
    space, rng = spaces.create("plainnet", blocks=blocks), np.random.default_rng(0)
    parent = space.sample(rng)
    texts = []
    start = time.process_time()
    for _ in range(ROUNDS):
        arch = space.parse(space.format(space.mutate(parent, rng, replacements=2)))
        texts.append((arch, space.cost(arch)))
        parent = arch if len(arch) < 15 else parent
    taken = 1e3 * (time.process_time() - start) / ROUNDS
    print(f"\nplainnet {blocks}: mutate, print, parse, count: {taken:.2f} ms an architecture (wanted: 2 ms)")


@pytest.mark.parametrize("rule", ["uniform", "origin"])
def test_zero_shot_on_two_processes(rule):
    """From the CIFAR seed within 1 M parameters and 18 layers, Zen at 32 px on 16 images. Wanted: 20 a second."""
    space = spaces.create("plainnet", num_classes=100)
    images = torch.randn(16, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    evaluate = search.ZeroCost(space, "zen", images)
    feasible = PlainBudget(space, params=1e6, layers=18)
    config = ZenConfig(budget=ARCHITECTURES, start=CIFAR_SEED, feasible=feasible, children=24, mutation=rule)
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(WORKERS, context, initializer=torch.set_num_threads, initargs=(1,)) as executor:
        list(executor.map(evaluate, [space.parse(CIFAR_SEED)] * 4 * WORKERS))  # imports, and PyTorch's first run
        start = time.perf_counter()
        found = zero_shot(space, evaluate, config, executor=executor)
        taken = time.perf_counter() - start
    with fixed_threads(1):
        begin = time.process_time()
        alone = zero_shot(space, evaluate, config)
        processor = time.process_time() - begin
    assert alone.best == found.best
    print(
        f"\nzero-shot, {rule}: {ARCHITECTURES / taken:.1f} architectures/s on {WORKERS} processes (wanted: 20), "
        f"{ARCHITECTURES / processor:.1f} a second of one processor; load {os.getloadavg()[0]:.1f}; "
        f"best {found.score:.1f} with {found.costs['params']:,} parameters, {found.costs['macs'] / 1e6:.0f} M MACs"
    )
