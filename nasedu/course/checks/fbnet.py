"""Checkers for notebook 02: a channel shuffle, the weights of a grouped block, the expected cost of a network."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import channel_shuffle

from nasedu.blocks import FBNetBlock
from nasedu.course.checks import close, exercise, expect, number, require


@exercise("02.1", "a channel shuffle")
def check_shuffle(shuffle: Callable[[Tensor, int], Tensor]) -> None:
    """`shuffle(x, groups)`: x (B, C, H, W) with its channels in the order that takes from every group in turn."""
    x = torch.arange(2 * 12 * 3 * 4.0).view(2, 12, 3, 4)
    y = shuffle(x.clone(), 3)
    require(isinstance(y, Tensor) and y.shape == x.shape, "a shuffle must keep the shape (B, C, H, W)")
    places = [(x[0] == channel).flatten(1).all(1).nonzero().flatten().tolist() for channel in y[0]]
    require(all(places), "every output channel must be one of the same image's channels, whole and unchanged")
    order = [place[0] for place in places]
    require(sorted(order) == list(range(12)), "a shuffle must be a permutation: no channel lost, none twice")
    require(torch.equal(y, x[:, order]), "every image must be shuffled alike")
    require(torch.equal(shuffle(x.clone(), 3), y), "a shuffle is a fixed order, not a random one")
    group = [channel // 4 for channel in order]
    apart = "neighbours in the output must come from different groups"
    require(len(set(group[:4])) > 1, f"nothing is mixed yet, but {apart}: after the reshape, swap the two axes")
    fixed = torch.equal(shuffle(x.clone(), 2), y)
    require(not fixed, "2 and 3 groups must give different orders: it must hold for any number of groups")
    require(len(set(group[:3])) == 3, f"{apart}, one channel of each in turn: the first 3 from 3 groups")
    for groups in (3, 2, 4, 1):
        first = ", ".join(str(c) for c in torch.arange(12).view(groups, -1).T.flatten().tolist())
        same = torch.equal(shuffle(x.clone(), groups), channel_shuffle(x, groups))
        require(same, f"{groups} groups are dealt out one channel of each in turn: {first}")


@exercise("02.2", "the weights of a grouped block")
def check_weights(weights: Callable[[int, int, int, int, int], int]) -> None:
    """`weights(c_in, c_out, kernel, expansion, groups)` of an FBNet block's convolutions."""
    plain, grouped = weights(16, 24, 3, 1, 1), weights(16, 24, 3, 1, 2)
    require(plain != 16 * 9 + 16 * 24, "at expansion 1 FBNet keeps its first convolution, which MobileNetV2 leaves out")
    require(plain > grouped, "groups must save weights: a channel reads its own group only")
    halved = "2 groups must halve both pointwise convolutions and leave the depthwise one alone: 320 fewer"
    expect(plain - grouped, (16 * 16 + 16 * 24) // 2, halved)
    for case in ((16, 24, 3, 6, 1), (32, 32, 5, 3, 1), (32, 32, 5, 1, 2), (64, 112, 3, 1, 4)):
        true = sum(m.weight.numel() for m in FBNetBlock(*case).modules() if isinstance(m, nn.Conv2d))
        block = "c_in {}, c_out {}, kernel {}, expansion {}, groups {}".format(*case)
        expect(weights(*case), true, f"{block}: the three convolutions have {true} weights without normalisation")


@exercise("02.3", "the expected cost of a network")
def check_expected(expected: Callable[[float, Sequence[Tensor], Sequence[Tensor]], Tensor]) -> None:
    """`expected(fixed, costs, thetas)`: per block the costs (n,) of its choices and its logits (n,)."""
    costs = [torch.tensor([10.0, 20.0, 90.0]), torch.tensor([5.0, 45.0])]
    certain = expected(100.0, costs, [torch.tensor([0.0, 60.0, 0.0]), torch.tensor([60.0, 0.0])])
    hints = [
        (20.0 + 5.0, "the fixed part of the network must be paid, too: stem, head, classifier"),
        (100.0 + 60 * 20 + 60 * 5, "logits are no probabilities: they need a softmax first"),
    ]
    expect(certain, 125.0, "where every block is decided the cost is that network's own: 125", hints)
    uniform = expected(100.0, costs, [torch.zeros(3), torch.zeros(2)])
    expect(uniform, 165.0, "equal logits must cost the mean of every block: 100 + 40 + 25")
    _check_soft(expected, costs)


def _check_soft(expected: Callable, costs: list[Tensor]) -> None:
    thetas = [torch.tensor([-1.0, 0.5, -2.0], requires_grad=True), torch.tensor([-3.0, -1.0], requires_grad=True)]
    cost = expected(100.0, costs, thetas)
    require(isinstance(cost, Tensor) and cost.requires_grad, "the cost must stay differentiable in the logits")
    shifted = number(expected(100.0, costs, [theta + 2 for theta in thetas]))
    expect(cost, shifted, "adding a constant to all logits of a block must change nothing: softmax, not the logits")
    parts = [theta.softmax(0) @ c for theta, c in zip(thetas, costs, strict=True)]
    expect(cost, number(100 + sum(parts)), "every block must add its own sum of p_i c_i, p = softmax(theta)")
    for slope, theta, c, part in zip(torch.autograd.grad(cost, thetas), thetas, costs, parts, strict=True):
        right = close(slope, theta.softmax(0) * (c - part))
        require(right, "dE / dtheta_i must be p_i (c_i - E): keep the softmax in the graph")
