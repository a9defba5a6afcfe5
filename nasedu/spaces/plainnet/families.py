"""Zen-NAS's blocks: convolutions, basic and bottleneck residuals, inverted residuals (the authors' PlainNet).

In every residual block the first unit has a projection, and alone the stride. Depth is counted in `layers`: one basic
unit, or two of the others.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from nasedu.blocks import Conv, Part, Residual
from nasedu.spaces.plainnet.registry import published


def multiple_of_8(channels: float) -> int:
    """The nearest multiple of 8, at least 8; a tie goes to the even multiple, as in the authors' code."""
    return max(8, 8 * round(channels / 8))


def stack(c_in: int, c_out: int, stride: int, layers: int, kernel: int) -> Iterator[Part]:
    """SuperConvK*BNRELU: convolution, BN and ReLU.

    c_in: channels of the input.
    c_out: channels of the output.
    stride: of the first unit.
    layers: how many.
    kernel: side of the kernels in pixels.
    """
    for _ in range(layers):
        yield Conv(c_in, c_out, kernel, stride)
        c_in, stride = c_out, 1


def basic(c_in: int, c_out: int, stride: int, bottleneck: int, layers: int, kernel: int) -> Iterator[Part]:
    """SuperResK*K*: two convolutions a unit.

    c_in: channels of the input.
    c_out: channels of the output.
    stride: of the first unit.
    bottleneck: channels between them.
    layers: how many units.
    kernel: side of the kernels in pixels.
    """
    for n in range(layers):
        wide = Conv(c_in, bottleneck, kernel, stride, squeeze=True)
        yield Residual((wide, Conv(bottleneck, c_out, kernel, act=None)), projection=n == 0)
        c_in, stride = c_out, 1


def bottlenecks(c_in: int, c_out: int, stride: int, bottleneck: int, layers: int, kernel: int) -> Iterator[Part]:
    """SuperResK1K*K1: 1x1, kxk, 1x1 with a narrow middle; two such units a layer.

    c_in: channels of the input.
    c_out: channels of the output.
    stride: of the first unit.
    bottleneck: channels of the middle.
    layers: half as many as units.
    kernel: side of the kernels in pixels.
    """
    for n in range(2 * layers):
        middle = Conv(bottleneck, bottleneck, kernel, stride, squeeze=True)
        yield Residual((Conv(c_in, bottleneck), middle, Conv(bottleneck, c_out, act=None)), projection=n == 0)
        c_in, stride = c_out, 1


def inverted(
    c_in: int, c_out: int, stride: int, bottleneck: int, layers: int, kernel: int, expansion: int
) -> Iterator[Part]:
    """SuperResIDWE*K*: 1x1, depthwise, 1x1; two units a layer.

    c_in: channels of the input.
    c_out: channels of the output.
    stride: of the first unit.
    bottleneck: channels between a layer's two units.
    layers: half as many as units.
    kernel: side of the kernels in pixels.
    expansion: hidden channels, as a multiple of what leaves the unit.
    """
    for n in range(2 * layers):
        target = c_out if n % 2 else bottleneck
        wide = multiple_of_8(target * expansion)
        middle = Conv(wide, wide, kernel, stride, groups=wide, squeeze=True)
        yield Residual((Conv(c_in, wide), middle, Conv(wide, target, act=None)), projection=n == 0)
        c_in, stride = target, 1


STEMS = tuple(f"SuperConvK{k}BNRELU" for k in (1, 3, 5, 7))
HEAD = STEMS[0]
BASIC = tuple(f"SuperResK{k}K{k}" for k in (3, 5, 7))
BOTTLENECKS = tuple(f"SuperResK1K{k}K1" for k in (3, 5, 7))
INVERTED = tuple(f"SuperResIDWE{e}K{k}" for k in (3, 5, 7) for e in (1, 2, 4, 6))

for _kernel, _name in zip((1, 3, 5, 7), STEMS, strict=True):
    published(_name, partial(stack, kernel=_kernel))
for _kernel, _name in zip((3, 5, 7), BASIC, strict=True):
    published(_name, partial(basic, kernel=_kernel))
for _kernel, _name in zip((3, 5, 7), BOTTLENECKS, strict=True):
    published(_name, partial(bottlenecks, kernel=_kernel))
for _name in INVERTED:
    published(_name, partial(inverted, kernel=int(_name[-1]), expansion=int(_name[-3])))
