"""One step of supernet training: every path of a sampler runs, gradients add up, the optimizer steps once."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nasedu.sampling.paths import Sampler
from nasedu.spaces.base import SearchSpace
from nasedu.supernet.mixed import Entry, Subset

SupernetStep = Callable[[nn.Module, tuple[Tensor, Tensor], torch.Generator], Iterator[dict[str, Tensor]]]


def supernet_step(space: SearchSpace, sampler: Sampler, label_smoothing: float = 0.0) -> SupernetStep:
    """A step for `nasedu.training.train` on batches of images (B, C, H, W) and labels (B,): one loss per path.

    Gradients of the paths add up and are not divided by their number, as in FairNAS, US-Nets and BigNAS: a learning
    rate that suits one path is large for K, unless the optimizer normalises (AdamW) or the gradient is clipped.
    The loss is cross-entropy with the labels; where the sampler distils, later paths have the soft cross-entropy to
    the first path's predictions, which get no gradient from it. Logits of the sampler get no gradient either: this
    step trains weights.
    """

    def step(model: nn.Module, batch: tuple[Tensor, Tensor], generator: torch.Generator) -> Iterator[dict[str, Tensor]]:
        """The losses of the sampler's paths on one batch, one path at a time."""
        device = next(model.parameters()).device
        x, y = (part.to(device) for part in batch)
        with torch.no_grad():
            paths = sampler.paths(space, generator)
        teacher = None
        for path in paths:
            logits = model(x, [_on(entry, device) for entry in path])
            if teacher is None:
                yield _named("labels", F.cross_entropy(logits, y, label_smoothing=label_smoothing))
                teacher = logits.detach().softmax(-1) if sampler.distils else None
            else:
                yield _named("teacher", F.cross_entropy(logits, teacher))

    return step


def _named(name: str, loss: Tensor) -> dict[str, Tensor]:
    return {name: loss, "total": loss}


def _on(entry: Entry, device: torch.device) -> Entry:
    if isinstance(entry, Subset):
        return entry._replace(weights=entry.weights.to(device))
    return entry.to(device) if isinstance(entry, Tensor) else entry
