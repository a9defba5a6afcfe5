"""Checkers for notebook 06: the gradient behind a gate, a step for two, and a one-sided budget."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from nasedu.course.checks import ask, close, exercise, expect, number, require


@exercise("06.1", "the gradient behind a gate")
def check_gate_gradient(gate_gradient: Callable[[Tensor, Tensor], Tensor]) -> None:
    """`gate_gradient(alpha, by_gate)`: dL/dalpha (n,) from dL/dg (n,), which is passed on to p = softmax(alpha)."""
    alpha, by_gate = torch.tensor([0.3, -0.7, 1.1, 0.2]), torch.tensor([0.5, -1.0, 2.0, 0.1])
    got = torch.as_tensor(gate_gradient(alpha, by_gate))
    require(got.shape == alpha.shape, "the gradient needs one number per logit: the shape of alpha")
    require(not close(got, by_gate), "dL/dg is the gradient of the probabilities, not yet that of the logits")
    level = abs(float(got.sum())) < 1e-5
    require(level, "the gradient must sum to 0: adding a constant to all logits changes no probability")
    same = torch.as_tensor(gate_gradient(alpha, torch.full((4,), 3.0)))
    require(same.abs().max() < 1e-5, "where all operations are equally good no logit may move: subtract the mean")
    p = alpha.softmax(0)
    require(got[1] < 0 < got[2], "an operation whose gate lowers the loss must gain: descent needs its negative sign")
    expect(got, p * (by_gate - p @ by_gate), "logit i must feel p_i (dL/dg_i - sum_j p_j dL/dg_j): mind p_i, the mean")


@exercise("06.2", "a step for two, and nobody else")
def check_keep_others(keep_others: Callable[[Tensor, Tensor, Tensor], Tensor]) -> None:
    """`keep_others(before, after, pair)`: logits (n,) whose choices outside `pair` (2,) keep their probabilities."""
    before, pair, others = torch.tensor([0.4, -0.3, 1.2, 0.0, 0.6]), torch.tensor([1, 2]), torch.tensor([0, 3, 4])
    after = before + torch.tensor([0.0, 0.9, -0.2, 0.0, 0.0])
    got = torch.as_tensor(ask(keep_others, before, after, pair, keep="do not change `after` itself: return new logits"))
    require(got.shape == before.shape, "return a logit for every choice: the shape of `before`")
    p, q = before.softmax(0), got.softmax(0)
    expect(q[others], p[others], "the probabilities of the choices that were not drawn must stay as they were")
    within = "what the step did within the pair must remain: take the same number off both of its logits"
    expect(got[1] - got[2], after[1] - after[2], within)
    expect(got[others], before[others], "leave the other logits alone: move the pair instead", tolerance=1e-5)


@exercise("06.3", "a budget that only presses from above")
def check_hinge(hinge: Callable[[Tensor, Tensor, float], Tensor]) -> None:
    """`hinge(weights, costs, budget)`: max(0, E / budget - 1), E the expected cost of one decision."""
    weights, costs = torch.tensor([0.2, 0.3, 0.5], requires_grad=True), torch.tensor([10.0, 20.0, 60.0])  # E = 38
    over, under = torch.as_tensor(hinge(weights, costs, 19.0)), torch.as_tensor(hinge(weights, costs, 70.0))
    require(over.shape == (), "the term must be one number")
    require(not over < 0 and not under < 0, "the term must never be negative: a network below its budget earns nothing")
    require(under.abs() < 1e-6, "below the budget the term must be 0: it is one-sided")
    require(over.requires_grad, "above the budget the term must stay differentiable in the weights")
    scaled = hinge(weights, 1000 * costs, 19_000.0)
    expect(scaled, number(over), "in MACs or in kilo-MACs a network must pay the same: divide by budget")
    hard = hinge(torch.tensor([0.0, 0.0, 1.0]), costs, 30.0)
    expect(hard, 1.0, "a one-hot weight on a choice of twice the budget must pay 1")
    expect(over, 1.0, "soft weights must pay for their expectation, sum_i w_i c_i")
    (slope,) = torch.autograd.grad(over, weights)
    expect(slope, costs / 19.0, "the slope must be c_i / budget: neither squared nor clipped above the budget")
