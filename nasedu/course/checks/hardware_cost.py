"""Checkers for notebook 10: a block counted by hand, a fair timer, an additive price, its correction, throughput."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from unittest.mock import Mock

import numpy as np
import torch

from nasedu.blocks import MBConv
from nasedu.course.checks import ask, close, exercise, expect, expect_each, require
from nasedu.hardware import count

BLOCKS = {  # what plausible mistakes make of each; the first three hold one difficulty each
    (8, 8, 3, 4, 10, 1): [
        (160_000, "a MAC is one multiplication with its addition: FLOPs are twice as many"),
        (51_200 + 9 * 32 * 3200, "a depthwise channel reads its own channel only, not all: C_in / groups is 1"),
        (25_600 + 9 * 3200, "an inverted residual has two 1×1 convolutions: in front and behind"),
        (51_200 + 3 * 3200, "a kernel of 3×3 has 9 weights, not 3"),
    ],
    (8, 8, 3, 1, 10, 1): [(20_000, "at expansion 1 there is no first 1×1 convolution: it would expand nothing")],
    (8, 8, 3, 4, 10, 2): [
        (80_000, "with stride 2 the depthwise convolution's map is half as high and wide: count its *output* places"),
        (20_000, "the first 1×1 convolution runs before the stride: its map still has the full size"),
    ],
    **dict.fromkeys(((8, 8, 5, 3, 12, 1), (16, 24, 3, 6, 14, 2), (8, 16, 3, 1, 10, 2), (6, 9, 7, 2, 11, 2)), ()),
}


@exercise("10.1", "an inverted residual by hand")
def check_block(block_macs: Callable[..., int]) -> None:
    """`block_macs(c_in, c_out, kernel, expansion, size, stride)`: the MACs of `MBConv` on a square map of `size` px."""
    for case, hints in BLOCKS.items():
        c_in, c_out, kernel, expansion, size, stride = case
        with torch.device("meta"):
            true = count(MBConv(c_in, c_out, kernel, expansion, stride), (c_in, size, size)).macs
        about = f"{c_in} to {c_out} channels, {kernel}×{kernel}, expansion {expansion}, {size} px, stride {stride}"
        expect(block_macs(*case), true, f"{about}: PyTorch counts {true:,} MACs", hints)


def rehearsal(seconds: Sequence[float]) -> tuple[Mock, Mock]:
    """A function to time, and a clock that moves only while it runs: its calls take the `seconds` in turn, then 1."""
    run = Mock()
    return run, Mock(side_effect=lambda: 100 + sum(seconds[: run.call_count]) + max(run.call_count - len(seconds), 0))


@exercise("10.2", "a fair stopwatch")
def check_stopwatch(stopwatch: Callable[..., float]) -> None:
    """`stopwatch(run, warmup, repeats, clock)`: the median duration of a call in ms; `clock()` is in seconds."""
    cold, timed = [0.9, 0.5], [0.004, 0.002, 0.003, 0.250, 0.001]  # a stray burst of the machine is among them
    run, clock = rehearsal(cold + timed)
    got = stopwatch(run, 2, 5, clock)
    require(clock.called, "time must come from `clock`, so that it can be checked: not from the time module")
    calls = run.call_count
    require(calls == 7, f"2 warm-up calls and 5 timed ones are 7 calls of run, it was called {calls} times")
    untimed = "the warm-up calls are not timed: they fill caches and allocate"
    hints = (
        (statistics.median(timed), "the clock is in seconds, the answer in milliseconds: multiply by 1,000"),
        (1e3 * statistics.median(cold + timed), untimed),
        (1e3 * statistics.mean(cold + timed), untimed),
        (1e3 * statistics.mean(timed), "the mean falls for one burst of the machine, the median does not"),
        (1e3 * min(timed), "the fastest run is no typical one: take the median"),
        (1e3 * sum(timed), "one call's duration is asked for, not that of all of them"),
    )
    expect(got, 3.0, "calls of 4, 2, 3, 250 and 1 ms have the median 3 ms", hints, tolerance=1e-6)
    run, clock = rehearsal([0.004, 0.001, 0.002, 0.010])
    got = stopwatch(run, 0, 4, clock)
    expect(got, 3.0, "of an even number take the middle of both: 1, 2, 4, 10 ms give 3", tolerance=1e-6)


@exercise("10.3", "throughput from two numbers")
def check_throughput(throughput: Callable[[Sequence[int], Sequence[float], int], float]) -> None:
    """`throughput(batches, ms, batch)`: images per second at `batch`, from the line a + b * batch fitted to `ms`."""
    batches, noisy = [1, 2, 4, 8], [3.2, 3.8, 6.1, 9.9]
    hints = (
        (18.0, "that is the latency in ms: images per second are asked for"),
        (1e3 / 18, "a batch of 16 yields 16 images: that is batches per second"),
        (16 / 18, "times are in ms, throughput is per second: multiply by 1,000"),
        (1e3, "that is the limit for endless batches; at 16 the fixed cost a still counts"),
        (1e3 / 3, "larger batches share the fixed cost a: this is the throughput of batch 1"),
        (16e3 / 20, "the fixed cost a is paid once a batch: add it once"),
    )
    got = throughput(batches, [3.0, 4.0, 6.0, 10.0], 16)  # exactly 2 + batch
    expect(got, 16e3 / 18, "16 images in 2 + 16 ms are 888.9 a second", hints, tolerance=1e-3)
    b, a = np.polyfit(batches, noisy, 1)
    right = float(32e3 / (a + 32 * b))
    fitted = f"with noise fit all points by least squares: {right:.1f} images a second at 32"
    expect(throughput(batches, noisy, 32), right, fitted, tolerance=1e-3)


@exercise("10.4", "price a network")
def check_price(price: Callable[..., float]) -> None:
    """`price(fixed, groups, entries, arch)`: what a table says of an architecture."""
    entry, other = np.array([[1.0, 2, 3], [10, 20, 30]]), np.array([100.0, 200, 300, 400])
    groups, hints = [(0, 1), (2,)], [(430.0, "the fixed part, which every network pays, is missing")]
    got = price(0.5, groups, [entry, other], (1, 2, 3))
    expect(got, 430.5, "fixed 0.5, entry[1, 2] = 30 and entry[3] = 400 are 430.5", hints, tolerance=1e-6)
    order = "a group says in which order it reads: (2, 0) of (2, 1, 3) is entry [3, 2] = 11, with 200 that is 211"
    swapped = (0.0, [(2, 0), (1,)], [np.arange(12.0).reshape(4, 3), other], (2, 1, 3))
    tensors = [torch.from_numpy(entry), torch.from_numpy(other)]
    three = (1.0, [(0, 1, 2)], [np.arange(8.0).reshape(2, 2, 2)], (1, 0, 1))
    expect_each(
        price,
        (swapped, 211.0, order),
        (three, 6.0, "three decisions may be priced together: 1 + entry[1, 0, 1] = 6"),
        ((0.5, groups, tensors, (0, 0, 0)), 101.5, "entries may be tensors: 0.5 + 1 + 100 = 101.5"),
    )


@exercise("10.5", "the overhead, held out")
def check_held_out(held_out: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> None:
    """`held_out(predicted, measured)`: each plus the overhead that the *other* networks have on average."""
    rng = np.random.default_rng(4)
    predicted = rng.uniform(5, 10, 12)
    gap = rng.normal(0, 0.3, 12) - 2
    measured, others = predicted + gap, gap.sum() - gap
    got = np.asarray(ask(held_out, predicted, measured, keep="the inputs must stay as they are"), dtype=float)
    require(got.shape == (12,), f"12 networks need 12 corrected predictions, got the shape {got.shape}")
    peeks = "a network's own measurement must not help to predict it: leave it out of the mean that corrects it"
    hints = (
        (measured, "that hands back what was measured: a prediction must not know it"),
        (predicted - others / 11, "the overhead is measured less predicted: yours has the other sign"),
        (predicted + gap.mean(), peeks),
        (predicted + others / 12, "one network is left out, so divide by n - 1"),
    )
    for wrong, sentence in hints:
        require(not close(got, wrong, 1e-5), sentence)
    moved = np.asarray(held_out(predicted, measured + 1000 * (np.arange(12) == 3)), dtype=float)
    expect(moved[3], float(got[3]), "changing one network's measurement must not move its own prediction")
    slopes = held_out(predicted, 2 * predicted)
    require(not close(slopes, 2 * predicted), "only an overhead is asked for: one number added, no factor")
    expect(got, predicted + others / 11, "add the mean gap of the other networks to each", tolerance=1e-5)
