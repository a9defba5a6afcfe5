"""Right and plausible wrong answers to the exercises of notebook 10, with the sentence that names the fault."""

from __future__ import annotations

import itertools
import time
from functools import partial

import numpy as np
import torch

from nasedu.course.checks.hardware_cost import (
    check_batch_size,
    check_block,
    check_held_out,
    check_plan,
    check_prices,
    check_stopwatch,
)


def block_macs(c_in, c_out, kernel, expansion, size, stride):
    hidden, after = c_in * expansion, -(-size // stride)
    expand = c_in * hidden * size**2 if expansion > 1 else 0
    return expand + kernel**2 * hidden * after**2 + hidden * c_out * after**2


def always_expands(c_in, c_out, kernel, expansion, size, stride):
    extra = 0 if expansion > 1 else c_in * c_in * size**2
    return block_macs(c_in, c_out, kernel, expansion, size, stride) + extra


def dense(c_in, c_out, kernel, expansion, size, stride):
    hidden, after = c_in * expansion, -(-size // stride)
    return block_macs(c_in, c_out, kernel, expansion, size, stride) + kernel**2 * hidden * (hidden - 1) * after**2


def all_after_the_stride(c_in, c_out, kernel, expansion, size, stride):
    return block_macs(c_in, c_out, kernel, expansion, -(-size // stride), 1)


def rounds_down(c_in, c_out, kernel, expansion, size, stride):
    return block_macs(c_in, c_out, kernel, expansion, size // stride * stride, stride)


def no_projection(c_in, c_out, kernel, expansion, size, stride):
    return block_macs(c_in, 0, kernel, expansion, size, stride)


def line_kernel(c_in, c_out, kernel, expansion, size, stride):
    return block_macs(c_in, c_out, kernel**0.5, expansion, size, stride)


BLOCKS = [
    (block_macs, None),
    (lambda *args: 2 * block_macs(*args), "FLOPs are twice"),
    (always_expands, "at expansion 1"),
    (dense, "its own"),
    (all_after_the_stride, "runs before the stride"),
    (lambda *args: block_macs(*args[:5], 1), "half as high"),
    (no_projection, "two 1×1 convolutions"),
    (line_kernel, "9 weights"),
    (rounds_down, "11 px"),
    (lambda a, b, k, e, size, s: block_macs(a, a, k, e, size, s), "16 to 24"),
]


def stopwatch(
    network, image, clock, wait, warmup=5, runs=30, each=True, train=False, grad=False, before_stop=True, unit=1e3,
    summary=np.median, restore=True,
):  # fmt: skip
    was, times = network.training, []
    network.train(train)
    with torch.set_grad_enabled(grad):
        for _ in range(warmup + runs if each else warmup):
            wait()
            start = clock()
            network(image)
            if before_stop:
                wait()
            times.append(unit * (clock() - start))
        if not each:
            start = clock()
            for _ in range(runs):
                network(image)
            wait()
            times += [unit * (clock() - start) / runs] * runs
    network.train(was if restore else train)
    return float(summary(times[warmup:]))


def with_its_own_clock(network, image, clock, wait):
    return stopwatch(network, image, time.perf_counter, wait)


STOPWATCHES = [
    (stopwatch, None),
    (partial(stopwatch, warmup=20, runs=101), None),
    (partial(stopwatch, train=True), "training mode"),
    (partial(stopwatch, grad=True), "records gradients"),
    (partial(stopwatch, warmup=0), "ran 30 times"),
    (partial(stopwatch, runs=3), "ran 8 times"),
    (partial(stopwatch, warmup=0, runs=35), "the first runs are slow"),
    (partial(stopwatch, before_stop=False), "before you stop the clock"),
    (partial(stopwatch, unit=1), "multiply by 1,000"),
    (partial(stopwatch, summary=np.mean), "moves a mean"),
    (partial(stopwatch, each=False), "moves a mean"),
    (partial(stopwatch, summary=min), "the fastest run"),
    (partial(stopwatch, summary=lambda times: np.quantile(times, 0.75)), "in the median"),
    (partial(stopwatch, restore=False), "hand the network back"),
    (lambda network, *given: stopwatch(network.train(), *given), "hand the network back"),
    (with_its_own_clock, "from `clock`"),
]


def batch_size(run, sizes=(1, 256), repeats=20, summary=np.median, share=0.9):
    b, a = np.polyfit(sizes, [summary([run(n) for _ in range(repeats)]) for n in sizes], 1)
    return int(np.ceil(share / (1 - share) * a / b))


def of_the_best_measured(run):
    sizes = 2 ** np.arange(9)
    rates = [n / np.median([run(n) for _ in range(6)]) for n in sizes]
    return int(next(n for n, rate in zip(sizes, rates, strict=True) if rate >= 0.9 * max(rates)))


def until_doubling_gains_little(run):
    n = 1
    while n < 256 and 2 * np.median([run(n) for _ in range(3)]) > 1.1 * np.median([run(2 * n) for _ in range(3)]):
        n *= 2
    return n


def linear_scan(run):
    return next(n for n in range(1, 256) if n / run(n) > 0.9 * 256 / run(256))


BATCH_SIZES = [
    (batch_size, None),
    (partial(batch_size, sizes=(1, 16, 128), repeats=20), None),
    (partial(batch_size, summary=min), None),
    (lambda run: float(batch_size(run)), None),
    (partial(batch_size, repeats=3), "a whole number from 1 to 256"),
    (partial(batch_size, repeats=5), "a whole number from 1 to 256"),
    (partial(batch_size, repeats=1), "a whole number from 1 to 256"),
    (partial(batch_size, sizes=2 ** np.arange(9), repeats=1), "a whole number from 1 to 256"),
    (partial(batch_size, sizes=(1, 2, 4, 8), repeats=3, summary=np.mean), "of its limit"),
    (partial(batch_size, share=0.8), "90 % is due"),
    (partial(batch_size, share=0.95), "a smaller batch"),
    (partial(batch_size, repeats=50), "60 runs"),
    (partial(batch_size, sizes=(1, 1000)), "1 to 256 images"),
    (of_the_best_measured, "of its limit"),
    (until_doubling_gains_little, "of its limit"),
    (linear_scan, "60 runs"),
    (lambda run: 256, "a smaller batch"),
    (lambda run: 1, "90 % is due"),
    (lambda run: 17.5, "a whole number"),
]


def prices(choices, archs, ms, fill=np.nan, intercept=True, only_seen=False):
    starts = np.cumsum([intercept, *choices])[:-1]
    design = np.zeros((len(archs), intercept + sum(choices)))
    design[:, :intercept] = 1
    np.put_along_axis(design, archs + starts, 1, axis=1)
    fitted, seen = np.linalg.lstsq(design, ms, rcond=None)[0], np.linalg.pinv(design) @ design
    if only_seen:
        seen = np.diag(design.any(0).astype(float))
    leads = []
    for start, n in zip(starts, choices, strict=True):
        lead = np.eye(len(seen))[start : start + n] - np.eye(len(seen))[start]
        leads.append(np.where(np.isclose(lead @ seen, lead).all(1), lead @ fitted, fill))
    return leads, len(seen) - np.linalg.matrix_rank(design)


def entries_as_fitted(choices, archs, ms):
    design = np.hstack([np.eye(n)[column] for n, column in zip(choices, archs.T, strict=True)])
    return np.split(np.linalg.lstsq(design, ms, rcond=None)[0], np.cumsum(choices)[:-1]), 3


def means(choices, archs, ms):
    found = []
    for n, column in zip(choices, archs.T, strict=True):
        mean = [ms[column == j].mean() if (column == j).any() else np.nan for j in range(n)]
        found.append(np.array(mean) - mean[0])
    return found, prices(choices, archs, ms)[1]


def all_unknown(choices, archs, ms):
    leads, free = prices(choices, archs, ms)
    return [np.where(np.arange(len(row)) > 0, np.nan, 0) for row in leads], free


def shrunk(choices, archs, ms):
    leads, free = prices(choices, archs, ms)
    return [0.9 * row for row in leads], free


def in_place(choices, archs, ms):
    ms -= ms.mean()
    return prices(choices, archs, ms)


def each_once(choices, archs, ms):
    last = dict(zip(map(tuple, archs.tolist()), ms, strict=True))
    return prices(choices, np.array(list(last)), np.array(list(last.values())))


PRICES = [
    (prices, None),
    (lambda c, a, m: ([row.tolist() for row in prices(c, a, m)[0]], float(prices(c, a, m)[1])), None),
    (partial(prices, fill=0.0), "never measured"),
    (partial(prices, only_seen=True), "always goes with decision 0"),
    (partial(prices, intercept=False), "3 ways are free"),
    (lambda c, a, m: (prices(c, a, m)[0], 0), "3 ways are free"),
    (lambda c, a, m: (prices(c, a, m)[0], len(c)), "columns less the rank"),
    (entries_as_fitted, "choice 0 leads itself"),
    (means, "always goes with decision 0"),
    (all_unknown, "do tell the difference"),
    (shrunk, "least squares"),
    (in_place, "stay as they are"),
    (each_once, "least squares"),
    (lambda c, a, m: (prices(c, a, m)[0][:2], 3), "one array per decision"),
]


def plan(decisions, k):
    reads = [(1, 0), *((m, 1) for m in range(k))][:decisions]
    return [[(u * i + v * j) % k for u, v in reads] for i, j in itertools.product(range(k), range(k))]


def one_at_a_time(decisions, k):
    archs = [[0] * decisions] + [
        [j * (e == d) for e in range(decisions)] for d in range(decisions) for j in range(1, k)
    ]
    return (archs * k**2)[: k**2]


def same_everywhere(decisions, k):
    return [[i % k] * decisions for i in range(k * k)]


def two_kinds(decisions, k):
    return [[i if d % 2 else j for d in range(decisions)] for i in range(k) for j in range(k)]


def drawn(decisions, k):
    return np.random.default_rng(0).integers(0, k, (k * k, decisions))


PLANS = [
    (plan, None),
    (lambda d, k: np.array(plan(d, k))[::-1], None),
    (one_at_a_time, "measure each choice"),
    (drawn, "measure each choice"),
    (same_everywhere, "decisions 0 and 1 show 3 of 9 pairs"),
    (two_kinds, "decisions 0 and 2 show 3 of 9 pairs"),
    (lambda d, k: list(itertools.product(range(k), repeat=d)), "9 networks are due"),
    (lambda d, k: np.array(plan(d, k)) + 1, "from 0 to 2"),
    (lambda d, k: np.array(plan(d, k)) + 0.5, "whole numbers"),
    (lambda d, k: torch.tensor(plan(d, k)), None),
]


def held_out(predicted, measured):
    gap = measured - predicted
    return predicted + (gap.sum() - gap) / (len(gap) - 1)


def one_factor(predicted, measured):
    ratio = [np.delete(measured, i) @ np.delete(predicted, i) / (np.delete(predicted, i) ** 2).sum() for i in range(12)]
    return predicted * ratio


def overwritten(predicted, measured):
    result = held_out(predicted, measured)
    predicted[:] = result
    return predicted


HELD_OUT = [
    (held_out, None),
    (lambda p, m: p + np.mean(m - p), "leave it out of the mean"),
    (lambda p, m: p - (held_out(p, m) - p), "other sign"),
    (lambda p, m: m, "hands back"),
    (lambda p, m: p + ((m - p).sum() - (m - p)) / len(p), "n - 1"),
    (one_factor, "no factor"),
    (overwritten, "stay as they are"),
    (lambda p, m: held_out(p, m)[:-1], "12 corrected"),
    (lambda p, m: p + np.array([np.median(np.delete(m - p, i)) for i in range(len(p))]), "mean gap"),
    (lambda p, m: p, "mean gap"),
    (lambda p, m: p + ((m - p).sum() - (m - p)) / 11, "not always 12"),
    (lambda p, m: [a + np.delete(m - p, i).mean() for i, a in enumerate(p)], None),
]


ANSWERS = {
    check_block: BLOCKS,
    check_stopwatch: STOPWATCHES,
    check_batch_size: BATCH_SIZES,
    check_prices: PRICES,
    check_plan: PLANS,
    check_held_out: HELD_OUT,
}
