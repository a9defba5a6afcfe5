"""ShuffleNetV2's units: what SPOS is built of.

Shapes are (B, C, H, W) throughout. A unit has two branches that are concatenated: *main* computes; *projection* passes
half of the channels on at stride 1, and reduces all of them at stride 2. Widths, order and the split into even and odd
channels are those of SPOS's public code; there the shuffle stands before a unit, which is the same as after the last.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torchvision.ops import SqueezeExcitation

from nasedu.blocks.mobile import ConvBN
from nasedu.errors import ParameterError


def shuffle_split(x: Tensor) -> tuple[Tensor, Tensor]:
    """The even and the odd channels, (B, C/2, H, W) each: a channel shuffle of two groups and a split in one."""
    return x[:, 0::2], x[:, 1::2]


class ShuffleUnit(nn.Module):
    """Two branches around `self._main`: (B, c_in, H, W) to (B, c_out, H/s, W/s).

    Main's inner width is c_out/2. Its output has what the projection leaves of c_out. Raises `ParameterError`.

    c_in: channels of the input.
    c_out: channels of the output.
    kernel: side of the depthwise kernels in pixels.
    stride: s, 1 or 2.
    act: the name of the activation, one of `ACTIVATIONS`.
    squeeze_excite: whether squeeze-and-excitation ends the main branch.
    projection: at stride 2 the projection leaves main `c_out - c_in` channels, or half of c_out if this is "half";
        at stride 1 half of them pass as they are.
    """

    def __init__(
        self,
        c_in: int,
        c_out: int,
        kernel: int = 3,
        stride: int = 1,
        act: str = "relu",
        squeeze_excite: bool = False,
        projection: str = "input",
    ):
        super().__init__()
        if stride == 1 and (c_in != c_out or c_in % 2):
            raise ParameterError(f"a shuffle unit of stride 1 keeps an even number of channels, got {c_in} to {c_out}")
        c_main_in = c_in // 2 if stride == 1 else c_in
        passed = c_out // 2 if stride == 1 or projection == "half" else c_in
        if passed >= c_out:
            raise ParameterError(f"a shuffle unit of stride 2 must add channels, got {c_in} to {c_out}")
        c_main = c_out - passed
        self.stride = stride
        self.main = nn.Sequential(*self._main(c_main_in, c_out // 2, c_main, kernel, stride, act))
        if squeeze_excite:
            self.main.append(SqueezeExcitation(c_main, max(1, c_main // 4)))
        if stride == 2:
            self.projection = nn.Sequential(depthwise(c_in, kernel, stride), ConvBN(c_in, passed, act=act))

    def _main(self, c_in: int, hidden: int, c_out: int, kernel: int, stride: int, act: str) -> list[nn.Module]:
        raise NotImplementedError

    def forward(self, x: Tensor) -> Tensor:
        if self.stride == 2:
            return torch.cat([self.projection(x), self.main(x)], 1)
        passed, x = shuffle_split(x)
        return torch.cat([passed, self.main(x)], 1)


class ShuffleBlock(ShuffleUnit):
    """Pointwise, depthwise `kernel`, pointwise (ShuffleNetV2, figure 3c and d; SPOS, section 4.1)."""

    def _main(self, c_in, hidden, c_out, kernel, stride, act):
        return [
            ConvBN(c_in, hidden, act=act),
            depthwise(hidden, kernel, stride),
            ConvBN(hidden, c_out, act=act),
        ]


class ShuffleXception(ShuffleUnit):
    """Depthwise and pointwise three times over (SPOS, section 4.1: "Xception")."""

    def _main(self, c_in, hidden, c_out, kernel, stride, act):
        return [
            depthwise(c_in, kernel, stride),
            ConvBN(c_in, hidden, act=act),
            depthwise(hidden, kernel),
            ConvBN(hidden, hidden, act=act),
            depthwise(hidden, kernel),
            ConvBN(hidden, c_out, act=act),
        ]


def depthwise(channels: int, kernel: int, stride: int = 1) -> nn.Module:
    """A depthwise convolution and normalisation, without an activation as everywhere in ShuffleNetV2.

    channels: of input and output.
    kernel: side of the kernel in pixels.
    stride: 1, or 2 to halve the map.
    """
    return ConvBN(channels, channels, kernel, stride, None, groups=channels)
