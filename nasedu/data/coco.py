"""COCO instances files: Lin et al., "Microsoft COCO: Common Objects in Context", ECCV 2014."""

from __future__ import annotations

import contextlib
import io
from functools import partial
from pathlib import Path

from torchvision.datasets import CocoDetection

from nasedu.data import splits
from nasedu.data.images import LAYOUTS, Found, Labelled
from nasedu.errors import DataError


def coco(root: Path, split: str) -> Found:
    """A split of a folder with COCO instances files, found as annotations/instances_SPLIT*.json.

    Images lie in the folder that the file is named after (train2017), in images, or in `root`. Classes are
    the categories in ascending order of their id. `iscrowd` becomes `ignore`.

    A single instances file is divided by a fixed draw on its images: 70 % train, 10 % val, 20 % test. With a
    train and a val file but no test file (COCO 2017 keeps that secret), test is val; without val, a fixed
    fifth of train is held out. Images of val and test never stay in train.
    Raises DataError for a missing folder, file or image; broken images are skipped.
    """
    files = _needed(_find(root), split)
    sources = {key: _open(root, file) for key, file in files.items()}
    categories = _categories(files, sources)
    classes = [name for _, name in sorted(categories.items())]
    return Found("coco", _divide(sources, split), classes, partial(_read, categories))


def _find(root: Path) -> dict[str, Path]:
    """The instances files by split, or a single one as {"all": file}."""
    found = sorted((root / "annotations").glob("instances*.json"))
    if not found:
        raise DataError(f"no COCO instances file in {root / 'annotations'}: expected {LAYOUTS['coco']}")
    if len(found) == 1:
        return {"all": found[0]}
    files = {name: f for name in splits.NAMES for f in found if f.stem.startswith(f"instances_{name}")}
    if "train" not in files:
        raise DataError(f"{root / 'annotations'} has no instances_train*.json: expected {LAYOUTS['coco']}")
    return files


def _needed(files: dict[str, Path], split: str) -> dict[str, Path]:
    """Only the file that holds the split, where there is one: COCO's training file takes 20 s to read."""
    for key in {"train": (), "val": ("val",), "test": ("test", "val")}[split]:
        if key in files:
            return {key: files[key]}
    return files


def _open(root: Path, file: Path) -> CocoDetection:
    """An instances file with the folder of its images."""
    try:
        with contextlib.redirect_stdout(io.StringIO()):  # pycocotools prints its progress
            source = CocoDetection(str(root), str(file))
        names = [str(image["file_name"]) for image in source.coco.imgs.values()]
        categories = [str(category["name"]) for category in source.coco.cats.values()]
    except (OSError, ValueError, KeyError, TypeError, AssertionError) as reason:
        raise DataError(f"{file} is not a COCO instances file ({reason!r})") from reason
    if not names or not categories:
        raise DataError(f"{file} lists {len(names)} images and {len(categories)} categories: both are needed")
    if len(set(categories)) < len(categories):
        raise DataError(f"{file} gives two categories the same name")
    folder = file.stem.removeprefix("instances").removeprefix("_")
    places = dict.fromkeys(root / place for place in (folder, f"images/{folder}", "images", ""))
    source.root = next((place for place in places if any((place / name).is_file() for name in names)), None)
    if source.root is None:
        raise DataError(f"{file}: none of its {len(names)} images is in {', '.join(map(str, places))}")
    missing = [name for name in names if not (source.root / name).is_file()]
    if missing:
        raise DataError(f"{file} lists {len(missing)} images that are not in {source.root}, first {missing[0]}")
    return source


def _categories(files: dict[str, Path], sources: dict[str, CocoDetection]) -> dict[int, str]:
    """Name by category id; all files that are open must agree."""
    tables = {key: {c["id"]: c["name"] for c in source.coco.cats.values()} for key, source in sources.items()}
    first, *others = tables
    for other in others:
        if tables[other] != tables[first]:
            raise DataError(f"{files[other]} and {files[first]} list different categories")
    return tables[first]


def _divide(sources: dict[str, CocoDetection], split: str) -> list[tuple[CocoDetection, int]]:
    """The split's images as (source, image id). An image is the same in two files if its path is."""
    paths = {key: {} for key in sources}
    for key, source in sources.items():
        for number, image in source.coco.imgs.items():
            paths[key][str(source.root / image["file_name"])] = source, number
    if "all" in paths:
        return [paths["all"][path] for path in splits.shares(list(paths["all"]))[split]]
    if "train" not in paths:
        return list(next(iter(paths.values())).values())
    lists = splits.complete(paths["train"], paths.get("val"), paths.get("test"))
    origin = {**paths["train"], **paths.get("val", {}), **paths.get(split, {})}
    return [origin[path] for path in lists[split]]


def _read(categories: dict[int, str], place: tuple[CocoDetection, int], _: int, skipped: list[str]) -> Labelled:
    """The annotations of an image, which keeps its own number."""
    source, number = place
    item = Labelled(source.root / source.coco.imgs[number]["file_name"], number)
    for annotation in source.coco.imgToAnns[number]:
        try:
            x, y, width, height = map(float, annotation["bbox"])
            name = categories[annotation["category_id"]]
        except (KeyError, TypeError, ValueError) as reason:
            skipped.append(f"{item.path}: an annotation without a readable box or category ({reason!r})")
            continue
        item.objects.append((name, (x, y, x + width, y + height), bool(annotation.get("iscrowd", 0))))
    return item
