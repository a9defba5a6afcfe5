"""Checkers for notebook 04: the kernel that thresholds leave, the straight-through indicator, the size of the space."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import product

import torch
from torch import Tensor

from nasedu.course.checks import ask, exercise, expect, expect_each, require


@exercise("04.1", "the kernel that the thresholds leave")
def check_kernel(kernel: Callable[[Tensor, float, float], Tensor]) -> None:
    """`kernel(w, t5, t6)`: w (2n, 1, 5, 5) without its ring, without its upper half, or both, by their norms."""
    w = torch.randn(8, 1, 5, 5, generator=torch.Generator().manual_seed(0))
    core = torch.zeros_like(w, dtype=torch.bool)
    core[:, :, 1:4, 1:4] = True
    inner, back = w * core, "the stored kernel must not change: a masked part has to be able to come back"
    thresholds = product((-math.inf, math.inf), repeat=2)
    whole, halved, ringless, both = (torch.as_tensor(ask(kernel, w, *at, keep=back)) for at in thresholds)
    shapes = {k.shape for k in (whole, halved, ringless, both)}
    require(shapes == {w.shape}, "the kernel must keep its shape: masked taps are zeros")
    require(torch.equal(whole, w), "thresholds below every norm must leave the whole kernel")
    require(torch.equal(ringless[core], w[core]), "t5 must not touch the 3x3 core")
    require(torch.equal(ringless, inner), "a t5 above the ring's norm must set the ring to zero, in every channel")
    require(torch.equal(halved[:4], w[:4]), "t6 must not touch the lower half of the channels")
    require(not halved[4:].any(), "a t6 above the upper half's norm must set that half to zero")
    left = torch.equal(both[:4], inner[:4]) and not both[4:].any()
    require(left, "both at once must leave the core of the lower half and nothing else")
    _check_norms(kernel, w, inner)


def _check_norms(kernel: Callable, w: Tensor, inner: Tensor) -> None:
    """Which numbers the thresholds are compared with."""
    ring, upper = float((w - inner).norm()), float(w[4:].norm())
    both = torch.equal(kernel(w, 0.98 * ring, -math.inf), w), torch.equal(kernel(w, 1.02 * ring, -math.inf), inner)
    require(all(both), f"t5 must be compared with the L2 norm of the whole ring, {ring:.4g} here")
    sides = kernel(w, -math.inf, 0.98 * upper)[4:].any(), not kernel(w, -math.inf, 1.02 * upper)[4:].any()
    require(all(sides), f"t6 must be compared with the L2 norm of the upper half, {upper:.4g} here")
    gone = not kernel(w, math.inf, (float(inner[4:].norm()) + upper) / 2)[4:].any()
    require(gone, "t6 must look at the upper half as it is *after* t5: without its ring it has a smaller norm")


@exercise("04.2", "a step that passes a gradient")
def check_indicator(indicator: Callable[[Tensor], Tensor]) -> None:
    """`indicator(x)`: 1 where x >= 0, else 0, in value; the sigmoid's derivative as its gradient."""
    x = torch.tensor([-8.0, -2.0, -0.5, 0.0, 0.3, 1.0, 9.0], requires_grad=True)
    y = indicator(x)
    require(isinstance(y, Tensor) and y.shape == x.shape, "the indicator needs one number per entry of x")
    off = (y.detach() - (x.detach() >= 0).float()).abs()
    require(off[x != 0].max() < 1e-5, "the value must be a hard step: 0 below 0 and 1 above")
    require(off[3] < 1e-5, "at 0 the indicator is 1: the published search starts there, with everything on")
    require(y.requires_grad, "a bare comparison passes no gradient: add a term that is 0 in value but has one")
    (slope,) = torch.autograd.grad(y.sum(), x)
    require(bool((slope >= 0).all()), "the gradient must be positive: a larger norm, or a lower threshold, is more on")
    s, hints = x.sigmoid(), [(torch.ones(7), "the gradient must be the sigmoid's derivative, not the identity's")]
    expect(slope, s * (1 - s), "the gradient must be sigmoid(x) (1 - sigmoid(x))", hints)


SIZES = (
    ([[(16, 24, 2)]], 4, "a layer with stride 2 cannot be skipped: it has 4 choices"),
    ([[(80, 96, 1)]], 4, "a layer that changes the channels cannot be skipped, at stride 1 neither: 4 choices"),
    ([[(24, 24, 2)]], 4, "a layer that halves the resolution cannot be skipped, whatever its channels"),
    ([[(24, 24, 1)]], 5, "a layer whose output has the shape of its input can be skipped: 4 + 1 choices"),
    ([[(16, 24, 2), (24, 24, 1)]], 20, "choices are independent: the numbers of choices multiply"),
    ([[(24, 24, 1)] * 3], 125, "choices are independent: three layers with 5 choices make 5 ** 3 networks"),
    ([[(24, 24, 1)] * 40], 5**40, "large sizes must be exact: Python's integers have no limit, others have"),
)


@exercise("04.3", "the size of the space")
def check_size(size: Callable[[Sequence[tuple[int, int, int]]], int]) -> None:
    """`size(layers)`: how many networks layers (c_in, c_out, stride) with 4 choices, and skip where it fits, make."""
    expect_each(size, *SIZES)
