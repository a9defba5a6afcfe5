"""Checkers for notebook 06: the gradient behind a gate, a step for two, and a one-sided budget."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from nasedu.course.checks import exercise, require


def _close(a: object, b: Tensor, tolerance: float = 1e-4) -> bool:
    a = torch.as_tensor(a)
    return a.shape == b.shape and bool(torch.allclose(a.double(), b.double(), rtol=tolerance, atol=tolerance))


@exercise("06.1", "the gradient behind a gate")
def check_gate_gradient(gate_gradient: Callable[[Tensor, Tensor], Tensor]) -> None:
    """`gate_gradient(alpha, by_gate)`: dL/dalpha (n,) from dL/dg (n,), which is passed on to p = softmax(alpha)."""
    alpha, by_gate = torch.tensor([0.3, -0.7, 1.1, 0.2]), torch.tensor([0.5, -1.0, 2.0, 0.1])
    got = torch.as_tensor(gate_gradient(alpha, by_gate))
    require(got.shape == alpha.shape, "the gradient needs one number per logit: the shape of alpha")
    require(not _close(got, by_gate), "dL/dg is the gradient of the probabilities, not yet that of the logits")
    level = abs(float(got.sum())) < 1e-5
    require(level, "the gradient must sum to 0: adding a constant to all logits changes no probability")
    same = torch.as_tensor(gate_gradient(alpha, torch.full((4,), 3.0)))
    require(same.abs().max() < 1e-5, "where all operations are equally good no logit may move: subtract the mean")
    p = alpha.softmax(0)
    require(got[1] < 0 < got[2], "an operation whose gate lowers the loss must gain: descent needs its negative sign")
    wanted = p * (by_gate - p @ by_gate)
    require(_close(got, wanted), "logit i must feel p_i (dL/dg_i - sum_j p_j dL/dg_j): mind p_i and the mean")


@exercise("06.2", "a step for two, and nobody else")
def check_keep_others(keep_others: Callable[[Tensor, Tensor, Tensor], Tensor]) -> None:
    """`keep_others(before, after, pair)`: logits (n,) whose choices outside `pair` (2,) keep their probabilities."""
    before, pair = torch.tensor([0.4, -0.3, 1.2, 0.0, 0.6]), torch.tensor([1, 2])
    after = before.clone()
    after[pair] += torch.tensor([0.9, -0.2])
    kept = after.clone()
    got = torch.as_tensor(keep_others(before.clone(), after, pair))
    require(got.shape == before.shape, "return a logit for every choice: the shape of `before`")
    others = torch.tensor([0, 3, 4])
    p, q = before.softmax(0), got.softmax(0)
    require(_close(q[others], p[others]), "the probabilities of the choices that were not drawn must stay as they were")
    apart = float(got[1] - got[2])
    require(
        abs(apart - float(kept[1] - kept[2])) < 1e-4,
        "what the step did within the pair must remain: take the same number off both of its logits",
    )
    moved = bool((got[others] - before[others]).abs().max() < 1e-5)
    require(moved, "leave the other logits alone: move the pair instead")
    require(torch.equal(after, kept), "do not change `after` itself: return new logits")


@exercise("06.3", "a budget that only presses from above")
def check_hinge(hinge: Callable[[Tensor, Tensor, float], Tensor]) -> None:
    """`hinge(weights, costs, budget)`: max(0, E / budget - 1), E the expected cost of one decision."""
    weights, costs = torch.tensor([0.2, 0.3, 0.5], requires_grad=True), torch.tensor([10.0, 20.0, 60.0])  # E = 38
    over, under = torch.as_tensor(hinge(weights, costs, 19.0)), torch.as_tensor(hinge(weights, costs, 70.0))
    require(over.shape == (), "the term must be one number")
    require(not over < 0 and not under < 0, "the term must never be negative: a network below its budget earns nothing")
    require(under.abs() < 1e-6, "below the budget the term must be 0: it is one-sided")
    require(over.requires_grad, "above the budget the term must stay differentiable in the weights")
    scaled = torch.as_tensor(hinge(weights, 1000 * costs, 19_000.0))
    require(_close(scaled, over.detach()), "in MACs or in kilo-MACs a network must pay the same: divide by budget")
    hard = torch.as_tensor(hinge(torch.tensor([0.0, 0.0, 1.0]), costs, 30.0))
    require(_close(hard, torch.tensor(1.0)), "a one-hot weight on a choice of twice the budget must pay 1")
    require(_close(over, torch.tensor(1.0)), "soft weights must pay for their expectation, sum_i w_i c_i")
    (slope,) = torch.autograd.grad(over, weights)
    require(_close(slope, costs / 19.0), "the slope must be c_i / budget: neither squared nor clipped above the budget")
