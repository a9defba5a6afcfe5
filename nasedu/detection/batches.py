"""An epoch of batches, whose order and augmentation depend on nothing but their seed, split and epoch."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import torch
from torch import Tensor

from nasedu.data.prefetch import made_ahead
from nasedu.detection.augment import Augment, Change
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
        return self.raw(i).made()

    def raw(self, i: int) -> Raw:
        """What batch i is made of: decoded and drawn, as 8-bit pixels on the CPU."""
        start = range(self._count)[i] * self._size
        chunk = self._order[start : start + self._size]
        if self._augment is None:
            return Raw(*collate([self._dataset[int(j)] for j in chunk]))
        seed, *purpose = self._draw
        return _drawn(self._dataset, chunk, self._augment, rng(seed, "augment", *purpose, i))


@dataclass(frozen=True)
class Raw:
    """A batch before its pixels are changed, so that it travels as 8-bit pixels and changes on the device.

    images: uint8 (N, 3, S, S).
    targets: of the finished batch (n, 6).
    augment: what is done to the images; None: nothing.
    tiles: which images make each output.
    change: what was drawn for it.
    mixed: those that a second batch is mixed into: their places (m,), shares (m, 1, 1, 1), and that batch.
    """

    images: Tensor
    targets: Tensor
    augment: Augment | None = None
    tiles: Tensor | None = None
    change: Change | None = None
    mixed: tuple[Tensor, Tensor, Raw] | None = None

    def pinned(self) -> Raw:
        """In memory from which a GPU copies while it computes."""
        mixed = self.mixed and (*self.mixed[:2], self.mixed[2].pinned())
        return replace(self, images=self.images.pin_memory(), targets=self.targets.pin_memory(), mixed=mixed)

    def made(self, device: torch.device | str = "cpu") -> Batch:
        """The finished batch on a device: images float (B, 3, S, S) in 0..1 and targets (n, 6).

        Joining targets of a mixture are there already. Rounding is the device's own; on the CPU there is one result.
        """
        images, targets = (t.to(device, non_blocking=True) for t in (self.images, self.targets))
        if self.augment is None:
            return images / 255, targets
        images = self.augment.pixels(images, self.tiles, self.change)
        if self.mixed:
            place, share, second = self.mixed
            place, share = (t.to(device, non_blocking=True) for t in (place, share))
            images[place] = share * images[place] + (1 - share) * second.made(device)[0]
        return images, targets


def travelling(batches: Batches, device: torch.device, workers: int | None = None) -> Iterator[Batch]:
    """The batches in order, which threads decode ahead and the device finishes.

    batches: of an epoch.
    device: of the model that they are for.
    workers: threads; None: one for each core but one, up to 8, since more wait for one another.
    """
    workers = workers or max(1, min(8, (os.cpu_count() or 1) - 1))

    def ready(i: int) -> Raw:
        raw = batches.raw(i)
        return raw.pinned() if device.type == "cuda" else raw

    for raw in made_ahead((partial(ready, i) for i in range(len(batches))), workers, workers + 1):
        yield raw.made(device)


def _drawn(dataset: Sequence, chunk: np.ndarray, augment: Augment, drawn: np.random.Generator) -> Raw:
    others = drawn.integers(len(dataset), size=3 * len(chunk) if augment.mosaic else 0)
    images, targets = collate([dataset[int(j)] for j in [*chunk, *others]])
    tiles = torch.arange(len(images)).view(4 if augment.mosaic else 1, -1).T
    change = augment.draw(len(tiles), drawn)
    raw = Raw(images, augment.boxes(targets, tiles, change, images.shape[-1]), augment, tiles, change)
    mixed = np.flatnonzero(drawn.random(len(chunk)) < augment.mixup) if augment.mixup else []
    if not len(mixed):
        return raw
    second = drawn.integers(len(dataset), size=len(mixed))
    joining = _drawn(dataset, second, replace(augment, mixup=0.0), drawn)
    share = torch.from_numpy(drawn.beta(8, 8, (len(mixed), 1, 1, 1))).float()
    place, more = torch.from_numpy(mixed), joining.targets
    more = torch.cat([place[more[:, 0].long(), None].float(), more[:, 1:]], dim=1)
    return replace(raw, targets=torch.cat([raw.targets, more]), mixed=(place, share, joining))


def collate(samples: Sequence[tuple[Tensor, dict]]) -> Batch:
    """Samples of a detection data set as images uint8 (B, 3, S, S) and targets (n, 6), none ignored."""
    images = torch.stack([image.as_subclass(Tensor) for image, _ in samples])
    boxes = torch.cat([target["boxes"].as_subclass(Tensor).view(-1, 4) for _, target in samples])
    labels = torch.cat([target["labels"] for _, target in samples])
    ignore = torch.cat([target["ignore"] for _, target in samples])
    counts = torch.tensor([len(target["labels"]) for _, target in samples])
    index = torch.arange(len(samples)).repeat_interleave(counts)
    return images, torch.cat([index[:, None], labels[:, None], boxes.float()], dim=1)[~ignore]
