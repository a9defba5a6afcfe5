"""What all blocks are made of: activations, normalisation, a convolution with both."""

from __future__ import annotations

import functools
from collections.abc import Callable

import torch
from torch import Tensor, nn

from nasedu.errors import check_name

ACTIVATIONS: dict[str, type[nn.Module]] = {
    "mish": nn.Mish,
    "silu": nn.SiLU,
    "relu": nn.ReLU,
    "relu6": nn.ReLU6,
    "hardswish": nn.Hardswish,
    "prelu": nn.PReLU,
}


def activation(name: str) -> nn.Module:
    """A fresh activation module. Raises `UnknownName`."""
    kind = ACTIVATIONS[check_name("activation", name, ACTIVATIONS)]
    # in place, the others would copy their input first, since their gradient needs it
    return kind(inplace=True) if kind is nn.ReLU else kind()


def batch_norm(channels: int) -> nn.BatchNorm2d:
    """Batch normalisation with the detectors' usual settings (eps 1e-3, momentum 0.03; YOLOv4)."""
    return nn.BatchNorm2d(channels, eps=1e-3, momentum=0.03)


def pointwise(c_in: int, c_out: int) -> nn.Conv2d:
    """A plain 1x1 convolution: no bias, no normalisation, no activation."""
    return nn.Conv2d(c_in, c_out, 1, bias=False)


class ConvBNAct(nn.Module):
    """Convolution, batch normalisation, activation: (B, c_in, H, W) to (B, c_out, H/s, W/s).

    c_in: channels of the input.
    c_out: channels of the output.
    kernel: side of the kernel in pixels; the padding is kernel // 2.
    stride: s.
    act: the name of the activation; None leaves it out.
    bias: whether the convolution keeps a bias before BN, as the YOLOv4 family's public code does.
    groups: of the convolution.
    norm: makes the normalisation from the number of channels.
    """

    def __init__(
        self,
        c_in: int,
        c_out: int,
        kernel: int = 1,
        stride: int = 1,
        act: str | None = "mish",
        bias: bool = True,
        groups: int = 1,
        norm: Callable[[int], nn.Module] = batch_norm,
    ):
        super().__init__()
        self.conv = nn.Conv2d(c_in, c_out, kernel, stride, kernel // 2, groups=groups, bias=bias)
        self.bn = norm(c_out)
        self.act = activation(act) if act else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return self.act(self.bn(self.conv(x)))


class Concat(nn.Module):
    """Concatenate any number of maps along the channels."""

    def forward(self, *maps: Tensor) -> Tensor:
        return torch.cat(maps, 1)


class Add(nn.Module):
    """Add any number of maps."""

    def forward(self, *maps: Tensor) -> Tensor:
        return functools.reduce(torch.add, maps)
