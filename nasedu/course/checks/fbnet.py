"""Checkers for notebook 02: a channel shuffle, the weights of a grouped block, the expected cost of a network."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from nasedu.blocks import FBNetBlock
from nasedu.course.checks import exercise, require


@exercise("02.1", "a channel shuffle")
def check_shuffle(shuffle: Callable[[Tensor, int], Tensor]) -> None:
    """`shuffle(x, groups)` of maps (B, C, H, W)."""
    x = torch.arange(2 * 12 * 2 * 3.0).reshape(2, 12, 2, 3)
    y = shuffle(x.clone(), 2)
    require(isinstance(y, Tensor) and y.shape == x.shape, "a shuffle must keep the shape (B, C, H, W)")
    order = _order(x[0], y[0])
    require(order is not None, "every channel must come out whole and unchanged, only elsewhere")
    require(_order(x[1], y[1]) == order, "every image of the batch must be shuffled alike")
    require(torch.equal(shuffle(x.clone(), 2), y), "a shuffle is a fixed order, not a random one")
    heard = [{channel // 6 for channel in order[:6]}, {channel // 6 for channel in order[6:]}]
    require(
        heard == [{0, 1}, {0, 1}], "each half of the result must hold channels of both halves: nothing is mixed yet"
    )
    for groups in (2, 3, 4):
        true = nn.functional.channel_shuffle(x, groups)
        first = [int(c) for c in torch.arange(12).reshape(groups, -1).T.flatten()]
        sentence = f"{groups} groups are dealt out one channel of each in turn: {first}"
        got = shuffle(x.clone(), groups)
        require(got.shape == true.shape and torch.equal(got, true), f"{sentence}, got {_order(x[0], got[0])}")


def _order(x: Tensor, y: Tensor) -> list[int] | None:
    """Where each channel of y stood in x; None where y is no reordering of x."""
    same = (x[None] == y[:, None]).flatten(2).all(2)
    if not (same.sum(0) == 1).all() or not (same.sum(1) == 1).all():
        return None
    return same.int().argmax(1).tolist()


@exercise("02.2", "the weights of a grouped block")
def check_weights(weights: Callable[[int, int, int, int, int], int]) -> None:
    """`weights(c_in, c_out, kernel, expansion, groups)` of an FBNet block's convolutions."""
    plain, grouped = weights(16, 24, 3, 1, 1), weights(16, 24, 3, 1, 2)
    require(
        plain != 16 * 9 + 16 * 24,
        "at expansion 1 FBNet keeps its first convolution: 16 x 16 weights more than MobileNetV2",
    )
    saved = plain - grouped
    require(saved > 0, "groups must save weights: a channel reads its own group only")
    require(
        saved == (16 * 16 + 16 * 24) // 2,
        f"2 groups must halve both pointwise convolutions and leave the depthwise one alone: {320} fewer, got {saved}",
    )
    for case in ((16, 24, 3, 6, 1), (32, 32, 5, 3, 1), (32, 32, 5, 1, 2), (64, 112, 3, 1, 4)):
        got, true = weights(*case), _truth(*case)
        block = "c_in {}, c_out {}, kernel {}, expansion {}, groups {}".format(*case)
        require(got == true, f"{block}: the three convolutions have {true} weights without normalisation, got {got}")


def _truth(c_in: int, c_out: int, kernel: int, expansion: int, groups: int) -> int:
    block = FBNetBlock(c_in, c_out, kernel, expansion, groups)
    return sum(m.weight.numel() for m in block.modules() if isinstance(m, nn.Conv2d))


@exercise("02.3", "the expected cost of a network")
def check_expected(expected: Callable[[float, Sequence[Tensor], Sequence[Tensor]], Tensor]) -> None:
    """`expected(fixed, costs, thetas)`: per block the costs (n,) of its choices and its logits (n,)."""
    costs = [torch.tensor([10.0, 20.0, 90.0]), torch.tensor([5.0, 45.0])]
    decided = [torch.tensor([0.0, 60.0, 0.0]), torch.tensor([60.0, 0.0])]
    certain = torch.as_tensor(expected(100.0, costs, decided)).detach()
    require(not _close(certain, 20.0 + 5.0), "the fixed part of the network must be paid, too: stem, head, classifier")
    require(not _close(certain, 100.0 + 60 * 20 + 60 * 5), "logits are no probabilities: they need a softmax first")
    require(
        _close(certain, 125.0),
        f"where every block is decided the cost is that network's own: 125, got {float(certain):g}",
    )
    uniform = torch.as_tensor(expected(100.0, costs, [torch.zeros(3), torch.zeros(2)])).detach()
    require(
        _close(uniform, 165.0), f"equal logits must cost the mean of every block: 100 + 40 + 25, got {float(uniform):g}"
    )
    _check_soft(expected, costs)


def _check_soft(expected: Callable, costs: list[Tensor]) -> None:
    thetas = [torch.tensor([-1.0, 0.5, -2.0], requires_grad=True), torch.tensor([-3.0, -1.0], requires_grad=True)]
    cost = expected(100.0, costs, thetas)
    require(isinstance(cost, Tensor) and cost.requires_grad, "the cost must stay differentiable in the logits")
    shifted = expected(100.0, costs, [theta + 2 for theta in thetas])
    same = _close(cost.detach(), float(torch.as_tensor(shifted).detach()))
    require(same, "adding a constant to all logits of a block must change nothing: softmax, not the logits themselves")
    parts = [theta.softmax(0) @ c for theta, c in zip(thetas, costs, strict=True)]
    require(
        _close(cost.detach(), float((100 + sum(parts)).detach())),
        "every block must add its own sum of p_i c_i, p = softmax(theta)",
    )
    slopes = torch.autograd.grad(cost, thetas)
    for slope, theta, c, part in zip(slopes, thetas, costs, parts, strict=True):
        true = (theta.softmax(0) * (c - part)).detach()
        require(
            torch.allclose(slope, true, atol=1e-4), "dE / dtheta_i must be p_i (c_i - E): keep the softmax in the graph"
        )


def _close(a: Tensor, b: float) -> bool:
    return a.numel() == 1 and abs(float(a) - b) <= 1e-4 * max(1.0, abs(b))
