"""The batches of a training, which depend on (seed, epoch) alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from nasedu.classification.augment import Augment, Mix
from nasedu.data import ImageSet
from nasedu.data.crop import RandomCrop
from nasedu.errors import check_whole
from nasedu.randomness import stream


def batches(
    images: ImageSet,
    batch_size: int,
    seed: int = 0,
    augment: Augment | None = None,
    mix: Mix | None = None,
    crop: RandomCrop | None = None,
) -> Callable[[int], Iterator[tuple[Tensor, Tensor]]]:
    """What `train` asks for: from an epoch to its batches, x (B, C, H, W) and y (B,), in an order of that epoch's own.

    What is drawn depends on the seed, the name of the split and the epoch alone. A last batch with too few images is
    dropped, unless it is the only one. Raises `ParameterError`.

        images: the set.
        batch_size: images of a batch.
        seed: of the order, and of what `augment` and `mix` draw.
        augment: from x and a generator to another x.
        mix: then, from x, y and a generator to others; y becomes shares (B, classes).
        crop: a random part of every image comes before all that; see `ImageSet.parts`.
    """
    check_whole("batch_size", batch_size)
    check_whole("the number of images", len(images))

    def epoch_batches(epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
        """The batches of one epoch."""
        generator = stream(seed, "augment", images.split, epoch)
        order = torch.randperm(len(images), generator=stream(seed, "order", images.split, epoch))
        order = order[: max(1, len(images) // batch_size) * batch_size].to(images.labels.device)
        for x, y in images.parts(batch_size, order, crop, stream(seed, "crop", images.split, epoch)):
            x = augment(x, generator) if augment else x
            yield mix(x, y, generator) if mix else (x, y)

    return epoch_batches
