"""Images with one label each: in memory, or read when a batch of them is asked for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import pandas as pd
import torch
from torch import Tensor
from torch.nn import functional as F
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2.functional import resized_crop

from nasedu.data.crop import Cut, RandomCrop
from nasedu.data.notes import Note, Notes, shown
from nasedu.data.prefetch import prefetched
from nasedu.errors import DataError
from nasedu.randomness import stream

CUBIC = InterpolationMode.BICUBIC
MEMORY = 2 << 30  # bytes of the images that are read at once; more are streamed
Faults = dict[int, tuple[str, str]]  # of what cannot be read, by its place: the file, and why


class Source:
    """Where images come from, normalised by the `mean` and `std` of their channels."""

    mean: tuple[float, float, float]
    std: tuple[float, float, float]

    @property
    def side(self) -> int | None:
        """Pixels of an image's side; None where images are scaled anyway."""
        return None

    def read(self, index: Tensor, side: int, cuts: Sequence[Cut] = ()) -> tuple[Tensor, Faults]:
        """Images (M, 3, side, side), float32 of about zero mean and unit variance; a faulty one's place is blank.

        index: which of the source's images, (M,).
        side: of the square, in pixels.
        cuts: the part of each that is scaled to the square, where only files know their size; none: the middle.
        """
        raise NotImplementedError

    def look(self, index: Tensor) -> Faults:
        """What can be seen to be faulty without reading the images at the indices (M,) as a whole."""
        return {}

    def stamp(self, index: Tensor) -> object:
        """What tells these images (M,) from others, for a stored state."""
        return self, index


@dataclass(frozen=True)
class Pixels(Source):
    """A source in memory: `values` (N, 3, H, H) from 0 to `scale`, normalised by `mean` and `std` of a channel."""

    values: Tensor
    scale: float
    mean: tuple[float, float, float]
    std: tuple[float, float, float]

    @property
    def side(self) -> int:
        """H."""
        return self.values.shape[-1]

    def read(self, index: Tensor, side: int, cuts: Sequence[Cut] = ()) -> tuple[Tensor, Faults]:
        """As in `Source`; without a fault.

        index: of the images, (M,).
        side: of the square, in pixels.
        cuts: the part of each.
        """
        mean, std = (torch.tensor(v)[:, None, None] for v in (self.mean, self.std))
        images = (self.values[index].float() / self.scale - mean) / std
        return cut_out(images, side, cuts) if cuts else scaled(images, side), {}


@dataclass(frozen=True)
class Streamed:
    """Images (N, 3, S, S) that are read when they are asked for: `streamed[index]` is a tensor (M, 3, S, S).

    Raises `DataError` where one cannot be read: indices must not shift under a training that has begun.

    source: of the images.
    index: which of its images, (N,).
    side: S, in pixels.
    device: where they are put.
    """

    source: Source
    index: Tensor
    side: int
    device: torch.device | str = "cpu"

    def __len__(self) -> int:
        return len(self.index)

    def __getitem__(self, index: Tensor | slice) -> Tensor:
        return self.read(index)

    def read(self, index: Tensor | slice, cuts: Sequence[Cut] = ()) -> Tensor:
        """Some of the images, (M, 3, S, S).

        index: a slice, or indices (M,).
        cuts: the part of each, as in `Source.read`.
        """
        images, faults = self.source.read(self.take(index).index, self.side, cuts)
        for path, reason in faults.values():
            raise DataError(
                f"{shown(path, 90)}: {reason}; its header was sound before: restore it, or take it out of its folder"
            )
        return images.to(self.device)

    @property
    def shape(self) -> torch.Size:
        """(N, 3, S, S)."""
        return torch.Size((len(self), 3, self.side, self.side))

    @property
    def identity(self) -> list:
        """What a stored state compares."""
        return [self.source.stamp(self.index), self.side]

    def take(self, index: Tensor | slice) -> Streamed:
        """Some of the images: a slice, or indices (M,)."""
        return replace(self, index=self.index[index.cpu() if isinstance(index, Tensor) else index])

    def to(self, device: torch.device | str) -> Streamed:
        """The same images on a device, once they are read."""
        return replace(self, device=device)


@dataclass(frozen=True)
class ImageSet:
    """Images with a label each.

    name, split: of the set.
    classes: their names by label.
    images: float32 (N, 3, H, W) with about zero mean and unit variance, as a tensor or `Streamed`.
    labels: (N,).
    mean, std: with which pixels from 0 to 1 were normalised, by channel.
    notes: what was left out.
    """

    name: str
    split: str
    classes: list[str]
    images: Tensor | Streamed
    labels: Tensor
    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)
    std: tuple[float, float, float] = (1.0, 1.0, 1.0)
    notes: tuple[Note, ...] = ()

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def identity(self) -> list:
        """What a stored state compares."""
        return [self.name, self.split, self.classes, self.images, self.labels, self.mean, self.std]

    def to(self, device: torch.device | str) -> ImageSet:
        """The same images on a device."""
        return replace(self, images=self.images.to(device), labels=self.labels.to(device))

    def take(self, index: Tensor | slice) -> ImageSet:
        """Some of the images: a slice, or indices (M,)."""
        images = self.images[index] if isinstance(self.images, Tensor) else self.images.take(index)
        return replace(self, images=images, labels=self.labels[index])

    def halves(self, seed: int = 0) -> tuple[ImageSet, ImageSet]:
        """Two disjoint random halves: one for weights, one for architecture parameters (DARTS, section 2.3)."""
        order = torch.randperm(len(self), generator=stream(seed, "halves")).to(self.labels.device)
        return self.take(order[: len(self) // 2]), self.take(order[len(self) // 2 :])

    def parts(
        self,
        size: int,
        order: Tensor | None = None,
        crop: RandomCrop | None = None,
        generator: torch.Generator | None = None,
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Images and labels, so many at a time; what is streamed is read a little ahead.

        size: of a part; the last may be smaller.
        order: indices (M,); None: all, as they stand.
        crop: a random part of each image instead, scaled to the square: of the whole picture where files are streamed,
            of the square that is in memory else.
        generator: draws it.
        """
        starts = range(0, len(self) if order is None else len(order), size)
        places = (slice(i, i + size) if order is None else order[i : i + size] for i in starts)
        made = ((self._images(place, crop, generator), self.labels[place]) for place in places)
        return made if isinstance(self.images, Tensor) else prefetched(made)

    def _images(self, place: Tensor | slice, crop: RandomCrop | None, generator: torch.Generator | None) -> Tensor:
        if crop is None:
            return self.images[place]
        seeds = torch.randint(2**63 - 1, (len(self.labels[place]),), generator=generator)
        cuts = crop.cuts(seeds)
        if isinstance(self.images, Streamed):
            return self.images.read(place, cuts)
        return cut_out(self.images[place], self.images.shape[-1], cuts)

    def report(self) -> pd.DataFrame:
        """What was left out, as `Notes.report` tells it."""
        return Notes(self.notes).report()


def cut_out(images: Tensor, side: int, cuts: Sequence[Cut]) -> Tensor:
    """A part of every image (M, C, H, W), scaled to (M, C, side, side) by bicubic interpolation.

    images: what is cut.
    side: of the squares, in pixels.
    cuts: where, by an image's height and width.
    """
    boxes = [cut(*images.shape[-2:]) for cut in cuts]
    made = [resized_crop(x, *box, [side, side], CUBIC) for x, box in zip(images, boxes, strict=True)]
    return torch.stack(made)


def scaled(images: Tensor, side: int) -> Tensor:
    """Square images (N, 3, H, H) as (N, 3, side, side)."""
    if side == images.shape[-1]:
        return images
    return F.interpolate(images, size=(side, side), mode="bilinear", antialias=True)
