"""The trained detector leaves PyTorch: one ONNX file from image to boxes, which says of itself how it is used."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from nasedu.blocks.merge import merged
from nasedu.detection import Predictor
from nasedu.detection.postprocess import check_overlaps
from nasedu.errors import ParameterError, brief
from nasedu.hardware import Latency
from nasedu.hardware.export import example_inputs, onnx_difference, onnx_model, write_onnx
from nasedu.hardware.latency import measure_onnx
from nasedu.hardware.quantise import INT8, quantised
from nasedu.registry import check_options
from nasedu.wzdnas.saved import Detector

if TYPE_CHECKING:
    import onnx

SUPPRESSION = {"confidence": 0.3, "iou": 0.45, "max_detections": 300}
COMPARED = 8  # calibration images that the file is compared with PyTorch on


@dataclass(frozen=True)
class ExportedDetector:
    """An exported detector: its `file`, the largest absolute `difference` between ONNX Runtime's outputs and PyTorch's,
    both on the CPU (boxes as a share of the image's side, scores from 0 to 1), and the `latency` of the file."""

    file: Path
    difference: float
    latency: Latency


def export_detector(
    detector: Detector,
    file: str | Path,
    images: Tensor | None = None,
    *,
    opset: int | None = None,
    suppression: Mapping[str, float] | None = None,
    calibration: Tensor | None = None,
) -> ExportedDetector:
    """Export a detector with its decoded head as ONNX, merged (`blocks.merge`), compare it with PyTorch and time it.

    The file maps `image` (1, 3, S, S), RGB from 0 to 1, to `boxes` (1, N, 4), x1 y1 x2 y2 in pixels of that square, and
    `scores` (1, N, classes). With a suppression inside it gives `boxes` (k, 4), `scores` (k,) and `labels` (k,), best
    first, as `Detector.detect` does. Its metadata hold, each as JSON, what `Detector.settings` says, such as
    `classes`, and `suppression`. Raises `BackendError` without the extra `deploy`, `ParameterError`, `OutputError`.

        detector: what is exported.
        file: where the ONNX file goes.
        images: (B, 3, S, S) on any device, to compare on, one by one; None: noise, or the first of `calibration`.
        opset: 12 to 23, the version of the operators; boards' tools lag behind. None: the exporter's own choice.
        suppression: None leaves it to whoever runs the file; else a dict, with any of confidence, iou and
            max_detections, puts it inside.
        calibration: (N, 3, S, S), such as the detector will see, some dozens: all but the head computes in int8, on
            scales that fit them. None: it computes in float32.
    """
    space, inside = detector.space, suppression is not None
    check_options("a suppression", suppression or {}, SUPPRESSION)
    settings = SUPPRESSION | dict(suppression or {})
    check_overlaps(**settings)
    if calibration is not None:
        _check_images(calibration, space.image_size)
    predictor, model = _decoded(detector, opset, multi_label=not inside)
    if calibration is not None:
        model = quantised(model, zip(calibration.split(1)), float_head=True)
        images = calibration[:COMPARED] if images is None else images
    images = example_inputs([space.input_shape])[0].sigmoid() if images is None else images
    boxes, scores = onnx_difference(predictor, model.SerializeToString(), images)
    if inside:
        _suppress_inside(model, space.num_classes, settings)
    _describe(model, detector.settings() | {"suppression": settings if inside else "outside"})
    write_onnx(model, file)
    latency = measure_onnx(file, space.input_shape, precision="float32" if calibration is None else INT8)
    return ExportedDetector(Path(file), max(boxes / images.shape[-1], scores), latency)


def _decoded(detector: Detector, opset: int | None, multi_label: bool) -> tuple[Predictor, onnx.ModelProto]:
    """The network with its head decoded, and the same, merged, as ONNX."""
    space, device = detector.space, next(detector.network.parameters()).device
    told = {"anchors": space.anchors, "strides": space.strides, "multi_label": multi_label}
    predictor, plain = (Predictor(net, **told).to(device) for net in (detector.network, merged(detector.network)))
    named = {"inputs": ["image"], "outputs": ["boxes", "scores"]}
    return predictor, onnx_model(plain, space.input_shape, opset=opset, **named)


def _check_images(calibration: Tensor, side: int) -> None:
    """Raise `ParameterError` for what are no calibration images."""
    given = calibration if isinstance(calibration, Tensor) else torch.empty(0)
    fits = len(given) and given.shape[1:] == (3, side, side) and given.is_floating_point()
    if not fits or not bool(((given >= 0) & (given <= 1)).all()):
        wanted = f"floats (N, 3, {side}, {side}) from 0 to 1"
        raise ParameterError(f"calibration images must be {wanted}, got {brief(calibration)}")


def _describe(model: onnx.ModelProto, settings: Mapping) -> None:
    from onnx import helper

    helper.set_model_props(model, {key: json.dumps(value, ensure_ascii=False) for key, value in settings.items()})


# How detections come of all boxes and scores: operator, inputs, outputs, attributes. Opset 12 knows all of them.
NODES: tuple[tuple[str, str, str, dict], ...] = (
    ("Transpose", "all_scores", "by_class", {"perm": [0, 2, 1]}),
    ("NonMaxSuppression", "all_boxes by_class most iou confidence", "chosen", {}),  # rows of image, class, place
    ("Gather", "chosen one", "chosen_class", {"axis": 1}),
    ("Gather", "chosen two", "chosen_place", {"axis": 1}),
    ("Slice", "chosen first last first", "class_and_place", {}),
    ("Reshape", "all_boxes flat", "every_box", {}),
    ("Reshape", "by_class rows", "every_score", {}),
    ("GatherND", "every_score class_and_place", "chosen_scores", {}),
    ("Shape", "chosen_scores", "count", {}),
    ("Min", "count most", "kept", {}),
    ("TopK", "chosen_scores kept", "scores order", {"axis": 0}),
    ("Gather", "chosen_place order", "places", {"axis": 0}),
    ("Gather", "every_box places", "boxes", {"axis": 0}),
    ("Gather", "chosen_class order", "labels", {"axis": 0}),
)


def _suppress_inside(model: onnx.ModelProto, classes: int, settings: Mapping[str, float]) -> None:
    """Append suppression to a graph that ends in `boxes` and `scores`."""
    import numpy as np
    from onnx import TensorProto, helper, numpy_helper

    graph, ends = model.graph, {"boxes": "all_boxes", "scores": "all_scores"}
    for node in graph.node:
        for names in (node.input, node.output):
            names[:] = [ends.get(name, name) for name in names]
    whole = {"one": 1, "two": 2, "first": [1], "last": [3], "flat": [-1, 4], "rows": [classes, -1]}
    whole["most"] = [int(settings["max_detections"])]
    held = {name: np.array(value, np.int64) for name, value in whole.items()}
    held |= {name: np.array([settings[name]], np.float32) for name in ("iou", "confidence")}
    graph.initializer.extend(numpy_helper.from_array(value, f"nms_{name}") for name, value in held.items())
    known = {*ends, *ends.values(), "labels"}
    for kind, inputs, outputs, attributes in NODES:
        sides = [[name if name in known else f"nms_{name}" for name in side.split()] for side in (inputs, outputs)]
        graph.node.append(helper.make_node(kind, *sides, **attributes))
    del graph.output[:]
    shapes = {"boxes": ["k", 4], "scores": ["k"], "labels": ["k"]}
    kinds = {"labels": TensorProto.INT64}
    graph.output.extend(
        helper.make_tensor_value_info(name, kinds.get(name, TensorProto.FLOAT), shape) for name, shape in shapes.items()
    )
