"""A trained detector with all that it takes to use it, which goes into a folder and out again."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import safetensors.torch as safetensors
import torch
from PIL import Image
from torch import Tensor, nn

from nasedu import reading, spaces
from nasedu.data import DetectionDataset
from nasedu.data.images import GREY, UNREADABLE, read_square, square, unletterbox, upright, why
from nasedu.detection import Metrics, Predictor, View, evaluate, find
from nasedu.detection.postprocess import ONE_VIEW, predict, suppress
from nasedu.errors import (
    CheckpointError,
    DataError,
    NaseduError,
    ParameterError,
    brief,
    check_kind,
    check_name,
    sentence,
)
from nasedu.files import write_atomically
from nasedu.modules import evaluation_mode, placed
from nasedu.spaces.base import Arch
from nasedu.spaces.yolo import YoloSpace
from nasedu.storage import load_weights

FORMAT = "nasedu-detector-1"
SETTINGS, WEIGHTS, FOLDER = "detector.json", "weights.safetensors", "detectors"
OPTIONS = ("template", "num_classes", "image_size", "anchors", "act", "widths", "depths")
Picture = str | Path | Image.Image | np.ndarray | Tensor


class Seen(NamedTuple):
    """An object that a detector sees: its class, score from 0 to 1, and box x1 y1 x2 y2 in pixels of the picture."""

    name: str
    score: float
    box: tuple[float, float, float, float]


@dataclass(frozen=True, eq=False)
class Detector:
    """A trained detector: `detector.detect("photo.jpg")`.

    space: a YOLO space, which knows anchors, strides and image size.
    arch: the network's architecture.
    classes: their names, by label.
    network: with its weights; computes where it lies.
    """

    space: YoloSpace
    arch: Arch
    classes: Sequence[str]
    network: nn.Module

    def __post_init__(self):
        check_kind("the space of a detector", self.space, YoloSpace, "a YOLO space")
        if len(self.classes) != self.space.num_classes:
            raise ParameterError(f"{len(self.classes)} names for {self.space.num_classes} classes")

    @property
    def predictor(self) -> Predictor:
        """The network with its head decoded: images in, boxes and scores out."""
        return Predictor(self.network, self.space.anchors, self.space.strides).to(_device(self.network))

    def settings(self) -> dict[str, Any]:
        """All but the weights, as JSON can hold it: what `detector.json` and the ONNX file say of the network."""
        space = self.space
        options = {
            "template": space.name.partition(":")[2],
            "num_classes": space.num_classes,
            "image_size": space.image_size,
            "anchors": space.anchors.tolist(),
            "act": space.act,
            "widths": list(space.widths),
            "depths": space.depths,
        }
        picture = {"colour": "RGB", "layout": "NCHW", "low": 0, "high": 1, "size": [space.image_size] * 2}
        picture["letterbox"] = {"grey": GREY, "place": "centre"}
        return {
            "format": FORMAT,
            "space": options,
            "architecture": space.format(self.arch),
            "classes": list(self.classes),
            "strides": list(space.strides),
            "input": picture,
        }

    def save(self, folder: str | Path) -> Path:
        """Write the detector into a folder, from which `load` reads it; returns the folder. Raises `OutputError`.

        folder: made if it is missing. `detector.json` is for people, too; `weights.safetensors` holds no code.
        """
        folder = Path(folder)
        tensors = {name: t.detach().cpu().contiguous() for name, t in self.network.state_dict().items()}
        write_atomically(folder / WEIGHTS, safetensors.save(tensors))
        write_atomically(folder / SETTINGS, json.dumps(self.settings(), indent=1, ensure_ascii=False) + "\n")
        return folder

    def detect(self, picture: Picture, *, confidence: float = 0.3, iou: float = 0.45, **options) -> list[Seen]:
        """What the detector sees in one picture, best first. Raises `DataError` where it cannot be read.

        picture: a file, a PIL image, or pixels: uint8 (height, width, 3) as an array, (3, height, width) as a tensor.
        confidence: the score that is exceeded.
        iou: the overlap from which the better box of a class suppresses the other.
        options: of `detection.postprocess.suppress`, and `views`, as in `find`.
        """
        pixels, size = _square(picture, self.space.image_size)
        views, options = options.pop("views", ONE_VIEW), {"multi_label": False} | options
        check_kind("views, from which a picture is looked at,", views, Sequence, "a list of detection.View")
        with torch.inference_mode(), evaluation_mode(self.network):
            (image,) = placed(self.network, pixels[None] / 255)
            boxes, scores = predict(self.network, image, *self._head(image.device), views)
            (found,) = suppress(boxes, scores, confidence=confidence, iou=iou, **options)
        boxes = unletterbox(found["boxes"].cpu(), size, self.space.image_size)
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
        return find(self.network, data, *self._head(), views=views, **options)

    def evaluate(self, data: DetectionDataset, views: Sequence[View] = ONE_VIEW, **options) -> Metrics:
        """Average precision, precision and recall on a data set. Raises `ParameterError`, as `find`.

        data: as in `find`.
        views: as in `find`.
        options: as in `find`.
        """
        return evaluate(data, self.find(data, views, **options))

    def _head(self, device: torch.device | None = None) -> tuple[Tensor, Sequence[int]]:
        return self.space.anchors.to(device or "cpu"), self.space.strides


def load(run: str | Path, network: str | None = None) -> Detector:
    """The detector of a folder that `Detector.save` or a run of notebook 14 wrote, on the CPU.

        run: the detector's own folder, or that of a run, which holds several in `detectors`.
        network: which of these; None: "searched", or the only one.

    Raises `CheckpointError` where there is none, or a damaged one, `UnknownName` and `ParameterError`.
    """
    folder = _folder(Path(check_kind("the run's folder", run, (str, os.PathLike), "a path")), network)
    path = folder / SETTINGS
    try:
        settings = reading.load(path)
        if not isinstance(settings, Mapping) or settings.get("format") != FORMAT:
            raise ValueError(f"it is no {FORMAT}")
        options, classes = settings["space"], settings["classes"]
        if not isinstance(options, Mapping) or not set(options) <= set(OPTIONS):
            raise ValueError(f"space must hold {', '.join(OPTIONS)} and nothing else")
        if not isinstance(classes, list) or not all(isinstance(name, str) for name in classes):
            raise ValueError("classes must be a list of names")
        space = spaces.create("yolo", **options)
        arch = space.parse(settings["architecture"])
        detector = Detector(space, arch, classes, space.build(arch).eval())
    except NaseduError as error:  # before `KeyError`, which an unknown name is as well
        raise CheckpointError(sentence(f"{path} is no detector: {error}")) from None
    except KeyError as error:
        raise CheckpointError(f"{path} is no detector: it has no {error}") from None
    except ValueError as error:
        raise CheckpointError(sentence(f"{path} is no detector: {error}")) from None
    load_weights(detector.network, folder / WEIGHTS)
    return detector


def _folder(run: Path, network: str | None) -> Path:
    """The folder of one detector in `run`, which may be it."""
    several = run / FOLDER
    if os.path.exists(run / SETTINGS) and network is None:  # of `os.path`: any text may come, and none raises
        return run
    if os.path.exists(run / SETTINGS):
        raise CheckpointError(f"{brief(str(run))} is one detector: there is no network to choose, such as {network}")
    found = sorted(several.glob(f"*/{SETTINGS}")) if os.path.isdir(several) else []
    held = {path.parent.name: path.parent for path in found}
    if not held:
        told = brief(str(run))
        raise CheckpointError(f"{told} holds no detector: there is neither {SETTINGS} nor {FOLDER}/*/{SETTINGS}")
    if network is None and len(held) == 1:
        return next(iter(held.values()))
    return held[check_name("network of the run", network or "searched", held)]


def _device(network: nn.Module) -> torch.device:
    return next((p.device for p in network.parameters()), torch.device("cpu"))


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
