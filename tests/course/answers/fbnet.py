"""Right and plausible wrong answers to the exercises of notebook 02, with the sentence that names the fault."""

from __future__ import annotations

import torch

from nasedu.course.checks.fbnet import check_expected, check_shuffle, check_weights


def shuffle(x, groups):
    b, c, h, w = x.shape
    return x.view(b, groups, c // groups, h, w).transpose(1, 2).reshape(b, c, h, w)


def other_way(x, groups):
    b, c, h, w = x.shape
    return x.view(b, c // groups, groups, h, w).transpose(1, 2).reshape(b, c, h, w)


def no_transpose(x, groups):
    b, c, h, w = x.shape
    return x.view(b, groups, c // groups, h, w).reshape(b, c, h, w)


def keeps_five_axes(x, groups):
    b, c, h, w = x.shape
    return x.view(b, groups, c // groups, h, w).transpose(1, 2)


SHUFFLES = [
    (shuffle, None),
    (lambda x, groups: torch.nn.functional.channel_shuffle(x, groups), None),
    (other_way, "one channel of each in turn"),
    (no_transpose, "nothing is mixed"),
    (keeps_five_axes, "keep the shape"),
    (lambda x, groups: x[:, torch.randperm(x.shape[1])], "random"),
    (lambda x, groups: x.flip(1), "nothing is mixed"),
    (lambda x, groups: x.flatten()[torch.randperm(x.numel())].view(x.shape), "whole and unchanged"),
    (lambda x, groups: (x + shuffle(x, groups)) / 2, "whole and unchanged"),
    (lambda x, groups: shuffle(x, 2), "3 groups"),
    (lambda x, groups: shuffle(x.view(2, groups, -1, 3, 4).flip(1).reshape(x.shape), groups), "0, 4, 8, 1, 5, 9"),
    (lambda x, groups: torch.cat([shuffle(x[:1], groups), x[1:]]), "shuffled alike"),
    (lambda x, groups: shuffle(x, groups).flip(0), "same image"),
    (lambda x, groups: x.unflatten(1, (groups, -1)).flip(2).flatten(1, 2), "different groups"),
    (lambda x, groups: x[:, torch.arange(0, x.shape[1], groups).repeat(groups)], "permutation"),
]


def weights(c_in, c_out, k, e, g):
    hidden = c_in * e
    return c_in * hidden // g + k * k * hidden + hidden * c_out // g


WEIGHTS = [
    (weights, None),
    (lambda i, o, k, e, g: weights(i, o, k, e, g) - (i * i // g if e == 1 else 0), "keeps its first convolution"),
    (lambda i, o, k, e, g: weights(i, o, k, e, 1), "groups must save"),
    (lambda i, o, k, e, g: weights(i, o, k, e, 1) // g, "leave the depthwise one alone"),
    (lambda i, o, k, e, g: weights(i, o, k, e, 1) - (i * i * e - i * i * e // g), "halve both"),
    (lambda i, o, k, e, g: weights(i, o, k, e, g) + 2 * (2 * i * e + o), "without normalisation"),
]


def expected(fixed, costs, thetas):
    return fixed + sum(torch.softmax(theta, 0) @ c for theta, c in zip(thetas, costs, strict=True))


EXPECTED = [
    (expected, None),
    (lambda fixed, costs, thetas: expected(0, costs, thetas), "fixed part"),
    (lambda fixed, costs, thetas: fixed + sum(t @ c for t, c in zip(thetas, costs, strict=True)), "softmax first"),
    (lambda fixed, costs, thetas: fixed + sum(c[t.argmax()] for t, c in zip(thetas, costs, strict=True)), "mean"),
    (
        lambda fixed, costs, thetas: (
            fixed + sum((t / t.abs().sum().clamp_min(1e-9)) @ c for t, c in zip(thetas, costs, strict=True))
        ),
        "mean",
    ),
    (lambda fixed, costs, thetas: expected(fixed, costs, thetas).detach(), "differentiable"),
    (lambda fixed, costs, thetas: expected(fixed, costs, thetas).item(), "differentiable"),
    (lambda fixed, costs, thetas: expected(fixed, costs, [2 * t for t in thetas]), "its own sum"),
    (lambda fixed, costs, thetas: fixed + sum(c.mean() for c in costs), "decided"),
]

ANSWERS = {
    check_shuffle: SHUFFLES,
    check_weights: WEIGHTS,
    check_expected: EXPECTED,
}
