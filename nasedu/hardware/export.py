"""Networks as ONNX files, for devices and runtimes that know nothing of PyTorch."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from nasedu.errors import BackendError, ParameterError, check_name, check_whole, needs
from nasedu.files import write_atomically
from nasedu.modules import copy_of, evaluation_mode, reason
from nasedu.randomness import stream

if TYPE_CHECKING:
    import onnx


def example_inputs(input_shapes: Sequence[tuple[int, ...]], batch: int = 1, seed: int = 0) -> tuple[Tensor, ...]:
    """Random maps (batch, C, H, W), standard normal, the same for the same seed.

    input_shapes: of each map, (C, H, W).
    batch: how many images.
    seed: of the draw.
    """
    generator = stream(seed, "example inputs")
    return tuple(torch.randn(batch, *shape, generator=generator) for shape in input_shapes)


OPSETS = range(12, 24)  # versions of ONNX's operators
TRACED = 18  # the exporter of whole programs writes this one or a newer; older ones are traced


def onnx_model(
    module: nn.Module,
    *input_shapes: tuple[int, ...],
    batch: int = 1,
    opset: int | None = None,
    inputs: Sequence[str] = (),
    outputs: Sequence[str] = (),
) -> onnx.ModelProto:
    """A network, in eval mode, as an ONNX model whose inputs are (batch, C, H, W).

    Outputs stand in the order in which a nested result lists its tensors. The model says nothing of where it was made:
    the exporter's notes hold this machine's paths. Raises `BackendError` without the extra `deploy` and for a network
    that cannot be exported, `ParameterError` for one that returns no tensor, and for an opset that is not offered.

    module: the network, on any device; it stays as it was.
    input_shapes: of each input, (C, H, W).
    batch: the batch size, which is fixed.
    opset: of `OPSETS`, the version of the operators; None: the exporter's own choice.
    inputs: their names; none: x0, x1 ...
    outputs: their names; none: y0, y1 ...
    """
    with needs("deploy"):
        import onnxscript  # noqa: F401 - the exporter asks for it late
    if opset is not None:
        check_whole("opset", opset, OPSETS[0], OPSETS[-1])
    device = next((p.device for p in module.parameters()), torch.device("cpu"))
    maps = tuple(x.to(device) for x in example_inputs(input_shapes, batch))
    with evaluation_mode(module), torch.no_grad(), _quiet():
        results = [leaf for leaf in tree_leaves(module(*maps)) if isinstance(leaf, Tensor)]
        if not results:
            raise ParameterError(f"this {type(module).__name__} returns no tensor, which is all that ONNX can hand on")
        names = {"input_names": list(inputs) or [f"x{i}" for i in range(len(maps))]}
        names["output_names"] = list(outputs) or [f"y{i}" for i in range(len(results))]
        try:
            model = _exported(module, maps, opset, names)
        except Exception as error:  # the exporter's own sentence says only in which step it was
            told = reason(error.__cause__ or error)
            raise BackendError(f"this {type(module).__name__} cannot be exported to ONNX: {told}") from error
    _forget_origin(model)
    return model


def _exported(module: nn.Module, maps: tuple[Tensor, ...], opset: int | None, names: dict) -> onnx.ModelProto:
    if opset is None or opset >= TRACED:
        return torch.onnx.export(module, maps, dynamo=True, verbose=False, opset_version=opset, **names).model_proto
    import onnx

    file = io.BytesIO()
    torch.onnx.export(module, maps, file, dynamo=False, opset_version=opset, **names)
    return onnx.load_from_string(file.getvalue())


def export_onnx(module: nn.Module, path: str | Path, *input_shapes: tuple[int, ...], batch: int = 1) -> None:
    """Write `onnx_model` of a network as one file, whole or not at all. Raises `OutputError`.

    module: the network; it stays as it was.
    path: the file.
    input_shapes: of each input, (C, H, W).
    batch: the batch size, which is fixed.
    """
    write_onnx(onnx_model(module, *input_shapes, batch=batch), path)


def write_onnx(model: onnx.ModelProto, path: str | Path) -> None:
    """Write a model as one file, whole or not at all; equal models make equal files. Raises `OutputError`."""
    write_atomically(path, model.SerializeToString(deterministic=True))


def onnx_session(path: str | Path | bytes, threads: int = 1, provider: str = "CPUExecutionProvider"):
    """An ONNX Runtime session. Raises `UnknownName` for a provider that there is not, `BackendError` for a broken one.

    path: a file, or its bytes.
    threads: of the CPU.
    provider: what computes.
    """
    with needs("deploy"):
        import onnxruntime

    check_name("provider of ONNX Runtime", provider, onnxruntime.get_available_providers())
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    source = path if isinstance(path, bytes) else str(path)
    session = onnxruntime.InferenceSession(source, options, providers=[provider])
    if session.get_providers()[0] != provider:  # it falls back to the CPU
        raise BackendError(f"{provider} does not start here, ONNX Runtime offers {session.get_providers()[0]}")
    return session


def onnx_difference(module: nn.Module, path: str | Path | bytes, *inputs: Tensor) -> list[float]:
    """The largest absolute difference of each output between a network, in eval mode, and its ONNX file.

    Both compute on the CPU, wherever network and inputs lie: a GPU rounds otherwise, TF32 by a thousandth.

    module: the network; it stays as it was.
    path: its ONNX file, or the bytes of one.
    inputs: (N, C, H, W) each; they go through in parts of the file's batch size.
    """
    session, module = onnx_session(path), copy_of(module).cpu().eval()
    parts = zip(*(x.detach().cpu().split(session.get_inputs()[0].shape[0]) for x in inputs), strict=True)
    rows = []
    for part in parts:
        with torch.no_grad():
            expected = [y.float().numpy() for y in tree_leaves(module(*part))]
        got = session.run(None, {x.name: given.numpy() for x, given in zip(session.get_inputs(), part, strict=True)})
        rows.append([float(np.abs(a - b).max()) for a, b in zip(expected, got, strict=True)])
    return np.max(rows, axis=0).tolist()


def _forget_origin(model: onnx.ModelProto) -> None:
    """Clear the notes of `model` and all of its parts: stack traces, the names of PyTorch's modules."""
    for part in [model, *model.functions, *_parts(model.graph), *(x for f in model.functions for x in _parts(f))]:
        for field in ("metadata_props", "doc_string"):
            if field in part.DESCRIPTOR.fields_by_name:
                part.ClearField(field)


def _parts(graph: onnx.GraphProto | onnx.FunctionProto) -> Iterator:
    """A graph or function, its values and its nodes, with what lies in a node's own graphs."""
    yield graph
    for field in ("input", "output"):
        yield from (x for x in getattr(graph, field) if not isinstance(x, str))  # a function's are mere names
    yield from graph.value_info
    yield from getattr(graph, "initializer", ())
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            for inner in [*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs]:
                yield from _parts(inner)


@contextlib.contextmanager
def _quiet():
    """The exporter reports its progress on stdout and warns of what does not concern its caller."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnx_ir", "onnxscript")]
    before = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, before, strict=True):
            logger.setLevel(level)
