"""Cross-stage partial blocks: what the YOLOv4 family is built of.

Shapes are (B, C, H, W) throughout. Every block keeps the spatial size unless it has a `stride`.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from nasedu.blocks.common import ConvBNAct, activation, batch_norm, pointwise


class Bottleneck(nn.Module):
    """1x1 to `hidden` channels, then 3x3 back to `channels` (ResNet; YOLOv3).

    channels: of input and output.
    hidden: channels between the convolutions.
    shortcut: whether the input is added.
    act: the name of the activation, one of `ACTIVATIONS`.
    """

    def __init__(self, channels: int, hidden: int, shortcut: bool, act: str = "mish"):
        super().__init__()
        self.reduce = ConvBNAct(channels, hidden, 1, act=act)
        self.conv = ConvBNAct(hidden, channels, 3, act=act)
        self.shortcut = shortcut

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv(self.reduce(x))
        return x + y if self.shortcut else y


class CSP(nn.Module):
    """Cross-stage partial block with residual bottlenecks (Scaled-YOLOv4, section 3; CSPNet).

    One branch runs the bottlenecks, the other is a single 1x1 convolution; both are concatenated, normalised,
    activated and fused. (B, c_in, H, W) to (B, c_out, H, W).

    c_in: channels of the input.
    c_out: channels of the output.
    hidden: channels of each branch.
    depth: how many bottlenecks.
    act: the name of the activation, one of `ACTIVATIONS`.
    """

    reverse = False  # the neck's order, see `CSP2`

    def __init__(self, c_in: int, c_out: int, hidden: int, depth: int, act: str = "mish"):
        super().__init__()
        self.enter = ConvBNAct(c_in, hidden, 1, act=act)
        self.bottlenecks = nn.Sequential(*(Bottleneck(hidden, hidden, not self.reverse, act) for _ in range(depth)))
        if not self.reverse:
            self.deep = pointwise(hidden, hidden)
        self.cross = pointwise(hidden if self.reverse else c_in, hidden)
        self.bn = batch_norm(2 * hidden)
        self.act = activation(act)
        self.fuse = ConvBNAct(2 * hidden, c_out, 1, act=act)

    def forward(self, x: Tensor) -> Tensor:
        entered = self.enter(x)
        deep = self.bottlenecks(entered)
        deep, shallow = (deep, entered) if self.reverse else (self.deep(deep), x)
        return self.fuse(self.act(self.bn(torch.cat([deep, self.cross(shallow)], 1))))


class CSP2(CSP):
    """The neck's cross-stage partial block: no residuals, and the cross branch leaves after the first convolution.

    The bottlenecks' output, of which there may be 0, is not convolved again. Shapes and arguments as in `CSP`.
    Scaled-YOLOv4, section 3 (reversed CSP).
    """

    reverse = True


class SPPCSP(nn.Module):
    """Spatial pyramid pooling inside a cross-stage partial block (Scaled-YOLOv4, section 3).

    c_in: channels of the input.
    c_out: channels of the output.
    act: the name of the activation, one of `ACTIVATIONS`.
    pools: sides of the max pools in pixels, all at stride 1.
    """

    def __init__(self, c_in: int, c_out: int, act: str = "mish", pools: tuple[int, ...] = (5, 9, 13)):
        super().__init__()
        self.before = nn.Sequential(
            ConvBNAct(c_in, c_out, 1, act=act), ConvBNAct(c_out, c_out, 3, act=act), ConvBNAct(c_out, c_out, 1, act=act)
        )
        self.pools = nn.ModuleList(nn.MaxPool2d(k, 1, k // 2) for k in pools)
        self.after = nn.Sequential(
            ConvBNAct((1 + len(pools)) * c_out, c_out, 1, act=act), ConvBNAct(c_out, c_out, 3, act=act)
        )
        self.cross = pointwise(c_in, c_out)
        self.bn = batch_norm(2 * c_out)
        self.act = activation(act)
        self.fuse = ConvBNAct(2 * c_out, c_out, 1, act=act)

    def forward(self, x: Tensor) -> Tensor:
        deep = self.before(x)
        deep = self.after(torch.cat([deep, *(pool(deep) for pool in self.pools)], 1))
        return self.fuse(self.act(self.bn(torch.cat([deep, self.cross(x)], 1))))
