"""Images to learn from: with boxes (built in, VOC folders, COCO files, YOLO labels), and with one label each."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path

from nasedu.data import reading, splits
from nasedu.data.classification import classification
from nasedu.data.coco import ROBOFLOW, coco
from nasedu.data.dataset import DetectionDataset
from nasedu.data.digits import digits
from nasedu.data.export import export
from nasedu.data.image_set import ImageSet
from nasedu.data.images import read_squares
from nasedu.data.labelled import LAYOUTS, read_folder
from nasedu.data.notes import shown
from nasedu.data.voc import PLACES, voc
from nasedu.data.yolo import NAMES, yolo
from nasedu.errors import DataError, ParameterError, check_kind, check_name, check_whole
from nasedu.registry import Registry, check_options, options_of

__all__ = ["ImageSet", "classification", "detection", "export", "guess", "names", "read_squares"]

FOLDERS = {"voc": voc, "coco": coco, "yolo": yolo}
READERS = Registry("dataset", {"digits": digits} | {name: partial(read_folder, find) for name, find in FOLDERS.items()})


def names() -> list[str]:
    """The names that `detection` knows: "digits" is built in, "voc", "coco" and "yolo" read a folder."""
    return READERS.names()


def guess(root: str | Path) -> str:
    """The name of the reader that a folder looks made for. Raises `DataError` where it looks made for none.

    root: the folder.
    """
    root = Path(check_kind("root", root, (str, os.PathLike), "a folder"))
    there = reading.names(root)
    if any((root / "annotations").glob("instances*.json")) or any((root / n / ROBOFLOW).is_file() for n in there):
        return "coco"
    if any((root / place / "Annotations").is_dir() for place in PLACES):
        return "voc"
    suffixes = {Path(name).suffix.lower() for name in there}
    if not os.path.isdir(root) or suffixes & {".yaml", ".yml", ".names"} or {"images", "labels", *NAMES} & set(there):
        return "yolo"
    seen = {".xml": "XML files beside images or alone", ".json": "a JSON file of another kind"}
    inner = {Path(name).suffix.lower() for place in there[:20] for name in reading.names(root / place)[:50]}
    told = [what for suffix, what in seen.items() if suffix in suffixes | inner]
    if any(os.path.isdir(root / name) for name in there) and inner & set(reading.SUFFIXES) and not told:
        told = ["folders of images, as classes without boxes have them (dataset=folder)"]
    wanted = "Annotations and JPEGImages (VOC), annotations/instances*.json (COCO) or data.yaml (YOLO)"
    raise DataError(f"{shown(root, 60)} has {' and '.join(told) or 'no file that describes images'}, but no {wanted}")


def detection(
    name: str,
    split: str,
    *,
    root: str | Path | None = None,
    image_size: int = 128,
    seed: int = 0,
    size: int | None = None,
    **options,
) -> DetectionDataset:
    """A split of a detection data set.

    name: "digits" is built in, "voc", "coco" and "yolo" read a folder.
    split: "train", "val" or "test".
    root: the folder; see `nasedu.data.voc.voc`, `nasedu.data.coco.coco` and `nasedu.data.yolo.yolo`.
    image_size: pixels of a side.
    seed: draws the scenes of "digits", or which images to take of a folder; it never moves an image from one split to
        another.
    size: how many images, or None for all.
    options: `difficulty` (digits), `classes` and `cache_bytes` (folders); see `nasedu.data.digits.digits` and
        `nasedu.data.labelled.read_folder`.
    Raises UnknownName for a name, split, option or class, ParameterError for a value out of range, DataError
    for a folder that is missing or incomplete.
    """
    reader = READERS[name]
    check_name("split", split, splits.NAMES)
    check_kind("root", root, (str, os.PathLike, type(None)), "a folder")
    check_whole("image_size", image_size, 32, 2048)
    check_whole("seed", seed, 0)
    if size is not None:
        check_whole("size", size)
    common = {"root", "image_size", "seed", "size", "split"}
    check_options(name, options, sorted(set(options_of(reader)) - common))
    if name == "digits" and root:
        raise ParameterError(f"digits is built in and reads no folder: leave out root={str(root)!r}")
    if name != "digits":
        options["root"] = _folder(name, root)
    return reader(split, image_size=image_size, seed=seed, size=size, **options)


def _folder(name: str, root: str | Path | None) -> Path:
    if not root or "\0" in str(root):
        raise DataError(f"{name} needs the folder of its data: give a root that holds {LAYOUTS[name]}")
    if not os.path.isdir(root):
        raise DataError(f"there is no folder {shown(root, 60)}: {name} expects one that holds {LAYOUTS[name]}")
    return Path(root)
