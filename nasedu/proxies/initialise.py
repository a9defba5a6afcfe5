"""Fresh weights from a generator, for proxies that are defined on weights of their own."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

LAYERS = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.Linear)


def standard_normal(model: nn.Module, generator: torch.Generator) -> nn.Module:
    """Weights of convolutions and linear layers from N(0, 1), biases 0, batch normalisation 1 and 0; in place.

    Zen-NAS's initialisation (Lin et al. 2021, section 3.2). Drawn where the generator is: one on the CPU gives every
    device the same, one of the network's device saves the way.
    """
    return _fresh(model, generator, lambda weight: 1.0)


def kaiming(model: nn.Module, generator: torch.Generator) -> nn.Module:
    """Weights of convolutions and linear layers from N(0, 2 / fan-in), biases 0, BN 1, 0; in place (He et al. 2015)."""
    return _fresh(model, generator, lambda weight: (2 / weight[0].numel()) ** 0.5)


@torch.no_grad()
def _fresh(model: nn.Module, generator: torch.Generator, deviation: Callable[[Tensor], float]) -> nn.Module:
    """Weights from N(0, deviation(weight)^2), whatever the caller's default precision and device; in place."""
    for part in model.modules():
        if isinstance(part, LAYERS):
            shape, device = part.weight.shape, generator.device
            draws = torch.randn(shape, generator=generator, dtype=torch.float32, device=device)
            part.weight.copy_(draws.mul_(deviation(part.weight)))
            if part.bias is not None:
                part.bias.zero_()
        elif isinstance(part, _BatchNorm | nn.GroupNorm) and part.weight is not None:
            part.weight.fill_(1.0)
            part.bias.zero_()
    return model
