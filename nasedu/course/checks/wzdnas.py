"""Checkers for notebook 14: a Gumbel-softmax sample, an expected cost, and the pull of the FLOPs term on theta."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product

import torch
from torch import Tensor

from nasedu.course.checks import close, exercise, expect, require

DRAWS = 4000  # so many samples know a frequency to 0.008, one standard deviation


@exercise("14.2", "a soft sample of an architecture")
def check_sample(sample: Callable[[Tensor, float], Tensor]) -> None:
    """`sample(theta, temperature)` draws one Gumbel-softmax sample of logits (n,)."""
    theta = torch.tensor([2.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0])
    draws = torch.stack([torch.as_tensor(sample(theta, 1.0)) for _ in range(DRAWS)])
    require(draws.shape == (DRAWS, 8), "a sample needs one weight per choice: the shape of theta")
    positive = (draws >= 0).all() and close(draws.sum(1), torch.ones(DRAWS))
    require(positive, "the weights of a sample must not be negative and must sum to 1")
    require(draws.std(0).max() > 0.01, "two samples of the same theta must differ: where is the noise?")
    hard = (draws.max(1).values > 0.999).float().mean()
    require(hard < 0.9, "a sample must stay soft at T = 1: a one-hot vector passes no gradient on to theta")
    chance = "the largest weight must fall on choice i with probability softmax(theta)_i"
    require(_off(draws, theta) < 0.05, f"{chance}: is the noise Gumbel?")
    cold = torch.stack([sample(theta, 0.02) for _ in range(1000)])
    hot = torch.stack([sample(theta, 200.0) for _ in range(50)])
    require(cold.max(1).values.mean() > 0.95, "at a low temperature a sample must be nearly one-hot: divide by T")
    require(hot.max() < 0.2, "at a high temperature every sample must be nearly uniform: divide the noise by T, too")
    require(_off(cold, theta) < 0.1, f"{chance} at every temperature: add the noise before dividing by T")
    free = sample(theta.requires_grad_(), 1.0).requires_grad
    require(free, "the sample must stay differentiable in theta: use torch operations only")


def _off(draws: Tensor, theta: Tensor) -> float:
    """How far the shares of the choices that have the largest weight are from softmax(theta), at most."""
    wins = draws.argmax(1).bincount(minlength=draws.shape[1]) / len(draws)
    return float((wins - theta.softmax(0)).abs().max())


@exercise("14.1", "what a soft block costs")
def check_expected_cost(expected_cost: Callable[[Tensor, Tensor, Tensor], Tensor]) -> None:
    """`expected_cost(costs, p, q)`: costs (widths, depths), weights p (widths,) and q (depths,)."""
    costs = torch.tensor([[1.0, 2.0, 4.0, 8.0], [3.0, 5.0, 9.0, 17.0], [6.0, 11.0, 20.0, 40.0]])
    for i, j in product(range(3), range(4)):
        entry = f"one-hot weights on width {i} and depth {j} must cost {costs[i, j]:g}, that option's own entry"
        expect(expected_cost(costs, torch.eye(3)[i], torch.eye(4)[j]), costs[i, j], entry)
    uniform = expected_cost(costs, torch.full((3,), 1 / 3), torch.full((4,), 0.25))
    probable = "soft weights must cost a mixture of all options, not what the most probable one costs"
    p, q = torch.tensor([0.2, 0.3, 0.5], requires_grad=True), torch.tensor([0.1, 0.2, 0.3, 0.4])
    cost = expected_cost(costs, p, q)
    require(not close(cost, costs[2, 3]), probable)
    expect(uniform, costs.mean(), "uniform weights must cost the mean of the table")
    expect(cost, (p[:, None] * q * costs).sum(), "option (i, j) must weigh p_i q_j: both are drawn independently")
    require(isinstance(cost, Tensor) and cost.requires_grad, "the cost must stay differentiable in p and q")
    (slope,) = torch.autograd.grad(cost, p)
    expect(slope, costs @ q, "d cost / d p_i must be the expected cost of width i under q")


@exercise("14.3", "the pull of the FLOPs term on theta")
def check_pull(pull: Callable[[Tensor, Tensor, float, float], Tensor]) -> None:
    """`pull(theta, costs, target, temperature)`: d (F / F* - 1)^2 / d theta, F the expectation of costs (n,)."""
    theta, costs = torch.tensor([0.3, -0.2, 0.1, 0.5]), torch.tensor([10.0, 20.0, 40.0, 80.0])
    over, under = (torch.as_tensor(pull(theta, costs, target, 1.0)) for target in (20.0, 75.0))
    require(over.shape == theta.shape, "the gradient needs one number per logit: the shape of theta")
    require(over[3] > 0, "above the target the dearest choice must lose: descent needs a positive gradient there")
    require(under.abs().max() > 1e-6, "below the target theta must be pulled, too: the term is two-sided")
    require(under[3] < 0, "below the target the dearest choice must gain: descent needs a negative gradient there")
    level = abs(float(over.sum())) < 1e-4 * float(over.abs().max())
    require(level, "the gradient must sum to 0: a constant added to all logits changes no probability")
    scaled = "the same network in MFLOPs or GFLOPs must be pulled alike: divide by the target"
    expect(pull(theta, 1000 * costs, 20_000.0, 1.0), over, scaled, tolerance=1e-3)
    decided = torch.as_tensor(pull(torch.tensor([40.0, 0.0, 0.0, 0.0]), costs, 20.0, 1.0))
    require(decided.abs().max() < 1e-4, "a decided choice (p near 1) must feel no pull: every entry carries its p_i")
    for temperature in (1.0, 2.0, 0.5):
        free = theta.clone().requires_grad_()
        (right,) = torch.autograd.grad(((free / temperature).softmax(0) @ costs / 20 - 1) ** 2, free)
        at = f"at T = {temperature:g} the gradient must be what autograd finds for softmax(theta / T)"
        got = pull(theta, costs, 20.0, temperature)
        expect(got, right, f"{at}: mind the factors 2 and 1 / T", tolerance=1e-3)
