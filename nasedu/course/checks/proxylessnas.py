"""Checkers for notebook 01: an inverted residual's parameters, a depthwise convolution's MACs, a space's size."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from torch import nn

from nasedu.blocks import MBConv
from nasedu.course.checks import exercise, expect, expect_each, require
from nasedu.hardware import count


@exercise("01.1", "the parameters of a block")
def check_parameters(parameters: Callable[[int, int, int, int], int]) -> None:
    """`parameters(c_in, c_out, kernel, expansion)`: weights and batch normalisation's scales and shifts."""
    small = parameters(16, 24, 3, 6)
    require(parameters(16, 24, 3, 6) == small, "the same block must always have the same number of parameters")
    filters = "kernel 5 instead of 3 must add 25 - 9 weights to the depthwise filter of each of the 96 hidden channels"
    expect(parameters(16, 24, 5, 6) - small, 96 * (25 - 9), filters)
    bare = [(8 * 96, "every convolution's output is normalised: two parameters for each of its channels")]
    wider = "8 output channels more must cost 96 weights each and the two of their normalisation"
    expect(parameters(16, 32, 3, 6) - small, 8 * 98, wider, bare)
    for case in ((16, 24, 3, 1), (16, 24, 3, 6), (32, 32, 7, 3), (24, 40, 5, 6)):
        true = sum(p.numel() for p in MBConv(*case).parameters())
        block = "c_in {}, c_out {}, kernel {}, expansion {}".format(*case)
        parts = "at expansion 1 depthwise" if case[3] == 1 else "expand, depthwise"
        expect(parameters(*case), true, f"{block}: {parts} and project with their normalisation make {true}")


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
        channels, kernel, size, stride = case
        conv = nn.Conv2d(channels, channels, kernel, stride, kernel // 2, groups=channels, bias=False)
        true = count(conv, (channels, size, size)).macs
        at = "{} channels, kernel {}, {} px, stride {}".format(*case)
        expect(macs(*case), true, f"{at}: {true} MACs; an odd map is rounded up: 7 px at stride 2 give 4")


Stages = Sequence[tuple[int, int, int]]
PUBLISHED: Stages = ((24, 4, 2), (40, 4, 2), (80, 4, 2), (96, 4, 1), (192, 4, 2), (320, 1, 1))
SIZES = (
    (([(24, 1, 2)], 16, 6), 6, "a single block with stride 2 cannot be skipped: 6 operations, 6 networks"),
    (([(24, 2, 2)], 16, 6), 42, "choices are independent: 6 for the first block times 7 for the second make 42"),
    (([(96, 1, 1)], 80, 6), 6, "a block that changes the channels (80 to 96) cannot be skipped, even at stride 1: 6"),
    (([(16, 2, 1)], 16, 6), 49, "a first block that keeps 16 channels at stride 1 can be skipped like any other: 49"),
    (([(24, 1, 2), (24, 1, 1), (40, 1, 1)], 16, 6), 252, "a stage reads the channels of the stage before it: 252"),
    ((PUBLISHED, 16, 6), 6**6 * 7**15, "ProxylessNAS's outline must give exactly 6^6 * 7^15 networks"),
    ((PUBLISHED, 16, 4), 4**6 * 5**15, "the number of operations must count, beside the skip"),
)


@exercise("01.3", "the size of the space")
def check_space_size(size: Callable[[Stages, int, int], int]) -> None:
    """`size(stages, c_in, operations)`: stages of (channels, repeats, first stride) after a layer of c_in channels."""
    expect_each(size, *SIZES)
    require(isinstance(size(PUBLISHED, 16, 6), int), "a size is exact: a whole Python number, not a float")
