"""The initial weights of a training, by name: those of Zen-NAS's public training, and He's."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from nasedu.registry import Registry

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
    _started(model, generator, partial(_glorot, GAIN))
    for module in model.modules():
        if isinstance(module, _BatchNorm) and bn_momentum is not None:
            module.momentum = bn_momentum
        if getattr(module, "residual", False) is True:
            _fill(getattr(_last_norm(module), "weight", None), 0.0)
    return model


def fan_in(scale: float, model: nn.Module, generator: torch.Generator) -> nn.Module:
    """Weights from N(0, 1) / sqrt(fan-in), times `scale`, in place; the rest as in `zen_init`.

    The public training has it three times: scale 1 ("stupid"), .1 ("01") and 1e-4 ("zero"). He et al. (2015) take the
    root of 2. A linear layer of the public code divides by the root of its outputs; here of its inputs.

    scale: of the weights.
    model: the network.
    generator: draws the weights.
    """
    return _started(model, generator, lambda weight: scale / weight[0].numel() ** 0.5)


def xavier(model: nn.Module, generator: torch.Generator) -> nn.Module:
    """Xavier normal with the gain of ReLU, the root of 2 (Glorot and Bengio 2010), in place; linear layers 3.26033.

    The public training's "xavier". `zen_init` has 3.26033 for both, and also starts residual branches at zero.
    """
    return _started(model, generator, lambda weight: _glorot(GAIN if weight.ndim == 2 else 2**0.5, weight))


def _glorot(gain: float, weight: Tensor) -> float:
    inside, outside = weight[0].numel(), len(weight) * weight[0, 0].numel()
    return gain * (2 / (inside + outside)) ** 0.5


def _started(model: nn.Module, generator: torch.Generator, deviation: Callable[[Tensor], float]) -> nn.Module:
    """Weights of convolutions and linear layers from N(0, deviation^2), biases 0, normalisations 1 and 0."""
    for module in model.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            drawn = torch.randn(module.weight.shape, generator=generator, device=generator.device)
            module.weight.data.copy_(drawn * deviation(module.weight))
        elif isinstance(module, _BatchNorm | nn.GroupNorm):
            _fill(module.weight, 1.0)
        if isinstance(module, nn.Conv2d | nn.Linear | _BatchNorm | nn.GroupNorm):
            _fill(module.bias, 0.0)
    return model


def as_built(model: nn.Module, generator: torch.Generator) -> nn.Module:
    """The weights that the network was built with."""
    return model


INITIALS: Registry = Registry("initialisation", {
    "built": as_built,
    "zen": zen_init,
    "xavier": xavier,
    "he": partial(fan_in, 2**0.5),
    "fan_in": partial(fan_in, 1.0),
    "small": partial(fan_in, 0.1),
    "tiny": partial(fan_in, 1e-4),
})  # fmt: skip


def _last_norm(block: nn.Module) -> nn.Module | None:
    """The last normalisation of the block's branch."""
    norms = [
        m for name, m in block.named_modules() if isinstance(m, _BatchNorm) and SHORTCUTS.isdisjoint(name.split("."))
    ]
    return norms[-1] if norms else None


def _fill(parameter: nn.Parameter | None, value: float) -> None:
    if parameter is not None:
        parameter.data.fill_(value)
