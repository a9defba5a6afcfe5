"""Checkers for notebook 11: reach, the gradient of a hinge, a log loss without units, dual ascent, two budgets."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from nasedu.course.checks import exercise, require

CLOSE = 1e-5  # relative: answers may round in another order


def _near(a: float, b: float, tolerance: float = CLOSE) -> bool:
    return abs(float(a) - float(b)) <= tolerance * max(1.0, abs(float(b)))


@exercise("11.1", "what can be reached")
def check_reachable(reachable: Callable[[float, Sequence[Sequence[float]], float, float], bool]) -> None:
    """`reachable(fixed, entries, target, tolerance)`: whether some network costs within `tolerance` of the target."""
    fixed, entries = 10.0, [[1.0, 2.0, 4.0], [10.0, 30.0]]  # 21, 22, 24, 41, 42, 44
    cases = (
        (22.0, True, "10 + 2 + 10 = 22 can be reached"),
        (44.0, True, "the dearest network, 10 + 4 + 30 = 44, can be reached"),
        (60.0, False, "60 is dearer than every network: at most 44"),
        (12.0, False, "12 is less than the cheapest network, 10 + 1 + 10 = 21: every decision must choose *something*"),
        (34.0, False, "34 lies between the bounds, but costs go from 24 straight to 41: bounds alone do not tell"),
        (11.0, False, "the fixed part and one entry are no network"),
    )
    for target, wanted, sentence in cases:
        got = reachable(fixed, entries, target, 0.03)
        require(isinstance(got, bool) or got in (0, 1), "answer with True or False")
        require(bool(got) == wanted, sentence)
    require(bool(reachable(fixed, entries, 43.0, 0.03)), "43 ± 3 % holds 42 and 44: the tolerance counts")
    require(
        not reachable(fixed, entries, 43.0, 0.001), "43 ± 0.1 % holds nothing: the tolerance is relative to the target"
    )
    large = [[float(i * j) for i in range(9)] for j in range(1, 41)]
    require(
        bool(reachable(0.0, large, 3000.0, 0.01)), "forty decisions have 9^40 networks, and one of them costs 3,000"
    )


@exercise("11.2", "the gradient of a hinge")
def check_hinge_gradient(hinge_gradient: Callable[[Tensor, Tensor, float, float], Tensor]) -> None:
    """`hinge_gradient(alpha, costs, target, weight)`: d weight * max(0, E / target - 1) / d alpha (n,)."""
    alpha, costs = torch.tensor([0.4, -0.6, 0.9]), torch.tensor([10.0, 20.0, 60.0])
    given = alpha.clone()
    p = alpha.softmax(0)
    expected = float(p @ costs)  # about 40
    got = torch.as_tensor(hinge_gradient(alpha, costs, 20.0, 1.5))
    require(torch.equal(alpha, given), "alpha must stay as it was")
    require(got.shape == alpha.shape, "the gradient needs one number per logit: the shape of alpha")
    within = torch.as_tensor(hinge_gradient(alpha, costs, 55.0, 1.5))
    require(bool((within == 0).all()), "within the budget a hinge does not press: the gradient must be 0 there")
    for wrong, sentence in (
        (1.5 * costs / 20, "that is the slope in the probabilities; the logits are one softmax further"),
        (1.5 * p * (costs - expected), "r is cost / target: the slope of E must be divided by the target"),
        (p * (costs - expected) / 20, "the weight must scale the gradient"),
        (1.5 * p * costs / 20, "the gradient must sum to 0: subtract the mean cost E, as softmax does"),
        (
            -1.5 * p * (costs - expected) / 20,
            "dear choices must get a *positive* gradient, so that descent lowers them",
        ),
        (
            3.0 * (expected / 20 - 1) * p * (costs - expected) / 20,
            "a hinge is not squared: its slope beyond the target is constant",
        ),
    ):
        require(not torch.allclose(got, wrong.to(got), rtol=1e-4, atol=1e-6), sentence)
    wanted = 1.5 * p * (costs - expected) / 20
    require(abs(float(got.sum())) < 1e-4, "the gradient must sum to 0: adding a constant to all logits changes nothing")
    require(
        torch.allclose(got, wanted.to(got), rtol=1e-4, atol=1e-6), "logit i must feel weight * p_i (c_i - E) / target"
    )


@exercise("11.3", "a log loss without units")
def check_log_loss(log_loss: Callable[[float, float, float], float]) -> None:
    """`log_loss(task, cost, target)`: task times a factor of r = cost / target that is 1 at r = 1."""
    loss = _numbers(log_loss)
    _check_finite(loss)
    _check_units(loss)
    at_target = loss(2.0, 30.0, 30.0)
    require(
        _near(at_target, 2.0), f"at the target the factor must be 1: a task loss of 2 must stay 2, got {at_target:g}"
    )
    grid = [loss(2.0, 0.05 * i * 30.0, 30.0) for i in range(1, 80)]
    rises = all(b > a for a, b in zip(grid, grid[1:], strict=False))
    require(rises, "a dearer network must always pay more: the factor must rise with the cost, below the target, too")
    doubled = loss(4.0, 50.0, 30.0)
    require(_near(doubled, 2 * loss(2.0, 50.0, 30.0)), "the factor multiplies: twice the task loss is twice the total")
    steps = [loss(1.0, r, 1.0) for r in (1.0, 2.0, 4.0, 8.0)]
    slower = steps[2] - steps[1] > 0.5 * (steps[3] - steps[2]) and steps[3] < 8 * steps[0]
    require(slower, "a log grows ever more slowly: eight times the cost must not cost eight times as much")


def _numbers(log_loss: Callable) -> Callable[[float, float, float], float]:
    """The answer on floats as tensors, for it may use either torch or a tensor's methods."""
    return lambda task, cost, target: float(
        log_loss(*(torch.tensor(x, dtype=torch.float64) for x in (task, cost, target)))
    )


def _check_finite(loss: Callable[[float, float, float], float]) -> None:
    for r in (0.0, 1e-9, 0.3, 0.9):
        value = loss(2.0, 30.0 * r, 30.0)
        require(math.isfinite(value), f"at {r:g} times the target the loss is {value}: guard the log for small costs")
        require(
            value >= 0, f"at {r:g} times the target the total is {value:.3g}: a factor below 0 turns the task round"
        )
    for cost in (0.2, 1.0):
        value = loss(2.0, cost, 0.5)
        require(
            math.isfinite(value) and value >= 0, "a target of half a unit must work, too: log(target) is below 0 there"
        )


def _check_units(loss: Callable[[float, float, float], float]) -> None:
    for cost in (12.0, 45.0, 90.0):
        ms, us = loss(2.0, cost, 30.0), loss(2.0, 1000 * cost, 30_000.0)
        require(
            _near(ms, us),
            f"{cost:g} ms of 30 ms give {ms:.4g}, the same in microseconds {us:.4g}: log cost / target",
        )


@exercise("11.4", "dual ascent")
def check_dual_step(dual_step: Callable[[float, float, float, float], float]) -> None:
    """`dual_step(multiplier, cost, target, rho)`: the multiplier after one step of dual ascent."""
    over = float(dual_step(0.4, 36.0, 30.0, 0.5))
    require(over > 0.4, "over the budget the multiplier must rise: the price of a scarce good goes up")
    under = float(dual_step(0.4, 24.0, 30.0, 0.5))
    require(under < 0.4, "within the budget the multiplier must fall: a price that only rises overshoots for good")
    require(_near(dual_step(0.4, 30.0, 30.0, 0.5), 0.4), "on the target the multiplier must stay as it is")
    require(
        _near(dual_step(0.4, 36e3, 30e3, 0.5), over),
        "in ms or in microseconds the step must be the same: use cost / target",
    )
    require(_near(over, 0.5), f"0.4 + 0.5 · (36/30 − 1) is 0.5, got {over:g}: add the excess, do not multiply by it")
    low = float(dual_step(0.05, 3.0, 30.0, 0.5))
    require(low >= 0, f"the multiplier must not fall below 0, got {low:g}: a budget that does not bind costs nothing")
    require(low == 0, f"a step to below 0 ends at 0, got {low:g}")
    steeper = float(dual_step(0.4, 36.0, 30.0, 1.0))
    require(_near(steeper - 0.4, 2 * (over - 0.4)), "twice the rate rho must make twice the step")
    require(_near(dual_step(0.0, 36.0, 30.0, 0.5), 0.1), "from 0 the multiplier must be able to rise")


@exercise("11.5", "two budgets")
def check_two_budgets(two_budgets: Callable[..., Tensor]) -> None:
    """`two_budgets(task, costs, targets, weights)`: the task plus a hinge for each budget."""
    cheap = float(two_budgets(0.7, [10.0, 2.0], [20.0, 5.0], [1.0, 1.0]))
    require(
        _near(cheap, 0.7),
        f"within both budgets only the task counts: 0.7, got {cheap:g}; one may not pay for the other",
    )
    first = float(two_budgets(0.7, [30.0, 2.0], [20.0, 5.0], [1.0, 1.0]))
    require(
        _near(first, 1.2),
        f"half over the first and far within the second budget is 0.7 + 0.5, got {first:g}: a hinge for each, "
        "room in one does not pay for the other",
    )
    second = float(two_budgets(0.7, [10.0, 10.0], [20.0, 5.0], [1.0, 1.0]))
    require(_near(second, 1.7), f"twice the second budget is 0.7 + 1, got {second:g}: both must count")
    both = float(two_budgets(0.7, [30.0, 10.0], [20.0, 5.0], [1.0, 1.0]))
    require(
        not _near(both, 1.7), "over both budgets both must press: add the hinges, the largest alone hides the other"
    )
    require(_near(both, 2.2), f"half over one and twice the other is 0.7 + 0.5 + 1, got {both:g}")
    weighed = float(two_budgets(0.7, [30.0, 10.0], [20.0, 5.0], [2.0, 3.0]))
    require(_near(weighed, 4.7), f"with weights 2 and 3 that is 0.7 + 2 · 0.5 + 3 · 1, got {weighed:g}")
    units = float(two_budgets(0.7, [30e3, 10.0], [20e3, 5.0], [1.0, 1.0]))
    require(_near(units, both), "budgets have units of their own: divide each cost by its target before you add")
