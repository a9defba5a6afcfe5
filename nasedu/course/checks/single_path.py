"""Checkers for notebook 04: kernels that thresholds leave, a straight-through step, budgets, dropout, a leak."""

from __future__ import annotations

import copy
import math
import time
from collections import Counter
from collections.abc import Callable, Sequence
from itertools import product

import numpy as np
import torch
from torch import Tensor, nn

from nasedu.course.checks import ask, close, content, exercise, expect, expect_each, require
from nasedu.supernet.superkernel import SuperKernel


@exercise("04.1", "the kernel that the thresholds leave")
def check_kernel(kernel: Callable[[Tensor, float, float], Tensor]) -> None:
    """`kernel(w, t5, t6)`: w (2n, 1, 5, 5) without its ring, without its upper half, or both, by their norms."""
    w = torch.randn(8, 1, 5, 5, generator=torch.Generator().manual_seed(0))
    few = torch.as_tensor(kernel(w[:4], -math.inf, math.inf))
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
    require(torch.equal(few[:2], w[:2]) and not few[2:].any(), "the upper half of 4 channels are 2: n is not always 4")
    _check_norms(lambda *given: torch.as_tensor(kernel(*given)), w, inner)


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


SMALL = (
    (([[1, 2]], 1), 1, "at most means: the budget itself is allowed"),
    (([[3, 5], [2, 2]], 4), 0, "no network is as cheap as that"),
    (([[2, 2, 5]], 2), 2, "choices that cost the same are still two networks"),
    (([[0, 3], [0, 3]], 3), 3, "networks with the same total are still several: 0 + 3 and 3 + 0"),
    (([[10], [1, 2], [4]], 16), 2, "a layer with one choice adds its cost to every network"),
    (([[4, 9, 1], [7, 3], [2, 8, 8, 5]], 15), 12, "every choice of a layer goes with every choice of the others"),
)
SECONDS = 0.3  # of the processor: totals take a hundredth of that, a list of the same networks some two


@exercise("04.3", "how many networks cost at most a budget")
def check_count(count_within: Callable[[Sequence[Sequence[int]], int], int]) -> None:
    """`count_within(costs, budget)`: how many networks, one choice per layer, have a sum of at most `budget`."""
    expect_each(count_within, *copy.deepcopy(SMALL))  # an answer may use its lists up
    rng = np.random.default_rng(0)
    middle, large = (rng.integers(0, 100, shape).tolist() for shape in ((12, 4), (22, 9)))
    started = time.process_time()
    got = ask(count_within, middle, 550)
    took = time.process_time() - started
    expect(got, _within(middle, 550), "12 layers of 4 choices: every network within the budget counts once")
    listed = f"it took {took:.1f} s for 4^12 networks, so 9^22 would take ages: count totals and do not list networks"
    require(took < SECONDS, listed)
    exact = "the number must be exact: 9^22 is beyond 64 bits and beyond what floats hold"
    for budget in (1100, 22 * 99):
        expect(count_within(large, budget), _within(large, budget), exact)


def _within(costs: Sequence[Sequence[int]], budget: int) -> int:
    numbers = Counter({0: 1})
    for layer in costs:
        longer: Counter[int] = Counter()
        for (total, number), cost in product(numbers.items(), layer):
            longer[total + cost] += number
        numbers = longer
    return sum(number for total, number in numbers.items() if total <= budget)


@exercise("04.4", "a dropout that draws what you want")
def check_dropout(dropout_for: Callable[[Sequence[float]], Sequence[float]]) -> None:
    """`dropout_for(wanted)`: what d3, d5 and d6 are kept with so that choices have these probabilities, or ()."""
    for keep in ((0.6, 0.6, 0.6), (0.8, 0.5, 0.5), (1.0, 0.3, 0.9), (0.3, 0.7, 0.1), (0.5, 1.0, 0.4), (0.5, 0.4, 0.0)):
        wanted = _drawn(*keep)
        got = dropout_for(wanted)
        told = ", ".join(f"{p:.3g}" for p in wanted)
        require(len(got) == 3, f"three probabilities draw {told}: allow for rounding before you refuse")
        require(all(-1e-9 <= p <= 1 + 1e-9 for p in got), "p3, p5 and p6 must be probabilities, from 0 to 1")
        drawn = _drawn(*map(float, got))
        require(close(drawn[4], wanted[4]), f"skip is drawn where d3 is dropped: wanted {wanted[4]:.3g}")
        kernel = "p5 is the share of 5x5 kernels among the layers that are *not* skipped, p6 that of expansion 6"
        require(close(drawn, wanted), f"{kernel} (yours draw {', '.join(f'{p:.3g}' for p in drawn)}, not {told})")
    for wanted in ((0.4, 0.0, 0.0, 0.4, 0.2), (0.1, 0.2, 0.3, 0.2, 0.2), (0.2, 0.2, 0.201, 0.199, 0.2)):
        refused = "d5 and d6 are dropped independently, so k3e3 : k3e6 must be k5e3 : k5e6: return () where it is not"
        require(len(dropout_for(wanted)) == 0, refused)


def _drawn(p3: float, p5: float, p6: float) -> list[float]:
    """The probabilities of the five choices."""
    return [p3 * a * b for a in (1 - p5, p5) for b in (1 - p6, p6)] + [1 - p3]


class _Skips(SuperKernel):
    """A superkernel that skips as `kind` says."""

    def __init__(self, kind: str):
        super().__init__(8, 8, skip=True, semantics="faithful" if kind == "depthwise" else "sliced")
        self.kind = kind

    def forward(self, x: Tensor, entry: Tensor) -> Tensor:
        """(B, 8, H, W) to the same shape, with the leak of this `kind`."""
        exact = {"returns x": True, "training": not self.training, "eval": self.training}.get(self.kind, False)
        if exact and entry[-1] == 1:
            return x
        if self.kind in ("projection", "training", "eval"):
            y = self.project(self.depthwise(self.expand(x)) * (1 - entry[-1]))
            return x + (y - self.project.bn.bias[:, None, None] if self.kind == "eval" else y)
        y = super().forward(x, entry)
        return y.relu() if self.kind == "activation" else y


LEAKY = {
    "depthwise": "masks the kernel: the BN behind it still has a shift, which is 0 in a fresh network only",
    "projection": "masks the hidden channels: the *last* BN still has a running mean and a shift",
    "training": "is exact in eval mode and leaks in training mode",
    "eval": "is exact in training mode and leaks in eval mode, and only by a running mean",
    "activation": "ends with an activation, which changes what is below 0",
}


def _state(block: nn.Module) -> str:
    return content(block.state_dict(), [part.training for part in block.modules()])


@exercise("04.5", "a test that finds the leak")
def check_leaks(leaks: Callable[[nn.Module], bool]) -> None:
    """`leaks(block)`: whether a skipped superkernel can change its input, whatever training does to it."""
    for kind in ("sliced", "returns x"):
        block, kept = _Skips(kind), "the block that you are given must stay as it is: work on a copy"
        before = _state(block)
        found = ask(leaks, block, keep=kept)
        require(_state(block) == before, f"{kept}, for statistics and the mode belong to it")
        require(not found, "a block that skips exactly was called leaky: is the weight of skip 1, and all others 0?")
    for kind, does in LEAKY.items():
        require(leaks(_Skips(kind)), f"your test misses a block that {does}")
