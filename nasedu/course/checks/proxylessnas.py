"""Checkers for notebook 01: a block's parameters and its kernel, a test that finds faulty blocks, networks of equal
cost that see differently far."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn

from nasedu.blocks import MBConv
from nasedu.course.checks import ask, exercise, expect, priced, require
from nasedu.randomness import seeded
from nasedu.spaces.base import Arch
from nasedu.spaces.macro import MacroSpace, places
from nasedu.tables import LookupTable

GAP = 250  # pixels that one of two networks of equal cost must see farther


@exercise("01.1", "the parameters of a block")
def check_params(parameters: Callable[[int, int, int, int], int]) -> None:
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


@exercise("01.2", "the kernel of a black box")
def check_kernel(kernel_of: Callable[[Callable[[Tensor], Tensor]], int]) -> None:
    """`kernel_of(block)` for a function that maps (B, 8, H, W) to maps: 3, 5, 7, or 1 for a skip."""
    with seeded(0):
        for kernel, stride, expansion in ((3, 1, 6), (7, 1, 6), (5, 1, 1)):
            what = f"a block of kernel {kernel} at stride {stride}"
            _find(kernel_of, MBConv(8, 8, kernel, expansion, stride), kernel, what)
        _find(kernel_of, nn.Identity(), 1, "a skip, whose output depends on one position of the input: 1")
        for kernel in (7, 3):
            what = f"a block of kernel {kernel} that halves the map, and whose output reads {kernel} rows all the same"
            _find(kernel_of, MBConv(8, 12, kernel, 6, 2), kernel, what)
        faint, cut = MBConv(8, 8, 7), MBConv(8, 12, 5, 6)
        faint.project.bn.weight.data.fill_(1e-4)
        _find(kernel_of, faint, 7, "a block of kernel 7 whose shortcut drowns the rest: count whatever is not 0")
        cut.expand.bn.bias.data.fill_(-1.6)
        _find(kernel_of, cut, 5, "a block of kernel 5 whose ReLU6 cuts most values: ask many images, with large values")


def _find(kernel_of: Callable, block: nn.Module, kernel: int, what: str) -> None:
    block.eval()
    expect(kernel_of(lambda x: block(x)), kernel, what)


class Block(nn.Module):
    """An inverted residual; as written here a right one, whatever its layers are called.

    c_in: channels that come in.
    c_out: channels that go out.
    kernel: its depthwise convolution's side.
    expansion: of the hidden channels.
    stride: of the depthwise convolution.
    fault: one of FAULTS, or "".
    """

    def __init__(self, c_in: int, c_out: int, kernel: int, expansion: int, stride: int, fault: str = ""):
        super().__init__()
        hidden = expansion * (c_out if fault == "wide" else c_in)
        size = 3 if fault == "kernel" else kernel
        early = stride if fault == "early" and (expansion > 1 or hidden != c_in) else 1
        if expansion > 1 or hidden != c_in or fault == "expand":
            first = [nn.Conv2d(c_in, hidden, 1, early, bias=False), nn.BatchNorm2d(hidden), nn.ReLU6()]
        else:
            first = []
        groups = 1 if fault == "dense" else hidden
        step = 1 if fault == "whole" else stride // early
        inner = nn.Conv2d(hidden, hidden, size, step, size // 2, groups=groups, bias=False)
        last = [nn.Conv2d(hidden, c_out, 1, bias=False), nn.BatchNorm2d(c_out)] + [nn.ReLU6()] * (fault == "active")
        self.layers = nn.Sequential(*first, inner, nn.BatchNorm2d(hidden), nn.ReLU6(), *last)
        self.keeps, self.stride, self.fault = (stride == 1, c_in == c_out), stride, fault

    def forward(self, x: Tensor) -> Tensor:
        """The layers and, where it is due or the fault says so, the input."""
        y = self.layers(x)
        if self.fault == "strided" and self.keeps[1]:
            return y + x[:, :, :: self.stride, :: self.stride]
        if self.fault == "channels" and self.keeps[0]:
            return y + nn.functional.pad(x, (0, 0, 0, 0, 0, y.shape[1] - x.shape[1]))
        return y + x if all(self.keeps) and self.fault != "bare" else y


FAULTS = {
    "bare": "never adds the input",
    "strided": "adds every second position of the input where the stride is 2",
    "channels": "adds the input to the first channels where there are more channels out than in",
    "active": "ends with an activation",
    "dense": "looks around with a convolution that is not depthwise",
    "wide": "multiplies the channels that go out by the expansion, not those that come in",
    "expand": "keeps the first convolution at expansion 1",
    "kernel": "has kernel 3 whatever it is asked for",
    "early": "has its stride in the first 1×1 convolution, which throws positions away before any is looked at",
    "whole": "leaves the map as large as it is where the stride is 2",
}


@exercise("01.3", "a test that finds the fault")
def check_trial(is_right: Callable[[Callable[..., nn.Module]], bool]) -> None:
    """`is_right(make)` of builders `make(c_in, c_out, kernel, expansion, stride)`, two right ones and faulty ones."""
    with seeded(0):
        for make, who in ((MBConv, "nasedu's own MBConv"), (Block, "a right builder whose layers have other names")):
            require(bool(is_right(make)), f"your test must return True for {who}")
        for fault, told in FAULTS.items():
            found = is_right(partial(Block, fault=fault))
            require(not found, f"your test must return False for a builder that {told}")


@exercise("01.4", "equal cost, different sight")
def check_twins(twins: Callable[[LookupTable, LookupTable], tuple[Arch, Arch]]) -> None:
    """`twins(macs, sees)`: two architectures of one space, by its tables of MACs and of receptive fields."""
    for outline in ("search", "gpu"):
        (macs,) = priced("proxylessnas", "macs", outline=outline)
        space, sees = macs.space, receptive_field(macs.space)
        pair = ask(twins, macs, sees, keep="the tables must stay as they were")
        require(isinstance(pair, tuple | list) and len(pair) == 2, "return two architectures")
        a, b = (space.validate(tuple(arch)) for arch in pair)
        off = abs(macs(a) - macs(b))
        require(off == 0, f"outline {outline}: the MACs must be exactly equal, they differ by {off:,.0f}")
        gap = abs(sees(a) - sees(b))
        far = f"outline {outline}: one must see at least {GAP} px farther, these differ by {gap:.0f} px"
        require(gap >= GAP, far)


def receptive_field(space: MacroSpace) -> LookupTable:
    """The pixels that one position of the last map depends on, as a table of a ProxylessNAS space."""
    apart, entries = space.options.stem_stride, []
    fixed = 3 + 2 * apart  # the stem and the first block, of kernel 3
    for place, decision in zip(places(space.net.first, space.net.stages), space.decisions, strict=True):
        kernels = [1 if name == "skip" else int(name[1]) for name in decision.choices]
        entries.append(torch.tensor([(kernel - 1.0) * apart for kernel in kernels]))
        apart *= place.stride
    return LookupTable(space, "receptive_field", "px", fixed, entries, own=True)
