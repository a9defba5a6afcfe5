"""What a channel shuffle must do, wherever a notebook asks for one."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import channel_shuffle

from nasedu.course.checks import require


def examine_shuffle(shuffle: Callable[[Tensor, int], Tensor]) -> None:
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
