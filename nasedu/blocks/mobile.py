"""Inverted residuals: what ProxylessNAS, Single-Path NAS and FairNAS are built of.

Shapes are (B, C, H, W) throughout. Every block keeps the spatial size unless it has a `stride`.
"""

from __future__ import annotations

from functools import partial

from torch import Tensor, nn
from torchvision.ops import SqueezeExcitation

from nasedu.blocks.common import ConvBNAct

# The classification papers' convolution: no bias before the normalisation, whose settings are PyTorch's.
ConvBN = partial(ConvBNAct, bias=False, norm=nn.BatchNorm2d)


class MBConv(nn.Module):
    """Mobile inverted bottleneck (MobileNetV2, table 1): 1x1 to more channels, depthwise, 1x1.

    (B, c_in, H, W) to (B, c_out, H/s, W/s). The input is added where the shapes agree.

    c_in: channels of the input.
    c_out: channels of the output.
    kernel: side of the depthwise kernel in pixels.
    expansion: hidden channels, as a multiple of c_in; at 1 the first convolution is left out.
    stride: s, of the depthwise convolution.
    act: the name of the activation, one of `ACTIVATIONS`.
    squeeze_excite: whether the hidden channels are weighed by what a quarter of them say of the whole map
        (Squeeze-and-Excitation, section 3).
    shortcut: whether the input may be added.
    """

    def __init__(
        self,
        c_in: int,
        c_out: int,
        kernel: int = 3,
        expansion: int = 6,
        stride: int = 1,
        act: str = "relu6",
        squeeze_excite: bool = False,
        shortcut: bool = True,
    ):
        super().__init__()
        hidden = c_in * expansion
        self.expand = ConvBN(c_in, hidden, act=act) if expansion > 1 else nn.Identity()
        self.depthwise = ConvBN(hidden, hidden, kernel, stride, act=act, groups=hidden)
        self.squeeze = SqueezeExcitation(hidden, max(1, hidden // 4)) if squeeze_excite else nn.Identity()
        self.project = ConvBN(hidden, c_out, act=None)
        self.shortcut = shortcut and stride == 1 and c_in == c_out

    def forward(self, x: Tensor) -> Tensor:
        y = self.project(self.squeeze(self.depthwise(self.expand(x))))
        return x + y if self.shortcut else y


class Classifier(nn.Module):
    """Global average, dropout, linear: (B, C, H, W) to logits (B, classes).

    channels: C.
    num_classes: the number of classes.
    bias: whether the linear layer has one.
    dropout: the share of the averages that is dropped in training.
    """

    def __init__(self, channels: int, num_classes: int, bias: bool = True, dropout: float = 0.0):
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.linear = nn.Linear(channels, num_classes, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(self.dropout(x.mean((2, 3))))
