"""ResNet's basic block (He et al. 2016, figure 2), and the stem and head that stand around a row of them."""

from __future__ import annotations

from torch import Tensor, nn

from nasedu.blocks.common import activation
from nasedu.blocks.mobile import ConvBN


class BasicBlock(nn.Module):
    """Two 3x3 convolutions beside a shortcut: (B, c_in, H, W) to (B, c_out, H/s, W/s).

    The shortcut is the input itself, or a 1x1 convolution of it where the shape changes.

    c_in: channels of the input.
    hidden: channels between the two convolutions.
    c_out: channels of the output.
    stride: s, of the first convolution.
    act: the activation after the sum; the one between the convolutions is a ReLU.
    """

    def __init__(self, c_in: int, hidden: int, c_out: int, stride: int = 1, act: str = "relu"):
        super().__init__()
        self.conv1 = ConvBN(c_in, hidden, 3, stride, act="relu")
        self.conv2 = ConvBN(hidden, c_out, 3, act=None)
        same = stride == 1 and c_in == c_out
        self.shortcut = nn.Identity() if same else ConvBN(c_in, c_out, 1, stride, act=None)
        self.act = activation(act)

    def forward(self, x: Tensor) -> Tensor:
        return self.act(self.conv2(self.conv1(x)) + self.shortcut(x))


class Stem(nn.Module):
    """7x7 convolution and, as published, a 3x3 pool of stride 2: (B, 3, H, W) to (B, c_out, H/s, W/s), s 2 or 4.

    c_out: channels of the output.
    stride: of the convolution.
    pool: whether the pool follows.
    """

    def __init__(self, c_out: int, stride: int = 2, pool: bool = True):
        super().__init__()
        self.conv = ConvBN(3, c_out, 7, stride, act="relu")
        self.pool = nn.MaxPool2d(3, 2, 1) if pool else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return self.pool(self.conv(x))
