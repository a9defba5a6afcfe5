"""What the spaces' tests share."""

from __future__ import annotations

import pytest
import torch
from torch import nn


@pytest.fixture
def randomised():
    """Gives a network statistics and affine parameters as different from their defaults as training makes them."""

    def randomise(network: nn.Module) -> nn.Module:
        """The same network, in eval mode."""
        generator = torch.Generator().manual_seed(1)
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.running_mean.normal_(0, 0.3, generator=generator)
                module.running_var.uniform_(0.5, 2, generator=generator)
                module.weight.data.uniform_(0.5, 1.5, generator=generator)
                module.bias.data.normal_(0, 0.3, generator=generator)
        return network.eval()

    return randomise
