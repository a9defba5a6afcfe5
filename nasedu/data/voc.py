"""Folders in PASCAL VOC layout: Everingham et al., "The PASCAL Visual Object Classes Challenge", 2010."""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import partial
from pathlib import Path, PurePosixPath
from typing import NamedTuple
from xml.etree import ElementTree

from nasedu.data import splits
from nasedu.data.images import why
from nasedu.data.labelled import LAYOUTS, Found, Labelled
from nasedu.data.notes import Notes, shown
from nasedu.data.reading import SUFFIXES, flag, found, inside, listed, number, same, size, text
from nasedu.errors import DataError

PLACES = ("", "VOCdevkit/VOC2007", "VOCdevkit/VOC2012", "VOC2007", "VOC2012")
PARTS = ("Annotations", "JPEGImages")
LISTS = "ImageSets/Main"
BROKEN = (OSError, ElementTree.ParseError, ValueError, LookupError, TypeError, RecursionError)  # it is no annotation


class Files(NamedTuple):
    """A VOC folder, its annotations by their names without suffix, and the images of folders that were looked into."""

    folder: Path
    annotations: dict[str, Path]
    images: dict[Path, dict[str, Path]]

    def annotation(self, stem: str) -> Path:
        """Of an image, where it is or should be."""
        return self.annotations.get(stem, self.folder / PARTS[0] / f"{stem}.xml")

    def image(self, stem: str) -> Path | None:
        """With any suffix; None where there is none."""
        return found(self.folder / PARTS[1] / f"{stem}{SUFFIXES[0]}", self.images)


def voc(root: Path, split: str, notes: Notes) -> Found:
    """A split of a VOC folder: `root` itself, or VOCdevkit/VOC2007 or VOC2007 below it (2012 likewise).

    Classes are all object names in the annotations of all splits, in alphabetical order. `difficult` becomes `ignore`.
    Missing lists: train falls back to trainval, val to a fixed fifth held out from train, test (VOC2012 keeps
    its own secret) to val; images of val and test never stay in train. Without any list of these, as LabelImg and CVAT
    leave a folder, all annotations are divided, 70 : 10 : 20.
    VOC counts pixels from 1 and includes the last, so corners become (xmin - 1, ymin - 1, xmax, ymax).
    Raises DataError for a missing folder or list; broken files are left out.

    root: the folder.
    split: "train", "val" or "test".
    notes: what is found joins them.
    """
    folder = _find(root)
    files = Files(folder, listed(folder / PARTS[0], (".xml",)), {})
    lists = _lists(files, notes)
    classes = _classes(files, sorted({stem for stems in lists.values() for stem in stems}))
    return Found("voc", lists[split], classes, partial(_read, files))


def _find(root: Path) -> Path:
    """The folder that holds Annotations and JPEGImages."""
    folders = [root / place for place in PLACES]
    for folder in folders:
        if all((folder / part).is_dir() for part in PARTS):
            return folder
    closest = max(folders, key=lambda folder: sum((folder / part).is_dir() for part in PARTS))
    missing = [part for part in PARTS if not (closest / part).is_dir()]
    raise DataError(
        f"no PASCAL VOC data: {shown(closest, 60)} has no {' and no '.join(missing)}; expected {LAYOUTS['voc']} "
        f"in the root itself or in its VOCdevkit/VOC2007 or VOC2007"
    )


def _lists(files: Files, notes: Notes) -> dict[str, list[str]]:
    """The image names of each split."""
    main, given = files.folder / LISTS, {}
    for name in ("train", "trainval", "val", "test"):
        path = main / f"{name}.txt"
        if path.exists():
            try:
                lines = text(path, notes).splitlines()
            except (OSError, ValueError) as reason:
                raise DataError(f"{shown(path)}: {why(reason, 'list', 'cannot be read')}") from None
            given[name] = list(dict.fromkeys(_stem(files, line.strip(), path) for line in lines if line.strip()))
    train = given.get("train", given.get("trainval"))
    if not given:
        notes.add("noted: folder without lists", main, "all of its annotations are divided, 70 : 10 : 20")
        return splits.shares(list(files.annotations))
    if train is None:
        raise DataError(f"{shown(main)} has neither train.txt nor trainval.txt to list the training images")
    told = notes if "train" in given else None  # trainval holds val: that is no finding
    return splits.complete(train, given.get("val"), given.get("test"), told, main)


def _stem(files: Files, line: str, path: Path) -> str:
    """The image that a line names: all of it, or without a last flag such as -1, or without its folder and suffix."""
    name, _, last = line.rpartition(" ")
    bare = name.strip() if name and last in ("-1", "0", "1") and same(line) not in files.annotations else line
    place = PurePosixPath(inside(bare, path))
    known = place.suffix.lower() in (*SUFFIXES, ".xml") and str(place.parent) in (".", "JPEGImages", "Annotations")
    return same(place.stem if known and same(str(place)) not in files.annotations else str(place))


def _parsed(path: Path, notes: Notes | None = None) -> ElementTree.Element:
    """An annotation's root. Raises one of BROKEN."""
    source = text(path, notes).lstrip()
    if "<!DOCTYPE" in source or "<!ENTITY" in source:
        raise ValueError("it defines its own entities")
    tree = ElementTree.fromstring(source)  # of text, so the encoding that it declares counts no more
    if tree.tag != "annotation":
        raise ValueError(f"it starts with <{tree.tag}>, not <annotation>")
    return tree


def _classes(files: Files, stems: Sequence[str]) -> list[str]:
    """Every object name, sorted. A broken file has none here: the split that it belongs to reports it."""
    names: set[str] = set()
    for stem in stems:
        try:
            tree = _parsed(files.annotation(stem))
        except BROKEN:
            continue
        names.update(name.strip() for node in tree.iterfind("object") if (name := node.findtext("name", "")).strip())
    if not names:
        raise DataError(f"{shown(files.folder / PARTS[0])}: no readable object for any of {len(stems)} listed images")
    return sorted(names)


def _read(files: Files, stem: str, count: int, notes: Notes) -> Labelled | None:
    """One annotation file; None where it is broken as a whole."""
    path = files.annotation(stem)
    try:
        tree = _parsed(path, notes)
    except BROKEN as reason:
        notes.add("left out: annotation", path, why(reason, "annotation", "does not parse"))
        return None
    item = Labelled(
        _image(files, stem, tree, notes), count, stated=size(*map(tree.findtext, ("size/width", "size/height")))
    )
    for node in tree.iterfind("object"):
        try:
            name = node.findtext("name", "").strip()
            xmin, ymin, xmax, ymax = (
                number(node.findtext(f"bndbox/{key}")) for key in ("xmin", "ymin", "xmax", "ymax")
            )
            if not name:
                raise ValueError("its name is empty")
            if len(node.findall("bndbox")) > 1:
                notes.add("left out: box", path, f"an object {shown(name, 40)} has several boxes; the first is taken")
        except ValueError as reason:
            notes.add("left out: object", path, f"an object without a readable name or box ({reason})")
            continue
        ignore = flag(node.findtext("difficult", "0"), partial(notes.add, "noted: mark", path))
        first = int(xmax > xmin and ymax > ymin)  # a box without extent stays so, and is left out as such
        item.objects.append((name, (xmin - first, ymin - first, xmax, ymax), ignore))
    return item


def _image(files: Files, stem: str, tree: ElementTree.Element, notes: Notes) -> Path:
    """The image of an annotation: the one of its own name, else the one that its <filename> gives."""
    stated = PurePosixPath(tree.findtext("filename", "").strip().replace("\\", "/"))
    own, missing = files.image(stem), files.folder / PARTS[1] / f"{stem}{SUFFIXES[0]}"
    if not stated.name or PurePosixPath(stem).name in (same(stated.name), same(stated.stem)):
        exact = missing.with_name(stated.name) if stated.name else missing  # of a.jpg and a.png that which is meant
        return exact if stated.suffix and os.path.exists(exact) else own or missing
    free = same(stated.stem) not in files.annotations  # else it is another annotation's image
    path = own or (files.image(stated.stem) if free else None) or missing
    told = f"it names {shown(stated, 60)}; {shown(path.name, 60)} is used"
    notes.add("noted: <filename> of another name", files.annotation(stem), told)
    return path
