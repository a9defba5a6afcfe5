"""Efficient layer aggregation: what the YOLOv7 family is built of (Wang, Bochkovskiy and Liao 2023).

Shapes are (B, C, H, W) throughout. Every block keeps the spatial size but `Transition`, which halves it.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from nasedu.blocks.common import ConvBNAct, activation, batch_norm


class ELAN(nn.Module):
    """Two 1x1 convolutions, and a chain of 3x3 ones behind the second; outputs are concatenated and fused (Fig. 2).

    The chain ends with the last of its outputs that is read. (B, c_in, H, W) to (B, c_out, H, W).

    c_in: channels of the input.
    c_out: channels of the output.
    hidden: channels of each convolution of the chain.
    reads: which of the chain's outputs are concatenated, from 0 on; the 1x1 convolutions' always are.
    act: the name of the activation, one of `ACTIVATIONS`.
    """

    widen = 1  # how much wider than the chain the 1x1 convolutions are
    ends_active = True  # what it hands on comes out of an activation

    def __init__(self, c_in: int, c_out: int, hidden: int, reads: Sequence[int], act: str = "silu"):
        super().__init__()
        self.reads, wide = tuple(reads), self.widen * hidden
        self.cross, self.enter = ConvBNAct(c_in, wide, 1, act=act), ConvBNAct(c_in, wide, 1, act=act)
        inputs = [wide, *[hidden] * max(self.reads, default=-1)] if self.reads else []
        self.chain = nn.ModuleList(ConvBNAct(c, hidden, 3, act=act) for c in inputs)
        self.fuse = ConvBNAct(2 * wide + len(self.reads) * hidden, c_out, 1, act=act)

    def forward(self, x: Tensor) -> Tensor:
        """(B, c_in, H, W) to (B, c_out, H, W)."""
        z = self.enter(x)
        kept = [self.cross(x), z]
        for i, conv in enumerate(self.chain):
            z = conv(z)
            kept += [z] if i in self.reads else []
        return self.fuse(torch.cat(kept, 1))


class ELAN2(ELAN):
    """The neck's: its 1x1 convolutions are twice as wide as the chain. Arguments as in `ELAN`."""

    widen = 2


class Transition(nn.Module):
    """Halves the sides: a max pool and a 1x1 convolution beside a 1x1 and a strided 3x3 one, concatenated.

    (B, c_in, H, W) to (B, 2 hidden, H / 2, W / 2).

    c_in: channels of the input.
    hidden: channels of each branch.
    act: the name of the activation, one of `ACTIVATIONS`.
    """

    def __init__(self, c_in: int, hidden: int, act: str = "silu"):
        super().__init__()
        self.pooled = nn.Sequential(nn.MaxPool2d(2), ConvBNAct(c_in, hidden, 1, act=act))
        self.strided = nn.Sequential(ConvBNAct(c_in, hidden, 1, act=act), ConvBNAct(hidden, hidden, 3, 2, act=act))

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([self.strided(x), self.pooled(x)], 1)


class SPPCSPC(nn.Module):
    """Spatial pyramid pooling beside a 1x1 convolution, concatenated and fused, as YOLOv7 has it.

    c_in: channels of the input.
    c_out: channels of the output.
    act: the name of the activation, one of `ACTIVATIONS`.
    pools: sides of the max pools in pixels, all at stride 1.
    thin: the form of YOLOv7-tiny, without the three 3x3 and 1x1 convolutions around the pools.
    """

    def __init__(
        self, c_in: int, c_out: int, act: str = "silu", pools: tuple[int, ...] = (5, 9, 13), thin: bool = False
    ):
        super().__init__()

        def conv(c: int, kernel: int = 1) -> ConvBNAct:
            return ConvBNAct(c, c_out, kernel, act=act)

        self.cross = conv(c_in)
        self.before = nn.Sequential(conv(c_in), *([] if thin else [conv(c_out, 3), conv(c_out)]))
        self.pools = nn.ModuleList(nn.MaxPool2d(k, 1, k // 2) for k in pools)
        self.after = nn.Sequential(conv((1 + len(pools)) * c_out), *([] if thin else [conv(c_out, 3)]))
        self.fuse = conv(2 * c_out)

    def forward(self, x: Tensor) -> Tensor:
        deep = self.before(x)
        deep = self.after(torch.cat([deep, *(pool(deep) for pool in self.pools)], 1))
        return self.fuse(torch.cat([deep, self.cross(x)], 1))


class RepConv(nn.Module):
    """A 3x3 and a 1x1 convolution, each normalised, and a normalised identity where the widths agree, summed (RepVGG).

    `merged` makes one 3x3 convolution of them. (B, c_in, H, W) to (B, c_out, H, W).

    c_in: channels of the input.
    c_out: channels of the output.
    act: the name of the activation, one of `ACTIVATIONS`.
    """

    def __init__(self, c_in: int, c_out: int, act: str = "silu"):
        super().__init__()
        self.branches = nn.ModuleList(
            nn.Sequential(nn.Conv2d(c_in, c_out, k, padding=k // 2, bias=False), batch_norm(c_out)) for k in (3, 1)
        )
        self.identity = batch_norm(c_in) if c_in == c_out else None
        self.act = activation(act)

    def forward(self, x: Tensor) -> Tensor:
        y = self.branches[0](x) + self.branches[1](x)
        return self.act(y if self.identity is None else y + self.identity(x))

    def merged(self) -> nn.Module:
        """What computes the same in evaluation mode (RepVGG, section 3.3)."""
        kernels = [(branch[0].weight, branch[1]) for branch in self.branches]
        if self.identity is not None:
            same = torch.eye(self.identity.num_features).to(kernels[0][0])[..., None, None]
            kernels.append((same, self.identity))
        c_out, c_in = kernels[0][0].shape[:2]
        conv = nn.Conv2d(c_in, c_out, 3, padding=1).to(kernels[0][0])
        parts = [scaled(weight, norm) for weight, norm in kernels]
        padded = [nn.functional.pad(weight, [(3 - weight.shape[-1]) // 2] * 4) for weight, _ in parts]
        with torch.no_grad():
            conv.weight.copy_(torch.stack(padded).sum(0))
            conv.bias.copy_(torch.stack([bias for _, bias in parts]).sum(0))
        return nn.Sequential(conv, self.act)


def scaled(weight: Tensor, norm: nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    """Kernel and bias of a convolution without bias that a normalisation in evaluation mode follows.

    weight: (out, in, k, k).
    norm: of `out` channels.
    """
    scale = norm.weight * (norm.running_var + norm.eps).rsqrt()
    return weight * scale[:, None, None, None], norm.bias - norm.running_mean * scale
