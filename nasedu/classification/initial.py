"""The initial weights of the published training."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

GAIN = 3.26033  # 2 sqrt(3) / (1 + .25^2), the public code's
SHORTCUTS = {"shortcut", "proj", "projection", "downsample"}  # names of what stands beside a residual branch


def zen_init(model: nn.Module, generator: torch.Generator, *, bn_momentum: float | None = None) -> nn.Module:
    """Draw the weights with which Zen-NAS's training starts, in place; returns `model`.

    Convolutions and linear layers: Xavier normal with gain 3.26033, biases 0. Normalisations: 1 and 0, but 0 and 0 for
    the last of a residual branch, so that the block begins as its shortcut. A residual block is a module whose
    attribute `residual` is true; what is called "shortcut", "proj", "projection" or "downsample" in it is not its
    branch.

    model: the network.
    generator: draws the weights.
    bn_momentum: is set where given: .01 in the published training, which forgets slowly: after 100 steps the running
        statistics still hold a third of their initial values.
    """
    for module in model.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            drawn = torch.empty(module.weight.shape, device=generator.device)
            nn.init.xavier_normal_(drawn, GAIN, generator)
            module.weight.data.copy_(drawn)
        elif isinstance(module, _BatchNorm):
            module.momentum = module.momentum if bn_momentum is None else bn_momentum
            _fill(module.weight, 1.0)
        if isinstance(module, nn.Conv2d | nn.Linear | _BatchNorm):
            _fill(module.bias, 0.0)
    for module in model.modules():
        if getattr(module, "residual", False) is True:
            _fill(getattr(_last_norm(module), "weight", None), 0.0)
    return model


def _last_norm(block: nn.Module) -> nn.Module | None:
    """The last normalisation of the block's branch."""
    norms = [
        m for name, m in block.named_modules() if isinstance(m, _BatchNorm) and SHORTCUTS.isdisjoint(name.split("."))
    ]
    return norms[-1] if norms else None


def _fill(parameter: nn.Parameter | None, value: float) -> None:
    if parameter is not None:
        parameter.data.fill_(value)
