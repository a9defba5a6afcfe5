"""Folders in PASCAL VOC layout: Everingham et al., "The PASCAL Visual Object Classes Challenge", 2010."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from xml.etree import ElementTree

from torchvision.datasets import VOCDetection

from nasedu.data import splits
from nasedu.data.images import LAYOUTS, Found, Labelled, why
from nasedu.errors import DataError

PLACES = ("", "VOCdevkit/VOC2007", "VOCdevkit/VOC2012", "VOC2007", "VOC2012")
PARTS = ("Annotations", "ImageSets/Main", "JPEGImages")
BROKEN = (OSError, ElementTree.ParseError, ValueError, LookupError, TypeError)  # a file that is no annotation
SUFFIXES = (".jpg", ".jpeg", ".JPG", ".png")


def voc(root: Path, split: str) -> Found:
    """A split of a VOC folder: `root` itself, or VOCdevkit/VOC2007 or VOC2007 below it (2012 likewise).

    Classes are all object names in the annotations of all splits, in alphabetical order. `difficult` becomes `ignore`.
    Missing lists: train falls back to trainval, val to a fixed fifth held out from train, test (VOC2012 keeps
    its own secret) to val; images of val and test never stay in train.
    VOC counts pixels from 1 and includes the last, so corners become (xmin - 1, ymin - 1, xmax, ymax).
    Raises DataError for a missing folder or list; broken files are skipped.
    """
    folder = _find(root)
    lists = _lists(folder)
    classes = _classes(folder, sorted({stem for stems in lists.values() for stem in stems}))
    return Found("voc", lists[split], classes, partial(_read, folder))


def _find(root: Path) -> Path:
    """The folder that holds Annotations, ImageSets and JPEGImages."""
    folders = [root / place for place in PLACES]
    for folder in folders:
        if all((folder / part).is_dir() for part in PARTS):
            return folder
    closest = max(folders, key=lambda folder: sum((folder / part).is_dir() for part in PARTS))
    missing = [part for part in PARTS if not (closest / part).is_dir()]
    raise DataError(
        f"no PASCAL VOC data in {root}: {closest} has no {' and no '.join(missing)}; expected {LAYOUTS['voc']} "
        f"in {root} itself or in its VOCdevkit/VOC2007 or VOC2007"
    )


def _lists(folder: Path) -> dict[str, list[str]]:
    """The image names of each split."""
    main = folder / "ImageSets" / "Main"
    found = {}
    for name in ("train", "trainval", "val", "test"):
        if (main / f"{name}.txt").is_file():
            lines = (main / f"{name}.txt").read_text(encoding="utf-8").splitlines()
            found[name] = [line.split()[0] for line in lines if line.strip()]
    train = found.get("train", found.get("trainval"))
    if train is None:
        raise DataError(f"{main} has neither train.txt nor trainval.txt to list the training images")
    return splits.complete(train, found.get("val"), found.get("test"))


def _classes(folder: Path, stems: Sequence[str]) -> list[str]:
    """Every object name, sorted. A broken file has none here: the split that it belongs to reports it."""
    names: set[str] = set()
    for stem in stems:
        try:
            tree = ElementTree.parse(folder / "Annotations" / f"{stem}.xml")
        except BROKEN:
            continue
        names.update(node.text.strip() for node in tree.iterfind("object/name") if node.text)
    if not names:
        raise DataError(f"{folder / 'Annotations'}: no readable object for any of {len(stems)} listed images")
    return sorted(names)


def _read(folder: Path, stem: str, number: int, skipped: list[str]) -> Labelled | None:
    """One annotation file; None where it is broken as a whole."""
    path = folder / "Annotations" / f"{stem}.xml"
    try:
        tree = ElementTree.parse(path).getroot()
        if tree.tag != "annotation":
            raise ValueError(f"it starts with <{tree.tag}>, not <annotation>")
    except BROKEN as reason:
        skipped.append(f"{path}: {why(reason, 'annotation', 'does not parse')}")
        return None
    candidates = [folder / "JPEGImages" / f"{stem}{suffix}" for suffix in SUFFIXES]
    item = Labelled(next((image for image in candidates if image.is_file()), candidates[0]), number)
    for node in tree.iterfind("object"):
        try:
            thing = VOCDetection.parse_voc_xml(node)["object"]
            xmin, ymin, xmax, ymax = (float(thing["bndbox"][key]) for key in ("xmin", "ymin", "xmax", "ymax"))
            name, difficult = thing["name"], int(thing.get("difficult", 0))
        except (KeyError, TypeError, ValueError) as reason:
            skipped.append(f"{path}: an object without a readable name or box ({reason!r})")
            continue
        if xmax - xmin < 1 or ymax - ymin < 1:
            skipped.append(f"{path}: box ({xmin:g}, {ymin:g}, {xmax:g}, {ymax:g}) is under 1 px wide or high")
        else:
            item.objects.append((name, (xmin - 1, ymin - 1, xmax, ymax), bool(difficult)))
    return item
