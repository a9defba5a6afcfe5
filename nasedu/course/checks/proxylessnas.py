"""Checkers for notebook 01: an inverted residual's parameters, a depthwise convolution's MACs, a space's size."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from torch import nn

from nasedu.blocks import MBConv
from nasedu.course.checks import exercise, require
from nasedu.hardware import count


@exercise("01.1", "the parameters of an inverted residual")
def check_parameters(parameters: Callable[[int, int, int, int], int]) -> None:
    """`parameters(c_in, c_out, kernel, expansion)`: weights and batch normalisation's scales and shifts."""
    small = parameters(16, 24, 3, 6)
    require(parameters(16, 24, 3, 6) == small, "the same block must always have the same number of parameters")
    larger = parameters(16, 24, 5, 6) - small
    require(
        larger == 96 * (25 - 9),
        f"kernel 5 instead of 3 must add 25 - 9 weights for each of the 96 hidden channels, a depthwise filter each; "
        f"got {larger}",
    )
    wider = parameters(16, 32, 3, 6) - small
    require(wider != 8 * 96, "every convolution's output is normalised: two parameters for each of its channels")
    require(
        wider == 8 * 98,
        f"an output channel more must cost 96 weights and the two of its normalisation, got {wider / 8:g}",
    )
    thin = parameters(16, 24, 3, 1)
    require(
        thin == _truth(16, 24, 3, 1),
        f"at expansion 1 the first convolution and its normalisation are left out: {_truth(16, 24, 3, 1)}, got {thin}",
    )
    for case in ((16, 24, 3, 6), (32, 32, 7, 3), (24, 40, 5, 6)):
        got, true = parameters(*case), _truth(*case)
        block = "c_in {}, c_out {}, kernel {}, expansion {}".format(*case)
        require(got == true, f"{block}: expand, depthwise and project with their normalisation make {true}, got {got}")


def _truth(c_in: int, c_out: int, kernel: int, expansion: int) -> int:
    return sum(p.numel() for p in MBConv(c_in, c_out, kernel, expansion).parameters())


@exercise("01.2", "the MACs of a depthwise convolution")
def check_depthwise_macs(macs: Callable[[int, int, int, int], int]) -> None:
    """`macs(channels, kernel, size, stride)` on a square map of `size` px, with padding kernel // 2."""
    base = macs(8, 3, 14, 1)
    require(macs(16, 3, 14, 1) == 2 * base, "twice the channels must be twice the work: a filter sees one channel only")
    require(9 * macs(8, 5, 14, 1) == 25 * base, "a kernel of 5 must cost 25 / 9 of what one of 3 costs")
    require(macs(8, 3, 28, 1) == 4 * base, "twice the resolution must be four times the work: rows and columns")
    require(4 * macs(8, 3, 14, 2) == base, "stride 2 must cost a quarter: work is done at the output's positions only")
    require(base != 2 * 8 * 9 * 14 * 14, "count a multiplication and its addition as one: MACs, not FLOPs")
    for case in ((8, 3, 14, 1), (6, 7, 7, 2), (4, 5, 1, 2)):
        got, true = macs(*case), _depthwise(*case)
        at = "{} channels, kernel {}, {} px, stride {}".format(*case)
        require(got == true, f"{at}: {true} MACs, got {got} (an odd map is rounded up: 7 px at stride 2 give 4)")


def _depthwise(channels: int, kernel: int, size: int, stride: int) -> int:
    conv = nn.Conv2d(channels, channels, kernel, stride, kernel // 2, groups=channels, bias=False)
    return count(conv, (channels, size, size)).macs


Stages = Sequence[tuple[int, int, int]]
PUBLISHED: Stages = ((24, 4, 2), (40, 4, 2), (80, 4, 2), (96, 4, 1), (192, 4, 2), (320, 1, 1))


@exercise("01.3", "the size of the space")
def check_space_size(size: Callable[[Stages, int, int], int]) -> None:
    """`size(stages, c_in, operations)`: stages of (channels, repeats, first stride) after a layer of c_in channels."""
    one = size([(24, 1, 2)], 16, 6)
    require(one == 6, f"a single block with stride 2 cannot be skipped: 6 operations, 6 networks; got {one}")
    two = size([(24, 2, 2)], 16, 6)
    require(
        two == 42, f"choices are made independently: 6 for the first block times 7 for the second make 42, got {two}"
    )
    wider = size([(96, 1, 1)], 80, 6)
    require(
        wider == 6, f"a block that changes the channels (80 to 96) cannot be skipped, even at stride 1: 6, got {wider}"
    )
    same = size([(16, 2, 1)], 16, 6)
    require(
        same == 49, f"a first block that keeps 16 channels at stride 1 can be skipped like any other: 49, got {same}"
    )
    chain = size([(24, 1, 2), (24, 1, 1), (40, 1, 1)], 16, 6)
    require(chain == 6 * 7 * 6, f"the channels that a stage reads are those of the stage before it: 252, got {chain}")
    whole = size(PUBLISHED, 16, 6)
    require(isinstance(whole, int), "a size is exact: a whole Python number, not a float")
    require(whole == 6**6 * 7**15, f"ProxylessNAS's outline must give 6^6 * 7^15 networks, got {whole}")
    require(size(PUBLISHED, 16, 4) == 4**6 * 5**15, "the number of operations must count, beside the skip")
