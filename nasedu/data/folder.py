"""A folder of images by class, as ImageNet and its smaller forms come: train/CLASS/*.jpg and val/CLASS/*.jpg."""

from __future__ import annotations

import warnings
from pathlib import Path

import torch
from torch import Tensor
from torchvision.datasets import ImageFolder
from torchvision.transforms.v2 import functional as F

from nasedu.data import splits
from nasedu.data.images import UNREADABLE, opened, upright, why
from nasedu.errors import DataError, ParameterError

MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]  # of ImageNet's pixels, 0 to 1
SHOWN = 224 / 256  # of the shorter side, the part that is cut out, as where ImageNet is tested
MEMORY = 8 << 30  # the most bytes of images that are read


def listed(root: str | Path, split: str) -> tuple[list[Path], list[int], list[str]]:
    """The files of a split, their labels, and the classes: the names of the folders in root/train, in order.

    root: the folder. Where it has a test folder, val and test are its own; else val is the test, and a fifth of the
        training images is held out, as ImageNet's test labels are not public.
    split: "train", "val" or "test".

    Raises `DataError` where a folder is missing or has other classes than train.
    """
    root = Path(root)
    whole = (root / "test").is_dir()
    part = split if whole or split == "train" else {"test": "val", "val": "train"}[split]
    found = {name: _by_class(root / name) for name in {"train", part}}
    classes, items = found["train"].classes, [(Path(path), label) for path, label in found[part].samples]
    if found[part].classes != classes:
        raise DataError(f"{root / part} has other class folders than {root / 'train'}")
    if part == "train" and not whole:
        items = splits.complete(items, None, [])[split]
    return [path for path, _ in items], [label for _, label in items], classes


def _by_class(folder: Path) -> ImageFolder:
    try:
        return ImageFolder(str(folder), allow_empty=True)
    except OSError as error:
        raise DataError(f"an image folder needs {folder}/CLASS/*.jpg: {error}") from None


def read(paths: list[Path], side: int) -> tuple[Tensor, Tensor]:
    """The middle of each image, float32 (n, 3, side, side) of about zero mean and unit variance, and which were read.

    Images that cannot be read are left out with a warning. Raises `DataError` where none can.

    paths: the files.
    side: of a square, in pixels.
    """
    if len(paths) * 12 * side**2 > MEMORY:
        most = MEMORY // (12 * side**2)
        raise ParameterError(f"{len(paths)} images of {side} px do not fit into memory: ask for size={most} or fewer")
    images, kept, broken = [], [], []
    for i, path in enumerate(paths):
        try:
            images.append(_middle(path, side))
            kept.append(i)
        except UNREADABLE as error:
            broken.append(f"{path}: {why(error, 'image', 'cannot be read')}")
    if not images:
        raise DataError(f"none of {len(paths)} images can be read; first: {broken[0] if broken else 'there are none'}")
    if broken:
        warnings.warn(f"{len(broken)} of {len(paths)} images are skipped; first: {broken[0]}", stacklevel=4)
    return torch.stack(images), torch.tensor(kept)


def _middle(path: Path, side: int) -> Tensor:
    with opened(path) as image:
        picture = upright(image)
    scaled = F.resize(picture, [round(side / SHOWN)], antialias=True)
    pixels = F.to_dtype(F.pil_to_tensor(F.center_crop(scaled, [side, side])), torch.float32, scale=True)
    return F.normalize(pixels, MEAN, STD)
