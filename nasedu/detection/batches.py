"""An epoch of batches, whose order and augmentation depend on nothing but (seed, epoch)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from nasedu.detection.augment import Augment
from nasedu.errors import ParameterError

Batch = tuple[Tensor, Tensor]


def batches(
    dataset: Sequence,
    batch_size: int,
    *,
    seed: int,
    epoch: int,
    augment: Augment | None = None,
    shuffle: bool = True,
    drop_last: bool = True,
) -> Iterator[Batch]:
    """Yield (images float (B, 3, S, S) in 0..1, targets (n, 6)) for one epoch of a detection data set.

    A training that was interrupted goes on at an epoch exactly where it was. For an evaluation in data set
    order pass shuffle=False, drop_last=False. With mosaic, each image is joined by three others drawn from
    the whole data set. Boxes marked `ignore` (VOC difficult, COCO crowd) are not among the targets: a network
    is not asked to find them, though their pixels count as background. Raises `ParameterError` for a batch
    size below 1, or one that leaves no batch at all.
    """
    count = len(dataset)
    if batch_size < 1 or (drop_last and batch_size > count):
        raise ParameterError(f"batch size {batch_size}: a data set of {count} images allows 1 to {count}")
    rng = np.random.default_rng([seed, epoch])
    order = rng.permutation(count) if shuffle else np.arange(count)
    if drop_last:
        order = order[: count // batch_size * batch_size]
    chunks = [order[start : start + batch_size] for start in range(0, len(order), batch_size)]
    return (_batch(dataset, chunk, augment, rng) for chunk in chunks)


def _batch(dataset: Sequence, chunk: np.ndarray, augment: Augment | None, rng: np.random.Generator) -> Batch:
    if augment is None:
        images, targets = collate([dataset[int(i)] for i in chunk])
        return images / 255, targets
    others = rng.integers(len(dataset), size=3 * len(chunk) if augment.mosaic else 0)
    images, targets = collate([dataset[int(i)] for i in [*chunk, *others]])
    tiles = torch.arange(len(images)).view(4, -1).T if augment.mosaic else None
    return augment(images, targets, rng, tiles)


def collate(samples: Sequence[tuple[Tensor, dict]]) -> Batch:
    """Samples of a detection data set as images uint8 (B, 3, S, S) and targets (n, 6), none ignored."""
    images = torch.stack([image.as_subclass(Tensor) for image, _ in samples])
    boxes = torch.cat([target["boxes"].as_subclass(Tensor).view(-1, 4) for _, target in samples])
    labels = torch.cat([target["labels"] for _, target in samples])
    ignore = torch.cat([target["ignore"] for _, target in samples])
    counts = torch.tensor([len(target["labels"]) for _, target in samples])
    index = torch.arange(len(samples)).repeat_interleave(counts)
    return images, torch.cat([index[:, None], labels[:, None], boxes.float()], dim=1)[~ignore]
