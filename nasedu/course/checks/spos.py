"""Checkers for notebook 03: the channels that pass, the parameters of a shuffle unit, statistics over batches."""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce

import torch
from torch import Tensor

from nasedu.blocks import ShuffleBlock
from nasedu.course.checks import exercise, expect, expect_each, require

UNTOUCHED = (
    ((64, 1), 32, "a unit works on half of its channels: 32 of 64 pass"),
    (
        (64, 2),
        16,
        "channels are dealt anew in every unit: of the 32 now at places 0 to 31, the 16 even ones pass again",
    ),
    ((64, 4), 4, "every further unit halves the rest: 64, 32, 16, 8, 4"),
    ((12, 3), 2, "of the last 3 of 12, those at places 0 and 2 pass: an odd number leaves the larger half"),
    ((8, 6), 1, "channel 0 is always first, so it passes every unit"),
)


@exercise("03.1", "how long a channel passes")
def check_untouched(untouched: Callable[[int, int], int]) -> None:
    """`untouched(channels, units)`: how many channels pass a chain of units with stride 1 as they came."""
    expect_each(untouched, *UNTOUCHED)


CASES = ((64, 64, 3, 1), (64, 64, 7, 1), (160, 160, 5, 1), (16, 64, 3, 2), (64, 160, 7, 2), (160, 320, 5, 2))
WHY = {
    1: "at stride 1 the main branch reads and writes c_out/2 channels and the rest has no weights",
    2: "at stride 2 main ends in c_out - c_in channels and the projection has weights for c_in to c_in",
}


@exercise("03.2", "the parameters of a shuffle unit")
def check_params(params: Callable[[int, int, int, int], int]) -> None:
    """`params(c_in, c_out, kernel, stride)` of a `ShuffleBlock`: convolution weights, and two per channel of a BN."""
    got = {case: params(*case) for case in CASES}
    require(all(int(n) == n for n in got.values()), "a number of parameters is a whole number: use // for halves")
    kernels = "at stride 1 only the c_out/2 channels of the depthwise convolution feel the kernel"
    expect(got[64, 64, 7, 1] - got[64, 64, 3, 1], 32 * (49 - 9), kernels)
    for case in CASES:
        weights = list(ShuffleBlock(*case).parameters())
        true, norms = (sum(p.numel() for p in weights if p.ndim <= most) for most in (4, 1))
        where = "{} to {} channels, kernel {}, stride {}".format(*case)
        bare = [(true - norms, "BN has two parameters for each of its channels: add them")]
        expect(got[case], true, f"{WHY[case[3]]} ({where}: {true:,}, not {got[case]:,})", bare)


@exercise("03.3", "statistics over batches")
def check_update(update: Callable[[Tensor, Tensor, int], Tensor]) -> None:
    """`update(running, batch, seen)`: the mean (C,) over `seen` earlier batches and this one (B, C, H, W)."""
    generator = torch.Generator().manual_seed(0)
    batches = torch.randn(5, 4, 3, 2, 2, generator=generator) + torch.arange(5.0)[:, None, None, None, None]
    first = update(torch.full((3,), 100.0), batches[0], 0)
    require(isinstance(first, Tensor) and first.shape == (3,), "a mean per channel is needed: average over B, H and W")
    replaced = "the first batch must replace what was there: nothing of the old statistics may be left"
    expect(first, batches[0].mean((0, 2, 3)), replaced)
    expect(update(first, batches[1], 1), batches[:2].mean((0, 1, 3, 4)), "after two batches the mean must be half-way")
    forth, back = (_run(update, order) for order in (batches, batches.flip(0)))
    expect(forth, back, "the order of the batches must not matter: the new one weighs 1 / (seen + 1), no momentum")
    expect(forth, batches.mean((0, 1, 3, 4)), "every batch must weigh the same: 1 / (seen + 1) for the new one")


def _run(update: Callable, batches: Tensor) -> Tensor:
    return reduce(lambda running, new: update(running, new[1], new[0]), enumerate(batches), torch.zeros(3))
