"""Networks in whole numbers: floats of an ONNX model become bytes, on scales that fit what calibration images make.

A number x stands as q = round(x / s) + z: weights as int8 with a scale s for every output channel and z = 0, maps as
uint8 with a scale and a zero point z of the whole tensor (Jacob et al., CVPR 2018, section 2.1; scales of channels:
Krishnamoorthi, 2018, section 3.1).
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from torch import Tensor

from nasedu.errors import ParameterError, needs

if TYPE_CHECKING:
    import onnx

INT8 = "int8"
OLDEST = 13  # the first version of the operators that knows a scale for every channel
# What computes in floats between bytes: batch norms that no convolution took in, and the halves of SiLU, which OpenVINO
# takes into the convolution. As bytes, beside concatenations of bytes, they end its whole process (2026.4.1, seen with
# the course's detector).
FLOATS = ("BatchNormalization", "Mul", "Sigmoid")
PRODUCTS = ("Conv", "ConvTranspose", "Gemm", "MatMul")


def quantised(
    model: onnx.ModelProto, samples: Iterable[Sequence[Tensor]], *, float_head: bool = False
) -> onnx.ModelProto:
    """A model that computes in int8: ONNX Runtime's static quantisation, with pairs of operators that convert (QDQ).

    Weights take 7 of the 8 bits. An x86 processor without VNNI adds two products of bytes in 16 bits, which overflow
    from 8-bit weights on, without a word; so the file computes the same everywhere.

    model: of floats, with fixed shapes; it stays as it was.
    samples: what the scales are fitted to, at least one: the inputs in order, each of the model's shape.
    float_head: leaves the last convolutions and all behind them in floats. A detector's last maps hold offsets and
        logits side by side, which one scale does not fit.

    Raises `ParameterError` without a sample, or for operators older than version 13.
    """
    rows = [[x.detach().cpu().numpy() for x in sample] for sample in samples]
    version = max((one.version for one in model.opset_import if one.domain in ("", "ai.onnx")), default=0)
    if not rows or version < OLDEST:
        given = f"opset {version}" if rows else "none"
        raise ParameterError(f"int8 takes one calibration image or more and opset {OLDEST} or newer, got {given}")
    with needs("deploy"):
        import onnx
        from onnxruntime.quantization import QuantType, quantize_static
    with tempfile.TemporaryDirectory() as folder:
        made, floats = str(Path(folder) / "made.onnx"), _prepared(model, Path(folder))
        left = [node.name for node in floats.graph.node if node.op_type in FLOATS]
        quantize_static(
            floats,
            made,
            _Reader([x.name for x in model.graph.input], rows),
            per_channel=True,
            reduce_range=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            nodes_to_exclude=left + (_head(floats.graph) if float_head else []),
            extra_options={"ForceQuantizeNoInputCheck": True},  # a pool alone, as it is within a network
        )
        found = onnx.load(made)
    del found.metadata_props[:]
    return found


def _prepared(model: onnx.ModelProto, folder: Path) -> onnx.ModelProto:
    """The model with its batch norms in its convolutions, all shapes known, and a name for every node."""
    import onnx
    from onnxruntime.quantization.shape_inference import quant_pre_process

    given, prepared = str(folder / "given.onnx"), str(folder / "prepared.onnx")
    onnx.save(model, given)
    quant_pre_process(given, prepared, skip_symbolic_shape=True)
    floats = onnx.load(prepared)
    for i, node in enumerate(floats.graph.node):
        node.name = node.name or f"node{i}"
    return floats


class _Reader:
    """Hands the calibration samples on, one by one."""

    def __init__(self, names: Sequence[str], rows: Sequence[Sequence[np.ndarray]]):
        self.left = iter([dict(zip(names, row, strict=True)) for row in rows])

    def get_next(self) -> dict[str, np.ndarray] | None:
        return next(self.left, None)


def _head(graph: onnx.GraphProto) -> list[str]:
    """Names of the nodes whose results no product reads, at whatever distance: the last products, and all behind."""
    read: set[str] = set()
    head = []
    for node in reversed(graph.node):  # they stand in the order in which they run
        if read.isdisjoint(node.output):
            head.append(node.name)
        if not read.isdisjoint(node.output) or node.op_type in PRODUCTS:
            read.update(node.input)
    return head
