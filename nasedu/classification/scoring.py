"""What a classifier is trained on, and how good it is."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nasedu.data import ImageSet
from nasedu.errors import ParameterError, check_whole
from nasedu.modules import computing, evaluation_mode, placed


def label_loss(logits: Tensor, y: Tensor, label_smoothing: float = 0.0) -> Tensor:
    """Mean cross-entropy of logits (B, classes) with labels. Raises `ParameterError`.

    logits: what the model says, (B, classes).
    y: classes (B,) or, after mixup, shares (B, classes).
    label_smoothing: the share of a label that is spread over all classes (Szegedy et al. 2016).
    """
    if y.shape != logits.shape[:1] and y.shape != logits.shape:
        raise ParameterError(
            f"labels of shape {tuple(y.shape)} do not fit the model's output {tuple(logits.shape)}: "
            f"they must be classes (B,) or shares (B, classes)"
        )
    return F.cross_entropy(logits, y, label_smoothing=label_smoothing)


def error(logits: Tensor, y: Tensor) -> Tensor:
    """The share of wrong answers; of shares (B, classes), the greatest is the right answer."""
    right = y.argmax(1) if y.ndim == 2 else y
    return (logits.detach().argmax(1) != right).float().mean()


@dataclass(frozen=True)
class Accuracy:
    """Shares of right answers, 0 to 1: the best one is right (`top1`), or one of the best five (`top5`)."""

    top1: float
    top5: float
    images: int

    @property
    def error(self) -> float:
        """The standard error of `top1`, of the images that were drawn: sqrt(p (1 - p) / n)."""
        return math.sqrt(self.top1 * (1 - self.top1) / self.images)


@torch.inference_mode()
def judged(
    model: nn.Module,
    images: ImageSet,
    forward: Callable[[nn.Module, Tensor], Tensor] | None = None,
    *,
    precision: str = "float32",
    batch_size: int = 256,
) -> Accuracy:
    """How many of `images` the model classifies right, in eval mode; every part's mode is put back.

    Raises `ParameterError`, `UnknownName`.

        model: a classifier, or a supernet.
        images: the set.
        forward: `forward(model, x)` returns logits (B, classes); a supernet's runs a path.
        precision: in which it computes, as in `modules.computing`.
        batch_size: how many images it sees at once.
    """
    check_whole("batch_size", batch_size)
    check_whole("the number of images", len(images))
    forward = forward or (lambda model, x: model(x))
    first = five = 0
    with evaluation_mode(model), computing(model, precision):
        for x, y in images.parts(batch_size):
            x, y = placed(model, x, y)
            logits = forward(model, x)
            first += int((logits.argmax(1) == y).sum())
            five += int((logits.topk(min(5, logits.shape[1]))[1] == y[:, None]).sum())
    return Accuracy(first / len(images), five / len(images), len(images))


def accuracy(
    model: nn.Module,
    images: ImageSet,
    forward: Callable[[nn.Module, Tensor], Tensor] | None = None,
    batch_size: int = 256,
) -> float:
    """The share of `images` that the model classifies right, 0 to 1: `judged(...).top1`. Raises `ParameterError`.

    model: a classifier, or a supernet.
    images: the set.
    forward: as in `judged`.
    batch_size: likewise.
    """
    return judged(model, images, forward, batch_size=batch_size).top1
