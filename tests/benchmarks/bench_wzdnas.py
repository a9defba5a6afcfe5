"""How fast phase 2 is, for full-size p5: steps per second, and one refresh of the zero-cost map.

Stored tables stand for the zero-cost map in the first benchmark, as its refresh is measured in the second.
"""

from __future__ import annotations

import time

import pytest
import torch

from nasedu import spaces
from nasedu.hardware.latency import fixed_threads
from nasedu.sampling import softmax, uniform_logits
from nasedu.search import DescentConfig, descend
from nasedu.supernet.batchnorm import recalibrate
from nasedu.tables import LookupTable, at_most, within
from nasedu.wzdnas import four_terms, zero_cost_map
from nasedu.wzdnas.warmup import factorise

TEMPLATE, PIXELS = "p5", 160  # of the map
RUNS = {1: 115_200, 64: 11_520}  # steps by the number of seeds
PUBLIC_STEP = 27e-3  # seconds: the public code's own step, as measured on such a core (reference of the method)


@pytest.fixture(scope="module")
def p5():
    return spaces.create("yolo", template="p5", num_classes=20)


def test_phase_two_steps(p5):
    """115,200 steps of the four-term loss on one core, for one seed and for 64 at once."""
    tables = {name: LookupTable.build(p5, metric) for name, metric in (("flops", "macs"), ("depth", "depth"))}
    for name, metric in (("latency", "params"), ("zero_cost", "depth")):  # stand-ins: any table costs the same
        tables[name] = LookupTable.build(p5, metric)
    loss = four_terms(tables, 35e9)
    with fixed_threads(1):
        for count, steps in RUNS.items():
            start = time.perf_counter()
            descend(loss, DescentConfig(steps=steps), seeds=list(range(count)))
            seconds = time.perf_counter() - start
            print(
                f"\n{count:3d} seeds: {steps} steps in {seconds:.1f} s, {steps / seconds:.0f} steps/s, "
                f"{count * steps / seconds:.0f} seed steps/s, {PUBLIC_STEP * count * steps / seconds:.0f} x public"
            )


@pytest.mark.parametrize("semantics", ["sliced", "faithful"])
def test_map_refresh(semantics):
    """One NASWOT map of all 108 options at 160 px, batch 4, on two cores (public code: 31 s)."""
    space = spaces.create("yolo", template=TEMPLATE, num_classes=20, image_size=PIXELS, semantics=semantics)
    torch.manual_seed(0)
    supernet, path = space.supernet(), softmax(uniform_logits(space.choices))
    images = torch.rand(4, 3, PIXELS, PIXELS)
    with fixed_threads(2):
        recalibrate(supernet, [images], lambda net, x: net(x, path))
        zero_cost_map(space, supernet, path, images[:2])
        start = time.perf_counter()
        zero_cost_map(space, supernet, path, images)
        print(f"\n{semantics}: one map refresh in {time.perf_counter() - start:.1f} s")


@pytest.mark.parametrize(("template", "pixels", "batch"), [("course", 128, 8), ("p5", 160, 2)])
def test_a_factorised_step_against_a_dense_one(template, pixels, batch):
    """Seconds of one warm-up step, forward and backward of the soft supernet, in turns (the public speed-up: 26 %)."""
    space = spaces.create("yolo", template=template, num_classes=20, image_size=pixels)
    path, images = softmax(uniform_logits(space.choices)), torch.rand(batch, 3, pixels, pixels)
    nets = {name: space.supernet(seed=0).to(memory_format=torch.channels_last) for name in ("dense", "factorised")}
    factorise(nets["factorised"])
    trained = {name: sum(p.numel() for p in net.parameters() if p.requires_grad) for name, net in nets.items()}
    seconds = {name: [] for name in nets}
    with fixed_threads(2):
        for _ in range(4):
            for name, net in nets.items():
                start = time.perf_counter()
                sum(m.square().mean() for m in net(images, path)).backward()
                seconds[name].append(time.perf_counter() - start)
    dense, thin = (sorted(times[1:])[1] for times in seconds.values())
    share = f"{trained['factorised'] / 1e6:.3f} of {trained['dense'] / 1e6:.3f} M parameters trained"
    print(f"\n{template}: dense {dense:.2f} s, factorised {thin:.2f} s, {1 - thin / dense:+.0%} less; {share}")


@pytest.mark.parametrize("template", ["p5", "csp", "tiny", "course", "yolov7", "yolov7-tiny", "elan"])
def test_milp_with_three_budgets(template):
    """The exact optimum within FLOPs, parameters and depth (wanted: under 100 ms)."""
    space = spaces.create("yolo", template=template, num_classes=20)
    macs, params, depth = (LookupTable.build(space, metric) for metric in ("macs", "params", "depth"))
    hand = space.hand_designed
    goal = within(macs, macs(hand)) & at_most(params, 1.1 * params(hand)) & at_most(depth, 1.2 * depth(hand))
    generator, times = torch.Generator().manual_seed(0), []
    for _ in range(5):
        scores = [torch.rand(n, generator=generator) for n in space.choices]
        start = time.perf_counter()
        goal.best(scores)
        times.append(time.perf_counter() - start)
    print(f"\n{template}: {1e3 * sorted(times)[2]:.0f} ms")
