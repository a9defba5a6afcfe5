"""Checkers for notebook 10: a block counted by hand, a fair timer, an additive price, its correction, throughput."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence

import numpy as np
import torch

from nasedu.blocks import MBConv
from nasedu.course.checks import exercise, require
from nasedu.hardware import count

CLOSE = 1e-6  # relative: answers may round in another order


@exercise("10.1", "an inverted residual by hand")
def check_block(block_macs: Callable[..., int]) -> None:
    """`block_macs(c_in, c_out, kernel, expansion, size, stride)`: the MACs of `MBConv` on a square map of `size` px."""
    _plain_blocks(block_macs)
    for args in ((8, 8, 5, 3, 12, 1), (16, 24, 3, 6, 14, 2), (8, 16, 3, 1, 10, 2), (6, 9, 7, 2, 11, 2)):
        expected, got = _macs(*args), block_macs(*args)
        c_in, c_out, kernel, expansion, size, stride = args
        about = f"{c_in} to {c_out} channels, {kernel}×{kernel}, expansion {expansion}, {size} px, stride {stride}"
        require(got == expected, f"{about}: PyTorch counts {expected:,} MACs, you {got:,}")


def _plain_blocks(block_macs: Callable[..., int]) -> None:
    """Blocks that hold one difficulty each, so that what is wrong can be named."""
    whole = (8, 8, 3, 4, 10, 1)
    got, expected = block_macs(*whole), _macs(*whole)
    hidden, area = 32, 100
    require(got != 2 * expected, "a MAC is one multiplication with its addition: FLOPs are twice as many")
    dense = expected - 9 * hidden * area + 9 * hidden * hidden * area
    require(got != dense, "a depthwise channel reads one channel, its own, not all hidden ones: C_in / groups is 1")
    require(got != expected - 8 * hidden * area, "an inverted residual has two 1×1 convolutions: in front and behind")
    require(got != expected - 6 * hidden * area, "a kernel of 3×3 has 9 weights, not 3")
    require(got == expected, f"8 to 8 channels, 3×3, expansion 4, 10 px, stride 1: {expected:,} MACs, got {got:,}")
    got, expected = block_macs(8, 8, 3, 1, 10, 1), _macs(8, 8, 3, 1, 10, 1)
    require(got != expected + 64 * area, "at expansion 1 there is no first 1×1 convolution: it would expand nothing")
    require(got == expected, f"the same at expansion 1: {expected:,} MACs, got {got:,}")
    got, expected = block_macs(8, 8, 3, 4, 10, 2), _macs(8, 8, 3, 4, 10, 2)
    require(
        got != _macs(8, 8, 3, 4, 10, 1),
        "with stride 2 the depthwise convolution makes a map half as high and wide: count its *output* places",
    )
    require(
        got != (2 * 8 * hidden + 9 * hidden) * 25,
        "the first 1×1 convolution runs before the stride: its map still has the full size",
    )
    require(got == expected, f"the same with stride 2: {expected:,} MACs, got {got:,}")


def _macs(c_in: int, c_out: int, kernel: int, expansion: int, size: int, stride: int) -> int:
    with torch.device("meta"):
        block = MBConv(c_in, c_out, kernel, expansion, stride)
    return count(block, (c_in, size, size)).macs


class Rehearsal:
    """A clock that moves only while `run` runs: each call takes the next of `seconds`."""

    def __init__(self, seconds: Sequence[float]):
        self.seconds, self.now, self.calls, self.reads = list(seconds), 100.0, 0, 0

    def run(self) -> None:
        self.now += self.seconds[self.calls] if self.calls < len(self.seconds) else 1.0
        self.calls += 1

    def clock(self) -> float:
        self.reads += 1
        return self.now


@exercise("10.2", "a fair stopwatch")
def check_stopwatch(stopwatch: Callable[..., float]) -> None:
    """`stopwatch(run, warmup, repeats, clock)`: the median duration of a call in ms; `clock()` is in seconds."""
    cold, timed = [0.9, 0.5], [0.004, 0.002, 0.003, 0.250, 0.001]  # a stray burst of the machine is among them
    fake = Rehearsal(cold + timed)
    got = float(stopwatch(fake.run, 2, 5, fake.clock))
    require(fake.reads > 0, "time must come from `clock`, so that it can be checked: not from the time module")
    require(fake.calls == 7, f"2 warm-up calls and 5 timed ones are 7 calls of run, it was called {fake.calls} times")
    for wrong, sentence in (
        (statistics.median(timed), "the clock is in seconds, the answer in milliseconds: multiply by 1,000"),
        (1e3 * statistics.median(cold + timed), "the warm-up calls are not timed: they fill caches and allocate"),
        (1e3 * statistics.mean(cold + timed), "the warm-up calls are not timed: they fill caches and allocate"),
        (1e3 * statistics.mean(timed), "the mean falls for one burst of the machine, the median does not"),
        (1e3 * min(timed), "the fastest run is no typical one: take the median"),
        (1e3 * sum(timed), "one call's duration is asked for, not that of all of them"),
    ):
        require(abs(got - wrong) > CLOSE, sentence)
    require(abs(got - 3.0) < CLOSE, f"calls of 4, 2, 3, 250 and 1 ms have the median 3 ms, got {got:g}")
    fake = Rehearsal([0.004, 0.001, 0.002, 0.010])
    got = float(stopwatch(fake.run, 0, 4, fake.clock))
    require(abs(got - 3.0) < CLOSE, f"of an even number take the middle of both: 1, 2, 4, 10 ms give 3, got {got:g}")


@exercise("10.3", "throughput from two numbers")
def check_throughput(throughput: Callable[[Sequence[int], Sequence[float], int], float]) -> None:
    """`throughput(batches, ms, batch)`: images per second at `batch`, from the line a + b * batch fitted to `ms`."""
    batches, ms = [1, 2, 4, 8], [3.0, 4.0, 6.0, 10.0]  # exactly 2 + batch
    got = float(throughput(batches, ms, 16))
    for wrong, sentence in (
        (18, "that is the latency in ms: images per second are asked for"),
        (1e3 / 18, "a batch of 16 yields 16 images: that is batches per second"),
        (16 / 18, "times are in ms, throughput is per second: multiply by 1,000"),
        (1e3, "that is the limit for endless batches; at 16 the fixed cost a still counts"),
        (1e3 / 3, "larger batches share the fixed cost a: this is the throughput of batch 1"),
        (16e3 / 20, "the fixed cost a is paid once a batch: add it once"),
    ):
        require(not np.isclose(got, wrong, rtol=1e-3), sentence)
    require(
        np.isclose(got, 16e3 / 18, rtol=1e-3), f"16 images in 2 + 16 ms are {16e3 / 18:.1f} a second, got {got:.1f}"
    )
    noisy = [3.2, 3.8, 6.1, 9.9]
    b, a = np.polyfit(batches, noisy, 1)
    got = float(throughput(batches, noisy, 32))
    require(
        np.isclose(got, 32e3 / (a + 32 * b), rtol=1e-3),
        f"with noise fit all points by least squares: {32e3 / (a + 32 * b):.1f} images a second at 32, got {got:.1f}",
    )


@exercise("10.4", "price a network")
def check_price(price: Callable[..., float]) -> None:
    """`price(fixed, groups, entries, arch)`: what a table says of an architecture."""
    entry, other = np.array([[1.0, 2, 3], [10, 20, 30]]), np.array([100.0, 200, 300, 400])
    first = (0.5, [(0, 1), (2,)], [entry, other])
    got = float(price(*first, (1, 2, 3)))
    require(got != 430, "the fixed part, which every network pays, is missing")
    require(got == 430.5, f"fixed 0.5, entry[1, 2] = 30 and entry[3] = 400 are 430.5, got {got:g}")
    swapped = (0.0, [(2, 0), (1,)], [np.arange(12.0).reshape(4, 3), other])
    got = float(price(*swapped, (2, 1, 3)))
    require(
        got == 211,
        "a group says which decisions it reads, in which order: for (2, 0) and the architecture (2, 1, 3) the entry is "
        f"[3, 2] = 11, and with 200 that is 211, got {got:g}",
    )
    deep = (1.0, [(0, 1, 2)], [np.arange(8.0).reshape(2, 2, 2)])
    got = float(price(*deep, (1, 0, 1)))
    require(got == 6, f"three decisions may be priced together: 1 + entry[1, 0, 1] = 6, got {got:g}")
    tensors = (0.5, [(0, 1), (2,)], [torch.from_numpy(entry), torch.from_numpy(other)])
    got = float(price(*tensors, (0, 0, 0)))
    require(got == 101.5, f"entries may be tensors: 0.5 + 1 + 100 = 101.5, got {got:g}")


@exercise("10.5", "the overhead, held out")
def check_held_out(held_out: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> None:
    """`held_out(predicted, measured)`: each plus the overhead that the *other* networks have on average."""
    rng = np.random.default_rng(4)
    predicted = rng.uniform(5, 10, 12)
    measured = predicted - 2 + rng.normal(0, 0.3, 12)
    given = predicted.copy(), measured.copy()
    got = np.asarray(held_out(*given), dtype=float)
    require(
        np.array_equal(given[0], predicted) and np.array_equal(given[1], measured), "the inputs must stay as they are"
    )
    require(got.shape == (12,), f"12 networks need 12 corrected predictions, got the shape {got.shape}")
    gap = measured - predicted
    for wrong, sentence in (
        (measured, "that hands back what was measured: a prediction must not know it"),
        (predicted - (gap.sum() - gap) / 11, "the overhead is measured less predicted: yours has the other sign"),
        (
            predicted + gap.mean(),
            "a network's own measurement must not help to predict it: leave it out of the mean that corrects it",
        ),
        (predicted + (gap.sum() - gap) / 12, "one network is left out, so divide by n - 1"),
    ):
        require(not np.allclose(got, wrong), sentence)
    shifted = measured.copy()
    shifted[3] += 1000
    moved = np.asarray(held_out(predicted, shifted), dtype=float)
    require(np.isclose(moved[3], got[3]), "changing one network's measurement must not move its own prediction")
    slopes = np.asarray(held_out(predicted, 2 * predicted), dtype=float)
    require(
        not np.allclose(slopes, 2 * predicted),
        "only an overhead is asked for: one number added, no factor",
    )
    require(np.allclose(got, predicted + (gap.sum() - gap) / 11), "add the mean gap of the other networks to each")
