"""A trained detector with all that it takes to use it, which goes into a folder and out again."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors.torch as safetensors
import torch
from torch import Tensor, nn

from nasedu import reading, spaces
from nasedu.data.images import GREY
from nasedu.detection import Predictor, View
from nasedu.detection.postprocess import ONE_VIEW, predict, suppress
from nasedu.errors import (
    CheckpointError,
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
from nasedu.wzdnas.sighted import Sighted

FORMAT = "nasedu-detector-1"
SETTINGS, WEIGHTS, FOLDER = "detector.json", "weights.safetensors", "detectors"
OPTIONS = ("template", "num_classes", "image_size", "anchors", "act", "widths", "depths")


@dataclass(frozen=True, eq=False)
class Detector(Sighted):
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
    def side(self) -> int:
        """Pixels of a side of the square that the network looks at."""
        return self.space.image_size

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

    def look(self, images: Tensor, views: Sequence[View] = ONE_VIEW, **options) -> list[dict[str, Tensor]]:
        """Detections of every image, as in `Sighted`.

        images: (B, 3, side, side), from 0 to 1.
        views: how the network is shown an image.
        options: of `suppress`.
        """
        check_kind("views, from which a picture is looked at,", views, Sequence, "a list of detection.View")
        with torch.inference_mode(), evaluation_mode(self.network):
            (images,) = placed(self.network, images)
            anchors = self.space.anchors.to(images.device)
            found = suppress(*predict(self.network, images, anchors, self.space.strides, views), **options)
        return [{name: value.cpu() for name, value in image.items()} for image in found]


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
