"""What any trained detector does with pictures and labelled images, whatever computes it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image
from torch import Tensor

from nasedu.data import DetectionDataset
from nasedu.data.images import UNREADABLE, read_square, square, unletterbox, upright, why
from nasedu.detection import Batches, Metrics, View, evaluate
from nasedu.detection.postprocess import ONE_VIEW
from nasedu.errors import DataError, ParameterError, brief

Picture = str | Path | Image.Image | np.ndarray | Tensor
BATCH = 50  # images at a time


class Seen(NamedTuple):
    """An object that a detector sees: its class, score from 0 to 1, and box x1 y1 x2 y2 in pixels of the picture."""

    name: str
    score: float
    box: tuple[float, float, float, float]


class Sighted(ABC):
    """A detector: the names of its `classes`, by label, and the `side` in pixels of the square that it looks at."""

    classes: Sequence[str]
    side: int

    @abstractmethod
    def look(self, images: Tensor, views: Sequence[View] = ONE_VIEW, **options) -> list[dict[str, Tensor]]:
        """Detections of every image, best first, as `detection.postprocess.suppress` returns them, on the CPU.

        images: (B, 3, side, side), from 0 to 1.
        views: how the network is shown an image.
        options: of `suppress`.
        """

    def detect(self, picture: Picture, *, confidence: float = 0.3, iou: float = 0.45, **options) -> list[Seen]:
        """What the detector sees in one picture, best first. Raises `DataError` where it cannot be read.

        picture: a file, a PIL image, or pixels: uint8 (height, width, 3) as an array, (3, height, width) as a tensor.
        confidence: the score that is exceeded.
        iou: the overlap from which the better box of a class suppresses the other.
        options: of `look`, and so of `detection.postprocess.suppress`.
        """
        pixels, size = _square(picture, self.side)
        options = {"multi_label": False, "confidence": confidence, "iou": iou} | options
        (found,) = self.look(pixels[None] / 255, **options)
        boxes = unletterbox(found["boxes"], size, self.side)
        rows = zip(boxes.tolist(), found["scores"].tolist(), found["labels"].tolist(), strict=True)
        seen = [Seen(self.classes[label], score, tuple(box)) for box, score, label in rows]
        return [one for one in seen if one.box[0] < one.box[2] and one.box[1] < one.box[3]]  # nothing in the grey

    def find(self, data: DetectionDataset, views: Sequence[View] = ONE_VIEW, **options) -> list[dict[str, Tensor]]:
        """Detections for every image of a data set, in pixels of its squares: see `detection.find`.

        Raises `ParameterError` where its classes are others.

        data: with the image size of the detector.
        views: how the network is shown an image: `detection.THREE_VIEWS` is the public test-time augmentation.
        options: of `detection.postprocess.suppress`.
        """
        if list(data.classes) != list(self.classes):
            ours, theirs = brief(list(self.classes)), brief(data.classes)
            raise ParameterError(f"the detector knows the classes {ours}, the data has {theirs}")
        batches = Batches(data, BATCH, shuffle=False)
        return [one for images, _ in batches for one in self.look(images, views=views, **options)]

    def evaluate(self, data: DetectionDataset, views: Sequence[View] = ONE_VIEW, **options) -> Metrics:
        """Average precision, precision and recall on a data set. Raises `ParameterError`, as `find`.

        data: as in `find`.
        views: as in `find`.
        options: as in `find`.
        """
        return evaluate(data, self.find(data, views, **options))


def _square(picture: Picture, side: int) -> tuple[Tensor, tuple[int, int]]:
    """A picture as a letterboxed square, uint8 (3, side, side), and its own (height, width). Raises `DataError`."""
    try:
        if isinstance(picture, str | Path):
            return read_square(picture, side)
        image = upright(picture) if isinstance(picture, Image.Image) else _image(picture)
    except UNREADABLE as reason:
        raise DataError(f"{brief(str(picture))}: {why(reason, 'picture', 'cannot be read')}") from None
    return square(image, side), image.size[::-1]


def _image(pixels: np.ndarray | Tensor) -> Image.Image:
    array = pixels.permute(1, 2, 0).cpu().numpy() if isinstance(pixels, Tensor) and pixels.ndim == 3 else pixels
    if (
        not isinstance(array, np.ndarray)
        or array.dtype != np.uint8
        or array.ndim != 3
        or array.shape[2] != 3
        or not array.size
    ):
        kinds = "a file, a PIL image, an uint8 array (height, width, 3) or an uint8 tensor (3, height, width)"
        raise DataError(f"a picture is {kinds}, got {brief(pixels)}")
    return Image.fromarray(np.ascontiguousarray(array))
