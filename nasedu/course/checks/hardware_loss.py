"""Checkers for notebook 11: reach, the gradient of a hinge, a log loss without units, dual ascent, two budgets."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from nasedu.course.checks import ask, close, exercise, expect, expect_each, number, require

TARGETS = (  # (target, tolerance), whether 10 + (1, 2 or 4) + (10 or 30), thus 21, 22, 24, 41, 42 or 44, reaches it
    (22.0, 0.03, True, "10 + 2 + 10 = 22 can be reached"),
    (44.0, 0.03, True, "the dearest network, 10 + 4 + 30 = 44, can be reached"),
    (60.0, 0.03, False, "60 is dearer than every network: at most 44"),
    (12.0, 0.03, False, "12 is less than the cheapest network, 10 + 1 + 10: every decision must choose *something*"),
    (34.0, 0.03, False, "34 lies between the bounds, but costs go from 24 straight to 41: bounds alone do not tell"),
    (11.0, 0.03, False, "the fixed part and one entry are no network"),
    (43.0, 0.03, True, "43 ± 3 % holds 42 and 44: the tolerance counts"),
    (43.0, 0.001, False, "43 ± 0.1 % holds nothing: the tolerance is relative to the target"),
)


@exercise("11.1", "can it be reached?")
def check_reachable(reachable: Callable[[float, Sequence[Sequence[float]], float, float], bool]) -> None:
    """`reachable(fixed, entries, target, tolerance)`: whether some network costs within `tolerance` of the target."""
    for target, tolerance, wanted, sentence in TARGETS:
        got = reachable(10.0, [[1.0, 2.0, 4.0], [10.0, 30.0]], target, tolerance)
        require(isinstance(got, bool) or got in (0, 1), "answer with True or False")
        require(bool(got) == wanted, sentence)
    large = [[float(i * j) for i in range(9)] for j in range(1, 41)]
    require(reachable(0.0, large, 3000.0, 0.01), "forty decisions have 9^40 networks, and one of them costs 3,000")


@exercise("11.2", "the gradient of a hinge")
def check_hinge_gradient(hinge_gradient: Callable[[Tensor, Tensor, float, float], Tensor]) -> None:
    """`hinge_gradient(alpha, costs, target, weight)`: d weight * max(0, E / target - 1) / d alpha (n,)."""
    alpha, costs = torch.tensor([0.4, -0.6, 0.9]), torch.tensor([10.0, 20.0, 60.0])
    got = torch.as_tensor(ask(hinge_gradient, alpha, costs, 20.0, 1.5, keep="alpha must stay as it was"))
    require(got.shape == alpha.shape, "the gradient needs one number per logit: the shape of alpha")
    within = torch.as_tensor(hinge_gradient(alpha, costs, 55.0, 1.5))
    require(not within.any(), "within the budget a hinge does not press: the gradient must be 0 there")
    p = alpha.softmax(0)
    over = float(p @ costs) / 20 - 1  # E is about 40
    pull = p * (costs - p @ costs)
    hints = (
        (1.5 * costs / 20, "that is the slope in the probabilities; the logits are one softmax further"),
        (1.5 * pull, "r is cost / target: the slope of E must be divided by the target"),
        (pull / 20, "the weight must scale the gradient"),
        (1.5 * p * costs / 20, "the gradient must sum to 0: subtract the mean cost E, as softmax does"),
        (-1.5 * pull / 20, "dear choices must get a *positive* gradient, so that descent lowers them"),
        (3.0 * over * pull / 20, "a hinge is not squared: its slope beyond the target is constant"),
    )
    expect(got, 1.5 * pull / 20, "logit i must feel weight * p_i (c_i - E) / target, which sums to 0", hints)


@exercise("11.3", "a log loss without units")
def check_log_loss(log_loss: Callable[[float, float, float], float]) -> None:
    """`log_loss(task, cost, target)`: task times a factor of r = cost / target that is 1 at r = 1."""

    def loss(*numbers: float) -> float:
        """The answer on floats as tensors, for it may use either torch or a tensor's methods."""
        return number(log_loss(*(torch.tensor(x, dtype=torch.float64) for x in numbers)))

    _check_finite(loss)
    for cost in (12.0, 45.0, 90.0):
        ms, us = loss(2.0, cost, 30.0), loss(2.0, 1000 * cost, 30_000.0)
        require(close(ms, us), f"{cost:g} of 30 ms give {ms:.4g}, the same in microseconds {us:.4g}: log cost / target")
    expect(loss(2.0, 30.0, 30.0), 2.0, "at the target the factor must be 1: a task loss of 2 must stay 2")
    grid = [loss(2.0, 0.05 * i * 30.0, 30.0) for i in range(1, 80)]
    rises = all(b > a for a, b in zip(grid, grid[1:], strict=False))
    require(rises, "a dearer network must always pay more: the factor must rise with the cost, below the target, too")
    twice = "the factor multiplies: twice the task loss is twice the total"
    expect(loss(4.0, 50.0, 30.0), 2 * loss(2.0, 50.0, 30.0), twice)
    steps = [loss(1.0, r, 1.0) for r in (1.0, 2.0, 4.0, 8.0)]
    slower = steps[2] - steps[1] > 0.5 * (steps[3] - steps[2]) and steps[3] < 8 * steps[0]
    require(slower, "a log grows ever more slowly: eight times the cost must not cost eight times as much")


def _check_finite(loss: Callable[[float, float, float], float]) -> None:
    for r in (0.0, 1e-9, 0.3, 0.9):
        value, at = loss(2.0, 30.0 * r, 30.0), f"at {r:g} times the target the total is"
        require(math.isfinite(value), f"{at} {value}: guard the log for small costs")
        require(value >= 0, f"{at} {value:.3g}: a factor below 0 turns the task round")
    for value in (loss(2.0, 0.2, 0.5), loss(2.0, 1.0, 0.5)):
        positive = math.isfinite(value) and value >= 0
        require(positive, "a target of half a unit must work, too: log(target) is below 0 there")


@exercise("11.4", "dual ascent")
def check_dual_step(dual_step: Callable[[float, float, float, float], float]) -> None:
    """`dual_step(multiplier, cost, target, rho)`: the multiplier after one step of dual ascent."""
    over, under = (number(dual_step(0.4, cost, 30.0, 0.5)) for cost in (36.0, 24.0))
    require(over > 0.4, "over the budget the multiplier must rise: the price of a scarce good goes up")
    require(under < 0.4, "within the budget the multiplier must fall: a price that only rises overshoots for good")
    low = number(dual_step(0.05, 3.0, 30.0, 0.5))
    expect_each(
        dual_step,
        ((0.4, 30.0, 30.0, 0.5), 0.4, "on the target the multiplier must stay as it is"),
        ((0.4, 36e3, 30e3, 0.5), over, "in ms or in microseconds the step must be the same: use cost / target"),
        ((0.4, 36.0, 30.0, 0.5), 0.5, "0.4 + 0.5 · (36/30 − 1) is 0.5: add the excess, do not multiply by it"),
        ((0.4, 36.0, 30.0, 1.0), 0.6, "twice the rate rho must make twice the step"),
        ((0.0, 36.0, 30.0, 0.5), 0.1, "from 0 the multiplier must be able to rise"),
    )
    require(low >= 0, f"the multiplier must not fall below 0, got {low:g}: a budget that does not bind costs nothing")
    require(low == 0, f"a step to below 0 ends at 0, got {low:g}")


@exercise("11.5", "two budgets")
def check_two_budgets(two_budgets: Callable[..., Tensor]) -> None:
    """`two_budgets(task, costs, targets, weights)`: the task plus a hinge for each budget."""
    even, targets = [1.0, 1.0], [20.0, 5.0]
    hidden = [(1.7, "over both budgets both must press: add the hinges, the largest alone hides the other")]
    for costs, weights, want, sentence in (
        ([10.0, 2.0], even, 0.7, "within both budgets only the task counts: 0.7; one may not pay for the other"),
        ([30.0, 2.0], even, 1.2, "half over the first is 0.7 + 0.5, far within the second: room in one does not pay"),
        ([10.0, 10.0], even, 1.7, "twice the second budget is 0.7 + 1: both must count"),
        ([30.0, 10.0], even, 2.2, "half over one and twice the other is 0.7 + 0.5 + 1"),
        ([30.0, 10.0], [2.0, 3.0], 4.7, "with weights 2 and 3 that is 0.7 + 2 · 0.5 + 3 · 1"),
    ):
        expect(two_budgets(0.7, costs, targets, weights), want, sentence, hidden if want == 2.2 else ())
    units = two_budgets(0.7, [30e3, 10.0], [20e3, 5.0], even)
    expect(units, 2.2, "budgets have units of their own: divide each cost by its target before you add")
