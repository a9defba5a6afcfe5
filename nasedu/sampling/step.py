"""One step of supernet training: every path of a sampler runs, gradients add up, the optimizer steps once."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Protocol, Self, cast

import torch
from torch import Tensor, nn

from nasedu.divergence import cross_entropy
from nasedu.errors import ParameterError, check_has
from nasedu.modules import evaluation_mode, placed
from nasedu.sampling.samplers import Pair, Pairs, Sampler
from nasedu.spaces.base import Arch, SearchSpace, check_decided, check_path
from nasedu.supernet.telling import told
from nasedu.task import Batch, Divergence, Outputs, Task, named


class PairLoss(Protocol):
    """A loss of two networks' losses; `ranking.RankingLoss` is one."""

    labels: bool

    def __call__(self, first: Tensor, second: Tensor, archs: tuple[Arch, Arch]) -> Tensor: ...

    def at(self, fraction: float) -> Self: ...


@dataclass(frozen=True)
class SupernetStep:
    """What `supernet_step` makes: a step for `train`, which takes `at(epoch, epochs)` of it in every epoch."""

    space: SearchSpace
    sampler: Sampler
    task: Task
    teacher: nn.Module | None = None
    divergence: Divergence = cross_entropy
    ranking: PairLoss | None = None

    def at(self, epoch: int, epochs: int) -> Self:
        """The step for an epoch, counted from 0: the first has the sampler's start, the last its end."""
        fraction = epoch / max(1, epochs - 1)
        ranking = self.ranking.at(fraction) if self.ranking else None
        return replace(self, sampler=self.sampler.at(fraction), ranking=ranking)

    def __call__(self, model: nn.Module, batch: Batch, generator: torch.Generator) -> Iterator[dict[str, Tensor]]:
        """The losses of the sampler's paths on one batch, one path, or pair, at a time."""
        inputs, targets = placed(model, *batch)
        with torch.no_grad():
            paths = self.sampler.paths(self.space, generator)
            taught = self._asked(inputs)
        first = None
        for path in paths:
            if isinstance(path, Pair):
                first_loss, second_loss = (self._labels(model(inputs, arch), targets) for arch in path)
                yield _ranked(cast(PairLoss, self.ranking), first_loss, second_loss, path)
                continue
            if inputs.device.type != "cpu":  # where the supernet does not look at its weights
                check_path(path, self.space.decisions)
            outputs = model(inputs, [told(entry, inputs.device) for entry in path])
            if first is None or not self.sampler.distils:
                losses = named(self.task.loss(outputs, targets))
                first = _detached(outputs) if first is None else first
                losses |= {"labels": losses["total"]}
                if taught is not None:
                    losses["teacher"] = self.task.distil(outputs, taught, self.divergence)
                    losses["total"] = losses["labels"] + losses["teacher"]
                yield losses
            else:
                loss = self.task.distil(outputs, first, self.divergence)
                yield {"teacher": loss, "total": loss}

    def _asked(self, inputs: Tensor) -> Outputs | None:
        """What the teacher beside the supernet says."""
        if self.teacher is None:
            return None
        with evaluation_mode(self.teacher.to(inputs.device)):
            return self.teacher(inputs)

    def _labels(self, outputs: Outputs, targets: Tensor) -> Tensor:
        return named(self.task.loss(outputs, targets))["total"]


def _ranked(loss: PairLoss, first: Tensor, second: Tensor, pair: Pair) -> dict[str, Tensor]:
    """The losses of a pair, from those of its networks."""
    labels, ranking = first + second, loss(first, second, pair)
    return {"labels": labels / 2, "ranking": ranking, "total": ranking + labels if loss.labels else ranking}


def supernet_step(
    space: SearchSpace,
    sampler: Sampler,
    task: Task,
    *,
    teacher: nn.Module | None = None,
    divergence: Divergence = cross_entropy,
    ranking: PairLoss | None = None,
) -> SupernetStep:
    """A step for `nasedu.training.train` on batches of a task: one dictionary of losses per path.

    Gradients of the paths add up and are not divided by their number, as in FairNAS, US-Nets and BigNAS: a learning
    rate that suits one path is large for K, unless the optimizer normalises (AdamW) or the gradient is clipped.
    The loss is the task's ("total", once more as "labels"); where the sampler distils, later paths learn from the first
    path's outputs ("teacher"), which get no gradient from it. Logits of the sampler get no gradient either: this step
    trains weights.

        space: whose supernet is trained.
        sampler: which paths.
        task: what for.
        teacher: a trained network from which paths that learn from labels learn as well, both equally (Once-for-All);
            pairs, whose losses are compared, do not. It stays as it is.
        divergence: from the teacher's probabilities, such as `nasedu.divergence.alpha_divergence`.
        ranking: the loss of pairs, for a sampler of `Pairs`; on several processes each compares on its part of a batch.

    Raises `ParameterError` for what is no such space, sampler or task, and for pairs without a loss, or a loss without.
    """
    check_decided("supernet_step", space)
    check_has("the sampler", sampler, ("paths", "at", "distils"), "one that sampling.create made")
    check_task(task)
    if isinstance(sampler, Pairs) != (ranking is not None):
        raise ParameterError("pairs need a ranking loss, and a ranking loss a sampler of pairs (sampling.Pairs)")
    return SupernetStep(space, sampler, task, teacher, divergence, ranking)


def check_task(task: object) -> None:
    """Raise `ParameterError` for what has not what a search or a training asks a task for."""
    check_has("the task", task, ("loss", "batches", "score"), "a task.Classification or a task.Detection")


def _detached(outputs: Outputs) -> Outputs:
    return outputs.detach() if isinstance(outputs, Tensor) else [part.detach() for part in outputs]
