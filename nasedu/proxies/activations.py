"""Seeing every activation of a network, whether it is a module or a call inside `forward`.

Hooks see modules only, and a network whose `forward` calls `F.relu` would look linear. PyTorch's function modes see
the calls themselves, and every activation module makes one.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from nasedu.errors import ProxyError

# Piecewise linear activations and their smooth relatives: all tell a positive input from a negative one.
SEEN = {
    *(torch.relu, torch.relu_, Tensor.relu, Tensor.relu_, F.relu, F.relu_, F.relu6, F.hardtanh, F.hardtanh_),
    *(F.leaky_relu, F.leaky_relu_, F.prelu, torch.prelu, Tensor.prelu, F.rrelu, F.rrelu_, torch.rrelu),
    *(F.elu, F.elu_, F.selu, torch.selu, F.celu, torch.celu, F.gelu, F.silu, F.mish, F.hardswish, F.softplus),
}
# ReLUs in other words, where the other operand is zero
CLAMPS = {
    *(torch.clamp, torch.clamp_, Tensor.clamp, Tensor.clamp_, torch.clip, torch.clip_, Tensor.clip, Tensor.clip_),
    *(torch.clamp_min, torch.clamp_min_, Tensor.clamp_min, Tensor.clamp_min_),
}
THRESHOLDS = {F.threshold, F.threshold_, torch.threshold, torch.threshold_}
MAXIMA = {torch.maximum, Tensor.maximum, torch.max, Tensor.max}
RECTIFIERS = CLAMPS | THRESHOLDS | MAXIMA
WANTED = "ReLU, ReLU6, LeakyReLU, PReLU, ELU, GELU, SiLU, Mish, Hardswish and their functions are seen"


class WatchActivations(TorchFunctionMode):
    """Calls `see(x)` with the input of every activation that runs while the context is open, before it runs.

    Before, because one that works in place overwrites its input. So are ReLUs in other words: `x.clamp(min=0)`,
    `F.threshold(x, 0, 0)`, `torch.maximum(x, zero)`. Not seen: `torch.where`, products with a mask such as
    `x * (x > 0)`, and gates such as the sigmoid.
    """

    def __init__(self, see: Callable[[Tensor], None]):
        super().__init__()
        self.see = see

    def __torch_function__(self, function, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        x = args[0] if args else kwargs.get("input")
        if function in SEEN:
            self.see(x)
        elif function in RECTIFIERS:
            x = _rectified(function, x, args[1] if len(args) > 1 else None, kwargs)
            if x is not None:
                self.see(x)
        return function(*args, **kwargs)


def _rectified(function: Callable, x: Tensor, other: object, kwargs: dict) -> Tensor | None:
    """What a call cuts off at zero as a ReLU does; None where it cuts elsewhere, or no feature map (B, ...)."""
    for key in ("min", "threshold", "other"):
        other = kwargs.get(key, other)
    if function in MAXIMA and isinstance(other, Tensor) and _zero(x):
        x, other = other, x
    if function in MAXIMA and not isinstance(other, Tensor):  # the axis of torch.max(x, 0)
        return None
    features = isinstance(x, Tensor) and x.ndim >= 2 and x.is_floating_point() and not isinstance(x, nn.Parameter)
    return x if features and _zero(other) else None


def _zero(value: object) -> bool:
    return not value.any() if isinstance(value, Tensor) else value is not None and value == 0


def no_activation(model: nn.Module) -> ProxyError:
    """The error for a network in which none was seen."""
    return ProxyError(
        f"no activation ran in this {type(model).__name__}: {WANTED}; others, such as torch.where, are not"
    )
