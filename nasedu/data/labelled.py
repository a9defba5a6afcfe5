"""A folder's labelled images as a data set: boxes checked against their image, every finding noted."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor
from tqdm import tqdm

from nasedu.data import splits
from nasedu.data.dataset import ONE_SET_IN_MEMORY, DetectionDataset, Sample, make_boxes
from nasedu.data.frames import Box, Size, beyond, placed
from nasedu.data.images import UNREADABLE, Header, header, letterbox, opened, read_image, upright_size, why
from nasedu.data.notes import Notes, shown
from nasedu.errors import DataError, ParameterError, brief, check_kind, check_name, check_whole

LAYOUTS = {
    "voc": "Annotations/*.xml, ImageSets/Main/{train,val,trainval,test}.txt and JPEGImages/*.jpg",
    "coco": "annotations/instances_train2017.json and annotations/instances_val2017.json with the images in "
    "train2017 and val2017, or one annotations/instances*.json with its images in images",
    "yolo": "data.yaml or classes.txt, images/train/*.jpg with labels/train/*.txt, and val and test likewise",
}
FEW = 5  # boxes: of so few, nothing is concluded


@dataclass
class Labelled:
    """An image file as a reader found it: of each object its class, box (x1, y1, x2, y2) and ignore.

    stated: (width, height) of the image that the boxes are measured in; None: nothing says it; see `frames`.
    """

    path: Path
    image_id: int
    objects: list[tuple[str, Box, bool]] = field(default_factory=list)
    stated: Size | None = None


class Found(NamedTuple):
    """What a folder holds of a split: its layout's name, its images, and the classes of all splits.

    `read(item, number, notes)` makes a `Labelled` of one of the images, the `number`-th that is taken, or None where
    it cannot; what is wrong joins the notes. `categories`: the classes' numbers in COCO's files.
    """

    name: str
    items: Sequence
    classes: Sequence[str]
    read: Callable[[Any, int, Notes], Labelled | None]
    categories: Sequence[int] | None = None


def choose_classes(wanted: Sequence[str] | None, every: Sequence[str]) -> list[str]:
    """The wanted names in their order, or all. Raises `UnknownName`, and `ParameterError` for a name given twice."""
    if not wanted:
        return list(every)
    if not isinstance(wanted, str):
        check_kind("classes", wanted, Sequence, "a list of names")
    wanted = [wanted] if isinstance(wanted, str) else [str(name) for name in wanted]
    if len(set(wanted)) < len(wanted):
        raise ParameterError(f"classes {brief(wanted)} name a class twice")
    return [check_name("class", name, every) for name in wanted]


def read_folder(
    find: Callable[[Path, str, Notes], Found],
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

    Warns once if anything was left out, repaired or doubtful; the set's `report()` tells all of it. Raises DataError
    where there is nothing to use or nearly all boxes lie outside of their images, UnknownName for a class.

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
    check_whole("cache_bytes", cache_bytes, 0)
    notes = Notes()
    found = find(Path(root), split, notes)
    name = found.name
    chosen = choose_classes(classes, found.classes)
    picked = splits.pick(found.items, size, seed, split)
    if not picked:
        raise DataError(f"{name} {split}: no image of {shown(root)} is left for this split: it needs more of them")
    listed = list(filter(None, (found.read(item, number, notes) for number, item in enumerate(picked))))
    fits = len(listed) * 3 * image_size**2 <= cache_bytes
    bar = tqdm(listed, desc=f"reading {name} {split}", unit="image", delay=2, leave=False)
    samples, images = _opened(bar, chosen, image_size, fits, notes)
    _check(f"{name} {split}", len(picked), samples, notes)
    load = lambda index: images[index] if fits else _read_later(samples[index].file, image_size)  # noqa: E731
    room = 0 if fits else cache_bytes  # what is decoded already needs no second copy
    made = {"image_size": image_size, "notes": notes, "cache_bytes": room}
    numbers = found.categories and [found.categories[found.classes.index(one)] for one in chosen]
    return DetectionDataset(name, split, chosen, samples, load, categories=numbers, **made)


def _check(name: str, picked: int, samples: Sequence[Sample], notes: Notes) -> None:
    """Refuse a set without images, note one without objects, and warn of all notes at once."""
    if not samples:
        first = f"; first: {shown(notes[0].text, 150)}" if notes else ""
        raise DataError(f"{name}: none of its {picked} images can be used{first}")
    objects = torch.cat([sample.ignore for sample in samples])
    if objects.all():
        what = "every object is a crowd or difficult, so none counts" if len(objects) else "no image has an object"
        notes.add("noted: nothing to find in this split", name, what)
    if notes:
        counted = f"{name}: {len(notes)} findings of {len({note.kind for note in notes})} kinds, told by .report()"
        warnings.warn(f"{counted}; first: {shown(notes[0].text, 180)}", stacklevel=4)


def _opened(
    listed: Iterable[Labelled], classes: Sequence[str], side: int, decode: bool, notes: Notes
) -> tuple[list[Sample], list[Tensor]]:
    """A sample for each image that can be opened, and its pixels where it is to be decoded now."""
    samples, images, spans, sound = [], [], [], []
    for item in listed:
        try:
            with opened(item.path) as image:
                found = header(image)
            sound.append((item, found, [read_image(item.path, side)] if decode else []))
        except UNREADABLE as reason:
            notes.add("left out: image", item.path, why(reason, "image", "cannot be read"))
        _once_each(item, notes)
    copied = {
        item.stated for item, found, _ in sound if beyond([box for _, box, _ in item.objects], item.stated, found)
    }
    for item, found, pixels in sound:
        try:
            corners = [box for _, box, _ in item.objects]
            boxes, done = placed(corners, item.stated, found, item.stated not in copied)
        except ValueError as reason:
            notes.add("left out: image of another shape than is stated", item.path, str(reason))
            continue
        done += [("repaired: grey levels of more than 8 bits scaled", "it has more than 8 bits a pixel")] * found.deep
        for kind, text in done:
            notes.add(kind, item.path, text)
        images += pixels
        spans += [(box, item.path, upright_size(found.size, found.orientation)) for box in boxes]
        samples.append(_sample(item, boxes, classes, found, side, notes))
    _check_units(spans, notes)
    return samples, images


def _once_each(item: Labelled, notes: Notes) -> None:
    """Leave out objects that an image lists twice, as files do that were merged with themselves."""
    kept: dict = {}
    for one in item.objects:
        if one in kept:
            name, box, _ = one
            told = f"{shown(name, 40)} at ({', '.join(f'{v:g}' for v in box)})"
            notes.add("left out: object that is listed twice", item.path, told)
        kept[one] = None
    item.objects[:] = kept


def _check_units(spans: Sequence[tuple[Box, Path, Size]], notes: Notes) -> None:
    """Refuse boxes in other units than pixels of their images; note ones that all lie in the upper left.

    Raises DataError, with the first file that has such boxes.
    """
    if len(spans) < FEW:
        return
    boxes, sizes = torch.tensor([box for box, _, _ in spans]), torch.tensor([size for _, _, size in spans]).repeat(1, 2)
    first, count = shown(spans[0][1], 90), len(spans)
    if (boxes.abs() <= 1).all(dim=1).float().mean() > 0.9:
        told = f"nearly all of {count} boxes lie between 0 and 1, as shares of an image do"
        raise DataError(f"{first}: here and elsewhere, {told}; this layout measures boxes in pixels")
    shares = boxes / sizes
    centres, reach = (shares[:, :2] + shares[:, 2:]) / 2, shares[:, 2:].amax().item()
    outside = ((centres < 0) | (centres > 1)).any(dim=1)
    if outside.float().mean() > 0.5:
        first = shown(spans[int(outside.int().argmax())][1], 90)
        told = f"{int(outside.sum())} of {count} boxes lie outside of their images, up to {reach:.3g} times their size"
        raise DataError(f"{first}: here and elsewhere, {told}: they are in other units, or of other images")
    if reach < 0.6 and len({path for _, path, _ in spans}) >= 2 * FEW and count >= 4 * FEW:
        told = f"no box reaches beyond {reach:.0%} of its image's width and height: were the images enlarged?"
        notes.add("noted: all boxes lie in the upper left of their images", spans[0][1], told)


def _sample(
    item: Labelled, boxes: Sequence[Box], classes: Sequence[str], found: Header, side: int, notes: Notes
) -> Sample:
    """Boxes clipped to the image and letterboxed; what is under 1 px in the original is left out."""
    width, height = upright_size(found.size, found.orientation)
    kept = []
    for (name, _, ignore), (x1, y1, x2, y2) in zip(item.objects, boxes, strict=True):
        inside = max(x1, 0.0), max(y1, 0.0), min(x2, float(width)), min(y2, float(height))
        if name not in classes:
            continue
        told = f"box ({', '.join(f'{v:g}' for v in (x1, y1, x2, y2))})"
        if inside[2] - inside[0] < 1 or inside[3] - inside[1] < 1:
            notes.add("left out: box", item.path, f"{told} is under 1 px wide or high inside {width}x{height}")
            continue
        kept.append((inside, classes.index(name), ignore))
        if max(abs(a - b) for a, b in zip(inside, (x1, y1, x2, y2), strict=True)) > 1.5:
            notes.add("repaired: box cut at the image's edge", item.path, f"{told} sticks out of {width}x{height}")
    clipped, labels, ignore = zip(*kept, strict=True) if kept else ((), (), ())
    corners = letterbox(torch.tensor(clipped).float().reshape(-1, 4), (height, width), side)
    boxed = make_boxes(corners.tolist(), (side, side))
    return Sample(str(item.path), item.image_id, boxed, torch.tensor(labels).long(), torch.tensor(ignore).bool())


def _read_later(path: str, side: int) -> Tensor:
    try:
        return read_image(path, side)
    except UNREADABLE as reason:
        told = why(reason, "image", "cannot be read")
        raise DataError(f"{shown(path)}: {told}; its header was sound before: restore or unlist it") from reason
