"""Images to classify: real handwritten digits with no download, CIFAR-10 and CIFAR-100, or a folder of images by class.

The digits are those of `nasedu.data.digits`: 1,797 images of 8x8 pixels, bundled with scikit-learn. Splits are fixed:
no seed moves an image from one to another.
"""

from __future__ import annotations

import math
import os
import warnings
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from nasedu.data import cifar, folder, image_set, splits
from nasedu.data.image_set import ImageSet, Pixels, Source, Streamed, scaled
from nasedu.data.notes import Notes, shown
from nasedu.errors import DataError, ParameterError, brief, check_kind, check_name, check_number, check_whole
from nasedu.randomness import stream
from nasedu.registry import Registry, check_options, options_of

BOUNDS = {"train": (0, 0.6), "val": (0.6, 0.75), "test": (0.75, 1)}  # which part of each class's digits
DIGITS_MEAN, DIGITS_STD = 0.305, 0.376  # over all pixels of all digits, 0 to 1
Root = str | Path | None


def classification(
    name: str,
    split: str,
    *,
    root: str | Path | None = None,
    image_size: int = 32,
    size: int | None = None,
    distortion: float = 0.0,
    noise: float = 0.0,
    seed: int = 0,
    **options,
) -> ImageSet:
    """A split of an image set. Raises `UnknownName`, `ParameterError`, `DataError`.

    What is drawn depends on all arguments, `size` among them. Images that cannot be read are left out with a warning.
    More than 2 GiB of them are read when a batch is asked for; of these only the files' beginnings are looked at here.

    name: "digits" is built in; "cifar10" and "cifar100" read the official archives for Python, unpacked; "folder" and
        "imagenet" read images by class and cut out the middle of each (see `data.folder.listed`). "cifar10" also reads
        `cifar10_train_5k_uint8.npz` and `cifar10_test_1k_uint8.npz` (x of shape (N, 32, 32, 3), y of (N,)).
    split: "train", "val" or "test".
    root: the folder, or one that holds it as NAME; by default, but for "folder", the one that NASEDU_DATA names.
    image_size: pixels of a side.
    size: takes so many images, each class in proportion.
    distortion: 0 to 1 turns digits by up to 60 degrees and moves them by up to an eighth of their side.
    noise: the standard deviation of pixel noise, in units of the images' own.
    seed: draws all of that.
    options: `normalise` (cifar10, cifar100): by "measured" mean and deviation, or "published" ones (see `data.cifar`).
        `scaling` (folder, imagenet): "bilinear" or "bicubic". `stream` (folder, imagenet): True reads images when a
        batch is asked for, however few they are, so that random crops come from the whole picture.
    """
    find = READERS[name]
    check_name("split", split, splits.NAMES)
    check_kind("root", root, (str, os.PathLike, type(None)), "a folder")
    check_whole("image_size", image_size, 8, 512)
    check_number("distortion", distortion, 0, 1)
    check_number("noise", noise, most=1000)
    check_whole("seed", seed, 0)
    check_options(name, options, options_of(find)[2:])
    found = find(split, root, **options)
    index = _subset(found.labels, size, stream(seed, "subset", split))
    made = _read(f"{name} {split}", found, index, image_size, distortion, noise)
    images = _disturbed(made.images, image_size, distortion, noise, lambda what: stream(seed, what, split))
    return replace(made, name=name, split=split, images=images)


class Found(NamedTuple):
    """What a reader found of a split: the `source` of its images, the `labels` (N,) of them all, their `classes`, what
    it left out, and whether they are streamed however few they are.
    """

    source: Source
    labels: Tensor
    classes: list[str]
    notes: Notes = Notes()
    stream: bool = False


def _read(told: str, found: Found, index: Tensor, side: int, distortion: float, noise: float) -> ImageSet:
    """The images that can be read, in memory or streamed; those that will be distorted at their own size."""
    most, source = image_set.MEMORY // (12 * side**2), found.source
    images: Tensor | Streamed
    if len(index) <= most and not found.stream:
        images, faults = source.read(index, source.side if distortion and source.side else side)
    elif distortion or noise:
        how = "stream=False" if found.stream else f"size={most} or fewer of these {len(index)}"
        raise ParameterError(f"images are distorted in memory: ask for {how}")
    else:
        images, faults = Streamed(source, index, side), source.look(index)
    notes = Notes()
    for path, reason in faults.values():
        notes.add("left out: image", path, reason)
    notes += found.notes
    first = f"; first: {shown(notes[0].text, 200)}" if notes else ""
    if not len(index):
        raise DataError(f"{told}: no image is left for this split: it needs more of them{first}")
    if len(faults) == len(index):
        raise DataError(f"{told}: none of {len(index)} images can be read{first}")
    if notes:
        every = len(index) + len(found.notes)
        warnings.warn(f"{told}: {len(notes)} of {every} files are left out{first}", stacklevel=3)
    made = ImageSet("", "", found.classes, images, found.labels[index], source.mean, source.std, tuple(notes))
    return made.take(torch.tensor([i for i in range(len(index)) if i not in faults])) if faults else made


def _digits(split: str, root: Root) -> Found:
    if root:
        raise ParameterError(f"digits is built in and reads no folder: leave out root={brief(str(root))}")
    from sklearn.datasets import load_digits  # a second to import: only for those who ask for digits

    bundle = load_digits()
    index = np.sort(splits.by_class(bundle.target, *BOUNDS[split]))
    grey = torch.from_numpy(bundle.images[index])[:, None].expand(-1, 3, -1, -1)
    source = Pixels(grey, 16, (DIGITS_MEAN,) * 3, (DIGITS_STD,) * 3)
    return Found(source, torch.from_numpy(bundle.target[index]), [str(d) for d in range(10)])


NORMALISED = ("measured", "published")


def _cifar(name: str, split: str, root: Root, *, normalise: str = "measured") -> Found:
    check_name("normalisation", normalise, NORMALISED)
    x, y, classes = cifar.read(name, split, _places(name, root))
    return Found(Pixels(x, 255, *(cifar.MEASURED[name] if normalise == "measured" else cifar.PUBLISHED)), y, classes)


def _folder(name: str, split: str, root: Root, *, scaling: str = "bilinear", stream: bool = False) -> Found:
    check_name("scaling", scaling, folder.SCALINGS)
    check_kind("stream", stream, bool, "True or False")
    if not root and name == "folder":
        raise DataError("a folder of images by class is read from its root: give root=...")
    places = _places(name, root) if root else _places(name, root)[:1]  # not all that NASEDU_DATA holds is a class
    place = next((inner for each in places for inner in (each / folder.IMAGENET, each) if inner.is_dir()), places[-1])
    notes = Notes()
    items, classes = folder.listed(place, split, notes)
    files = folder.Files([path for path, _ in items], scaling)
    return Found(files, torch.tensor([label for _, label in items], dtype=torch.long), classes, notes, stream)


def _places(name: str, root: Root) -> list[Path]:
    """The folders in which a set may lie."""
    top = root or os.environ.get("NASEDU_DATA")
    if not top:
        raise DataError(f"{name} needs the folder of its data: give a root, or set NASEDU_DATA to the folder above it")
    return [Path(top) / name, Path(top)]


READERS = Registry("image set", {"digits": _digits})
READERS |= {name: partial(_cifar, name) for name in cifar.OFFICIAL}
READERS |= {name: partial(_folder, name) for name in ("folder", "imagenet")}


def _subset(labels: Tensor, size: int | None, generator: torch.Generator) -> Tensor:
    """`size` indices in order, every class in proportion: the first ones of a shuffle that deals classes in turn."""
    if size is None:
        return torch.arange(len(labels))
    check_whole("size", size, 1, len(labels))
    order = torch.randperm(len(labels), generator=generator)
    shuffled = labels[order]
    turn = torch.zeros(len(labels))
    for label in shuffled.unique():
        own = (shuffled == label).nonzero().flatten()
        turn[own] = (torch.arange(len(own)) + 0.5) / len(own)
    return order[turn.argsort(stable=True)[:size]].sort().values


def _disturbed(
    images: Tensor | Streamed, side: int, distortion: float, noise: float, drawn: Callable[[str], torch.Generator]
) -> Tensor | Streamed:
    """The images moved, scaled and covered with noise, as far as that is asked for."""
    if distortion:
        images = scaled(_distort(images[:], distortion, drawn("distortion")), side)
    return images[:] + noise * torch.randn(images.shape, generator=drawn("noise")) if noise else images


def _distort(images: Tensor, amount: float, generator: torch.Generator) -> Tensor:
    """Turn every image about its centre and move it, the background at the border's own level."""
    turn = (2 * torch.rand(len(images), generator=generator) - 1) * amount * math.pi / 3
    shift = (2 * torch.rand(len(images), 2, generator=generator) - 1) * amount / 4  # the side is 2 long
    cos, sin = turn.cos(), turn.sin()
    rows = torch.stack([cos, -sin, shift[:, 0], sin, cos, shift[:, 1]], 1).view(-1, 2, 3)
    grid = F.affine_grid(rows, list(images.shape), align_corners=False)
    ground = images.amin()
    return F.grid_sample(images - ground, grid, align_corners=False) + ground
