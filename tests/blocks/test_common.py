"""Convolutions as PyTorch's, also where its library is wrong."""

import pytest
import torch
from torch import nn

from nasedu.blocks import ConvBNAct


@pytest.mark.parametrize(("c_in", "kernel", "stride"), [(6, 1, 2), (7, 1, 2), (16, 1, 2), (8, 1, 1), (6, 3, 2)])
def test_a_strided_convolution_is_pytorchs_and_so_is_its_gradient(c_in, kernel, stride):
    """Fewer channels than a register holds are given every second pixel: outputs and gradients are the same."""
    torch.manual_seed(0)
    ours = ConvBNAct(c_in, 5, kernel, stride, bias=False).conv
    theirs = nn.Conv2d(c_in, 5, kernel, stride, kernel // 2, bias=False)  # in the layout for which it is right
    theirs.load_state_dict(ours.state_dict())
    x, y = (torch.randn(2, c_in, 9, 9, generator=torch.Generator().manual_seed(1)).requires_grad_() for _ in range(2))
    a, b = ours(x.to(memory_format=torch.channels_last)), theirs(y)
    torch.testing.assert_close(a, b)
    for out in (a, b):
        out.square().sum().backward()
    torch.testing.assert_close(x.grad, y.grad)
    torch.testing.assert_close(ours.weight.grad, theirs.weight.grad)


def test_narrow_strided_shortcuts_can_be_trained_with_their_channels_last():
    """oneDNN 3 writes out of bounds there (its issue 6035), and the process ends in "double free"."""
    conv = ConvBNAct(6, 12, 1, 2, bias=False).to(memory_format=torch.channels_last)
    for _ in range(30):
        x = torch.randn(64, 6, 16, 16).to(memory_format=torch.channels_last).requires_grad_()
        conv(x).sum().backward()
    assert conv.conv.weight.grad.isfinite().all()
