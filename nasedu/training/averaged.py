"""The averages that a training keeps: of a model's weights and statistics as it moves, and of losses."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from nasedu.processes import Processes


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

    counts = itertools.count(int(ema.n_averaged))  # asked once: a GPU would have to be waited for

    @torch.no_grad()
    def follow() -> None:
        """Move the averages towards the present values."""
        count = next(counts)
        for averaged, current in pairs.values():
            if count == 0:
                torch._foreach_copy_(averaged, current)
            else:
                ema.multi_avg_fn(averaged, current, count)
        ema.n_averaged += 1

    return follow


class Means:
    """The mean of every named loss over the parts of steps that have it, on the model's device until asked for."""

    def __init__(self):
        self.sums: dict[str, Tensor | float] = {}
        self.counts: dict[str, int] = {}

    def add(self, losses: dict[str, Tensor]) -> None:
        """Those of a part of a step."""
        self.sums |= {name: self.sums.get(name, 0.0) + loss.detach() for name, loss in losses.items()}
        self.counts |= {name: self.counts.get(name, 0) + 1 for name in losses}

    def over(self, team: Processes) -> dict[str, float]:
        """The means, over all processes. Raises `ParameterError` where their losses have other names."""
        means = {name: float(total) / self.counts[name] for name, total in self.sums.items()}
        team.agree("losses", sorted(means))
        values = torch.tensor([means[name] for name in sorted(means)], dtype=torch.float64)
        team.average([values])
        return means | dict(zip(sorted(means), values.tolist(), strict=True))
