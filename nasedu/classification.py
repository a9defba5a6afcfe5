"""Training a classifier: batches, the step, the accuracy and a recipe for trainings of a few minutes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import fields

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nasedu.blocks import evaluation_mode
from nasedu.data import ImageSet
from nasedu.errors import ParameterError, check_name
from nasedu.training import Step, TrainingConfig

Augment = Callable[[Tensor, torch.Generator], Tensor]


def recipe(epochs: int, **changes) -> TrainingConfig:
    """The settings for short trainings of small networks: AdamW, a cosine to zero, averaged weights that follow fast.

    `changes` replace settings by name. Raises `UnknownName` for one that `TrainingConfig` does not have.
    """
    for name in changes:
        check_name("training setting", name, [field.name for field in fields(TrainingConfig)])
    settings = {
        "optimizer": "adamw",
        "lr": 0.01,
        "final_lr": 0.01,
        "weight_decay": 0.02,
        "warmup_steps": 20,
        "warmup_bias_lr": 0.0,
        "ema_decay": 0.95,
        "ema_ramp": 10,
    }
    return TrainingConfig(epochs=epochs, **settings | changes)


def batches(
    images: ImageSet, batch_size: int, seed: int = 0, augment: Augment | None = None
) -> Callable[[int], Iterator[tuple[Tensor, Tensor]]]:
    """What `train` asks for: from an epoch to its batches, x (B, C, H, W) and y (B,), in an order of that epoch's own.

    The order, and what `augment(x, generator)` draws, depend on (seed, epoch) alone. A last batch with too few images
    is dropped, unless it is the only one. Raises `ParameterError`.
    """
    if batch_size < 1 or len(images) < 1:
        raise ParameterError(f"batches need at least 1 image each, got {batch_size} of {len(images)}")

    def epoch_batches(epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
        """The batches of one epoch."""
        generator = torch.Generator().manual_seed((seed << 20) + epoch)
        order = torch.randperm(len(images), generator=generator).to(images.labels.device)
        for i in range(max(1, len(images) // batch_size)):
            index = order[i * batch_size : (i + 1) * batch_size]
            x = images.images[index]
            yield augment(x, generator) if augment else x, images.labels[index]

    return epoch_batches


def crop_and_flip(padding: int = 4, flip: bool = True) -> Augment:
    """CIFAR's usual augmentation: a random crop of the image padded with zeros, and a mirror image half of the time.

    A mirrored digit is another sign: set `flip` to False for digits.
    """

    def augment(x: Tensor, generator: torch.Generator) -> Tensor:
        """Images (B, C, H, W), each cropped, and mirrored or not, by a draw of its own."""
        n, _, height, width = x.shape
        top, left = torch.randint(2 * padding + 1, (2, n, 1), generator=generator).to(x.device)
        rows = top + torch.arange(height, device=x.device)
        columns = left + torch.arange(width, device=x.device)
        if flip:
            mirrored = (torch.rand(n, 1, generator=generator) < 0.5).to(x.device)
            columns = torch.where(mirrored, columns.flip(1), columns)
        padded = F.pad(x, (padding,) * 4)
        each = torch.arange(n, device=x.device)[:, None, None]
        return padded[each, :, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2).contiguous()

    return augment


def classifier_step(label_smoothing: float = 0.0) -> Step:
    """A step for `train`: cross-entropy with labels as "total", and "error", the share of wrong answers."""

    def step(model: nn.Module, batch: tuple[Tensor, Tensor], generator: torch.Generator) -> dict[str, Tensor]:
        device = next(model.parameters()).device
        x, y = (part.to(device) for part in batch)
        logits = model(x)
        loss = F.cross_entropy(logits, y, label_smoothing=label_smoothing)
        return {"total": loss, "error": (logits.detach().argmax(1) != y).float().mean()}

    return step


@torch.inference_mode()
def accuracy(
    model: nn.Module,
    images: ImageSet,
    forward: Callable[[nn.Module, Tensor], Tensor] | None = None,
    batch_size: int = 256,
) -> float:
    """The share of `images` that the model classifies right, 0 to 1, in eval mode; every part's mode is put back.

    `forward(model, x)` returns logits (B, classes); a supernet's runs a path. Raises `ParameterError`.
    """
    if batch_size < 1 or len(images) < 1:
        raise ParameterError(f"accuracy needs at least 1 image at a time, got {batch_size} of {len(images)}")
    forward = forward or (lambda model, x: model(x))
    device = next((p.device for p in model.parameters()), images.images.device)
    right = 0
    with evaluation_mode(model):
        for x, y in zip(images.images.split(batch_size), images.labels.split(batch_size), strict=True):
            right += int((forward(model, x.to(device)).argmax(1) == y.to(device)).sum())
    return right / len(images)
