"""A folder of images by class, as ImageNet and its smaller forms come: train/CLASS/*.jpg and val/CLASS/*.jpg."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path

import torch
from torch import Tensor
from torchvision.datasets.folder import IMG_EXTENSIONS, has_file_allowed_extension, make_dataset
from torchvision.transforms.v2 import functional as F
from tqdm import tqdm

from nasedu.data import splits
from nasedu.data.image_set import Faults, Source
from nasedu.data.images import UNREADABLE, opened, upright, why
from nasedu.errors import DataError

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet's pixels, 0 to 1
SHOWN = 224 / 256  # of the shorter side, the part that is cut out, as where ImageNet is tested
IMAGENET = "ILSVRC/Data/CLS-LOC"  # where the images lie in ImageNet's own archive
PARTS = {"train": ("train",), "val": ("val", "valid", "validation"), "test": ("test",)}  # how folders are called


@dataclass(frozen=True)
class Files(Source):
    """A source of images: the upright middle of every file, scaled to a square; see `image_set.Source`."""

    paths: list[str]
    mean, std = MEAN, STD

    def read(self, index: Tensor, side: int) -> tuple[Tensor, Faults]:
        """The images, which several threads decode."""
        images = torch.zeros(len(index), 3, side, side)

        def one(place: int, path: str) -> None:
            images[place] = _middle(path, side)

        return images, self._tried(index, one)

    def look(self, index: Tensor) -> Faults:
        """The files that no image begins in."""
        return self._tried(index, _opens)

    def stamp(self, index: Tensor) -> object:
        """Name, size and time of every file: to read them all would take as long as a pass over them."""
        told = ((Path(self.paths[i]), os.stat(self.paths[i])) for i in index.tolist())
        return "\n".join(f"{p.parent.name}/{p.name} {about.st_size} {about.st_mtime_ns}" for p, about in told)

    def _tried(self, index: Tensor, one: Callable[[int, str], None]) -> Faults:
        """Do `one(place, path)` for every file."""
        asked = list(enumerate(self.paths[i] for i in index.tolist()))
        with ThreadPoolExecutor() as pool:
            starts = range(0, len(asked), 4096)  # a million files at once would fill the memory with what waits
            found = chain.from_iterable(pool.map(partial(_fault, one), asked[i : i + 4096]) for i in starts)
            shown = tqdm(found, total=len(asked), desc="reading images", unit="image", delay=2, leave=False)
            return {place: fault for place, fault in enumerate(shown) if fault}


def _fault(one: Callable[[int, str], None], asked: tuple[int, str]) -> tuple[str, str] | None:
    """The kind of fault of a file with which this cannot be done, and its path with the reason."""
    try:
        one(*asked)
    except UNREADABLE as error:
        told = why(error, "image", "cannot be read")
        return told.split(" (")[0], f"{asked[1]}: {told}"
    return None


def _opens(_place: int, path: str) -> None:
    with opened(path):
        pass


def _middle(path: str | Path, side: int) -> Tensor:
    with opened(path) as image:
        picture = upright(image)
    scaled = F.resize(picture, [round(side / SHOWN)], antialias=True)
    pixels = F.to_dtype(F.pil_to_tensor(F.center_crop(scaled, [side, side])), torch.float32, scale=True)
    return F.normalize(pixels, [*MEAN], [*STD])


def listed(root: Path, split: str) -> tuple[list[tuple[str, int]], list[str], list[str]]:
    """The images of a split with their labels, the classes, and the files that are no images by their names.

    The classes are the names of the folders that images lie in, in order. Where there are no other parts beside train,
    or no parts at all, the images are shared out; where test is missing, val is the test; where either is, a fifth of
    train is held out for validation, as ImageNet's test labels are not public.

    root: the folder, which holds train/CLASS/*.jpg and val or test likewise, or CLASS/*.jpg.
    split: "train", "val" or "test".

    Raises `DataError` where there are no class folders, or a part has classes that train has not.
    """
    parts = {part: root / name for part, names in PARTS.items() for name in names if _classes(root / name)}
    classes = _classes(parts.get("train", root))
    if not set(classes) - {name for names in PARTS.values() for name in names}:
        raise DataError(f"an image folder needs {root / 'train'}/CLASS/*.jpg, or {root}/CLASS/*.jpg")
    if not parts.keys() - {"train"}:
        shared, others = _images(parts.get("train", root), classes)
        return splits.shares(shared)[split], classes, others
    whole = {"val", "test"} <= parts.keys()
    part = "train" if split == "val" and not whole else "val" if split == "test" and "test" not in parts else split
    if "train" not in parts or not set(_classes(parts[part])) <= set(classes):
        raise DataError(f"{root / part} has other class folders than {root / 'train'}")
    items, others = _images(parts[part], classes)
    return items if whole or part != "train" else splits.complete(items, None, [])[split], classes, others


def _classes(folder: Path) -> list[str]:
    """The names of the folders in a folder, in order, but for hidden ones; none where there is no folder."""
    try:
        return sorted(entry.name for entry in os.scandir(folder) if entry.is_dir() and _shows(entry.name))
    except (OSError, ValueError):  # such as a name that is too long, or holds a zero
        return []


def _images(folder: Path, classes: list[str]) -> tuple[list[tuple[str, int]], list[str]]:
    """The image files of the classes, with their labels, and all others."""
    labels = {name: label for label, name in enumerate(classes)}
    files = make_dataset(str(folder), labels, is_valid_file=_shows, allow_empty=True)
    images = [item for item in files if has_file_allowed_extension(item[0], IMG_EXTENSIONS)]
    return images, [path for path, _ in files if not has_file_allowed_extension(path, IMG_EXTENSIONS)]


def _shows(path: str) -> bool:
    """Whether a file or folder is one that people see."""
    return not os.path.basename(path).startswith((".", "__MACOSX"))
