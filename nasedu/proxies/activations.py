"""Seeing every activation of a network, whether it is a module or a call inside `forward`.

Hooks see modules only, and a network whose `forward` calls `F.relu` would look linear. PyTorch's function modes see
the calls themselves, and every activation module makes one.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from nasedu.errors import ProxyError

# Piecewise linear activations and their smooth relatives: all tell a positive input from a negative one.
SEEN = {
    *(torch.relu, torch.relu_, Tensor.relu, Tensor.relu_, F.relu, F.relu_, F.relu6, F.hardtanh, F.hardtanh_),
    *(F.leaky_relu, F.leaky_relu_, F.prelu, torch.prelu, Tensor.prelu, F.rrelu, F.rrelu_, torch.rrelu),
    *(F.elu, F.elu_, F.selu, torch.selu, F.celu, torch.celu, F.gelu, F.silu, F.mish, F.hardswish, F.softplus),
}
WANTED = "ReLU, ReLU6, LeakyReLU, PReLU, ELU, GELU, SiLU, Mish, Hardswish and their functions are seen"


class WatchActivations(TorchFunctionMode):
    """Calls `see(x)` with the input of every activation that runs while the context is open, before it runs.

    Before, because one that works in place overwrites its input. What clamps with other means (`x.clamp(min=0)`,
    `torch.where`) is not seen, nor are gates such as the sigmoid.
    """

    def __init__(self, see: Callable[[Tensor], None]):
        super().__init__()
        self.see = see

    def __torch_function__(self, function, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if function in SEEN:
            self.see(args[0] if args else kwargs["input"])
        return function(*args, **kwargs)


def no_activation(model: torch.nn.Module) -> ProxyError:
    """The error for a network in which none was seen."""
    return ProxyError(f"no activation ran in this {type(model).__name__}: {WANTED}; others, such as clamp, are not")
