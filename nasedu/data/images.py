"""Image files to letterboxed squares, their boxes with them; what is broken is skipped and reported."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import torch
from PIL import Image
from torch import Tensor
from torchvision.transforms.v2 import functional as F
from torchvision.tv_tensors import BoundingBoxes
from tqdm import tqdm

from nasedu.data import splits
from nasedu.data.dataset import ONE_SET_IN_MEMORY, DetectionDataset, Sample, make_boxes
from nasedu.errors import DataError, ParameterError, check_name

GREY = 114  # of 255: what fills the square beside an image that is not square
LAYOUTS = {
    "voc": "Annotations/*.xml, ImageSets/Main/{train,val,trainval,test}.txt and JPEGImages/*.jpg",
    "coco": "annotations/instances_train2017.json and annotations/instances_val2017.json with the images in "
    "train2017 and val2017, or one annotations/instances*.json with its images in images",
}
UNREADABLE = (OSError, SyntaxError, ValueError, Image.DecompressionBombError)  # what Pillow raises


@dataclass
class Labelled:
    """An image file as a reader found it: of each object its class, box (x1, y1, x2, y2) in its own pixels, ignore."""

    path: Path
    image_id: int
    objects: list[tuple[str, tuple[float, float, float, float], bool]] = field(default_factory=list)


class Found(NamedTuple):
    """What a folder holds of a split: its layout's name, its images, and the classes of all splits.

    `read(item, number, skipped)` makes a `Labelled` of one of the images, the `number`-th that is taken, or None where
    it cannot; what is wrong joins `skipped`.
    """

    name: str
    items: Sequence
    classes: Sequence[str]
    read: Callable[[Any, int, list[str]], Labelled | None]


def choose_classes(wanted: Sequence[str] | None, every: Sequence[str]) -> list[str]:
    """The wanted names in their order, or all. Raises `UnknownName`, and `ParameterError` for a name given twice."""
    if not wanted:
        return list(every)
    if len(set(wanted)) < len(wanted):
        raise ParameterError(f"classes {list(wanted)} name a class twice")
    return [check_name("class", name, every) for name in wanted]


def letterbox(image_or_boxes, original: tuple[int, int], side: int):
    """Scale an image, or boxes, to fit a square, and pad evenly with grey.

    image_or_boxes: the image may have been decoded at a reduced scale already.
    original: (height, width) of the file, which alone decide where it lands.
    side: of the square in pixels.
    """
    height, width = _fitted(original, side)
    top, left = (side - height) // 2, (side - width) // 2
    resized = F.resize(image_or_boxes, [height, width], antialias=True)
    return F.pad(resized, [left, top, side - width - left, side - height - top], fill=GREY)


def read_image(path: str | Path, side: int) -> Tensor:
    """An image file as a letterboxed square, uint8 (3, side, side). Raises one of UNREADABLE."""
    with Image.open(path) as image:
        original = image.height, image.width
        height, width = _fitted(original, side)
        image.draft("RGB", (width, height))  # JPEG only: decode at 1/2, 1/4 or 1/8 where that is large enough
        pixels = F.pil_to_tensor(image.convert("RGB"))
    return letterbox(pixels, original, side)


def read_folder(
    find: Callable[[Path, str], Found],
    split: str,
    *,
    root: str | Path,
    image_size: int = 128,
    seed: int = 0,
    size: int | None = None,
    classes: Sequence[str] | None = None,
    cache_bytes: int = ONE_SET_IN_MEMORY,
) -> DetectionDataset:
    """A split of a folder's images as a data set: every readable one of those that `find` lists.

    Warns once if anything was skipped. Raises DataError where there is nothing to use, UnknownName for a class.

    find: finds the images of a split in a folder.
    split: "train", "val" or "test".
    root: the folder.
    image_size: pixels of a side.
    seed: draws which images.
    size: takes so many of them, or None for all.
    classes: the wanted ones, in their order; images without any of them stay as negatives. None: all.
    cache_bytes: of decoded images that are kept. A set that fits is decoded here, and a truncated image skipped; of a
        larger one it raises DataError when first wanted: indices must not shift under a training that has begun.
    """
    name, *_ = found = find(Path(root), split)
    chosen = choose_classes(classes, found.classes)
    skipped: list[str] = []
    picked = splits.pick(found.items, size, seed, split)
    listed = list(filter(None, (found.read(item, number, skipped) for number, item in enumerate(picked))))
    fits = len(listed) * 3 * image_size**2 <= cache_bytes
    shown = tqdm(listed, desc=f"reading {name} {split}", unit="image", delay=2, leave=False)
    samples, images = _opened(shown, chosen, image_size, fits, skipped)
    if not samples:
        first = f"; first: {skipped[0]}" if skipped else ""
        raise DataError(f"{name} {split}: none of its {len(listed)} images can be used{first}")
    if skipped:
        count = f"{name} {split}: skipped {len(skipped)} files or boxes, listed in .skipped"
        warnings.warn(f"{count}; first: {skipped[0]}", stacklevel=3)
    load = lambda index: images[index] if fits else _read_later(samples[index].file, image_size)  # noqa: E731
    room = 0 if fits else cache_bytes  # what is decoded already needs no second copy
    return DetectionDataset(
        name, split, chosen, samples, load, image_size=image_size, skipped=skipped, cache_bytes=room
    )


def _fitted(original: tuple[int, int], side: int) -> tuple[int, int]:
    """(height, width) after scaling the longer side to `side`."""
    return tuple(max(1, round(length * side / max(original))) for length in original)


def _opened(
    listed: Iterable[Labelled], classes: Sequence[str], side: int, decode: bool, skipped: list[str]
) -> tuple[list[Sample], list[Tensor]]:
    """A sample for each image that can be opened, and its pixels where it is to be decoded now."""
    samples, images = [], []
    for item in listed:
        try:
            with Image.open(item.path) as header:
                original = header.height, header.width
            if decode:
                images.append(read_image(item.path, side))
        except UNREADABLE as reason:
            skipped.append(f"{item.path}: {why(reason, 'image', 'cannot be read')}")
            continue
        samples.append(_sample(item, classes, original, side, skipped))
    return samples, images


def _sample(item: Labelled, classes: Sequence[str], original: tuple[int, int], side: int, skipped: list[str]) -> Sample:
    """Boxes clipped to the image and letterboxed; what is under 1 px in the original is skipped."""
    height, width = original
    kept = []
    for name, (x1, y1, x2, y2), ignore in item.objects:
        inside = max(x1, 0.0), max(y1, 0.0), min(x2, float(width)), min(y2, float(height))
        if name not in classes:
            continue
        if inside[2] - inside[0] >= 1 and inside[3] - inside[1] >= 1:  # also false for not-a-number
            kept.append((inside, classes.index(name), ignore))
        else:
            corners = ", ".join(f"{v:g}" for v in (x1, y1, x2, y2))
            skipped.append(f"{item.path}: box ({corners}) is under 1 px wide or high inside {width}x{height}")
    clipped, labels, ignore = zip(*kept, strict=True) if kept else ((), (), ())
    boxes: BoundingBoxes = letterbox(make_boxes(clipped, original), original, side)
    return Sample(str(item.path), item.image_id, boxes, torch.tensor(labels).long(), torch.tensor(ignore).bool())


def _read_later(path: str, side: int) -> Tensor:
    try:
        return read_image(path, side)
    except UNREADABLE as reason:
        told = why(reason, "image", "cannot be read")
        raise DataError(f"{path}: {told}; its header was sound before: restore or unlist it") from reason


def why(reason: Exception, what: str, fault: str) -> str:
    """Why a file is skipped: it is missing, or has the fault.

    reason: the exception.
    what: the file is.
    fault: what is said of a file that is there.
    """
    return f"the {what} is missing" if isinstance(reason, FileNotFoundError) else f"the {what} {fault} ({reason})"
