"""The trained detector leaves PyTorch: one ONNX file from image to boxes and scores, compared and timed."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from torch import Tensor, nn

from nasedu.detection import Predictor
from nasedu.hardware import Latency
from nasedu.hardware.export import export_onnx, onnx_difference
from nasedu.hardware.latency import measure_onnx
from nasedu.spaces.base import SearchSpace


@dataclass(frozen=True)
class ExportedDetector:
    """An exported detector: its `file`, the largest absolute `difference` between ONNX Runtime's outputs and PyTorch's,
    both on the CPU (boxes as a share of the image's side, scores from 0 to 1), and the `latency` of the file."""

    file: Path
    difference: float
    latency: Latency


def export_detector(space: SearchSpace, network: nn.Module, file: str | Path, images: Tensor) -> ExportedDetector:
    """Export a detector with its decoded head (`detection.Predictor`), compare it with PyTorch and time it.

    The file maps one image x0 (1, 3, S, S) to boxes y0 (1, N, 4) and scores y1 (1, N, classes); suppression of
    overlapping boxes is left to whoever runs it (`detection.postprocess.suppress`).

    space: the space of the network: it knows the anchors and strides.
    network: the detector, which stays as it is.
    file: where the ONNX file goes.
    images: (B, 3, S, S) on any device, to compare on, one by one.
    """
    predictor = Predictor(network, space.anchors, space.strides).to(next(network.parameters()).device)
    export_onnx(predictor, file, space.input_shape)
    boxes, scores = onnx_difference(predictor, file, images)
    return ExportedDetector(Path(file), max(boxes / images.shape[-1], scores), measure_onnx(file, space.input_shape))
