"""Checkers for notebook 10: counting, a timer mended, a batch size found, prices without pieces, which networks."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from nasedu.blocks import MBConv
from nasedu.course.checks import ask, close, exercise, expect, require
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


class Rehearsal(nn.Module):
    """A network on a pretended accelerator: a call returns at once, and `wait` until the device has computed it.

    A run takes about 3 ms, each of the first five 60, and every eleventh 250, as if another program ran.
    """

    def __init__(self) -> None:
        super().__init__()
        self.runs, self.readings, self.now, self.done = 0, 0, 100.0, 0.0

    def forward(self, image: Tensor) -> Tensor:
        """The image as it is, after the time that this run takes."""
        require(not self.training, "the network runs in training mode, where normalisation does other work: use eval()")
        require(not torch.is_grad_enabled(), "PyTorch records gradients, which takes time: use torch.inference_mode()")
        ms = 60 if self.runs < 5 else 250 if self.runs % 11 == 0 else 2.8 + 0.1 * (self.runs % 5)
        self.runs += 1
        self.now += 1e-5
        self.done = max(self.done, self.now) + ms / 1e3
        return image

    def clock(self) -> float:
        """Seconds."""
        self.readings += 1
        return self.now

    def wait(self) -> None:
        """Until the device is done."""
        self.now = max(self.now, self.done)


@exercise("10.2", "mend the stopwatch")
def check_stopwatch(stopwatch: Callable[..., float]) -> None:
    """`stopwatch(network, image, clock, wait)`: the median duration of a run in ms, after warm-up, in eval mode."""
    network = Rehearsal()
    got = stopwatch(network, torch.zeros(2, 3, 8, 8), network.clock, network.wait)
    require(network.readings, "time must come from `clock`, so that it can be checked: not from the time module")
    few = f"5 runs to warm up and 30 that count are 35 at least, the network ran {network.runs} times"
    require(network.runs >= 35, few)
    hints = (
        (0.01, "a call returns before the device has computed: wait() before you stop the clock, too"),
        (0.003, "the clock is in seconds, the answer in milliseconds: multiply by 1,000"),
        (2.81, "the fastest run is no typical one: take the median"),
        (3.11, "the first runs are slow (memory, caches): leave 5 of them out"),
    )
    require(close(got, 3.0, 0.02) or float(got) < 3.5, "one slow run moves a mean, but not a median: time *each* run")
    expect(got, 3.0, "a run takes 3 ms in the median", hints, tolerance=0.02)
    back = "hand the network back in the mode in which it came: here that is {} mode"
    require(network.training, back.format("training"))
    stopwatch(other := Rehearsal().eval(), torch.zeros(2, 3, 8, 8), other.clock, other.wait)
    require(not other.training, back.format("evaluation"))


class Device:
    """Runs n images in a + b * n ms; the first run of a size takes 40 ms more, one later run in seven 20.

    a: ms a batch.
    b: ms an image.
    seed: of the noise.
    """

    def __init__(self, a: float, b: float, seed: int):
        self.a, self.b, self.runs, self.rng = a, b, Counter[int](), np.random.default_rng(seed)

    def __call__(self, n: int) -> float:
        require(1 <= n <= 256 and n == int(n), f"the device takes batches of 1 to 256 images, not of {n}")
        self.runs[n] += 1
        require(self.runs.total() <= 60, "60 runs are allowed, your experiment makes more")
        lost = 40 if self.runs[n] == 1 else self.rng.choice((0, 20), p=(6 / 7, 1 / 7))
        return float((self.a + self.b * n) * self.rng.normal(1, 0.01) + lost)

    def share(self, n: float) -> float:
        """Of the images a second that endless batches reach."""
        return self.b * n / (self.a + self.b * n)


@exercise("10.3", "where batch size stops paying")
def check_batch_size(batch_size: Callable[[Callable[[int], float]], int]) -> None:
    """`batch_size(run)`: the smallest batch that reaches 90 % of the throughput of endless ones; `run(n)` is in ms."""
    devices = (2, 1), (9, 0.5), (1, 0.25), (4, 0.4)
    for seed, (a, b) in enumerate(devices * 3):  # three times, so that no plan passes by luck
        got = batch_size(device := Device(a, b, seed))
        require(close(got, int(got)) and 1 <= got <= 256, f"a batch size is a whole number from 1 to 256, not {got}")
        reached = device.share(got)
        told = f"a device takes {a} + {b} n ms for n images, and with {got} of them reaches {reached:.0%} of its limit"
        require(reached > 0.86, f"{told}: 90 % is due, of what *endless* batches reach, not of your best measurement")
        require(reached < 0.935, f"{told}: a smaller batch reaches 90 %")


@exercise("10.4", "prices without pieces")
def check_prices(prices: Callable[..., tuple]) -> None:
    """`prices(choices, archs, ms)`: each choice's lead over choice 0 (nan: unknown), and how many ways are free."""
    rng, choices = np.random.default_rng(5), (3, 2, 4)
    every = np.array(list(itertools.product(*map(range, choices))))
    true = 7 + sum(rng.uniform(1, 5, n)[column] for n, column in zip(choices, every.T, strict=True))
    all_of_them = np.full(len(every), True)
    for which, noise, free, why in (
        (all_of_them, 0.1, 3, "a constant can move from each of the 3 decisions into the fixed part: 3 ways are free"),
        (every[:, 2] != 3, 0, 4, "choice 3 of decision 2 was never measured, so its price can be anything"),
        (every[:, 1] == (every[:, 0] > 0), 0, 4, "decision 1 always goes with decision 0, so their prices mix"),
        (true == true[5], 0, 9, "one network tells no difference"),
        (rng.integers(0, 24, 60), 0.1, 3, "a network that was measured twice counts twice"),
    ):
        archs, ms = every[which], true[which] + noise * rng.normal(size=len(true[which]))
        got, ways = ask(prices, choices, archs, ms, keep="the networks and their times must stay as they are")
        shapes = [np.shape(row) for row in got]
        require(shapes == [(n,) for n in choices], f"one array per decision, a number per choice: got shapes {shapes}")
        require(not any(row[0] for row in got), "choice 0 leads itself by 0: subtract its price in every decision")
        found, right = np.concatenate(got).astype(float), _leads(choices, archs, ms)
        known = np.isfinite(right)
        require(np.isnan(found[~known]).all(), f"{why}: where the times cannot tell, nan is due and no guess")
        require(np.isfinite(found[known]).all(), "nan stands where the times do tell the difference")
        require(close(found[known], right[known], 1e-5), "the leads are not those of least squares over all networks")
        require(int(ways) == free, f"{why} (free ways are columns less the rank of the equations), got {ways}")


def _leads(choices: Sequence[int], archs: np.ndarray, ms: np.ndarray) -> np.ndarray:
    """What every choice costs beyond choice 0 of its decision, by least squares; nan where the times cannot tell."""
    blocks = [np.eye(n)[column] for n, column in zip(choices, archs.T, strict=True)]
    design, starts = np.hstack([np.ones((len(archs), 1)), *blocks]), np.cumsum([1, *choices])
    every = np.eye(design.shape[1])
    leads = np.vstack([every[s : s + n] - every[s] for s, n in zip(starts, choices, strict=False)])
    weights = leads @ np.linalg.pinv(design)  # of the times, in each lead
    return np.where(np.isclose(weights @ design, leads).all(1), weights @ ms, np.nan)


@exercise("10.5", "which networks to measure")
def check_plan(plan: Callable[[int, int], Sequence[Sequence[int]]]) -> None:
    """`plan(decisions, k)`: k * k networks, each decision with k choices, that tell all differences best."""
    for decisions, k in ((4, 3), (3, 2), (2, 3), (6, 5), (8, 7)):
        given = np.array([list(map(float, arch)) for arch in plan(decisions, k)])
        archs = given.astype(int)
        about = f"{decisions} decisions of {k} choices"
        require(archs.shape == (k * k, decisions), f"{about}: {k * k} networks are due, got an array {archs.shape}")
        whole = ((archs >= 0) & (archs < k) & (archs == given)).all()
        require(whole, f"{about}: choices are the whole numbers from 0 to {k - 1}")
        for d in range(decisions):
            times = np.bincount(archs[:, d], minlength=k)
            require((times == k).all(), f"{about}: measure each choice {k} times; those of decision {d} came {times}")
        for d, e in itertools.combinations(range(decisions), 2):
            pairs = len(set(zip(archs[:, d], archs[:, e], strict=True)))
            mixed = f"decisions {d} and {e} show {pairs} of {k * k} pairs of choices, so their prices mix"
            require(pairs == k * k, f"{about}: {mixed}")


@exercise("10.6", "the overhead, held out")
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
    fewer = held_out(predicted[:5], measured[:5])
    expect(fewer, predicted[:5] + (gap[:5].sum() - gap[:5]) / 4, "5 networks have 4 others each: n is not always 12")
