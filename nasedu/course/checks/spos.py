"""Checkers for notebook 03: the channel shuffle, the parameters of a shuffle unit, statistics over batches."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from nasedu.blocks import ShuffleBlock
from nasedu.course.checks import exercise, require


@exercise("03.1", "a channel shuffle")
def check_shuffle(shuffle: Callable[[Tensor, int], Tensor]) -> None:
    """`shuffle(x, groups)`: x (B, C, H, W) with its channels in the order that takes from every group in turn."""
    x = torch.arange(2 * 12 * 3 * 4.0).view(2, 12, 3, 4)
    y = shuffle(x.clone(), 3)
    require(isinstance(y, Tensor) and y.shape == x.shape, "a shuffle must keep the shape (B, C, H, W)")
    order = [_place(channel, x[0]) for channel in y[0]]
    require(None not in order, "every output channel must be one of the same image's channels, whole and unchanged")
    require(sorted(order) == list(range(12)), "a shuffle must be a permutation: no channel lost, none twice")
    require(torch.equal(y, x[:, order]), "every image must be shuffled alike")
    require(order != list(range(12)), "3 groups must change the order: after the reshape, swap the two axes")
    taken = [channel // 4 for channel in order[:3]]
    require(
        sorted(taken) == [0, 1, 2],
        "neighbours in the output must come from different groups: the first 3 from 3 groups",
    )
    require(order == [0, 4, 8, 1, 5, 9, 2, 6, 10, 3, 7, 11], "groups must be taken in turn: 0, 4, 8, 1, 5, 9 and so on")
    pairs = x[:, [0, 6, 1, 7, 2, 8, 3, 9, 4, 10, 5, 11]]
    require(torch.equal(shuffle(x.clone(), 2), pairs), "it must hold for any number of groups that divides C")
    require(torch.equal(shuffle(x.clone(), 1), x), "with one group there is nothing to shuffle: the input comes back")


def _place(channel: Tensor, channels: Tensor) -> int | None:
    same = (channels == channel).flatten(1).all(1).nonzero().flatten().tolist()
    return same[0] if same else None


CASES = ((64, 64, 3, 1), (64, 64, 7, 1), (160, 160, 5, 1), (16, 64, 3, 2), (64, 160, 7, 2), (160, 320, 5, 2))


@exercise("03.2", "the parameters of a shuffle unit")
def check_params(params: Callable[[int, int, int, int], int]) -> None:
    """`params(c_in, c_out, kernel, stride)` of a `ShuffleBlock`: convolution weights, and two per channel of a BN."""
    got = {case: params(*case) for case in CASES}
    require(all(int(n) == n for n in got.values()), "a number of parameters is a whole number: use // for halves")
    slope = got[64, 64, 7, 1] - got[64, 64, 3, 1]
    require(
        slope == 32 * (49 - 9), "at stride 1 only the c_out/2 channels of the depthwise convolution feel the kernel"
    )
    for case in CASES:
        require(
            got[case] == _counted(case) - _norms(case) or case[3] == 1 or got[case] == _counted(case), _why(case, got)
        )
        require(got[case] != _counted(case) - _norms(case), "BN has two parameters for each of its channels: add them")
        require(got[case] == _counted(case), _why(case, got))


def _counted(case: tuple[int, int, int, int]) -> int:
    return sum(p.numel() for p in ShuffleBlock(*case).parameters())


def _norms(case: tuple[int, int, int, int]) -> int:
    return sum(p.numel() for p in ShuffleBlock(*case).parameters() if p.ndim == 1)


def _why(case: tuple[int, int, int, int], got: dict) -> str:
    c_in, c_out, kernel, stride = case
    where = f"{c_in} to {c_out} channels, kernel {kernel}, stride {stride}: {_counted(case):,}, not {got[case]:,}"
    if stride == 1:
        return f"at stride 1 the main branch reads and writes c_out/2 channels and the rest has no weights ({where})"
    return f"at stride 2 main ends in c_out - c_in channels and the projection has weights for c_in to c_in ({where})"


@exercise("03.3", "statistics over batches")
def check_update(update: Callable[[Tensor, Tensor, int], Tensor]) -> None:
    """`update(running, batch, seen)`: the mean (C,) over `seen` earlier batches and this one (B, C, H, W)."""
    generator = torch.Generator().manual_seed(0)
    batches = torch.randn(5, 4, 3, 2, 2, generator=generator) + torch.arange(5.0)[:, None, None, None, None]
    first = update(torch.full((3,), 100.0), batches[0], 0)
    require(isinstance(first, Tensor) and first.shape == (3,), "a mean per channel is needed: average over B, H and W")
    sentence = "the first batch must replace what was there: nothing of the old statistics may be left"
    require(_close(first, batches[0].mean((0, 2, 3))), sentence)
    second = update(first, batches[1], 1)
    half = batches[:2].mean((0, 1, 3, 4))
    require(_close(second, half), "after two batches the mean must be half-way between them: weigh the new one 1/2")
    forth, back = _run(update, batches), _run(update, batches.flip(0))
    sentence = "the order of the batches must not matter: the new one weighs 1 / (seen + 1), not a fixed momentum"
    require(_close(forth, back), sentence)
    require(
        _close(forth, batches.mean((0, 1, 3, 4))), "every batch must weigh the same: 1 / (seen + 1) for the new one"
    )


def _run(update: Callable, batches: Tensor) -> Tensor:
    running = torch.zeros(3)
    for seen, batch in enumerate(batches):
        running = update(running, batch, seen)
    return running


def _close(a: Tensor, b: Tensor) -> bool:
    return a.shape == b.shape and bool(torch.allclose(a, b, rtol=1e-4, atol=1e-4))
