"""An exported detector, read back from its ONNX file: it sees in any runtime what it saw in PyTorch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from nasedu import reading
from nasedu.data import DetectionDataset
from nasedu.detection import View
from nasedu.detection.postprocess import ONE_VIEW, check_overlaps, suppress
from nasedu.errors import CheckpointError, ParameterError, brief, needs, sentence
from nasedu.hardware import runtimes
from nasedu.wzdnas.saved import FORMAT
from nasedu.wzdnas.sighted import Sighted

KEYS = ("format", "classes", "input", "suppression")  # what a file must say of itself


@dataclass(frozen=True, eq=False)
class OnnxDetector(Sighted):
    """An exported detector: `detector.detect("photo.jpg")`, from one view of the picture.

    classes: their names, by label.
    side: of the square that it looks at, in pixels.
    network: as a runtime has loaded it.
    inside: whether the file itself suppresses overlaps, by settings of its own: a higher `confidence` alone can be
        asked for, and there is no average precision, which asks for low scores.
    """

    classes: Sequence[str]
    side: int
    network: runtimes.Runtime
    inside: bool = False

    def look(self, images: Tensor, views: Sequence[View] = ONE_VIEW, **options) -> list[dict[str, Tensor]]:
        """Detections of every image. Raises `ParameterError` for several views.

        images: (B, 3, side, side), from 0 to 1.
        views: one alone.
        options: of `suppress`; of a file that does so itself, `confidence` and `iou`.
        """
        if list(views) != list(ONE_VIEW):
            raise ParameterError("an exported detector takes images of one size: several views need the trained one")
        return [self._one(image, **options) for image in images.split(1)]

    def _one(self, image: Tensor, **options) -> dict[str, Tensor]:
        found = [torch.from_numpy(array) for array in self.network({"image": image.contiguous().numpy()})]
        if not self.inside:
            return suppress(found[0], found[1], **options)[0]
        least = options.get("confidence", 0.0)
        check_overlaps(least, options.get("iou", 0.0), 1)
        keep = found[1] > least
        return {name: value[keep] for name, value in zip(("boxes", "scores", "labels"), found, strict=True)}

    def find(self, data: DetectionDataset, views: Sequence[View] = ONE_VIEW, **options) -> list[dict[str, Tensor]]:
        """As in `Sighted`. Raises `ParameterError` for a file that suppresses inside.

        data: with the image size of the detector.
        views: one alone.
        options: of `suppress`.
        """
        if self.inside:
            raise ParameterError("this file suppresses what scores low: to find or judge all, export it without that")
        return super().find(data, views, **options)


def load_onnx(file: str | Path, runtime: str = "onnxruntime", threads: int = 1) -> OnnxDetector:
    """The detector in a file of `export_detector`.

    file: which says of itself how it is used.
    runtime: as in `hardware.runtimes.load`.
    threads: of the CPU.

    Raises `CheckpointError` for what is no such file, `UnknownName`, `BackendError`.
    """
    try:
        about = _about(file)
        side, inside = about["input"]["size"][0], isinstance(about["suppression"], Mapping)
    except OSError as error:
        raise CheckpointError(sentence(f"{file} cannot be read: {error.strerror or error}")) from None
    except (ValueError, KeyError, TypeError, IndexError) as error:
        raise CheckpointError(sentence(f"{file} is no exported detector: {error}")) from None
    classes, network = about["classes"], runtimes.load(file, runtime, threads)
    outputs = {"boxes", "scores"} | ({"labels"} if inside else set())
    fits = network.inputs == {"image": (1, 3, side, side)} and network.outputs.keys() == outputs
    if not fits or not (inside or network.outputs["scores"][-1] == len(classes)):
        told = f"{len(classes)} classes at {brief(side)} pixels"
        raise CheckpointError(sentence(f"{file} says {told}, which is not what it computes"))
    return OnnxDetector(classes, side, network, inside)


def _about(file: str | Path) -> dict[str, Any]:
    """What a file says of itself. Raises `ValueError`, `OSError`."""
    with needs("deploy"):
        import onnx
    try:
        held = onnx.load(str(file), load_external_data=False).metadata_props
    except OSError:
        raise
    except Exception:  # of the library that decodes it
        raise ValueError("it is no ONNX file") from None
    about = {one.key: reading.parse(one.value) for one in held if one.key in KEYS}
    if missing := [key for key in KEYS if key not in about]:
        raise ValueError(f"it does not say its {missing[0]}")
    if about["format"] != FORMAT or not all(isinstance(name, str) for name in about["classes"]):
        raise ValueError(f"it is no {FORMAT}")
    return about
