"""Right and plausible wrong answers to the exercises of notebook 10, with the sentence that names the fault."""

from __future__ import annotations

import statistics
import time

import numpy as np

from nasedu.course.checks.hardware_cost import (
    check_block,
    check_held_out,
    check_price,
    check_stopwatch,
    check_throughput,
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


def durations(run, n, clock):
    found = []
    for _ in range(n):
        start = clock()
        run()
        found.append(1e3 * (clock() - start))
    return found


def stopwatch(run, warmup, repeats, clock):
    for _ in range(warmup):
        run()
    return statistics.median(durations(run, repeats, clock))


def on_average(run, warmup, repeats, clock):
    return statistics.mean(durations(run, warmup + repeats, clock)[warmup:])


def around_all(run, warmup, repeats, clock):
    durations(run, warmup, clock)
    start = clock()
    for _ in range(repeats):
        run()
    return 1e3 * (clock() - start) / repeats


def upper_middle(run, warmup, repeats, clock):
    return sorted(durations(run, warmup + repeats, clock)[warmup:])[repeats // 2]


STOPWATCHES = [
    (stopwatch, None),
    (lambda r, w, n, c: float(np.median(durations(r, w + n, c)[w:])), None),
    (on_average, "the mean falls for one burst"),
    (around_all, "the mean falls for one burst"),
    (lambda r, w, n, c: statistics.median(durations(r, w + n, c)), "warm-up calls are not timed"),
    (lambda r, w, n, c: statistics.mean(durations(r, w + n, c)), "warm-up calls are not timed"),
    (lambda r, w, n, c: min(durations(r, w + n, c)[w:]), "the fastest run"),
    (lambda r, w, n, c: sum(durations(r, w + n, c)[w:]), "not that of all"),
    (lambda r, w, n, c: stopwatch(r, w, n, c) / 1e3, "milliseconds"),
    (lambda r, w, n, c: stopwatch(r, 0, n, c), "7 calls"),
    (lambda r, w, n, c: stopwatch(r, w, n, time.perf_counter), "from `clock`"),
    (upper_middle, "even number"),
]


def price(fixed, groups, entries, arch):
    return fixed + sum(float(e[tuple(arch[d] for d in g)]) for g, e in zip(groups, entries, strict=True))


def by_position(fixed, groups, entries, arch):
    rest, total = list(arch), fixed
    for entry in entries:
        total += float(entry[tuple(rest[: entry.ndim])])
        rest = rest[entry.ndim :]
    return total


def only_pairs(fixed, groups, entries, arch):
    pick = [e[arch[g[0]]] if len(g) == 1 else e[arch[g[0]], arch[g[1]]] for g, e in zip(groups, entries, strict=True)]
    return fixed + sum(float(p) for p in pick)


PRICES = [
    (price, None),
    (lambda f, g, e, a: price(0, g, e, a), "every network pays"),
    (by_position, "in which order"),
    (only_pairs, "your answer raised"),
    (lambda f, g, e, a: f + sum(float(x.mean()) for x in e), "430.5"),
    (lambda f, g, e, a: f + sum(float(x.max()) for x in e), "in which order"),
]


def held_out(predicted, measured):
    gap = measured - predicted
    return predicted + (gap.sum() - gap) / (len(gap) - 1)


def one_factor(predicted, measured):
    ratio = [np.delete(measured, i) @ np.delete(predicted, i) / (np.delete(predicted, i) ** 2).sum() for i in range(12)]
    return predicted * ratio


def in_place(predicted, measured):
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
    (in_place, "stay as they are"),
    (lambda p, m: held_out(p, m)[:-1], "12 corrected"),
    (lambda p, m: p + np.array([np.median(np.delete(m - p, i)) for i in range(len(p))]), "mean gap"),
    (lambda p, m: p, "mean gap"),
]


def throughput(batches, ms, batch):
    b, a = np.polyfit(batches, ms, 1)
    return 1e3 * batch / (a + b * batch)


def two_points(batches, ms, batch):
    b = (ms[-1] - ms[0]) / (batches[-1] - batches[0])
    return 1e3 * batch / (ms[0] + b * (batch - batches[0]))


THROUGHPUTS = [
    (throughput, None),
    (lambda x, y, n: np.polyval(np.polyfit(x, y, 1), n), "that is the latency"),
    (lambda x, y, n: 1e3 / np.polyval(np.polyfit(x, y, 1), n), "batches per second"),
    (lambda x, y, n: throughput(x, y, n) / 1e3, "per second"),
    (lambda x, y, n: 1e3 / np.polyfit(x, y, 1)[0], "endless"),
    (lambda x, y, n: 1e3 * x[0] / y[0], "batch 1"),
    (two_points, "least squares"),
]

ANSWERS = {
    check_block: BLOCKS,
    check_stopwatch: STOPWATCHES,
    check_price: PRICES,
    check_held_out: HELD_OUT,
    check_throughput: THROUGHPUTS,
}
