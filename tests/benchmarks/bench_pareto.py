"""A sweep of 32 targets and 8 seeds for full-size p5 in one batched descent, against as many single descents.

The objective is made up: for every slot the square root of an option's share of the slot's dearest MACs, times 1 to
1.2 by chance, so that dearer is better but ever less so. The time does not depend on what the tables hold.
"""

from __future__ import annotations

import os
import time

import torch

from nasedu import spaces
from nasedu.hardware.latency import fixed_threads
from nasedu.search import pareto_sweep
from nasedu.search.pareto import SWEEP
from nasedu.tables import LookupTable

SPACE, TARGETS, SEEDS, SINGLES = "yolo:p5", 32, 8, 2


def made_up(cost):
    generator = torch.Generator().manual_seed(0)
    entries = [(e / e.max()).sqrt() * (1 + torch.rand(e.shape, generator=generator) / 5) for e in cost.entries]
    return LookupTable(cost.space, "made-up gain", "points", 0.0, entries, own=True)


def test_a_sweep_of_256_descents():
    cost = LookupTable.build(spaces.create(SPACE), "macs")
    objective, (low, high) = made_up(cost), cost.bounds()
    targets = [low + (i + 1) / (TARGETS + 1) * (high - low) for i in range(TARGETS)]
    with fixed_threads(2):
        start = time.perf_counter()
        front = pareto_sweep(objective, cost, targets, range(SEEDS), config=SWEEP)
        together = time.perf_counter() - start
        start = time.perf_counter()
        for seed in range(SINGLES):
            pareto_sweep(objective, cost, targets[8 * seed : 8 * seed + 1], [seed], config=SWEEP)
        alone = (time.perf_counter() - start) / SINGLES
    print(
        f"\n{TARGETS} targets x {SEEDS} seeds, {SWEEP.steps:,} steps: {together:.1f} s (wanted: 60 s), "
        f"{TARGETS * SEEDS * alone / together:.0f} times as fast as one by one ({alone:.1f} s each); "
        f"load {os.getloadavg()[0]:.1f}"
    )
    frame = front.frame()
    print(f"within 3 % before repair: {frame['hit'].mean():.1%}; {len(front.efficient())} on the front")
