"""One labelled image, and a set of them: what every reader of detection data makes."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import pandas as pd
import torch
from torch import Tensor
from torch.utils.data import Dataset
from torchvision import tv_tensors

from nasedu.data.notes import Note, Notes

ONE_SET_IN_MEMORY = 2 * 1024**3
"""Bytes of letterboxed uint8 images that a data set keeps in memory by default."""


@dataclass(frozen=True)
class Sample:
    """The labels of one image, in pixels of the letterboxed square.

    boxes: float32 (n, 4), XYXY; labels: int64 (n,); ignore: bool (n,), true where a detection is neither
    rewarded nor punished; file: the image's path, or a name for messages.
    """

    file: str
    image_id: int
    boxes: tv_tensors.BoundingBoxes
    labels: Tensor
    ignore: Tensor

    def target(self) -> dict:
        """A copy that the caller may change."""
        return {
            "boxes": tv_tensors.wrap(self.boxes.clone(), like=self.boxes),
            "labels": self.labels.clone(),
            "ignore": self.ignore.clone(),
            "image_id": self.image_id,
        }

    def rows(self) -> Iterator[tuple[list[float], int, bool]]:
        """Of each object the corners, the label, and whether it is ignored."""
        return zip(self.boxes.tolist(), self.labels.tolist(), self.ignore.tolist(), strict=True)

    def coco(self) -> list[dict]:
        """COCO annotations without their ids, which only a whole set can give."""
        rows = []
        for (x1, y1, x2, y2), label, ignore in self.rows():
            place = {"bbox": [x1, y1, x2 - x1, y2 - y1], "area": (x2 - x1) * (y2 - y1)}
            rows.append({"image_id": self.image_id, "category_id": label + 1} | place | {"iscrowd": int(ignore)})
        return rows


class DetectionDataset(Dataset):
    """Square images with boxes: `ds[i] -> (image, target)`.

    image: `tv_tensors.Image`, uint8 (3, S, S). target: dict of `boxes` (`tv_tensors.BoundingBoxes`, XYXY,
    float32 (n, 4), pixels of that image), `labels` int64 (n,), `ignore` bool (n,) and `image_id` int.

    name: of the set.
    split: "train", "val" or "test".
    classes: their names by label.
    samples: every image's labels.
    load: reads image i; it is asked once per image while `cache_bytes` hold out, else at every access.
    image_size: the side S in pixels.
    notes: what was left out, repaired or doubtful when it was read; `skipped` has the lines of what was left out.
    cache_bytes: of images that are kept.
    categories: the classes' numbers in the COCO file that they come from; None: 1, 2, 3 ...
    """

    def __init__(
        self,
        name: str,
        split: str,
        classes: Sequence[str],
        samples: Sequence[Sample],
        load: Callable[[int], Tensor],
        *,
        image_size: int,
        notes: Sequence[Note] = (),
        cache_bytes: int = ONE_SET_IN_MEMORY,
        categories: Sequence[int] | None = None,
    ):
        self.name, self.split, self.image_size = name, split, image_size
        self.classes, self.samples, self.notes = list(classes), list(samples), Notes(notes)
        self.categories = list(categories or range(1, len(self.classes) + 1))
        self._load = load
        self._images: dict[int, Tensor] = {}
        self._room = cache_bytes // (3 * image_size**2)

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> tuple[tv_tensors.Image, dict]:
        index = range(len(self))[index]  # refuses what is out of range, counts negative ones from the end
        return tv_tensors.Image(self._image(index).clone()), self.samples[index].target()

    def __repr__(self) -> str:
        boxes = sum(len(s.labels) for s in self.samples)
        return (
            f"DetectionDataset({self.name} {self.split}: {len(self)} images of {self.image_size} px, "
            f"{boxes} boxes, {len(self.classes)} classes, {len(self.skipped)} left out)"
        )

    @property
    def skipped(self) -> list[str]:
        """A line for each file, object or box that was left out."""
        return self.notes.skipped

    def report(self) -> pd.DataFrame:
        """What was left out, repaired or doubtful: `kind`, `count` and `first` line, the most frequent kind first."""
        return self.notes.report()

    def _image(self, index: int) -> Tensor:
        if index in self._images:
            return self._images[index]
        image = self._load(index)
        if len(self._images) < self._room:
            self._images[index] = image
        return image

    def take(self, index: Sequence[int], split: str) -> DetectionDataset:
        """Some of the images, as the set `split`; they are read through this one."""
        sizes = {"image_size": self.image_size, "cache_bytes": 0, "categories": self.categories}
        samples = [self.samples[i] for i in index]
        return DetectionDataset(self.name, split, self.classes, samples, lambda i: self._image(index[i]), **sizes)

    @property
    def identity(self) -> list:
        """What a stored state compares: names, every label, and the images.

        Images in memory and files count by content; a file is read again where its size or its time has changed.
        """
        labels = [[getattr(s, part) for s in self.samples] for part in ("boxes", "labels", "ignore")]
        files = [s.file for s in self.samples if Path(s.file).is_file()]
        by_file = files and getattr(self._load, "__module__", "") == "nasedu.data.labelled"  # which reads nothing else
        images = [*map(_content, files), None if by_file else self._load]
        about = self.name, self.split, self.classes, self.image_size, [Path(s.file).name for s in self.samples]
        return [about, [len(boxes) for boxes in labels[0]], [torch.cat(p) if p else p for p in labels], images]

    def coco(self) -> dict:
        """The ground truth as a COCO `instances` dict, in pixels of the letterboxed images.

        Category id = label + 1 (COCO counts from 1), `bbox` is x, y, width, height, `iscrowd` is `ignore`.
        """
        shape = {"width": self.image_size, "height": self.image_size}
        annotations = [annotation for sample in self.samples for annotation in sample.coco()]
        return {
            "images": [{"id": s.image_id, "file_name": s.file, **shape} for s in self.samples],
            "annotations": [{"id": number, **a} for number, a in enumerate(annotations, start=1)],
            "categories": [{"id": i, "name": name} for i, name in enumerate(self.classes, start=1)],
        }


def _content(file: str) -> bytes:
    """A hash of a file."""
    about = Path(file).stat()
    return _hashed(file, about.st_size, about.st_mtime_ns, about.st_ctime_ns)


@lru_cache(200_000)
def _hashed(file: str, *about: int) -> bytes:
    with open(file, "rb") as opened:
        return hashlib.file_digest(opened, "sha256").digest()


def make_boxes(corners: Sequence[Sequence[float]], canvas: tuple[int, int]) -> tv_tensors.BoundingBoxes:
    """XYXY boxes, float32 (n, 4), on a canvas of (height, width) pixels; n may be 0."""
    data = torch.tensor(corners, dtype=torch.float32).reshape(-1, 4)
    return tv_tensors.BoundingBoxes(data, format="XYXY", canvas_size=canvas)
