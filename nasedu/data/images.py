"""Image files to letterboxed squares, their boxes with them; what is broken is skipped and reported."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor
from torchvision.transforms.v2 import functional as F
from torchvision.tv_tensors import BoundingBoxes
from tqdm import tqdm

from nasedu.data.dataset import ONE_SET_IN_MEMORY, DetectionDataset, Sample, make_boxes
from nasedu.errors import DataError, ParameterError, check_name

GREY = 114  # of 255: what fills the square beside an image that is not square
UNREADABLE = (OSError, SyntaxError, ValueError, Image.DecompressionBombError)  # what Pillow raises


@dataclass
class Labelled:
    """An image file as a reader found it: labels, boxes (x1, y1, x2, y2) in its own pixels, ignore flags."""

    path: Path
    image_id: int
    labels: list[int] = field(default_factory=list)
    boxes: list[tuple[float, float, float, float]] = field(default_factory=list)
    ignore: list[bool] = field(default_factory=list)

    def add(self, label: int, box: tuple[float, float, float, float], ignore: bool) -> None:
        self.labels.append(label)
        self.boxes.append(box)
        self.ignore.append(ignore)


def choose_classes(wanted: Sequence[str] | None, every: Sequence[str]) -> list[str]:
    """The wanted names in their order, or all. Raises `UnknownName`, and `ParameterError` for a name given twice."""
    if not wanted:
        return list(every)
    if len(set(wanted)) < len(wanted):
        raise ParameterError(f"classes {list(wanted)} name a class twice")
    return [check_name("class", name, every) for name in wanted]


def letterbox(image_or_boxes, original: tuple[int, int], side: int):
    """Scale an image, or boxes, of `original` (height, width) to fit a square, and pad evenly with grey.

    The image itself may have been decoded at a reduced scale already: only `original` decides where it lands.
    """
    height, width = _fitted(original, side)
    top, left = (side - height) // 2, (side - width) // 2
    resized = F.resize(image_or_boxes, [height, width], antialias=True)
    return F.pad(resized, [left, top, side - width - left, side - height - top], fill=GREY)


def read_image(path: Path, side: int) -> Tensor:
    """An image file as a letterboxed square, uint8 (3, side, side). Raises one of UNREADABLE."""
    with Image.open(path) as image:
        original = image.height, image.width
        height, width = _fitted(original, side)
        image.draft("RGB", (width, height))  # JPEG only: decode at 1/2, 1/4 or 1/8 where that is large enough
        pixels = F.pil_to_tensor(image.convert("RGB"))
    return letterbox(pixels, original, side)


def build(
    name: str,
    split: str,
    classes: Sequence[str],
    listed: Sequence[Labelled],
    skipped: list[str],
    *,
    image_size: int,
    cache_bytes: int = ONE_SET_IN_MEMORY,
) -> DetectionDataset:
    """A data set of every readable image in `listed`; files and boxes that cannot be used join `skipped`.

    A set that fits into `cache_bytes` is decoded here, so a truncated image is found and skipped now. Of a
    larger one only the headers are read here, and an image that turns out to be cut short when it is first
    wanted raises DataError with its path: indices must not shift under a training that has begun.
    Warns once if anything was skipped. Raises DataError if nothing is left.
    """
    fits = len(listed) * 3 * image_size**2 <= cache_bytes
    samples, paths, images = [], [], []
    for item in tqdm(listed, desc=f"reading {name} {split}", unit="image", delay=2, leave=False):
        try:
            with Image.open(item.path) as header:
                original = header.height, header.width
            if fits:
                images.append(read_image(item.path, image_size))
        except UNREADABLE as reason:
            skipped.append(f"{item.path}: {_why(reason)}")
            continue
        samples.append(_sample(item, original, image_size, skipped))
        paths.append(item.path)
    if not samples:
        first = f"; first: {skipped[0]}" if skipped else ""
        raise DataError(f"{name} {split}: none of its {len(listed)} images can be used{first}")
    if skipped:
        count = f"{name} {split}: skipped {len(skipped)} files or boxes, listed in .skipped"
        warnings.warn(f"{count}; first: {skipped[0]}", stacklevel=4)
    load = images.__getitem__ if fits else lambda index: _read_later(paths[index], image_size)
    room = 0 if fits else cache_bytes  # what is decoded already needs no second copy
    return DetectionDataset(
        name, split, classes, samples, load, image_size=image_size, skipped=skipped, cache_bytes=room
    )


def _fitted(original: tuple[int, int], side: int) -> tuple[int, int]:
    """(height, width) after scaling the longer side to `side`."""
    return tuple(max(1, round(length * side / max(original))) for length in original)


def _sample(item: Labelled, original: tuple[int, int], side: int, skipped: list[str]) -> Sample:
    """Boxes clipped to the image and letterboxed; what is under 1 px in the original is skipped."""
    height, width = original
    keep, clipped = [], []
    for index, (x1, y1, x2, y2) in enumerate(item.boxes):
        inside = max(x1, 0.0), max(y1, 0.0), min(x2, float(width)), min(y2, float(height))
        if inside[2] - inside[0] >= 1 and inside[3] - inside[1] >= 1:  # also false for not-a-number
            keep.append(index)
            clipped.append(inside)
        else:
            corners = ", ".join(f"{v:g}" for v in (x1, y1, x2, y2))
            skipped.append(f"{item.path}: box ({corners}) is under 1 px wide or high inside {width}x{height}")
    boxes: BoundingBoxes = letterbox(make_boxes(clipped, original), original, side)
    labels = torch.tensor([item.labels[i] for i in keep], dtype=torch.int64)
    ignore = torch.tensor([item.ignore[i] for i in keep], dtype=torch.bool)
    return Sample(str(item.path), item.image_id, boxes, labels, ignore)


def _read_later(path: Path, side: int) -> Tensor:
    try:
        return read_image(path, side)
    except UNREADABLE as reason:
        raise DataError(
            f"{path}: {_why(reason)}; its header was sound when the set was opened: restore or unlist it"
        ) from reason


def _why(reason: Exception) -> str:
    if isinstance(reason, FileNotFoundError):
        return "the image is missing"
    return f"the image cannot be read ({reason})"
