"""What loads an ONNX file and runs it: ONNX Runtime and OpenVINO, each on its devices."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from nasedu.errors import BackendError, NaseduError, brief, check_name, needs
from nasedu.hardware.export import onnx_session
from nasedu.modules import reason

Arrays = Mapping[str, np.ndarray]


class OnnxRuntime:
    """A network in ONNX Runtime; called with arrays by input's name it gives its outputs, in the file's order.

    `inputs` and `outputs` map names to shapes; a side that varies is no number.

    source: the file, or its bytes.
    threads: of the CPU.
    provider: what computes, of those that this build of ONNX Runtime has.
    """

    def __init__(self, source: str | Path | bytes, threads: int = 1, provider: str = "CPUExecutionProvider"):
        self._session = onnx_session(source, threads, provider)
        self.inputs = {x.name: tuple(x.shape) for x in self._session.get_inputs()}
        self.outputs = {y.name: tuple(y.shape) for y in self._session.get_outputs()}

    def __call__(self, arrays: Arrays) -> list[np.ndarray]:
        return self._session.run(None, arrays)


class OpenVino:
    """A network in OpenVINO; the rest is as in `OnnxRuntime`.

    What the file has in float32 is computed in it: by itself OpenVINO takes bfloat16 where a processor has it. Threads
    are not tied to cores, where another program may run.

    source: the file, or its bytes.
    threads: of the CPU; other devices have their own.
    device: one of those that OpenVINO finds.
    """

    def __init__(self, source: str | Path | bytes, threads: int = 1, device: str = "CPU"):
        core = _openvino().Core()
        check_name("device of OpenVINO", device, core.available_devices)
        settings: dict[str, Any] = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32"}
        if device == "CPU":
            settings |= {"INFERENCE_NUM_THREADS": threads, "NUM_STREAMS": 1, "ENABLE_CPU_PINNING": False}
        model = core.read_model(source if isinstance(source, bytes) else str(source))
        compiled = core.compile_model(model, device, settings)
        self._request = compiled.create_infer_request()
        self.inputs, self.outputs = _shapes(compiled.inputs), _shapes(compiled.outputs)

    def __call__(self, arrays: Arrays) -> list[np.ndarray]:
        found = self._request.infer(arrays, share_inputs=True)
        return [found[i] for i in range(len(self.outputs))]


Runtime = OnnxRuntime | OpenVino
RUNTIMES = {"onnxruntime": OnnxRuntime, "openvino": OpenVino}


def load(source: str | Path | bytes, runtime: str = "onnxruntime", threads: int = 1) -> Runtime:
    """An ONNX file, ready to run.

    source: the file, or its bytes.
    runtime: one of `RUNTIMES`; behind a colon what computes, as in "onnxruntime:CUDAExecutionProvider", "openvino:GPU".
    threads: of the CPU.

    Raises `UnknownName`, and `BackendError` for a runtime that is not installed and a file that it cannot load.
    """
    name, _, device = str(runtime).partition(":")
    made = RUNTIMES[check_name("runtime", name, RUNTIMES)]
    try:
        return made(source, threads, *([device] if device else []))
    except NaseduError:
        raise
    except Exception as error:  # each runtime has errors of its own
        what = "these bytes" if isinstance(source, bytes) else brief(str(source))
        raise BackendError(f"{name} cannot load {what}: {reason(error)}") from None


def _shapes(ports: Any) -> dict[str, tuple]:
    """Shapes by name; None for a side that varies."""
    sides = {port.get_any_name(): port.partial_shape for port in ports}
    return {name: tuple(d.get_length() if d.is_static else None for d in shape) for name, shape in sides.items()}


def _openvino() -> Any:
    """OpenVINO, without the package by which it would report to its makers that it was imported."""
    # None stands for what may not be imported
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    with needs("openvino"):
        import openvino
    return openvino
