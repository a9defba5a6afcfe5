"""The batches of a training, which depend on (seed, epoch) alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from nasedu.classification.augment import Augment, Mix
from nasedu.data import ImageSet
from nasedu.errors import ParameterError


def batches(
    images: ImageSet, batch_size: int, seed: int = 0, augment: Augment | None = None, mix: Mix | None = None
) -> Callable[[int], Iterator[tuple[Tensor, Tensor]]]:
    """What `train` asks for: from an epoch to its batches, x (B, C, H, W) and y (B,), in an order of that epoch's own.

    The order, and what `augment(x, generator)` and then `mix(x, y, generator)` draw, depend on (seed, epoch) alone.
    After `mix`, y is (B, classes). A last batch with too few images is dropped, unless it is the only one. Raises
    `ParameterError`.
    """
    if batch_size < 1 or len(images) < 1:
        raise ParameterError(f"batches need at least 1 image each, got {batch_size} of {len(images)}")

    def epoch_batches(epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
        """The batches of one epoch."""
        generator = torch.Generator().manual_seed((seed << 20) + epoch)
        order = torch.randperm(len(images), generator=generator).to(images.labels.device)
        for i in range(max(1, len(images) // batch_size)):
            index = order[i * batch_size : (i + 1) * batch_size]
            x, y = images.images[index], images.labels[index]
            x = augment(x, generator) if augment else x
            yield mix(x, y, generator) if mix else (x, y)

    return epoch_batches
