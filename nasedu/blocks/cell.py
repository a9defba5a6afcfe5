"""The operations of NAS-Bench-201's cell, and the residual block that halves the resolution between its stages.

Shapes are (B, C, H, W) throughout. Activations are not in place: several edges read the same node.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torchvision.ops import SqueezeExcitation

from nasedu.blocks.common import ACTIVATIONS


class ActConvBN(nn.Sequential):
    """Activation, convolution, batch normalisation (NAS-Bench-201, section 2.1): (B, c_in, H, W) to (B, c_out, ...).

    c_in: channels of the input.
    c_out: channels of the output.
    kernel: side of the kernel in pixels; the padding is kernel // 2.
    stride: 1, or 2 to halve the map.
    act: the name of the activation, one of `ACTIVATIONS`.
    squeeze_excite: whether squeeze-and-excitation follows.
    """

    def __init__(self, c_in: int, c_out: int, kernel: int, stride: int = 1, act="relu", squeeze_excite: bool = False):
        super().__init__(
            ACTIVATIONS[act](),
            nn.Conv2d(c_in, c_out, kernel, stride, kernel // 2, bias=False),
            nn.BatchNorm2d(c_out),
            *([SqueezeExcitation(c_out, max(1, c_out // 4))] if squeeze_excite else []),
        )


class Zero(nn.Module):
    """No connection: zeros of the input's shape."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.zeros_like(x)


class ReductionBlock(nn.Module):
    """Two 3x3 convolutions at stride 2, beside an average pool and a 1x1: (B, c, H, W) to (B, 2c, H/2, W/2).

    c_in: channels of the input.
    c_out: channels of the output, in the paper twice as many.
    act: the name of the activation, one of `ACTIVATIONS`.
    """

    def __init__(self, c_in: int, c_out: int, act: str = "relu"):
        super().__init__()
        self.a = ActConvBN(c_in, c_out, 3, 2, act)
        self.b = ActConvBN(c_out, c_out, 3, 1, act)
        pool = nn.AvgPool2d(2, 2, ceil_mode=True)  # an odd map keeps the size that the convolution gives it
        self.shortcut = nn.Sequential(pool, nn.Conv2d(c_in, c_out, 1, bias=False))

    def forward(self, x: Tensor) -> Tensor:
        return self.shortcut(x) + self.b(self.a(x))


class PoolReduction(nn.Sequential):
    """Average pool and a normalised 1x1 convolution, no more: (B, c, H, W) to (B, 2c, H/2, W/2).

    c_in: channels of the input.
    c_out: channels of the output.
    act: the name of the activation, one of `ACTIVATIONS`.
    """

    def __init__(self, c_in: int, c_out: int, act: str = "relu"):
        super().__init__(nn.AvgPool2d(2, 2, ceil_mode=True), *ActConvBN(c_in, c_out, 1, act=act))
