"""YOLO text labels, as Darknet began and Ultralytics writes them: a text file per image, a line per object.

A line is the class's index, then the centre x and y, width and height of the box as shares of the upright image; or the
index and the corners of a polygon, whose bounding box is taken.
"""

from __future__ import annotations

import os
from pathlib import Path, PurePosixPath

from nasedu import reading
from nasedu.data import splits
from nasedu.data.frames import SHARES
from nasedu.data.images import why
from nasedu.data.labelled import LAYOUTS, Found, Labelled
from nasedu.data.notes import Notes, shown
from nasedu.data.reading import SUFFIXES, UNREAD, found, inside, names, number, text, told, walk
from nasedu.errors import DataError, brief

NAMES = ("classes.txt", "obj.names", "classes.names", "labels/classes.txt", "labels.txt")
CONFIG = 1 << 20  # bytes of data.yaml that are read: the names of 21,000 classes are half of it
BROKEN = (OSError, ValueError)


class Folder:
    """A YOLO folder: its `data.yaml` or classes file, and the class names by index. Raises DataError.

    root: the folder.
    notes: what is found joins them.
    """

    def __init__(self, root: Path, notes: Notes):
        self.root, self.notes, self.folders, self.labels = root, notes, {}, {}
        self.file, self.config = self._config()
        self.names = self._names(self.config.get("names"))
        self.base = self._base(self.config.get("path") or ".")

    def _config(self) -> tuple[Path, dict]:
        """The file that describes the data: the first YAML file that has `names`, data.yaml first, or classes."""
        there = names(self.root)
        yamls = sorted((n for n in there if n.lower().endswith((".yaml", ".yml"))), key=lambda n: (n != "data.yaml", n))
        refused = None
        for file in (self.root / name for name in yamls):
            try:
                found = self._mapping(file)
            except DataError as error:  # of another tool, perhaps
                refused = refused or error
                continue
            if "names" in found:
                return file, found
        if refused or yamls:
            raise refused or DataError(f"{shown(self.root / yamls[0])} gives no names of classes")
        for name in [*NAMES, *(name for name in there if name.endswith(".names"))]:
            if (file := self.root / name).exists():
                return file, {"names": self._read(file).rstrip().splitlines()}
        raise DataError(f"no YOLO data in {shown(self.root)}: expected {LAYOUTS['yolo']}")

    def _read(self, file: Path) -> str:
        try:
            return text(file, self.notes, CONFIG)
        except BROKEN as reason:
            raise DataError(f"{shown(file)}: {why(reason, 'file', 'cannot be read')}") from None

    def _mapping(self, file: Path) -> dict:
        try:
            found = reading.parse(self._read(file), "words", CONFIG)
        except ValueError as reason:
            raise DataError(f"{shown(file)}: {why(reason, 'file', 'cannot be read')}") from None
        if not isinstance(found, dict):
            raise DataError(f"{shown(file)} must map names to values, such as train, val and names")
        return {key: None if value in ("null", "~", "") else value for key, value in found.items()}

    def _names(self, given: object) -> dict[int, str]:
        """The classes by index, each as it is written: 7 and yes are names, too."""
        pairs = enumerate(given) if isinstance(given, list) else given.items() if isinstance(given, dict) else ()
        named = {str(index).strip(): name for index, name in pairs}
        for index, name in named.items():
            if not (
                index.isascii() and index.isdecimal() and len(index) < 7 and isinstance(name, str) and name.strip()
            ):
                raise DataError(f"{shown(self.file)}: names[{brief(index)}] must be a class name of a number")
        if not named:
            raise DataError(f"{shown(self.file)} gives no names of classes")
        return {int(index): named[index].strip() for index in sorted(named, key=int)}

    def _base(self, path: str) -> Path:
        """Where names in data.yaml start: at its `path`, where that lies within the folder."""
        if isinstance(path, str) and os.path.isdir(self.root / path):
            place = Path(os.path.normpath(self.root / path))
            if place.is_relative_to(os.path.normpath(self.root)):
                return place
        self.notes.add("noted: path of another place", self.file, f"its path {told(path)} is not followed")
        return self.root

    def images(self, key: str, value: object) -> list[str]:
        """The images of a value such as images/train, a list file, or a list of those, relative to the root."""
        names = value if isinstance(value, list) else [value]
        if not all(isinstance(name, str) for name in names):
            raise DataError(f"{shown(self.file)}: {key} must be a folder or a list file, or a list of them")
        return list(dict.fromkeys(image for name in names for image in self._of(key, name)))

    def _of(self, key: str, name: str) -> list[str]:
        given = name
        if name.startswith("../") and os.path.exists(self.root / name[3:]):  # so Roboflow writes it
            self.notes.add("repaired: name with ../", self.file, f"{key}: {brief(name)} is read as {brief(name[3:])}")
            name = name[3:]
        name = inside(self._relative(name), self.file)
        place = next((start / name for start in (self.base, self.root) if os.path.exists(start / name)), None)
        if place is None:
            raise DataError(f"{shown(self.file)}: {key}: there is no {brief(given)} in {shown(self.base)}")
        if place.is_dir():
            return self._images(place)
        try:
            lines = text(place, self.notes).splitlines()
        except BROKEN as reason:
            raise DataError(f"{shown(place)}: {why(reason, 'list', 'cannot be read')}") from None
        return [self._line(line.strip(), place) for line in lines if line.strip()]

    def _line(self, line: str, place: Path) -> str:
        """An image that a list names: from the root, the list's folder, or, as CVAT writes it, with data/ before it."""
        name = inside(self._relative(line), place)
        starts = [(self.root, name), (self.base, name), (place.parent, name), (self.root, name.removeprefix("data/"))]
        image = next((path for start, rest in starts if (path := found(start / rest, self.folders))), self.root / name)
        return image.relative_to(self.root).as_posix()

    def _relative(self, name: str) -> str:
        """A name from the root, where it is absolute but lies within it, as Darknet writes its lists."""
        here = os.path.normpath(self.root)
        within = Path(name).is_absolute() and Path(os.path.normpath(name)).is_relative_to(here)
        return os.path.relpath(name, here) if within else name

    def _images(self, place: Path) -> list[str]:
        """The images below a folder, from the root; those of formats that are not read are left out."""
        images = []
        for path in walk(place):
            if path.suffix.lower() in SUFFIXES:
                images.append(path.relative_to(self.root).as_posix())
            elif path.suffix.lower() in UNREAD:
                self.notes.add("left out: image of a format that is not read", path, f"{path.suffix} is not decoded")
        return images

    def _usual(self) -> dict[str, str]:
        """Where the images of every split are by the usual names, in any case: images/train, train/images ..."""
        found: dict[str, str] = {}
        for base, tail, end in (("images", "", ""), ("", "images", ""), ("", "", ""), ("", "", ".txt")):
            stems = {name.removesuffix(end): name for name in names(self.root / base) if name.endswith(end)}
            for part, stem in splits.named(stems).items():
                place = str(PurePosixPath(base, stems[stem], tail))
                if os.path.exists(self.root / place):
                    found.setdefault(part, place)
        return found

    def lists(self) -> dict[str, list[str]]:
        """The images of every split."""
        stated = {key: self.config.get(key) or self.config.get("valid" * (key == "val")) for key in splits.NAMES}
        if not any(stated.values()):
            stated = self._usual()
        given = {key: self.images(key, value) for key, value in stated.items() if value}
        if not given:
            places = [place for place in ("images", "obj_train_data", ".") if os.path.isdir(self.root / place)]
            return splits.shares(next(filter(None, (self.images("images", place) for place in places)), []))
        if "train" not in given:
            raise DataError(f"{shown(self.file)} says where {' and '.join(given)} are, but not train")
        return splits.complete(given["train"], given.get("val"), given.get("test"), self.notes, self.file)

    def label(self, image: str) -> Path:
        """Where an image's labels are: in labels where it is in images, else beside it."""
        parts = list(PurePosixPath(image).with_suffix(".txt").parts)
        if "images" in parts[:-1]:
            parts[len(parts) - 2 - parts[-2::-1].index("images")] = "labels"
        place, beside = self.root.joinpath(*parts), (self.root / image).with_suffix(".txt")
        return next((path for one in (place, beside) if (path := found(one, self.labels, (".txt",)))), place)

    def read(self, image: str, count: int, notes: Notes) -> Labelled | None:
        """An image's labels; None where its file of them cannot be read.

        image: its path from the root.
        count: its number.
        notes: what is found joins them.
        """
        item, path = Labelled(self.root / image, count, stated=SHARES), self.label(image)
        try:
            lines = text(path, notes).splitlines()
        except FileNotFoundError:
            notes.add("noted: image without a label file", item.path, "it is taken to show no object")
            return item
        except BROKEN as reason:
            notes.add("left out: annotation", path, why(reason, "label file", "cannot be read"))
            return None
        for line in lines:
            if line.strip():
                try:
                    item.objects.append((*self._object(line.split()), False))
                except ValueError as reason:
                    notes.add("left out: object", path, f"the line {brief(line)} is no object ({reason})")
        return item

    def _object(self, fields: list[str]) -> tuple[str, tuple[float, float, float, float]]:
        index, *values = map(number, fields)
        if index not in self.names:
            raise ValueError(f"there is no class {brief(index)}")
        values = values[:4] if "kpt_shape" in self.config else values  # key points follow the box
        if len(values) == 4:
            x, y, width, height = values
            return self.names[index], (x - width / 2, y - height / 2, x + width / 2, y + height / 2)
        if len(values) < 6 or len(values) % 2:
            raise ValueError("it needs an index and 4 numbers, or the corners of a polygon")
        return self.names[index], (min(values[::2]), min(values[1::2]), max(values[::2]), max(values[1::2]))


def yolo(root: Path, split: str, notes: Notes) -> Found:
    """A split of a folder with YOLO labels.

    Its data.yaml names the classes and, under train, val and test, folders of images or lists of them; without it, a
    classes file (classes.txt, obj.names) names the classes, and images are looked for in images/SPLIT, SPLIT/images,
    SPLIT and SPLIT.txt. Labels lie in labels where images lie in images, else beside them. Classes are in the order of
    their index. Missing splits are made as of COCO files: one list is divided 70 : 10 : 20, val is held out from train.
    Raises DataError where a file or folder is missing or lies outside of the root; broken lines are left out.

    root: the folder.
    split: "train", "val" or "test".
    notes: what is found joins them.
    """
    folder = Folder(root, notes)
    lists = folder.lists()
    owners: dict[Path, str] = {}
    for image in dict.fromkeys(image for images in lists.values() for image in images):
        first = owners.setdefault(folder.label(image), image)
        if first != image:
            notes.add(
                "noted: one label file for several images", root / image, f"{shown(first, 80)} has its labels, too"
            )
    kept = {*NAMES, *(f"{key}.txt" for key in (*splits.NAMES, "valid"))}
    for place in dict.fromkeys(folder.label(image).parent for image in lists[split]):
        for path in sorted({place / name for name in names(place) if name.lower().endswith(".txt")} - owners.keys()):
            if path.name not in kept:
                notes.add("left out: labels without an image", path, "there is no image of this name")
    return Found("yolo", lists[split], list(dict.fromkeys(folder.names.values())), folder.read)
