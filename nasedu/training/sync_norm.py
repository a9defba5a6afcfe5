"""Batch normalisation over the batch of all processes, on any device and in networks that call it themselves.

PyTorch's `SyncBatchNorm` is for accelerators alone, and for layers of its own class, which the elastic layers of a
supernet are not.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from nasedu.processes import Processes


class SyncNorm(TorchFunctionMode):
    """While the context is open, batch normalisation in training mode takes mean and variance over all processes.

    Every process must run the same layers in the same order, on parts of one size.

    team: the processes.
    """

    def __init__(self, team: Processes):
        super().__init__()
        self.team = team

    def __torch_function__(self, function: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        function = self._normalised if function is F.batch_norm else function
        return function(*args, **(kwargs or {}))

    def _normalised(
        self,
        x: Tensor,
        running_mean: Tensor | None,
        running_var: Tensor | None,
        weight: Tensor | None = None,
        bias: Tensor | None = None,
        training: bool = False,
        momentum: float = 0.1,
        eps: float = 1e-5,
    ) -> Tensor:
        if not training:
            return F.batch_norm(x, running_mean, running_var, weight, bias, False, momentum, eps)
        wide = x if x.dtype == torch.float64 else x.float()
        over, shape = [d for d in range(x.ndim) if d != 1], [1, -1] + [1] * (x.ndim - 2)
        mean = self.team.mean(wide.mean(over))
        centred = wide - mean.view(shape)
        var = self.team.mean(centred.square().mean(over))  # of differences: E[x²] - E[x]² would cancel digits
        if running_mean is not None and running_var is not None:
            count = x.numel() / x.shape[1] * self.team.number
            with torch.no_grad():
                running_mean.lerp_(mean.to(running_mean.dtype), momentum)
                running_var.lerp_((var * (count / max(1, count - 1))).to(running_var.dtype), momentum)
        y = centred * (var + eps).rsqrt().view(shape)
        y = y if weight is None else y * weight.view(shape)
        return (y if bias is None else y + bias.view(shape)).to(x.dtype)
