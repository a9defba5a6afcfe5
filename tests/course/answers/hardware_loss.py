"""Right and plausible wrong answers to the exercises of notebook 11, with the sentence that names the fault."""

from __future__ import annotations

import itertools
import math

import torch

from nasedu.course.checks.hardware_loss import (
    check_dual_step,
    check_hinge_gradient,
    check_log_loss,
    check_reachable,
    check_two_budgets,
)


def slope(alpha, costs, target, weight):
    p = alpha.softmax(0)
    return weight * p * (costs - p @ costs) / target * (p @ costs > target)


def by_autograd(alpha, costs, target, weight):
    free = alpha.clone().requires_grad_()
    total = weight * torch.relu(free.softmax(0) @ costs / target - 1)
    return torch.autograd.grad(total, free)[0]


def one_sided(formula):
    return lambda a, c, t, w: formula(a, a.softmax(0), c, t, w) * (a.softmax(0) @ c > t)


GRADIENTS = [
    (slope, None),
    (by_autograd, None),
    (lambda a, c, t, w: w * a.softmax(0) * (c - a.softmax(0) @ c) / t, "within the budget"),
    (one_sided(lambda a, p, c, t, w: w * c / t), "one softmax further"),
    (one_sided(lambda a, p, c, t, w: w * p * (c - p @ c)), "divided by the target"),
    (one_sided(lambda a, p, c, t, w: p * (c - p @ c) / t), "the weight must scale"),
    (one_sided(lambda a, p, c, t, w: w * p * c / t), "subtract the mean"),
    (lambda a, c, t, w: -slope(a, c, t, w), "*positive* gradient"),
    (one_sided(lambda a, p, c, t, w: 2 * w * (p @ c / t - 1) * p * (c - p @ c) / t), "not squared"),
    (lambda a, c, t, w: slope(a, c, t, w).sum(), "shape of alpha"),
    (one_sided(lambda a, p, c, t, w: w * (c - c.mean()) / t), "p_i (c_i - E)"),
]

LOGS = [
    (lambda task, c, t: task * torch.log1p(c / t) / math.log(2), None),
    (lambda task, c, t: task * torch.log2(1 + c / t), None),
    (lambda task, c, t: task * (torch.log1p(c / t) / math.log(2)) ** 0.3, None),
    (lambda task, c, t: task * (torch.log(c) / torch.log(t)), "guard the log"),
    (lambda task, c, t: task * torch.log1p(c) / torch.log1p(t), "in microseconds"),
    (lambda task, c, t: task * torch.log1p(c / t), "the factor must be 1"),
    (lambda task, c, t: task * (1 + (c / t).clamp_min(1e-3).log()), "turns the task round"),
    (lambda task, c, t: task * (1 + (c / t).clamp_min(1).log()), "must rise"),
    (lambda task, c, t: task * c / t, "ever more slowly"),
    (lambda task, c, t: task + torch.log2(1 + c / t) - 1, "the factor multiplies"),
]

STEPS = [
    (lambda m, c, t, rho: max(0.0, m + rho * (c / t - 1)), None),
    (lambda m, c, t, rho: m + rho * (c / t - 1), "below 0"),
    (lambda m, c, t, rho: max(0.0, m - rho * (c / t - 1)), "must rise"),
    (lambda m, c, t, rho: m + rho * max(0.0, c / t - 1), "must fall"),
    (lambda m, c, t, rho: max(0.0, m + rho * (c - t)), "use cost / target"),
    (lambda m, c, t, rho: m * (1 + rho * (c / t - 1)), "add the excess"),
    (lambda m, c, t, rho: max(0.01, m + rho * (c / t - 1)), "ends at 0"),
    (lambda m, c, t, rho: max(0.0, m + rho * c / t), "must fall"),
]


def hinges(task, costs, targets, weights):
    return task + sum(w * max(0.0, c / t - 1) for c, t, w in zip(costs, targets, weights, strict=True))


def excesses(costs, targets):
    return [c / t - 1 for c, t in zip(costs, targets, strict=True)]


BUDGETS = [
    (hinges, None),
    (lambda task, c, t, w: task + sum(x * e for x, e in zip(w, excesses(c, t), strict=True)), "only the task counts"),
    (lambda task, c, t, w: task + w[0] * max(0.0, excesses(c, t)[0]), "both must count"),
    (lambda task, c, t, w: task + max(0.0, sum(excesses(c, t))), "room in one does not pay"),
    (lambda task, c, t, w: task + max(0.0, *excesses(c, t)), "add the hinges"),
    (lambda task, c, t, w: hinges(task, c, t, [1, 1]), "with weights 2 and 3"),
    (lambda task, c, t, w: hinges(task, [x / y * 5 for x, y in zip(c, t, strict=True)], [5, 5], w), None),
    (lambda task, c, t, w: task + sum(max(0.0, x - y) for x, y in zip(c, t, strict=True)), "0.7 + 0.5"),
]


def by_sets(fixed, entries, target, tolerance):
    costs = {fixed}
    for entry in entries:
        costs = {cost + price for cost in costs for price in entry}
    return any(abs(cost / target - 1) <= tolerance for cost in costs)


def by_bounds(fixed, entries, target, tolerance):
    low, high = fixed + sum(map(min, entries)), fixed + sum(map(max, entries))
    return low * (1 - tolerance) <= target <= high * (1 + tolerance)


def subsets(fixed, entries, target, tolerance):
    return by_sets(fixed, [[0.0, *entry] for entry in entries], target, tolerance)


REACH = [
    (by_sets, None),
    (by_bounds, "between the bounds"),
    (subsets, "must choose *something*"),
    (lambda f, e, t, tol: by_sets(0.0, e, t, tol), "can be reached"),
    (lambda f, e, t, tol: by_sets(f, e, t, 0.0), "the tolerance counts"),
    (lambda f, e, t, tol: any(abs(f + sum(c) - t) <= tol for c in itertools.product(*e[:9])), "the tolerance counts"),
    (lambda f, e, t, tol: "yes", "True or False"),
]

ANSWERS = {
    check_hinge_gradient: GRADIENTS,
    check_log_loss: LOGS,
    check_dual_step: STEPS,
    check_two_budgets: BUDGETS,
    check_reachable: REACH,
}
