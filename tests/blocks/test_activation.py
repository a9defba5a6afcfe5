"""Activations work in place only where their gradient does not need what they write over."""

from __future__ import annotations

import pytest
import torch

from nasedu.blocks.common import ACTIVATIONS, activation


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_no_activation_copies_its_input(name):
    """What its gradient keeps is the map that came or the one that went, never a third one."""
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t) or t, lambda t: t):
        x = torch.randn(2, 3, 4, 4, requires_grad=True) * 1.0
        kept.clear()
        address = x.data_ptr()
        out = activation(name)(x)
    maps = [t.data_ptr() for t in kept if t.shape == out.shape]
    assert maps and set(maps) <= {address, out.data_ptr()}
