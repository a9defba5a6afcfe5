"""COCO instances files: Lin et al., "Microsoft COCO: Common Objects in Context", ECCV 2014."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from nasedu.data import splits
from nasedu.data.images import why
from nasedu.data.labelled import LAYOUTS, Found, Labelled
from nasedu.data.notes import Notes, shown
from nasedu.data.reading import flag, found, inside, names, number, size, text, told
from nasedu.errors import DataError, brief
from nasedu.reading import unique

ROBOFLOW = "_annotations.coco.json"


@dataclass
class Entry:
    """An image of an instances file: its place, its number, the size that is stated, its annotations, and how often
    it is listed."""

    path: Path
    number: int
    stated: tuple[float, float] | None
    annotations: list[dict] = field(default_factory=list)
    times: int = 0
    seen: set = field(default_factory=set)


def coco(root: Path, split: str, notes: Notes) -> Found:
    """A split of a folder with COCO instances files, found as annotations/instances_SPLIT*.json.

    Images lie in the folder that the file is named after (train2017), in images, or in `root`. Where there is no such
    file, SPLIT/_annotations.coco.json is one, with its images beside it, as Roboflow writes it. Classes are
    the categories in ascending order of their id. `iscrowd` becomes `ignore`.

    A single instances file is divided by a fixed draw on its images: 70 % train, 10 % val, 20 % test. With a
    train and a val file but no test file (COCO 2017 keeps that secret), test is val; without val, a fixed
    fifth of train is held out. Images of val and test never stay in train.
    Raises DataError for a missing folder, file or image, ids of which two things have the same, several files of one
    split, and boxes that are corners; what has no image or no category is left out.

    root: the folder.
    split: "train", "val" or "test".
    notes: what is found joins them.
    """
    files = _needed(_find(root), split)
    sources = {key: _open(root, file, notes) for key, file in files.items()}
    tables = {key: categories for key, (categories, _) in sources.items()}
    first, *others = tables
    for other in others:
        if tables[other] != tables[first]:
            raise DataError(f"{shown(files[other])} and {shown(files[first], 60)} list different categories")
    classes = list(dict.fromkeys(tables[first].values()))
    if len(classes) < len(tables[first]):
        notes.add("noted: several categories of one name", files[first], "they are one class")
    entries = {key: entries for key, (_, entries) in sources.items()}
    numbers = {name: int(key) for key, name in reversed(tables[first].items()) if key.isascii() and key.isdecimal()}
    categories = [numbers[name] for name in classes] if numbers.keys() >= set(classes) else None
    return Found("coco", _divide(entries, split, root, notes), classes, partial(_read, tables[first]), categories)


def _find(root: Path) -> dict[str, Path]:
    """The instances files by split, or a single one as {"all": file}."""
    given = sorted((root / "annotations").glob("instances*.json"))
    if not given:
        others = splits.named(name for name in names(root) if (root / name / ROBOFLOW).is_file())
        given = sorted(root / name / ROBOFLOW for name in others.values())
        if "train" in others and len(given) > 1:
            return {part: root / name / ROBOFLOW for part, name in others.items()}
    if not given:
        raise DataError(f"no COCO instances file in {shown(root / 'annotations', 60)}: expected {LAYOUTS['coco']}")
    if len(given) == 1:
        return {"all": given[0]}
    files: dict[str, Path] = {}
    for name in splits.NAMES:
        for file in (f for f in given if f.stem.startswith(f"instances_{name}")):
            if name in files:
                both = f"{shown(files[name].name, 60)} and {shown(file.name, 60)}"
                raise DataError(f"{shown(root, 80)} has two instances files for {name}, {both}: keep one of them there")
            files[name] = file
    if "train" not in files:
        raise DataError(f"{shown(root / 'annotations', 60)} has no instances_train*.json: expected {LAYOUTS['coco']}")
    return files


def _needed(files: dict[str, Path], split: str) -> dict[str, Path]:
    """Only the file that holds the split, where there is one: COCO's training file takes 20 s to read."""
    for key in {"train": (), "val": ("val",), "test": ("test", "val")}[split]:
        if key in files:
            return {key: files[key]}
    return files


def _open(root: Path, file: Path, notes: Notes) -> tuple[dict[str, str], dict[str, Entry]]:
    """The classes of an instances file by category id, and its images by path, each with its annotations."""
    try:
        content = json.loads(text(file, notes, math.inf), object_pairs_hook=unique)
    except (OSError, ValueError, RecursionError) as reason:
        raise DataError(f"{shown(file)} is no COCO instances file: {why(reason, 'file', 'cannot be read')}") from None
    for part in ("images", "annotations", "categories"):
        rows = content.get(part) if isinstance(content, dict) else None
        if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
            raise DataError(f"{shown(file)} is no COCO instances file: it has no list of {part!r}")
    if not content["images"] or not content["categories"]:
        counts = f"{len(content['images'])} images and {len(content['categories'])} categories"
        raise DataError(f"{shown(file)} lists {counts}: both are needed")
    named = _by_id(file, "categories", content["categories"], "name")
    order = sorted(named, key=lambda key: (not key.isdecimal(), int(key) if key.isdecimal() else 0, key))
    images = _by_id(file, "images", content["images"], "file_name")
    entries = _entries(root, file, images, content["images"], notes)
    _check_corners(file, content["annotations"])
    for annotation in content["annotations"]:
        owner = entries.get(_key(annotation.get("image_id")))
        if owner is None:
            what = f"an annotation is of image {told(annotation.get('image_id'))}, which is not listed"
            notes.add("left out: annotation without an image", file, what)
        elif owner.times == 1 or (same := _same(annotation)) not in owner.seen:
            owner.annotations.append(annotation)
            owner.seen |= {same} if owner.times > 1 else set()
    return {key: named[key] for key in order}, {str(entry.path): entry for entry in entries.values()}


def _key(value: object) -> str:
    """An id as text, so that 7, 7.0 and "7" are one; "" for what is no id."""
    whole = isinstance(value, float) and value.is_integer()
    known = isinstance(value, int | str) and not isinstance(value, bool)
    return str(int(value) if whole else value).strip() if whole or known else ""


def _by_id(file: Path, part: str, rows: list[dict], what: str) -> dict[str, str]:
    """The names of categories or images by id. Raises DataError where one is missing, or an id stands for two names."""
    named: dict[str, str] = {}
    for row in rows:
        key, name = _key(row.get("id")), row.get(what)
        if not key or not isinstance(name, str | int | float) or not str(name).strip():
            got = f"{told(row.get('id'))} and {told(name)}"
            raise DataError(f"{shown(file)}: one of the {part} has no id or no {what}: they are {got}")
        name = str(name).strip() if what == "name" else str(name)
        if named.setdefault(key, name) != name:
            both = f"{brief(named[key])} and {brief(name)}"
            raise DataError(
                f"{shown(file, 80)}: {part} {both} have one id, {brief(key)}: their boxes cannot be told apart"
            )
    return named


def _entries(root: Path, file: Path, images: dict[str, str], rows: list[dict], notes: Notes) -> dict[str, Entry]:
    """The images by id; a file that is listed under several ids is one image."""
    paths = _located(root, file, images, notes)
    whole = all(key.isascii() and key.isdecimal() and len(key) < 19 for key in images)
    whole = whole and len({int(key) for key in images}) == len(images)
    if not whole:
        notes.add("noted: image ids that are no whole numbers", file, "its images are numbered in order")
    entries: dict[Path, Entry] = {}
    for count, row in enumerate({_key(row["id"]): row for row in rows}.values(), start=1):
        key = _key(row["id"])
        entry = entries.setdefault(
            paths[key], Entry(paths[key], int(key) if whole else count, size(row.get("width"), row.get("height")))
        )
        entry.times += 1
        if entry.times > 1:
            notes.add("repaired: image listed twice", entry.path, f"{shown(file)} lists it under several ids")
    return {key: entries[path] for key, path in paths.items()}


def _located(root: Path, file: Path, images: dict[str, str], notes: Notes) -> dict[str, Path]:
    """Where each image is, by id. Raises DataError where one is missing or outside of the folder."""
    named = {key: inside(name, file) for key, name in images.items()}
    folder = file.stem.removeprefix("instances").removeprefix("_")
    beside = [file.parent] if file.name == ROBOFLOW else []
    places = dict.fromkeys([*beside, *(root / place for place in (folder, f"images/{folder}", "images", ""))])
    folders: dict[Path, dict[str, Path]] = {}
    place = next((p for p in places if any(found(p / name, folders) for name in named.values())), None)
    if place is None:
        tried = ", ".join(shown(place.relative_to(root), 30) for place in places)
        raise DataError(f"{shown(file)}: none of its {len(named)} images is in {tried}")
    paths = {key: found(place / name, folders) for key, name in named.items()}
    missing = [named[key] for key, path in paths.items() if path is None]
    if missing:
        listed = f"lists {len(missing)} images that are not in {shown(place, 60)}, first {shown(missing[0], 60)}"
        raise DataError(f"{shown(file, 80)} {listed}")
    for key, path in paths.items():
        if path.name != Path(named[key]).name:
            notes.add("noted: image of another suffix", path, f"{shown(file, 60)} names it {shown(named[key], 60)}")
    return paths


def _same(annotation: dict) -> object:
    """What is equal for two annotations of the same object."""
    box = annotation.get("bbox")
    plain = isinstance(box, list) and all(isinstance(value, int | float | str) for value in box)
    return (*box, _key(annotation.get("category_id"))) if plain else id(annotation)


def _check_corners(file: Path, annotations: list[dict]) -> None:
    """Raise `DataError` where most areas are those of boxes that were read as corners, x1 y1 x2 y2."""
    told = corners = 0
    for annotation in annotations:
        try:
            (x, y, width, height), area = map(number, _four(annotation["bbox"])), number(annotation["area"])
        except (KeyError, TypeError, ValueError):
            continue
        told += 1
        close = [abs(area - value) <= 0.01 * area for value in ((width - x) * (height - y), width * height)]
        corners += close[0] and not close[1]
    if told >= 3 and corners > 0.5 * told:
        what = "boxes are x, y, width and height, but the areas are those of corners x1, y1, x2, y2"
        raise DataError(f"{shown(file)}: {what}, in {corners} of {told} annotations")


def _four(box: object) -> list:
    if not isinstance(box, list | tuple) or len(box) != 4:
        raise ValueError(f"bbox must be four numbers, got {told(box)}")
    return list(box)


def _corners(annotation: dict) -> tuple[float, float, float, float]:
    """The box of an annotation, or of its polygons where it has none. Raises `ValueError`."""
    if annotation.get("bbox") is not None:
        x, y, width, height = map(number, _four(annotation["bbox"]))
        return x, y, x + width, y + height
    polygons = annotation.get("segmentation")
    if not isinstance(polygons, list) or not polygons or not all(isinstance(one, list) and one for one in polygons):
        raise ValueError("it has neither a bbox nor polygons")
    values = [number(value) for polygon in polygons for value in polygon]
    if len(values) % 2:
        raise ValueError("its polygon has an odd number of coordinates")
    return min(values[::2]), min(values[1::2]), max(values[::2]), max(values[1::2])


def _divide(entries: dict[str, dict[str, Entry]], split: str, root: Path, notes: Notes) -> list[Entry]:
    """The split's images. An image is the same in two files if its path is."""
    if "all" in entries:
        return [entries["all"][path] for path in splits.shares(list(entries["all"]))[split]]
    if "train" not in entries:
        return list(next(iter(entries.values())).values())
    given = (list(entries[key]) if key in entries else None for key in splits.NAMES)
    lists = splits.complete(*given, notes, root)
    origin = {**entries["train"], **entries.get("val", {}), **entries.get(split, {})}
    return [origin[path] for path in lists[split]]


def _read(categories: dict[str, str], entry: Entry, _: int, notes: Notes) -> Labelled:
    """The annotations of an image, which keeps its own number."""
    item = Labelled(entry.path, entry.number, stated=entry.stated)
    for annotation in entry.annotations:
        try:
            corners = _corners(annotation)
            if (key := _key(annotation.get("category_id"))) not in categories:
                raise ValueError(f"no category has the id {told(annotation.get('category_id'))}")
        except (TypeError, ValueError) as reason:
            notes.add("left out: object", entry.path, f"an annotation without a readable box or category ({reason})")
            continue
        ignore = flag(annotation.get("iscrowd", 0), partial(notes.add, "noted: mark", entry.path))
        item.objects.append((categories[key], corners, ignore))
    return item
