"""Right and plausible wrong answers to the exercises of notebook 03, with the sentence that names the fault."""

from __future__ import annotations

import torch

from nasedu.course.checks.spos import check_params, check_shuffle, check_update


def shuffled(x, groups):
    b, c, h, w = x.shape
    return x.view(b, groups, c // groups, h, w).transpose(1, 2).reshape(b, c, h, w)


def inverse(x, groups):
    b, c, h, w = x.shape
    return x.view(b, c // groups, groups, h, w).transpose(1, 2).reshape(b, c, h, w)


def unswapped(x, groups):
    b, c, h, w = x.shape
    return x.view(b, groups, c // groups, h, w).reshape(b, c, h, w)


def over_images(x, groups):
    return shuffled(x, groups).flip(0)


def within_groups(x, groups):
    b, c, h, w = x.shape
    return x.view(b, groups, c // groups, h, w).flip(2).reshape(b, c, h, w)


SHUFFLES = [
    (shuffled, None),
    (lambda x, groups: torch.nn.functional.channel_shuffle(x, groups), None),
    (inverse, "different groups"),
    (lambda x, groups: shuffled(x.view(2, groups, -1, 3, 4).flip(1).reshape(x.shape), groups), "0, 4, 8, 1, 5, 9"),
    (lambda x, groups: torch.cat([shuffled(x[:1], groups), x[1:]]), "shuffled alike"),
    (unswapped, "swap the two axes"),
    (within_groups, "different groups"),
    (over_images, "same image"),
    (lambda x, groups: x[:, torch.arange(0, x.shape[1], groups).repeat(groups)], "permutation"),
    (lambda x, groups: shuffled(x, 3), "any number of groups"),
    (lambda x, groups: shuffled(x, groups).flatten(1), "shape"),
    (lambda x, groups: shuffled(x, groups) * 2 + 0.5, "unchanged"),
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
    check_shuffle: SHUFFLES,
    check_params: PARAMS,
    check_update: UPDATES,
}
