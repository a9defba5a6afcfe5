"""Small data sets in both layouts, and the folder of real ones where there is one."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image


@pytest.fixture(scope="session")
def fingerprint():
    """`fingerprint(dataset)`: a hash of every image, box, label and ignore flag, in order."""

    def of(dataset):
        digest = hashlib.sha256()
        for image, target in dataset:
            for part in (image, target["boxes"], target["labels"], target["ignore"]):
                digest.update(part.numpy().tobytes())
        return digest.hexdigest()

    return of


@pytest.fixture(scope="session")
def real_data() -> Path:
    folder = os.environ.get("NASEDU_DATA")
    if not folder:
        pytest.skip("NASEDU_DATA does not name a folder with real data")
    return Path(folder).resolve()


def picture(path: Path, width: int = 60, height: int = 40, seed: int = 0) -> None:
    """A colour image whose JPEG has some length, so that half of it is truncated."""
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    Image.fromarray(noise).save(path)


@pytest.fixture
def truncate():
    """Cut a file in half."""
    return lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def voc_xml(*objects: tuple) -> str:
    """An annotation of (name, xmin, ymin, xmax, ymax) or, with a sixth entry, its difficult flag."""
    text = "".join(
        f"<object><name>{name}</name><difficult>{flag[0] if flag else 0}</difficult><bndbox><xmin>{x1}</xmin>"
        f"<ymin>{y1}</ymin><xmax>{x2}</xmax><ymax>{y2}</ymax></bndbox></object>"
        for name, x1, y1, x2, y2, *flag in objects
    )
    return f"<annotation>{text}</annotation>"


class VocFolder:
    def __init__(self, root: Path):
        self.root = root
        for part in ("Annotations", "ImageSets/Main", "JPEGImages"):
            (root / part).mkdir(parents=True)

    def add(self, stem: str, *objects: tuple, **image) -> None:
        picture(self.root / "JPEGImages" / f"{stem}.jpg", **image)
        (self.root / "Annotations" / f"{stem}.xml").write_text(voc_xml(*objects))

    def split(self, name: str, stems: list[str]) -> None:
        (self.root / "ImageSets" / "Main" / f"{name}.txt").write_text("\n".join(stems) + "\n")


@pytest.fixture
def voc_folder(tmp_path) -> VocFolder:
    """Images a, b, c for training, d for validation, e for testing, each with a cat and a dog."""
    folder = VocFolder(tmp_path / "voc")
    for stem in "abcde":
        folder.add(stem, ("dog", 11, 6, 40, 35), ("cat", 1, 1, 20, 20))
    for name, stems in {"train": "abc", "val": "d", "test": "e"}.items():
        folder.split(name, list(stems))
    return folder


@pytest.fixture
def coco_folder(tmp_path):
    """Write an instances file with its images: `coco_folder(name, images=10)`; returns the root."""

    def write(name: str, **options) -> Path:
        _write_coco(tmp_path / "coco", name, **options)
        return tmp_path / "coco"

    return write


def _write_coco(root: Path, name: str, *, images=10, start=1, annotations=None, folder=None) -> None:
    """Images 60x40 in root/folder; by default a box of category 7 (cat) and one of 3 (dog) on each."""
    ids = range(start, start + images)
    for number in ids:
        picture(root / (folder or name) / f"{number:03d}.jpg")
    if annotations is None:
        annotations = [
            {"image_id": i, "category_id": category, "bbox": box, "iscrowd": 0}
            for i in ids
            for category, box in ((7, [10, 5, 30, 20]), (3, [0, 0, 20, 20]))
        ]
    content = {
        "images": [{"id": i, "file_name": f"{i:03d}.jpg", "width": 60, "height": 40} for i in ids],
        "annotations": [{"id": k, **a} for k, a in enumerate(annotations, start=1)],
        "categories": [{"id": 7, "name": "cat"}, {"id": 3, "name": "dog"}],
    }
    (root / "annotations").mkdir(exist_ok=True, parents=True)
    (root / "annotations" / f"instances_{name}.json").write_text(json.dumps(content))
