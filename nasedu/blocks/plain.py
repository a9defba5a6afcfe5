"""Zen-NAS's layers, described once: a list of convolutions, from which both the modules and the exact count are read.

M. Lin et al., "Zen-NAS", ICCV 2021, section 5 and the authors' PlainNet. Shapes are (B, C, H, W) throughout; paddings
are k // 2. A description is a list of parts, a `Conv` or a `Residual` each.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from functools import partial
from numbers import Integral
from typing import NamedTuple

from torch import Tensor, nn

from nasedu.blocks.common import ACTIVATIONS, ConvBNAct
from nasedu.blocks.cost import Cost
from nasedu.errors import ParameterError, check_name

NORM = partial(nn.BatchNorm2d, eps=1e-3)  # the eps of the authors' MasterNet
SQUEEZE = 0.25  # hidden channels of squeeze-and-excitation, relative to its input's


class Conv(NamedTuple):
    """A convolution, batch normalisation, activation: (B, c_in, H, W) to (B, c_out, ceil(H / stride), ...).

    `act` None leaves the activation out. `squeeze` marks where squeeze-and-excitation follows in a network that asks
    for it.
    """

    c_in: int
    c_out: int
    kernel: int = 1
    stride: int = 1
    groups: int = 1
    act: str | None = "relu"
    bias: bool = False
    bn: bool = True
    squeeze: bool = False


class Residual(NamedTuple):
    """Convolutions with a shortcut around them, then ReLU.

    The shortcut is the identity, or a 1x1 convolution with bias and BN where the shapes differ or `projection` is set.
    """

    convs: tuple[Conv, ...]
    projection: bool = False

    @property
    def shortcut(self) -> Conv | None:
        """The projection; None where the shortcut is the identity."""
        c_in, c_out = self.convs[0].c_in, self.convs[-1].c_out
        stride = math.prod(conv.stride for conv in self.convs)
        needed = self.projection or stride > 1 or c_in != c_out
        return Conv(c_in, c_out, 1, stride, act=None, bias=True) if needed else None


Part = Conv | Residual


class SqueezeExcite(nn.Module):
    """Weigh channels by what a quarter of them say of the whole map; normalised, without biases (Zen-NAS's own)."""

    def __init__(self, channels: int):
        super().__init__()
        hidden = squeezed(channels)
        self.weigh = nn.Sequential(
            ConvBNAct(channels, hidden, act="relu", bias=False, norm=NORM),
            ConvBNAct(hidden, channels, act=None, bias=False, norm=NORM),
            nn.Sigmoid(),
        )

    def forward(self, x: Tensor) -> Tensor:
        return x * self.weigh(x.mean((2, 3), keepdim=True))


class ResidualUnit(nn.Module):
    """The module of a `Residual`. With `residual` False the shortcut is not added, as the Zen-score wants it."""

    def __init__(self, body: nn.Module, shortcut: nn.Module):
        super().__init__()
        self.body, self.shortcut, self.act = body, shortcut, nn.ReLU(inplace=True)
        self.residual = True

    def forward(self, x: Tensor) -> Tensor:
        y = self.body(x)
        return self.act(y + self.shortcut(x) if self.residual else y)


def squeezed(channels: int) -> int:
    """The hidden channels of squeeze-and-excitation on `channels`."""
    return max(1, round(channels * SQUEEZE))


def plain_modules(parts: Iterable[Part], squeeze_excite: bool = False) -> nn.Sequential:
    """The modules of a description, freshly initialised by PyTorch's defaults."""
    modules: list[nn.Module] = []
    for part in parts:
        if isinstance(part, Residual):
            shortcut = plain_modules([part.shortcut])[0] if part.shortcut else nn.Identity()
            modules.append(ResidualUnit(plain_modules(part.convs, squeeze_excite), shortcut))
            continue
        norm = NORM if part.bn else lambda channels: nn.Identity()
        modules.append(ConvBNAct(*part[:4], part.act, part.bias, part.groups, norm))
        if squeeze_excite and part.squeeze:
            modules.append(SqueezeExcite(part.c_out))
    return nn.Sequential(*modules)


def plain_cost(parts: Iterable[Part], size: int, squeeze_excite: bool = False) -> tuple[Cost, int]:
    """The exact cost of a description, and the size in pixels of the map it leaves; nothing is allocated.

    Counts what `hardware.count` and numel do: a projection at its own stride, both vectors of BN, biases.

    parts: the description.
    size: height and width of the map that enters, in pixels.
    squeeze_excite: whether squeeze-and-excitation follows where a `Conv` marks it.
    """
    total = Cost(0, 0)
    for part in parts:
        if isinstance(part, Residual):
            after = plain_cost(part.convs, size, squeeze_excite)
            shortcut = plain_cost([part.shortcut], size)[0] if part.shortcut else Cost(0, 0)
            total, size = total + after[0] + shortcut, after[1]
            continue
        size = (size + 2 * (part.kernel // 2) - part.kernel) // part.stride + 1
        weights = part.c_out * (part.c_in // part.groups) * part.kernel**2
        vectors = (part.bias + 2 * part.bn) * part.c_out + (part.act == "prelu")
        total += Cost(weights * size**2, weights + vectors)
        if squeeze_excite and part.squeeze:
            hidden = squeezed(part.c_out)
            weights = 2 * part.c_out * hidden
            total += Cost(weights, weights + 2 * (part.c_out + hidden))
    return total, size


def check_parts(parts: Sequence[Part], c_in: int, c_out: int, stride: int) -> None:
    """Raise `ParameterError` unless parts fit one another and lead from `c_in` to `c_out` channels at `stride`.

    parts: the description.
    c_in: channels that enter.
    c_out: channels that must leave.
    stride: the product of the strides that there must be.
    """
    channels, strides = c_in, 1
    for part in parts:
        convs = part.convs if isinstance(part, Residual) else (part,)
        if not isinstance(convs, tuple | list) or not convs:
            raise ParameterError(f"a Residual is made of one Conv or more, got {convs!r:.60}")
        for conv in convs:
            _check_conv(conv, channels)
            channels, strides = conv.c_out, strides * conv.stride
    if (channels, strides) != (c_out, stride):
        raise ParameterError(f"a block must end at {c_out} channels, stride {stride}; got {channels}, stride {strides}")


def _check_conv(conv: object, arriving: int) -> None:
    """Raise `ParameterError` unless `conv` is a possible convolution of `arriving` channels."""
    if not isinstance(conv, Conv):
        raise ParameterError(f"a block is made of Conv and Residual, got {conv!r:.60}")
    if not all(isinstance(number, Integral) for number in conv[:5]):
        raise ParameterError(f"channels, kernels, strides and groups are whole numbers, got {conv}")
    if conv.c_in != arriving:
        raise ParameterError(f"a convolution takes {conv.c_in} channels where {arriving} arrive")
    if conv.kernel % 2 == 0 or min(conv.kernel, conv.stride, conv.groups, conv.c_out) < 1:
        raise ParameterError(f"kernels are odd, and strides, groups and channels at least 1, got {conv}")
    if conv.c_in % conv.groups or conv.c_out % conv.groups:
        raise ParameterError(f"{conv.groups} groups do not divide {conv.c_in} and {conv.c_out} channels")
    if conv.act is not None:
        check_name("activation", conv.act, ACTIVATIONS)
