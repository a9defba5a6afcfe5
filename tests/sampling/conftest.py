"""A space and its supernet in small: what samplers ask of a space is its choices."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from nasedu.supernet.mixed import MixedOp


class Tiny(nn.Module):
    """A classifier (B, 4) to (B, 3) whose decision d is one of `choices[d]` linear maps."""

    def __init__(self, choices):
        super().__init__()
        self.mixed = nn.ModuleList(MixedOp(nn.Linear(4, 4) for _ in range(n)) for n in choices)
        self.head = nn.Linear(4, 3)

    def forward(self, x, path):
        for mixed, entry in zip(self.mixed, path, strict=True):
            x = torch.tanh(mixed(x, entry))
        return self.head(x)


@pytest.fixture
def space(toy):
    return toy([4, 4, 4])


@pytest.fixture
def uneven(toy):
    return toy([4, 3, 2, 1])


@pytest.fixture
def supernet(space):
    torch.manual_seed(0)
    return Tiny(space.choices)


@pytest.fixture
def batch():
    generator = torch.Generator().manual_seed(1)
    return torch.randn(16, 4, generator=generator), torch.randint(3, (16,), generator=generator)


@pytest.fixture
def generator():
    return torch.Generator().manual_seed(0)
