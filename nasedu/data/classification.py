"""Images to classify, in memory: real handwritten digits with no download, CIFAR-10, or a folder of images by class.

The digits are those of `nasedu.data.digits`: 1,797 images of 8x8 pixels, bundled with scikit-learn. Splits are fixed:
no seed moves an image from one to another.
"""

from __future__ import annotations

import math
import os
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from nasedu.data import folder, splits
from nasedu.errors import DataError, ParameterError, check_name, check_number, check_whole
from nasedu.randomness import stream
from nasedu.registry import Registry

BOUNDS = {"train": (0, 0.6), "val": (0.6, 0.75), "test": (0.75, 1)}  # which part of each class's digits
CIFAR10_CLASSES = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]
CIFAR10_MEAN, CIFAR10_STD = (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)
DIGITS_MEAN, DIGITS_STD = 0.305, 0.376  # over all pixels of all digits, 0 to 1


@dataclass(frozen=True)
class ImageSet:
    """`images` (N, 3, H, W), float32 with about zero mean and unit variance, and their `labels` (N,)."""

    name: str
    split: str
    classes: list[str]
    images: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)

    def to(self, device: torch.device | str) -> ImageSet:
        """The same images on a device."""
        return replace(self, images=self.images.to(device), labels=self.labels.to(device))

    def take(self, index: Tensor | slice) -> ImageSet:
        """Some of the images: a slice, or indices (M,)."""
        return replace(self, images=self.images[index], labels=self.labels[index])

    def halves(self, seed: int = 0) -> tuple[ImageSet, ImageSet]:
        """Two disjoint random halves: one for weights, one for architecture parameters (DARTS, section 2.3)."""
        order = torch.randperm(len(self), generator=stream(seed, "halves")).to(self.labels.device)
        return self.take(order[: len(self) // 2]), self.take(order[len(self) // 2 :])


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
) -> ImageSet:
    """A split of an image set. Raises `UnknownName`, `ParameterError`, `DataError`.

    What is drawn depends on all arguments, `size` among them.

    name: "digits" is built in; "cifar10" reads `cifar10_train_5k_uint8.npz` and `cifar10_test_1k_uint8.npz` (x of shape
        (N, 32, 32, 3), y of (N,)); "folder" reads root/train/CLASS/*.jpg and root/val/CLASS/*.jpg, as ImageNet and
        ImageNet-mini come, and cuts out the middle of each image (see `data.folder`).
    split: "train", "val" or "test".
    root: the folder; that of cifar10 is by default `cifar10` in the one that NASEDU_DATA names.
    image_size: pixels of a side.
    size: takes so many images, each class in proportion.
    distortion: 0 to 1 turns digits by up to 60 degrees and moves them by up to an eighth of their side.
    noise: the standard deviation of pixel noise, in units of the images' own.
    seed: draws all of that.
    """
    find = READERS[name]
    check_name("split", split, splits.NAMES)
    check_whole("image_size", image_size, 8, 512)
    check_number("distortion", distortion, most=1)
    check_number("noise", noise, most=1000)
    found = find(split, root)
    index = _subset(found.labels, size, stream(seed, "subset", split))
    images, kept = found.read(index, image_size)
    labels = found.labels[index][kept]
    images = _distort(images, distortion, stream(seed, "distortion", split)) if distortion else images
    if image_size != images.shape[-1]:
        images = F.interpolate(images, size=(image_size, image_size), mode="bilinear", antialias=True)
    if noise:
        images = images + noise * torch.randn(images.shape, generator=stream(seed, "noise", split))
    return ImageSet(name, split, found.classes, images.contiguous(), labels)


class Found(NamedTuple):
    """What a reader found of a split: the `labels` (N,) of all its images, and their `classes`.

    `read(index, image_size)` gives the images at the indices (M,), and the places in `index` of those that could be
    read; their side is `image_size` where a reader scales.
    """

    labels: Tensor
    classes: list[str]
    read: Callable[[Tensor, int], tuple[Tensor, Tensor]]


def _whole(images: Tensor, labels: Tensor, classes: list[str]) -> Found:
    """A split whose images (N, 3, H, W) lie in memory."""
    return Found(labels, classes, lambda index, _side: (images[index], torch.arange(len(index))))


def _digits(split: str, root: str | Path | None) -> Found:
    if root:
        raise ParameterError(f"digits is built in and reads no folder: leave out root={str(root)!r}")
    from sklearn.datasets import load_digits  # a second to import: only for those who ask for digits

    bundle = load_digits()
    index = np.sort(splits.by_class(bundle.target, *BOUNDS[split]))
    grey = (torch.from_numpy(bundle.images[index]).float() / 16 - DIGITS_MEAN) / DIGITS_STD
    images, labels = grey[:, None].repeat(1, 3, 1, 1), torch.from_numpy(bundle.target[index])
    return _whole(images, labels, [str(d) for d in range(10)])


def _cifar10(split: str, root: str | Path | None) -> Found:
    """The files hold a training and a test part; validation is a fifth held out of training."""
    if not root and not os.environ.get("NASEDU_DATA"):
        raise DataError("cifar10 needs the folder of its data: give a root, or set NASEDU_DATA to the folder above it")
    place = Path(root) if root else Path(os.environ["NASEDU_DATA"]) / "cifar10"
    x, y = _read_npz(place / f"cifar10_{'test_1k' if split == 'test' else 'train_5k'}_uint8.npz")
    if split != "test":
        index = torch.tensor(splits.complete(range(len(y)), None, [])[split])
        x, y = x[index], y[index]
    mean, std = (torch.tensor(v)[:, None, None] for v in (CIFAR10_MEAN, CIFAR10_STD))
    return _whole((x.permute(0, 3, 1, 2).float() / 255 - mean) / std, y, CIFAR10_CLASSES)


def _read_npz(path: Path) -> tuple[Tensor, Tensor]:
    """x, uint8 (N, 32, 32, 3), and y, int64 (N,) from 0 to 9. Raises `DataError`."""
    try:
        with np.load(path, allow_pickle=False) as stored:
            x, y = stored["x"], stored["y"]
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise DataError(f"cifar10 cannot be read from {path}: {error}") from None
    if x.dtype != np.uint8 or x.shape[1:] != (32, 32, 3) or y.shape != x.shape[:1] or not np.isin(y, range(10)).all():
        raise DataError(
            f"{path} must hold x, uint8 (N, 32, 32, 3), and y, (N,) from 0 to 9; "
            f"its x is {x.dtype} {x.shape} and its y {y.dtype} {y.shape}"
        )
    return torch.from_numpy(x), torch.from_numpy(y).long()


def _folder(split: str, root: str | Path | None) -> Found:
    if not root:
        raise DataError("a folder of images by class is read from its root: give root=...")
    paths, labels, classes = folder.listed(root, split)
    read = lambda index, side: folder.read([paths[i] for i in index.tolist()], side)  # noqa: E731
    return Found(torch.tensor(labels, dtype=torch.long), classes, read)


READERS = Registry("image set", {"digits": _digits, "cifar10": _cifar10, "folder": _folder})


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


def _distort(images: Tensor, amount: float, generator: torch.Generator) -> Tensor:
    """Turn every image about its centre and move it, the background at the border's own level."""
    turn = (2 * torch.rand(len(images), generator=generator) - 1) * amount * math.pi / 3
    shift = (2 * torch.rand(len(images), 2, generator=generator) - 1) * amount / 4  # the side is 2 long
    cos, sin = turn.cos(), turn.sin()
    rows = torch.stack([cos, -sin, shift[:, 0], sin, cos, shift[:, 1]], 1).view(-1, 2, 3)
    grid = F.affine_grid(rows, list(images.shape), align_corners=False)
    ground = images.amin()
    return F.grid_sample(images - ground, grid, align_corners=False) + ground
