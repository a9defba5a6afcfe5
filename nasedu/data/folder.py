"""A folder of images by class, as ImageNet and its smaller forms come: train/CLASS/*.jpg and val/CLASS/*.jpg."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path

import torch
from torch import Tensor
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional as F
from tqdm import tqdm

from nasedu.data import splits
from nasedu.data.crop import Cut
from nasedu.data.image_set import Faults, Source
from nasedu.data.images import UNREADABLE, opened, upright, why
from nasedu.data.notes import Notes, shown
from nasedu.data.reading import SUFFIXES, names, walk
from nasedu.errors import DataError, brief

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet's pixels, 0 to 1
SHOWN = 224 / 256  # of the shorter side, the part that is cut out, as where ImageNet is tested
SCALINGS = {"bilinear": InterpolationMode.BILINEAR, "bicubic": InterpolationMode.BICUBIC}
IMAGENET = "ILSVRC/Data/CLS-LOC"  # where the images lie in ImageNet's own archive


@dataclass(frozen=True)
class Files(Source):
    """A source of images: the upright middle of every file, scaled to a square; see `image_set.Source`."""

    paths: list[str]
    scaling: str = "bilinear"
    mean, std = MEAN, STD

    def read(self, index: Tensor, side: int, cuts: Sequence[Cut] = ()) -> tuple[Tensor, Faults]:
        """The images, which several threads decode.

        index: as in `Source`.
        side: likewise.
        cuts: likewise.
        """
        images = torch.zeros(len(index), 3, side, side)

        def one(place: int, path: str) -> None:
            images[place] = _pixels(path, side, SCALINGS[self.scaling], cuts[place] if cuts else None)

        return images, self._tried(index, one)

    def look(self, index: Tensor) -> Faults:
        """The files that no image begins in."""
        return self._tried(index, _opens)

    def stamp(self, index: Tensor) -> object:
        """Name, size and time of every file: to read them all would take as long as a pass over them."""
        told = ((Path(self.paths[i]), os.stat(self.paths[i])) for i in index.tolist())
        lines = (f"{p.parent.name}/{p.name} {about.st_size} {about.st_mtime_ns}" for p, about in told)
        return "\n".join([self.scaling, *lines])

    def _tried(self, index: Tensor, one: Callable[[int, str], None]) -> Faults:
        """Do `one(place, path)` for every file."""
        asked = list(enumerate(self.paths[i] for i in index.tolist()))
        with ThreadPoolExecutor() as pool:
            starts = range(0, len(asked), 4096)  # a million files at once would fill the memory with what waits
            found = chain.from_iterable(pool.map(partial(_fault, one), asked[i : i + 4096]) for i in starts)
            shown = tqdm(found, total=len(asked), desc="reading images", unit="image", delay=2, leave=False)
            return {place: fault for place, fault in enumerate(shown) if fault}


def _fault(one: Callable[[int, str], None], asked: tuple[int, str]) -> tuple[str, str] | None:
    """A file with which this cannot be done, and why."""
    try:
        one(*asked)
    except UNREADABLE as error:
        return asked[1], why(error, "image", "cannot be read")
    return None


def _opens(_place: int, path: str) -> None:
    with opened(path):
        pass


def _pixels(path: str | Path, side: int, scaling: InterpolationMode, cut: Cut | None) -> Tensor:
    """A file's middle, or what is cut out, as a square (3, side, side)."""
    with opened(path) as image:
        picture = upright(image)
    if cut:
        picture = F.resized_crop(picture, *cut(picture.height, picture.width), [side, side], scaling)
    else:
        picture = F.center_crop(F.resize(picture, [round(side / SHOWN)], scaling, antialias=True), [side, side])
    return F.normalize(F.to_dtype(F.pil_to_tensor(picture), torch.float32, scale=True), [*MEAN], [*STD])


def listed(root: Path, split: str, notes: Notes) -> tuple[list[tuple[str, int]], list[str]]:
    """The images of a split with their labels, and the classes.

    The classes are the names of the folders that images lie in, in order. Where there are no other parts beside train,
    or no parts at all, the images are shared out; where test is missing, val is the test; where either is, a fifth of
    train is held out for validation, as ImageNet's test labels are not public.

    root: the folder, which holds train/CLASS/*.jpg and val or test likewise, or CLASS/*.jpg.
    split: "train", "val" or "test".
    notes: what is left out joins them.

    Raises `DataError` where there are no class folders, or a part has classes that train has not.
    """
    parts = {part: root / name for part, name in splits.named(_folders(root)).items() if _folders(root / name)}
    classes = _folders(parts.get("train", root))
    if not classes or len(splits.named(classes)) == len(classes):
        raise DataError(f"an image folder needs {shown(root, 80)}/train/CLASS/*.jpg, or CLASS/*.jpg in it")
    if not parts.keys() - {"train"}:
        return splits.shares(_images(parts.get("train", root), classes, notes))[split], classes
    whole = {"val", "test"} <= parts.keys()
    part = "train" if split == "val" and not whole else "val" if split == "test" and "test" not in parts else split
    if "train" not in parts:
        raise DataError(f"{shown(root, 80)} has {' and '.join(path.name for path in parts.values())}, but no train")
    if other := sorted(set(_folders(parts[part])) - set(classes)):
        raise DataError(f"{shown(parts[part], 80)} has the class folder {brief(other[0])}, which train has not")
    items = _images(parts[part], classes, notes)
    return items if whole or part != "train" else splits.complete(items, None, [])[split], classes


def _folders(folder: Path) -> list[str]:
    """The names of the folders in a folder, in order; none where there is no folder."""
    return [name for name in names(folder) if os.path.isdir(folder / name)]


def _images(folder: Path, classes: list[str], notes: Notes) -> list[tuple[str, int]]:
    """The image files of the classes, with their labels."""
    images = []
    for label, name in enumerate(classes):
        for path in walk(folder / name):
            if path.suffix.lower() in SUFFIXES:
                images.append((str(path), label))
            else:
                notes.add("left out: file whose name is none of an image", path, f"its suffix is {brief(path.suffix)}")
    return images
