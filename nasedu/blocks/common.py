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
    "swish": nn.SiLU,  # its name in the papers of 2017 to 2021
    "selu": nn.SELU,
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


def convolve(x: Tensor, weight: Tensor, bias: Tensor | None, conv: nn.Conv2d) -> Tensor:
    """`conv` with other weights, which may be some of its own.

    oneDNN 3 writes out of bounds in the gradient of a strided 1x1 convolution of channels-last maps with fewer channels
    than fit into a register, 8 or 16 (its issue 6035): those get every s-th pixel, which is the same function.

    x: (B, C, H, W).
    weight: (out, C / groups, k, k).
    bias: (out,) or None.
    conv: has stride, padding and groups.
    """
    stride = conv.stride
    if weight.shape[-1] == 1 and stride[0] > 1 and x.shape[1] < 16:
        x, stride = x[:, :, :: stride[0], :: stride[1]], (1, 1)
    return nn.functional.conv2d(x, weight, bias, stride, conv.padding, 1, conv.groups)


class Conv2d(nn.Conv2d):
    """PyTorch's, run by `convolve`."""

    def forward(self, x: Tensor) -> Tensor:
        return convolve(x, self.weight, self.bias, self)


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
        self.conv = Conv2d(c_in, c_out, kernel, stride, kernel // 2, groups=groups, bias=bias)
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
