"""Convolutions that are trained in two thin factors and used as the dense one that these are."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nasedu.blocks.common import Conv2d


class Factorised(nn.Module):
    """A k x k convolution as a depthwise k x k one and a pointwise one with nothing between (WZDNAS, branch dw).

    For each input channel the dense kernel has rank one: W[o, i] = B[o, i] A[i]. It is cheaper to train: k^2 C_in +
    C_in C_out products per pixel in place of k^2 C_in C_out.

    conv: whose place it takes, with its sides, stride and channels; its weights and its bias are not kept.
    """

    def __init__(self, conv: nn.Conv2d):
        super().__init__()
        c, made = conv.in_channels, {"device": conv.weight.device, "dtype": conv.weight.dtype, "bias": False}
        self.depthwise = nn.Conv2d(c, c, conv.kernel_size, conv.stride, conv.padding, groups=c, **made)
        self.pointwise = nn.Conv2d(c, conv.out_channels, 1, **made)
        self.biased = conv.bias is not None

    def forward(self, x: Tensor) -> Tensor:
        return self.pointwise(self.depthwise(x))

    def narrow(self, x: Tensor, out: int) -> Tensor:
        """With its first `out` filters, reading the channels that `x` has.

        x: (B, C, H, W).
        out: how many.
        """
        c, a = x.shape[1], self.depthwise
        x = F.conv2d(x, a.weight[:c], None, a.stride, a.padding, 1, c)
        return F.conv2d(x, self.pointwise.weight[:out, :c])

    @torch.no_grad()
    def merged(self) -> Conv2d:
        """The dense convolution that computes the same, with a bias of zeros where the one before had any."""
        a, b = self.depthwise, self.pointwise
        conv = Conv2d(a.in_channels, b.out_channels, a.kernel_size, a.stride, a.padding, bias=self.biased)
        conv.to(b.weight).weight.copy_(b.weight * a.weight[:, 0])
        if self.biased:
            conv.bias.zero_()
        return conv


def exchange(model: nn.Module, kind: type[nn.Module], make) -> list[str]:
    """Put `make(part)` in the place of every part of a kind, in place; their names.

    model: what is changed.
    kind: of the parts.
    make: from a part to what takes its place; the part itself stays.
    """
    found = [(name, part) for name, part in model.named_modules() if isinstance(part, kind)]
    changed = []
    for name, part in found:
        if (new := make(part)) is not part:
            parent, _, child = name.rpartition(".")
            setattr(model.get_submodule(parent), child, new)
            changed.append(name)
    return changed
