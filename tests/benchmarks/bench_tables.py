"""What tables cost, for full-size spaces: a theta step, a uniform draw within a budget, the best within three budgets.

Stand-ins price what would have to be measured: the time does not depend on what a table holds.
"""

from __future__ import annotations

import time

import numpy as np
import pytest
import torch

from nasedu import spaces
from nasedu.hardware.latency import fixed_threads
from nasedu.search import DescentConfig, descend
from nasedu.tables import LookupTable, at_most, stored, within
from nasedu.wzdnas import four_terms

STEPS, REPEATS = 2000, 7


@pytest.fixture(scope="module")
def p5():
    """The four tables of WZDNAS's loss, by term, and the parameters."""
    space, generator = spaces.create("yolo:p5", num_classes=20), torch.Generator().manual_seed(0)
    macs = stored(space, "macs")
    gains = [(e / e.max()).sqrt() * (1 + torch.rand(e.shape, generator=generator) / 5) for e in macs.entries]
    times = [e / 1e9 * (1 + torch.rand(e.shape, generator=generator) / 10) for e in macs.entries]
    return {
        "zero_cost": LookupTable(space, "made-up gain", "points", 0.0, gains, own=True),
        "flops": macs,
        "depth": LookupTable.build(space, "depth"),
        "latency": LookupTable(space, "latency_ms", "ms", 1.0, times),
        "params": stored(space, "params"),
    }


def share(table: LookupTable, part: float) -> float:
    """A target at a part of the reachable range."""
    low, high = table.bounds()
    return low + part * (high - low)


def fastest(run) -> float:
    """Milliseconds of the fastest of several runs."""
    seconds = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - start)
    return 1e3 * min(seconds)


def test_a_theta_step(p5):
    """One step of phase 2 over four tables (.18 ms on two threads before this benchmark was written)."""
    four = {name: table for name, table in p5.items() if name != "params"}
    for gradient in ("relaxed", "sampled"):
        config = DescentConfig(steps=STEPS, every=STEPS // 4, gradient=gradient)
        with fixed_threads(2):
            print(f"\n{gradient}: {fastest(lambda c=config: descend(four_terms(four, 35e9), c)) / STEPS:.3f} ms a step")


@pytest.mark.parametrize("name", ["yolo:p5", "fbnet", "proxylessnas"])
def test_a_uniform_draw(p5, name):
    """Within 3 % of 80 and 95 % of the range of MACs (wanted: 1 ms), after the ways were counted."""
    table = p5["flops"] if name == "yolo:p5" else LookupTable.build(spaces.create(name), "macs")
    for part in (0.8, 0.95):
        rng, start = np.random.default_rng(0), time.perf_counter()
        constraint = within(table, share(table, part))
        seconds = time.perf_counter() - start
        draw = fastest(lambda c=constraint, r=rng: [c.sample(r) for _ in range(50)]) / 50
        print(f"\n{name} at {part:.0%}: {1e3 * seconds:.0f} ms to count {constraint.count:.3g}, {draw:.3f} ms a draw")


def test_the_best_within_three_budgets(p5):
    """Of a made-up gain: wanted is 100 ms. Constructing looks whether there is any at all."""
    limits = within(p5["flops"], share(p5["flops"], 0.4)), at_most(p5["params"], share(p5["params"], 0.5))
    start = time.perf_counter()
    budget = limits[0] & limits[1] & at_most(p5["latency"], share(p5["latency"], 0.42))
    seconds = time.perf_counter() - start
    three, one = (fastest(lambda b=b: b.best(p5["zero_cost"])) for b in (budget, limits[0]))
    print(f"\nmilp with three budgets: {three:.0f} ms, with one {one:.0f} ms; {1e3 * seconds:.0f} ms to join them")
