"""What a classifier is trained on, and how good it is."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nasedu.data import ImageSet
from nasedu.errors import ParameterError, check_whole
from nasedu.modules import evaluation_mode, placed


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


@torch.inference_mode()
def accuracy(
    model: nn.Module,
    images: ImageSet,
    forward: Callable[[nn.Module, Tensor], Tensor] | None = None,
    batch_size: int = 256,
) -> float:
    """The share of `images` that the model classifies right, 0 to 1, in eval mode; every part's mode is put back.

    Raises `ParameterError`.

        model: a classifier, or a supernet.
        images: the set.
        forward: `forward(model, x)` returns logits (B, classes); a supernet's runs a path.
        batch_size: how many images it sees at once.
    """
    check_whole("batch_size", batch_size)
    check_whole("the number of images", len(images))
    forward = forward or (lambda model, x: model(x))
    right = 0
    with evaluation_mode(model):
        for x, y in images.parts(batch_size):
            x, y = placed(model, x, y)
            right += int((forward(model, x).argmax(1) == y).sum())
    return right / len(images)
