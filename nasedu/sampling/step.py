"""One step of supernet training: every path of a sampler runs, gradients add up, the optimizer steps once."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Self

import torch
from torch import Tensor, nn

from nasedu.errors import check_has
from nasedu.modules import placed
from nasedu.sampling.samplers import Sampler
from nasedu.spaces.base import SearchSpace, check_decided
from nasedu.supernet.mixed import Entry, Subset
from nasedu.task import Batch, Outputs, Task, named


@dataclass(frozen=True)
class SupernetStep:
    """What `supernet_step` makes: a step for `train`, which takes `at(epoch, epochs)` of it in every epoch."""

    space: SearchSpace
    sampler: Sampler
    task: Task

    def at(self, epoch: int, epochs: int) -> Self:
        """The step for an epoch, counted from 0: the first has the sampler's start, the last its end."""
        return replace(self, sampler=self.sampler.at(epoch / max(1, epochs - 1)))

    def __call__(self, model: nn.Module, batch: Batch, generator: torch.Generator) -> Iterator[dict[str, Tensor]]:
        """The losses of the sampler's paths on one batch, one path at a time."""
        inputs, targets = placed(model, *batch)
        with torch.no_grad():
            paths = self.sampler.paths(self.space, generator)
        teacher = None
        for path in paths:
            outputs = model(inputs, [_on(entry, inputs.device) for entry in path])
            if teacher is None:
                losses = named(self.task.loss(outputs, targets))
                teacher = _detached(outputs) if self.sampler.distils else None
                yield losses | {"labels": losses["total"]}
            else:
                loss = self.task.distil(outputs, teacher)
                yield {"teacher": loss, "total": loss}


def supernet_step(space: SearchSpace, sampler: Sampler, task: Task) -> SupernetStep:
    """A step for `nasedu.training.train` on batches of a task: one dictionary of losses per path.

    Gradients of the paths add up and are not divided by their number, as in FairNAS, US-Nets and BigNAS: a learning
    rate that suits one path is large for K, unless the optimizer normalises (AdamW) or the gradient is clipped.
    The loss is the task's ("total", once more as "labels"); where the sampler distils, later paths learn from the first
    path's outputs ("teacher"), which get no gradient from it. Logits of the sampler get no gradient either: this step
    trains weights.

        space: whose supernet is trained.
        sampler: which paths.
        task: what for.

    Raises `ParameterError` for what is no such space, sampler or task.
    """
    check_decided("supernet_step", space)
    check_has("the sampler", sampler, ("paths", "at", "distils"), "one that sampling.create made")
    check_task(task)
    return SupernetStep(space, sampler, task)


def check_task(task: object) -> None:
    """Raise `ParameterError` for what has not what a search or a training asks a task for."""
    check_has("the task", task, ("loss", "batches", "score"), "a task.Classification or a task.Detection")


def _detached(outputs: Outputs) -> Outputs:
    return outputs.detach() if isinstance(outputs, Tensor) else [part.detach() for part in outputs]


def _on(entry: Entry, device: torch.device) -> Entry:
    if isinstance(entry, Subset):
        return entry._replace(weights=entry.weights.to(device))
    return entry.to(device) if isinstance(entry, Tensor) else entry
