"""Right and plausible wrong answers to the exercises of notebook 06, with the sentence that names the fault."""

from __future__ import annotations

import torch

from nasedu.course.checks.gradient import check_gate_gradient, check_hinge, check_keep_others


def by_formula(alpha, by_gate):
    p = alpha.softmax(0)
    return p * (by_gate - p @ by_gate)


def by_jacobian(alpha, by_gate):
    p = alpha.softmax(0)
    return (torch.diag(p) - torch.outer(p, p)) @ by_gate


GATES = [
    (by_formula, None),
    (by_jacobian, None),
    (lambda alpha, by_gate: by_gate, "not yet that of the logits"),
    (lambda alpha, by_gate: alpha.softmax(0) * by_gate, "sum to 0"),
    (lambda alpha, by_gate: by_gate - by_gate.mean(), "p_i"),
    (lambda alpha, by_gate: -by_formula(alpha, by_gate), "must gain"),
    (lambda alpha, by_gate: alpha.softmax(0) * (by_gate - by_gate.mean()), "sum to 0"),
    (lambda alpha, by_gate: by_formula(alpha, by_gate) / alpha.softmax(0), "sum to 0"),
    (lambda alpha, by_gate: by_formula(alpha, by_gate).sum(), "shape of alpha"),
]


def renormalised(before, after, pair):
    got = after.clone()
    got[pair] -= after[pair].logsumexp(0) - before[pair].logsumexp(0)
    return got


def by_mean(before, after, pair):
    got = after.clone()
    got[pair] -= (after[pair] - before[pair]).mean()
    return got


def log_probabilities(before, after, pair):
    return renormalised(before, after, pair).log_softmax(0)


def in_place(before, after, pair):
    after[pair] -= after[pair].logsumexp(0) - before[pair].logsumexp(0)
    return after


def divided(before, after, pair):
    got = after.clone()
    got[pair] /= after[pair].exp().sum() / before[pair].exp().sum()
    return got


KEPT = [
    (renormalised, None),
    (lambda before, after, pair: after, "must stay as they were"),
    (lambda before, after, pair: before, "within the pair must remain"),
    (by_mean, "must stay as they were"),
    (divided, "must stay as they were"),
    (log_probabilities, "leave the other logits alone"),
    (in_place, "do not change `after`"),
    (lambda before, after, pair: renormalised(before, after, pair)[pair], "shape of `before`"),
]

HINGES = [
    (lambda w, c, b: (w @ c / b - 1).clamp_min(0), None),
    (lambda w, c, b: torch.relu(w @ c / b - 1), None),
    (lambda w, c, b: w @ c / b - 1, "never be negative"),
    (lambda w, c, b: (w @ c / b - 1) ** 2, "one-sided"),
    (lambda w, c, b: torch.relu(w @ c - b), "divide by budget"),
    (lambda w, c, b: torch.relu(w @ c / b - 1) ** 2, "squared"),
    (lambda w, c, b: torch.relu(c[w.argmax()] / b - 1) + 0 * w.sum(), "expectation"),
    (lambda w, c, b: torch.relu(w.softmax(0) @ c / b - 1), "one-hot"),
    (lambda w, c, b: torch.relu(w.detach() @ c / b - 1), "differentiable"),
    (lambda w, c, b: torch.relu(w * c / b - 1), "one number"),
]

ANSWERS = {
    check_gate_gradient: GATES,
    check_keep_others: KEPT,
    check_hinge: HINGES,
}
