"""An epoch of batches, whose order and augmentation depend on nothing but their seed, split and epoch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from nasedu.detection.augment import Augment
from nasedu.errors import ParameterError
from nasedu.randomness import rng

Batch = tuple[Tensor, Tensor]


class Batches(Sequence):
    """One epoch of a detection data set: `batches[i]` is images float (B, 3, S, S) in 0..1 and targets (n, 6).

    Batch i is made when it is asked for, and depends on seed, split, epoch and i alone: a training that was interrupted
    goes on at an epoch exactly where it was. With mosaic, each image is joined by three others drawn from the whole
    data set. Boxes marked `ignore` (VOC difficult, COCO crowd) are not among the targets: a network is not asked to
    find them, though their pixels count as background. Raises `ParameterError` for a batch size below 1, or one that
    leaves no batch at all.

        dataset: what to train or test on.
        batch_size: images of a batch.
        seed: with split and epoch names the order and the augmentation.
        split: the split's name.
        epoch: the epoch's number.
        augment: what is done to a batch; None leaves it alone.
        shuffle: an order of the epoch's own, whose last incomplete batch is left out; else all images, in order.
    """

    def __init__(
        self,
        dataset: Sequence,
        batch_size: int,
        *,
        seed: int = 0,
        split: str = "train",
        epoch: int = 0,
        augment: Augment | None = None,
        shuffle: bool = True,
    ):
        count = len(dataset)
        if batch_size < 1 or (shuffle and batch_size > count):
            raise ParameterError(f"batch size {batch_size}: a data set of {count} images allows 1 to {count}")
        self._dataset, self._size, self._augment, self._draw = dataset, batch_size, augment, (seed, split, epoch)
        self._order = rng(seed, "order", split, epoch).permutation(count) if shuffle else np.arange(count)
        self._count = count // batch_size if shuffle else -(-count // batch_size)

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, i: int) -> Batch:
        start = range(self._count)[i] * self._size
        chunk = self._order[start : start + self._size]
        if self._augment is None:
            images, targets = collate([self._dataset[int(j)] for j in chunk])
            return images / 255, targets
        seed, *purpose = self._draw
        return _augmented(self._dataset, chunk, self._augment, rng(seed, "augment", *purpose, i))


def _augmented(dataset: Sequence, chunk: np.ndarray, augment: Augment, drawn: np.random.Generator) -> Batch:
    others = drawn.integers(len(dataset), size=3 * len(chunk) if augment.mosaic else 0)
    images, targets = collate([dataset[int(j)] for j in [*chunk, *others]])
    tiles = torch.arange(len(images)).view(4 if augment.mosaic else 1, -1).T
    images, targets = augment(images, targets, drawn, tiles)
    mixed = np.flatnonzero(drawn.random(len(chunk)) < augment.mixup) if augment.mixup else []
    if len(mixed):
        second = drawn.integers(len(dataset), size=len(mixed))
        more, joining = _augmented(dataset, second, replace(augment, mixup=0.0), drawn)
        share = torch.from_numpy(drawn.beta(8, 8, (len(mixed), 1, 1, 1))).float()
        place = torch.from_numpy(mixed)
        images[place] = share * images[place] + (1 - share) * more
        joining = torch.cat([place[joining[:, 0].long(), None].float(), joining[:, 1:]], dim=1)
        targets = torch.cat([targets, joining])
    return images, targets


def collate(samples: Sequence[tuple[Tensor, dict]]) -> Batch:
    """Samples of a detection data set as images uint8 (B, 3, S, S) and targets (n, 6), none ignored."""
    images = torch.stack([image.as_subclass(Tensor) for image, _ in samples])
    boxes = torch.cat([target["boxes"].as_subclass(Tensor).view(-1, 4) for _, target in samples])
    labels = torch.cat([target["labels"] for _, target in samples])
    ignore = torch.cat([target["ignore"] for _, target in samples])
    counts = torch.tensor([len(target["labels"]) for _, target in samples])
    index = torch.arange(len(samples)).repeat_interleave(counts)
    return images, torch.cat([index[:, None], labels[:, None], boxes.float()], dim=1)[~ignore]
