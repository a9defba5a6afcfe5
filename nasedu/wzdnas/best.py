"""The best epoch of a training: chosen on images that are not tested on."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from nasedu.detection import evaluate
from nasedu.errors import check_whole
from nasedu.task import Batch, Detection, Task, training_step


class BestEpoch:
    """A step for `fit` that judges the averaged network on a split of its own and keeps the weights of the best epoch.

    Choose by validation, never by the test. The epoch's record gets its score as "judged".

        task: what is learnt; it must have the split.
        split: "val", which is judged on.
        every: epochs between two judgements; the last epoch is always judged.
        score: of a network on a split, higher is better; None: the task's own. The public detector's training takes
            `fitness`.
    """

    def __init__(
        self,
        task: Task,
        split: str = "val",
        every: int = 1,
        score: Callable[[Task, nn.Module, str], float] | None = None,
    ):
        task.data(split)  # a task without it is told now
        self.task, self.split, self.every = task, split, check_whole("every", every, 1)
        self.judge, self.step = score, training_step(task)
        self.best: dict[str, Tensor] = {}
        self.epoch, self.score = 0, -math.inf

    @property
    def identity(self) -> list:
        """What a stored state compares."""
        return [type(self), self.task, self.split, self.every, self.judge]

    def __call__(self, model: nn.Module, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        """The losses of a batch, as those of `training_step`."""
        return self.step(model, batch, generator)

    def after(self, epoch: int, epochs: int, model: nn.Module) -> dict[str, float]:
        """Judge the averaged model after an epoch; its record.

        epoch: from 1 on.
        epochs: how many there are in all.
        model: the averaged one.
        """
        if epoch % self.every and epoch < epochs:
            return {}
        score = self.judge(self.task, model, self.split) if self.judge else self.task.score(model, self.split)
        # the first of equals; one even where no score is a number, until one is
        if score > self.score or not self.best or (math.isnan(self.score) and not math.isnan(score)):
            self.best = {name: value.detach().cpu().clone() for name, value in model.state_dict().items()}
            self.epoch, self.score = epoch, score
        return {"judged": score}

    def put_into(self, model: nn.Module) -> nn.Module:
        """A model with the weights of the best epoch.

        model: gets them.
        """
        model.load_state_dict(self.best)
        return model

    def state_dict(self) -> dict:
        """What a checkpoint holds."""
        return {"best": self.best, "epoch": self.epoch, "score": self.score}

    def load_state_dict(self, state: dict) -> None:
        """Take what a checkpoint holds.

        state: what `state_dict` gave.
        """
        self.best, self.epoch, self.score = dict(state["best"]), int(state["epoch"]), float(state["score"])


def fitness(task: Detection, model: nn.Module, split: str) -> float:
    """.1 AP50 + .9 AP, by which the public detector's training chooses its best epoch.

    task: gives the data.
    model: the detector.
    split: whose images.
    """
    metrics = evaluate(task.data(split), task.find(model, split, iou=0.6))
    return 0.1 * metrics.ap50 + 0.9 * metrics.ap
