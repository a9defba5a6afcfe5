"""Right and plausible wrong answers to the exercises of notebook 04, with the sentence that names the fault."""

from __future__ import annotations

import math

import numpy as np
import torch

from nasedu.course.checks.single_path import check_indicator, check_kernel, check_size


def core(w):
    mask = torch.zeros_like(w)
    mask[:, :, 1:4, 1:4] = 1
    return w * mask


def solved(w, t5, t6, norm=torch.linalg.vector_norm):
    inner, half = core(w), len(w) // 2
    w_k = inner + (w - inner) * (norm(w - inner) >= t5)
    return torch.cat([w_k[:half], w_k[half:] * (norm(w_k[half:]) >= t6)])


def before_t5(w, t5, t6):
    inner, half = core(w), len(w) // 2
    w_k = inner + (w - inner) * ((w - inner).norm() >= t5)
    return torch.cat([w_k[:half], w_k[half:] * (w[half:].norm() >= t6)])


def cropped(w, t5, t6):
    return w[:, :, 1:4, 1:4] if (w - core(w)).norm() < t5 else w


def ring_of_lower_half(w, t5, t6):
    out, half = solved(w, t5, t6), len(w) // 2
    out[half:] = w[half:] * (out[half:].any())
    return out


def swapped_halves(w, t5, t6):
    half = len(w) // 2
    return solved(w.roll(half, 0), t5, t6).roll(half, 0)


def in_place(w, t5, t6):
    return w.copy_(solved(w, t5, t6))


def whole_norm(w, t5, t6):
    return solved(w, -math.inf if w.norm() >= t5 else math.inf, t6)


KERNELS = [
    (solved, None),
    (before_t5, "*after* t5"),
    (cropped, "keep its shape"),
    (ring_of_lower_half, "in every channel"),
    (swapped_halves, "lower half"),
    (in_place, "must not change"),
    (whole_norm, "whole ring"),
    (lambda w, t5, t6: w, "ring to zero"),
    (lambda w, t5, t6: solved(w, t5, t6, lambda part: part.square().sum()), "L2 norm of the whole ring"),
    (lambda w, t5, t6: solved(w, t5, t6, lambda part: part.abs().sum()), "L2 norm of the whole ring"),
    (lambda w, t5, t6: solved(w, -t5, -t6), "must"),
]


def straight(x):
    s = torch.sigmoid(x)
    return s - s.detach() + (x >= 0).float()


def scaled(x):
    s = torch.sigmoid(5 * x)
    return s - s.detach() + (x >= 0).float()


def surrogate(x):
    s = torch.sigmoid(x)
    return ((x >= 0).float() - s).detach() + s  # 1e-7 off in value


INDICATORS = [
    (straight, None),
    (surrogate, None),
    (torch.sigmoid, "hard step"),
    (lambda x: straight(-x), "hard step"),
    (lambda x: x.sign().detach() + x - x.detach(), "hard step"),
    (lambda x: (x > 0).float() + x.sigmoid() - x.sigmoid().detach(), "at 0"),
    (lambda x: (x >= 0).float(), "passes no gradient"),
    (lambda x: x - x.detach() + (x >= 0).float(), "not the identity's"),
    (lambda x: (x >= 0).float() - x.sigmoid() + x.sigmoid().detach(), "positive"),
    (scaled, "sigmoid(x) (1 - sigmoid(x))"),
    (lambda x: straight(x).sum(), "per entry"),
]


def count(layers):
    return math.prod(5 if stride == 1 and c_in == c_out else 4 for c_in, c_out, stride in layers)


SIZES = [
    (count, None),
    (lambda layers: 5 ** len(layers), "stride 2"),
    (lambda layers: 4 ** len(layers), "4 + 1"),
    (lambda layers: math.prod(5 if stride == 1 else 4 for *_, stride in layers), "changes the channels"),
    (lambda layers: math.prod(5 if a == b else 4 for a, b, _ in layers), "halves the resolution"),
    (lambda layers: sum(5 if s == 1 and a == b else 4 for a, b, s in layers), "multiply"),
    (lambda layers: math.prod([float(5 if s == 1 and a == b else 4) for a, b, s in layers]), "exact"),
    (lambda layers: np.prod([5 if s == 1 and a == b else 4 for a, b, s in layers]), "exact"),
]

ANSWERS = {
    check_kernel: KERNELS,
    check_indicator: INDICATORS,
    check_size: SIZES,
}
