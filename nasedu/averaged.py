"""The exponential moving average of a model's weights and statistics."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel


def averaged(model: nn.Module, decay: float, ramp: float) -> AveragedModel:
    """An average of a model, in eval mode, whose decay ramps up: early weights are forgotten quickly.

    At step t it moves by 1 - decay * (1 - exp(-t / ramp)).

    model: whose.
    decay: the most of the old that stays in a step.
    ramp: steps after which it is nearly that.
    """

    @torch.no_grad()
    def average(averaged: list[Tensor], current: list[Tensor], count: Tensor | int) -> None:
        now = decay * (1 - math.exp(-(int(count) + 1) / ramp))
        if averaged[0].is_floating_point():
            torch._foreach_lerp_(averaged, current, 1 - now)
        else:
            torch._foreach_copy_(averaged, current)

    ema = AveragedModel(model, multi_avg_fn=average, use_buffers=True)
    ema.module.eval()
    return ema


def following(ema: AveragedModel, model: nn.Module) -> Callable[[], None]:
    """What `ema.update_parameters(model)` does, without walking through both models at every step."""
    pairs: dict[torch.dtype, tuple[list[Tensor], list[Tensor]]] = {}
    tensors = ([*m.parameters(), *m.buffers()] for m in (ema.module, model))
    for averaged, current in zip(*tensors, strict=True):
        for kept, tensor in zip(pairs.setdefault(averaged.dtype, ([], [])), (averaged, current), strict=True):
            kept.append(tensor.detach())

    @torch.no_grad()
    def follow() -> None:
        """Move the averages towards the present values."""
        for averaged, current in pairs.values():
            if ema.n_averaged == 0:
                torch._foreach_copy_(averaged, current)
            else:
                ema.multi_avg_fn(averaged, current, ema.n_averaged)
        ema.n_averaged += 1

    return follow
