"""Networks as ONNX files, for devices and runtimes that know nothing of PyTorch."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from nasedu.blocks import evaluation_mode


def example_inputs(input_shapes: Sequence[tuple[int, ...]], batch: int = 1, seed: int = 0) -> tuple[Tensor, ...]:
    """Random maps (batch, C, H, W), one per shape (C, H, W); standard normal, the same for the same seed."""
    generator = torch.Generator().manual_seed(seed)
    return tuple(torch.randn(batch, *shape, generator=generator) for shape in input_shapes)


def export_onnx(module: nn.Module, path: str | Path, *input_shapes: tuple[int, ...], batch: int = 1) -> None:
    """Write `module`, in eval mode, as one ONNX file whose inputs `x0`, `x1` ... are (batch, C, H, W).

    Outputs are `y0`, `y1` ... in the order in which a nested result lists its tensors. `module` may lie on any device
    and stays as it was.
    """
    device = next((p.device for p in module.parameters()), torch.device("cpu"))
    inputs = tuple(x.to(device) for x in example_inputs(input_shapes, batch))
    with evaluation_mode(module), torch.no_grad(), _quiet():
        outputs = list(_tensors(module(*inputs)))
        program = torch.onnx.export(
            module,
            inputs,
            dynamo=True,
            input_names=[f"x{i}" for i in range(len(inputs))],
            output_names=[f"y{i}" for i in range(len(outputs))],
            verbose=False,
        )
        program.save(str(path), external_data=False)


def onnx_session(path: str | Path | bytes, threads: int = 1):
    """An ONNX Runtime session on the CPU with this many threads, for a file or its bytes."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    source = path if isinstance(path, bytes) else str(path)
    return onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])


def onnx_difference(module: nn.Module, path: str | Path, *input_shapes: tuple[int, ...], batch: int = 1) -> float:
    """The largest absolute difference between what `module` and its ONNX file give for the same random inputs."""
    device = next((p.device for p in module.parameters()), torch.device("cpu"))
    inputs = example_inputs(input_shapes, batch, seed=1)
    with evaluation_mode(module), torch.no_grad():
        expected = [y.float().cpu().numpy() for y in _tensors(module(*(x.to(device) for x in inputs)))]
    got = onnx_session(path).run(None, {f"x{i}": x.numpy() for i, x in enumerate(inputs)})
    return max(float(np.abs(a - b).max()) for a, b in zip(expected, got, strict=True))


def _tensors(outputs) -> list[Tensor]:
    """The tensors of a nested result, in order."""
    return [outputs] if isinstance(outputs, Tensor) else [t for part in outputs for t in _tensors(part)]


@contextlib.contextmanager
def _quiet():
    """The exporter reports its progress on stdout and warns of what does not concern its caller."""
    logger = logging.getLogger("torch.onnx")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(before)
