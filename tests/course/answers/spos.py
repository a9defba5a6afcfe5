"""Right and plausible wrong answers to the exercises of notebook 03, with the sentence that names the fault."""

from __future__ import annotations

from nasedu.course.checks.spos import check_params, check_untouched, check_update


def untouched(channels, units):
    left = list(range(channels))
    for _ in range(units):
        left = left[0::2]
    return len(left)


UNTOUCHED = [
    (untouched, None),
    (lambda channels, units: -(-channels // 2**units), None),
    (lambda channels, units: channels // 2, "dealt anew"),
    (lambda channels, units: channels - untouched(channels, units), "dealt anew"),
    (lambda channels, units: untouched(channels, units - 1), "half of its channels"),
    (lambda channels, units: channels // (2 * units), "halves the rest"),
    (lambda channels, units: channels // 2**units, "places 0 and 2"),
    (lambda channels, units: round(channels / 2**units), "always first"),
]


def solved(c_in, c_out, kernel, stride):
    half = c_out // 2
    enters, passed = (c_in // 2, half) if stride == 1 else (c_in, c_in)
    main = enters * half + kernel**2 * half + half * (c_out - passed) + 2 * (half + half + c_out - passed)
    projection = kernel**2 * c_in + c_in * passed + 2 * (c_in + passed) if stride == 2 else 0
    return main + projection


def no_norms(c_in, c_out, kernel, stride):
    half = c_out // 2
    enters, passed = (c_in // 2, half) if stride == 1 else (c_in, c_in)
    main = enters * half + kernel**2 * half + half * (c_out - passed)
    return main + (kernel**2 * c_in + c_in * passed if stride == 2 else 0)


def no_split(c_in, c_out, kernel, stride):
    return solved(c_in, c_out, kernel, stride) + (c_in // 2 * (c_out // 2) if stride == 1 else 0)


def no_projection(c_in, c_out, kernel, stride):
    passed = kernel**2 * c_in + c_in * c_in + 4 * c_in if stride == 2 else 0
    return solved(c_in, c_out, kernel, stride) - passed


def half_projection(c_in, c_out, kernel, stride):
    half, extra = c_out // 2, 0
    if stride == 2:  # c_out/2 for both branches, as another public code has it
        extra = (half - c_in) * (c_in + 2) - (half - c_in) * (half + 2)
    return solved(c_in, c_out, kernel, stride) + extra


def dense_kernel(c_in, c_out, kernel, stride):
    half = c_out // 2
    return solved(c_in, c_out, kernel, stride) + kernel**2 * half * (half - 1)


PARAMS = [
    (solved, None),
    (no_norms, "BN"),
    (no_split, "c_out/2 channels and the rest has no weights"),
    (no_projection, "the projection has weights"),
    (half_projection, "c_out - c_in"),
    (dense_kernel, "feel the kernel"),
    (lambda *case: solved(*case) + 0.5, "whole number"),
]


def update(running, batch, seen):
    return running + (batch.mean((0, 2, 3)) - running) / (seen + 1)


def off_by_one(running, batch, seen):
    return running + (batch.mean((0, 2, 3)) - running) / (seen + 2)


def fixed(running, batch, seen):
    mean = batch.mean((0, 2, 3))
    return mean if seen == 0 else 0.5 * running + 0.5 * mean


def exponential(running, batch, seen):
    return 0.9 * running + 0.1 * batch.mean((0, 2, 3))


def swapped(running, batch, seen):
    return running / (seen + 1) + batch.mean((0, 2, 3)) * seen / (seen + 1) if seen else batch.mean((0, 2, 3))


UPDATES = [
    (update, None),
    (off_by_one, "nothing of the old"),
    (fixed, "order of the batches"),
    (exponential, "nothing of the old"),
    (swapped, "order of the batches"),
    (lambda running, batch, seen: batch.mean((0, 2, 3)), "half-way"),
    (lambda running, batch, seen: batch.mean() + 0 * running, "first batch"),
    (lambda running, batch, seen: batch.mean(0), "per channel"),
]

ANSWERS = {
    check_untouched: UNTOUCHED,
    check_params: PARAMS,
    check_update: UPDATES,
}
