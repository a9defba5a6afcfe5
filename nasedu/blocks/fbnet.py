"""FBNet's block, and the shortcut that a skipped block leaves.

Shapes are (B, C, H, W) throughout. Both keep the spatial size unless they have a `stride`.
"""

from __future__ import annotations

from torch import Tensor, nn
from torchvision.ops import SqueezeExcitation

from nasedu.blocks.mobile import ConvBN


class FBNetBlock(nn.Module):
    """Pointwise, depthwise, pointwise as in MobileNetV2, but with groups and no other exception (FBNet, figure 3).

    (B, c_in, H, W) to (B, c_out, H/s, W/s). The input is added where the shapes agree.

    c_in: channels of the input.
    c_out: channels of the output.
    kernel: side of the depthwise kernel in pixels.
    expansion: hidden channels, as a multiple of c_in.
    groups: of both pointwise convolutions.
    stride: s, of the depthwise convolution.
    act: the name of the activation, one of `ACTIVATIONS`.
    squeeze_excite: whether squeeze-and-excitation stands before the last convolution.
    keep_expansion: whether the first convolution stays at expansion 1.
    shuffle: whether the channels of several groups are shuffled after the first convolution.
    separable: whether two depthwise convolutions run in a row: at kernel 3 the `k3_sep` of the authors' code.
    """

    def __init__(
        self,
        c_in: int,
        c_out: int,
        kernel: int = 3,
        expansion: int = 6,
        groups: int = 1,
        stride: int = 1,
        act: str = "relu",
        squeeze_excite: bool = False,
        keep_expansion: bool = True,
        shuffle: bool = True,
        separable: bool = False,
    ):
        super().__init__()
        hidden = c_in * expansion
        keep = expansion > 1 or keep_expansion
        self.expand = ConvBN(c_in, hidden, act=act, groups=groups) if keep else nn.Identity()
        self.shuffle = ChannelShuffle(groups) if groups > 1 and shuffle else nn.Identity()
        self.depthwise = ConvBN(hidden, hidden, kernel, stride, act=act, groups=hidden)
        if separable:
            self.depthwise = nn.Sequential(self.depthwise, ConvBN(hidden, hidden, kernel, act=act, groups=hidden))
        self.squeeze = SqueezeExcitation(hidden, max(1, hidden // 4)) if squeeze_excite else nn.Identity()
        self.project = ConvBN(hidden, c_out, act=None, groups=groups)
        self.shortcut = stride == 1 and c_in == c_out

    def forward(self, x: Tensor) -> Tensor:
        y = self.project(self.squeeze(self.depthwise(self.shuffle(self.expand(x)))))
        return x + y if self.shortcut else y


class ChannelShuffle(nn.Module):
    """Deals the channels of (B, C, H, W) out to the groups in turn (ShuffleNet, section 3.1).

    It is `nn.ChannelShuffle`, made of operators that every opset of ONNX has.

    groups: of the convolution before, which divide C.
    """

    def __init__(self, groups: int):
        super().__init__()
        self.groups = groups

    def forward(self, x: Tensor) -> Tensor:
        batch, channels, height, width = x.shape
        dealt = x.reshape(batch, self.groups, channels // self.groups, height, width).transpose(1, 2)
        return dealt.reshape(batch, channels, height, width)


def skip(c_in: int, c_out: int, stride: int = 1, act: str = "relu") -> nn.Module:
    """A skipped block: the identity, or where the shapes differ a 1x1 convolution with normalisation and activation.

    The projection is that of FBNet's public code (mobile-vision); the paper says nothing of it.

    c_in: channels of the input.
    c_out: channels of the output.
    stride: of the block that is skipped.
    act: the name of the activation, one of `ACTIVATIONS`.
    """
    return nn.Identity() if stride == 1 and c_in == c_out else ConvBN(c_in, c_out, 1, stride, act)
