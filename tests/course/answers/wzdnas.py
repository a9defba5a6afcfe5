"""Right and plausible wrong answers to the exercises of notebook 14, with the sentence that names the fault."""

from __future__ import annotations

import torch

from nasedu.course.checks.wzdnas import check_expected_cost, check_pull, check_sample


def gumbel(shape):
    return -torch.empty(shape).exponential_().log()


SAMPLES = [
    (lambda theta, t: ((theta + gumbel(len(theta))) / t).softmax(0), None),
    (lambda theta, t: (theta / t).softmax(0), "where is the noise"),
    (lambda theta, t: ((theta + gumbel(1)) / t).softmax(0), "where is the noise"),  # the same for every choice
    (lambda theta, t: (theta + gumbel(len(theta))) / t, "sum to 1"),
    (lambda theta, t: ((theta + torch.randn(len(theta))) / t).softmax(0), "is the noise Gumbel"),
    (lambda theta, t: ((theta + torch.rand(len(theta))) / t).softmax(0), "is the noise Gumbel"),
    (lambda theta, t: ((theta - gumbel(len(theta))) / t).softmax(0), "is the noise Gumbel"),
    (lambda theta, t: ((theta + gumbel(len(theta))) * t).softmax(0), "divide by T"),
    (lambda theta, t: (theta + gumbel(len(theta))).softmax(0), "divide by T"),
    (lambda theta, t: (theta / t + gumbel(len(theta))).softmax(0), "divide the noise by T"),
    (lambda theta, t: (theta + gumbel(len(theta)) / t).softmax(0), "T"),
    (lambda theta, t: torch.eye(len(theta))[(theta + gumbel(len(theta))).argmax()], "soft"),
    (lambda theta, t: ((theta.detach() + gumbel(len(theta))) / t).softmax(0), "differentiable"),
]

COSTS = [
    (lambda costs, p, q: p @ costs @ q, None),
    (lambda costs, p, q: torch.einsum("i,j,ij->", p, q, costs), None),
    (lambda costs, p, q: costs[p.argmax(), q.argmax()], "most probable"),
    (lambda costs, p, q: costs.mean(), "one-hot weights on width 0 and depth 0"),
    (lambda costs, p, q: (p @ costs).mean(), "one-hot weights"),
    (lambda costs, p, q: ((p @ costs).sum() + (costs @ q).sum()) / 2, "one-hot weights"),
    (lambda costs, p, q: p @ costs, "one-hot weights"),
    (lambda costs, p, q: (p**2 @ costs @ q**2) / (p**2).sum() / (q**2).sum(), "p_i q_j"),
    (lambda costs, p, q: (p @ costs @ q).item(), "differentiable"),
    (lambda costs, p, q: (p @ costs @ q).detach(), "differentiable"),
]


def solved(theta, costs, target, t):
    p = (theta / t).softmax(0)
    expected = p @ costs
    return 2 * (expected / target - 1) / target * p * (costs - expected) / t


def hinge(theta, costs, target, t):
    return solved(theta, costs, target, t) * ((theta / t).softmax(0) @ costs > target)


def absolute(theta, costs, target, t):
    return solved(theta, costs, target, t) * target**2


def raw_costs(theta, costs, target, t):
    p = (theta / t).softmax(0)
    return 2 * (p @ costs / target - 1) / target * p * costs / t


def no_own_probability(theta, costs, target, t):
    p = (theta / t).softmax(0)
    return 2 * (p @ costs / target - 1) / target * (costs - costs.mean()) / t


def value(theta, costs, target, t):
    return ((theta / t).softmax(0) @ costs / target - 1) ** 2


PULLS = [
    (solved, None),
    (hinge, "two-sided"),
    (absolute, "divide by the target"),
    (raw_costs, "sum to 0"),
    (no_own_probability, "p_i"),
    (value, "shape of theta"),
    (lambda *args: -solved(*args), "must lose"),
    (lambda *args: abs(solved(*args)), "must gain"),
    (lambda *args: solved(*args) * args[3], "1 / T"),
    (lambda *args: solved(*args) / 2, "factors 2"),
]

ANSWERS = {
    check_sample: SAMPLES,
    check_expected_cost: COSTS,
    check_pull: PULLS,
}
SEEDS = range(5)  # for a sample is judged by its frequencies
