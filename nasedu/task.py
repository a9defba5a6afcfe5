"""What is learnt and how it is scored: a task has batches of a split, a loss of outputs, and a score of a network.

Splits by name: "train", "val" and "test" are what the task was given; "weights" and "logits" are disjoint random halves
of the training split, for a search that trains both (DARTS, section 2.3). Batches of the training split and its halves
are shuffled and augmented anew in every epoch; the others come whole and in order.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Protocol, Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nasedu import classification, processes
from nasedu.classification.augment import Augment as ImageAugment
from nasedu.classification.augment import Mix
from nasedu.data import DetectionDataset, ImageSet
from nasedu.data.crop import RandomCrop
from nasedu.data.prefetch import Shared, made_ahead, prefetched
from nasedu.detection import Augment, Batches, DetectionLoss, evaluate, find
from nasedu.detection.batches import travelling
from nasedu.divergence import cross_entropy
from nasedu.errors import ParameterError
from nasedu.modules import placed
from nasedu.progress import Progress, silent
from nasedu.randomness import rng
from nasedu.training import Step, Trained, TrainingConfig, train

Batch = tuple[Tensor, Tensor]
Outputs = Tensor | Sequence[Tensor]  # logits (B, classes), or a detector's raw maps
Divergence = Callable[[Tensor, Tensor], Tensor]  # of a teacher's and a student's log-probabilities, per sample
Forward = Callable[[nn.Module, Tensor], Outputs]
HALVES = ("weights", "logits")
ROOM = 2**27  # bytes of augmented images that a detection task keeps for trainings side by side


class Task(Protocol):
    """What training minimises and testing reports."""

    def loss(self, outputs: Any, targets: Tensor) -> Tensor | dict[str, Tensor]:
        """A loss, or named ones of which "total" is minimised."""

    def distil(self, outputs: Any, teacher: Any, divergence: Divergence = cross_entropy) -> Tensor:
        """The loss of learning from a teacher's outputs, which get no gradient.

        outputs: of the student.
        teacher: its outputs.
        divergence: how far probabilities are from the teacher's: see `nasedu.divergence`.
        """

    def batches(self, split: str, epoch: int) -> Iterable[Batch]:
        """(inputs, targets), which depend on the task's seed, the split and the epoch alone."""

    def part(self, batch: Batch, rank: int, number: int) -> Batch:
        """What process `rank` (from 0) of `number` gets of a batch; asked only on several. Raises `ParameterError`.

        batch: (inputs, targets).
        rank: of the process.
        number: of all.
        """

    def score(self, model: nn.Module, split: str, forward: Forward | None = None) -> float:
        """How good a model is, higher is better.

        model: a network, or a supernet.
        split: on whose data.
        forward: `forward(model, inputs)` runs a supernet's path.
        """


class _Splits:
    """What both tasks share: their data by the split's name."""

    @property
    def identity(self) -> list:
        """All that a loss, a batch or a score depends on: the class and its fields, but for where batches are made."""
        return [type(self), *(getattr(self, field.name) for field in fields(self) if field.compare)]

    def on(self, device: torch.device | str) -> Self:
        """The same task for a model on a device: on an accelerator its batches are made beside the training."""
        device = torch.device(device)
        return self if device.type == "cpu" else replace(self, device=device)

    def data(self, split: str) -> ImageSet | DetectionDataset:
        """The data of a split. Raises `ParameterError` where the task has none."""
        found = self._halves[HALVES.index(split)] if split in HALVES else getattr(self, split, None)
        if found is None or split not in ("train", "val", "test", *HALVES):
            raise ParameterError(f"the task has no data for {split!r}: give it as {type(self).__name__}({split}=...)")
        return found


@dataclass(frozen=True, eq=False)
class Classification(_Splits):
    """Images and their classes: cross-entropy, and accuracy from 0 to 1.

    train, val, test: the splits.
    batch_size: images of a training batch.
    seed: of the order, the augmentation and the halves.
    label_smoothing, augment, mix, crop: as in `classification.label_loss` and `classification.batches`.
    device: for a model on which batches are made; on an accelerator a thread makes them ahead.
    """

    train: ImageSet
    val: ImageSet | None = None
    test: ImageSet | None = None
    batch_size: int = 64
    seed: int = 0
    label_smoothing: float = 0.0
    augment: ImageAugment | None = None
    mix: Mix | None = None
    crop: RandomCrop | None = None
    device: torch.device = field(default=torch.device("cpu"), compare=False)

    @cached_property
    def _halves(self) -> list[ImageSet]:
        return [replace(half, split=name) for half, name in zip(self.train.halves(self.seed), HALVES, strict=True)]

    def loss(self, outputs: Tensor, targets: Tensor) -> dict[str, Tensor]:
        """Cross-entropy of logits (B, classes) as "total", and "error", the share of wrong answers."""
        total = classification.label_loss(outputs, targets, self.label_smoothing)
        return {"total": total, "error": classification.error(outputs, targets)}

    def distil(self, outputs: Tensor, teacher: Tensor, divergence: Divergence = cross_entropy) -> Tensor:
        """The divergence of the student's probabilities from the teacher's.

        outputs: logits (B, classes).
        teacher: likewise.
        divergence: as in `Task.distil`.
        """
        return divergence(teacher.detach().log_softmax(-1), outputs.log_softmax(-1)).mean()

    def batches(self, split: str, epoch: int) -> Iterator[Batch]:
        """Images (B, C, H, W) and classes (B,), after `mix` shares (B, classes)."""
        images = self.data(split)
        if split in ("val", "test"):
            return images.parts(self.batch_size)
        made = classification.batches(images, self.batch_size, self.seed, self.augment, self.mix, self.crop)(epoch)
        return made if self.device.type == "cpu" else prefetched(made)

    def part(self, batch: Batch, rank: int, number: int) -> Batch:
        """Every `number`-th image, and its class.

        batch: as `batches` gives them.
        rank: of the process.
        number: of all.
        """
        return processes.divided(batch, rank, number)

    def score(self, model: nn.Module, split: str = "val", forward: Forward | None = None) -> float:
        """The share of right answers.

        model: a network, or a supernet.
        split: whose images.
        forward: as in `Task.score`.
        """
        return classification.accuracy(model, self.data(split), forward)


@dataclass(frozen=True, eq=False)
class Detection(_Splits):
    """Objects in images: the detection loss, and COCO's AP .50:.95 from 0 to 1 (NaN where there is no object).

    Several trainings side by side that are given one task share its augmented batches, and make each once while they
    are not far apart. They are made in a thread beside the training.

        judge: the loss, which knows anchors and strides.
        train, val, test: the splits.
        batch_size: images of a training batch, or all of a smaller split.
        seed: of the order, the augmentation and the halves.
        augment: what is done to a training batch.
        device: for a model on which batches are made; to an accelerator they travel as 8-bit pixels and change there.
        workers: threads that make training batches ahead; None: one, for an accelerator one on each core but one.
    """

    judge: DetectionLoss
    train: DetectionDataset
    val: DetectionDataset | None = None
    test: DetectionDataset | None = None
    batch_size: int = 16
    seed: int = 0
    augment: Augment | None = None
    device: torch.device = field(default=torch.device("cpu"), compare=False)
    workers: int | None = field(default=None, compare=False)

    @cached_property
    def _halves(self) -> list[DetectionDataset]:
        order = rng(self.seed, "halves").permutation(len(self.train)).tolist()
        middle = len(order) // 2
        return [
            self.train.take(half, name) for half, name in zip((order[:middle], order[middle:]), HALVES, strict=True)
        ]

    @cached_property
    def _shared(self) -> Shared:
        return Shared(max(2, ROOM // (self.batch_size * 12 * self.train.image_size**2)))

    def loss(self, outputs: Sequence[Tensor], targets: Tensor) -> dict[str, Tensor]:
        """Of raw maps (B, A, H, W, 5 + classes) per scale and targets (n, 6): see `DetectionLoss`."""
        return self.judge(outputs, targets)

    def distil(
        self, outputs: Sequence[Tensor], teacher: Sequence[Tensor], divergence: Divergence = cross_entropy
    ) -> Tensor:
        """Objectness-scaled distillation (Mehta and Ozturk 2018, eq. 3 to 6) with the weights of the detection loss.

        The objectness is learnt everywhere, boxes and classes as far as the teacher sees an object there, which keeps
        the many empty places from drowning the few that matter. Boxes by squared differences, in the head's own
        coordinates; probabilities by cross-entropy rather than the paper's squared differences, as in our loss.

        outputs: raw maps (B, A, H, W, 5 + classes) per scale.
        teacher: likewise.
        divergence: as in `Task.distil`; every class and the objectness is one of two cases.
        """
        parts, weights, team = [], self.judge.weights, processes.current()
        for ours, theirs, balance in zip(outputs, teacher, self.judge.balance, strict=False):
            ours, theirs = ours.float(), theirs.detach().float()
            seen = theirs[..., 4].sigmoid()
            share = seen / team.mean(seen.sum()).clamp(min=1e-6)
            boxes = (ours[..., :4] - theirs[..., :4]).square().mean(-1)
            classes = divergence(_either(theirs[..., 5:]), _either(ours[..., 5:]))
            objects = divergence(_either(theirs[..., 4]), _either(ours[..., 4]))
            parts.append(weights["obj"] * balance * objects.mean())
            parts.append((share * (weights["box"] * boxes + weights["cls"] * classes.mean(-1))).sum())
        return sum(parts) * (len(outputs[0]) * team.number)

    def batches(self, split: str, epoch: int) -> Iterator[Batch]:
        """Images float (B, 3, S, S) in 0..1 and targets (n, 6)."""
        data, training = self.data(split), split not in ("val", "test")
        augment, size = self.augment if training else None, min(self.batch_size, len(data))
        drawn = {"seed": self.seed, "split": split, "epoch": epoch}
        made = Batches(data, size, **drawn, augment=augment, shuffle=training)
        if not training:
            return iter(made)
        if self.device.type != "cpu":
            return travelling(made, self.device, self.workers)
        makers = (partial(self._shared, (split, epoch, i), partial(made.__getitem__, i)) for i in range(len(made)))
        return made_ahead(makers, self.workers or 1)

    def part(self, batch: Batch, rank: int, number: int) -> Batch:
        """Every `number`-th image, and the targets on it.

        batch: as `batches` gives them.
        rank: of the process.
        number: of all.
        """
        images, targets = batch
        own = targets[targets[:, 0] % number == rank]
        image = (own[:, :1] / number).floor()
        return processes.divided(images, rank, number), torch.cat([image, own[:, 1:]], dim=1)

    def find(self, model: nn.Module, split: str = "val", forward: Forward | None = None, **options) -> list[dict]:
        """Detections for every image of a split, in order: dicts of boxes (k, 4), scores (k,), labels (k,) on the CPU.

        model: a detector, or a supernet.
        split: whose images.
        forward: `forward(model, images)` returns raw maps; a supernet's runs a path.
        options: of `detection.find`; its defaults are the published test settings.
        """
        return find(model, self.data(split), self.judge.anchors, self.judge.strides, forward, **options)

    def score(self, model: nn.Module, split: str = "val", forward: Forward | None = None) -> float:
        """Average precision with the published test settings: confidence .001, class-aware NMS at IoU .65.

        model: a detector, or a supernet.
        split: whose images.
        forward: as in `find`.
        """
        return evaluate(self.data(split), self.find(model, split, forward)).ap


def _either(logits: Tensor) -> Tensor:
    """Log-probabilities of yes and no (..., 2)."""
    return torch.stack([F.logsigmoid(logits), F.logsigmoid(-logits)], -1)


def named(loss: Tensor | dict[str, Tensor]) -> dict[str, Tensor]:
    """What `Task.loss` gave, as named losses."""
    return loss if isinstance(loss, dict) else {"total": loss}


def training_step(task: Task) -> Step:
    """A step for `train`: the task's loss of what a network makes of a batch."""

    def step(model: nn.Module, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        inputs, targets = placed(model, *batch)
        return named(task.loss(model(inputs), targets))

    return step


def fit(
    model: nn.Module,
    task: Task,
    config: TrainingConfig,
    step: Step | None = None,
    *,
    seed: int = 0,
    device: torch.device | str = "cpu",
    state: str | Path | None = None,
    progress: Progress = silent,
) -> Trained:
    """Train a model on the training split of a task. Raises what `train` raises.

    model: trained in place; its convolutions' weights get the layout that is fastest (`modules.placed`).
    task: gives the batches.
    config: the settings of the training.
    step: what a step does; None: `training_step(task)`, a supernet's: `sampling.supernet_step`; a `BestEpoch` does what
        None does, and keeps the best network.
    seed: of what the step draws; the order of the batches is the task's.
    device: where the model is trained.
    state: the checkpoint's file.
    progress: as in `train`.
    """
    processes.together(device)  # which chooses this process's CUDA device
    model.to(device, memory_format=torch.channels_last)
    task = task.on(device) if hasattr(task, "on") else task
    batches = processes.Divided(partial(task.batches, "train"), getattr(task, "part", None))
    options = {"state": state, "progress": progress}
    options["beside"] = step if hasattr(step, "after") else None  # as `BestEpoch` has
    return train(model, batches, step or training_step(task), config, seed=seed, **options)
