"""Runtimes of ONNX files: they compute what PyTorch does, where and as they are told, and tell nobody."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import torch
from torch import nn

from nasedu.errors import BackendError, ParameterError, UnknownName
from nasedu.hardware import measure, runtimes
from nasedu.hardware.about import describe_device
from nasedu.hardware.export import example_inputs, export_onnx

pytestmark = pytest.mark.filterwarnings("ignore::nasedu.hardware.NoisyMeasurement")


class Two(nn.Module):
    """Two inputs, two outputs of different shapes, the second of which needs neither's convolution."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Sequential(nn.Conv2d(2, 8, 3), nn.BatchNorm2d(8), nn.SiLU())

    def forward(self, a, b):
        return self.conv(a), (a.mean((2, 3)) - b.sum((2, 3)))


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    torch.manual_seed(0)
    module = Two().eval()
    path = tmp_path_factory.mktemp("onnx") / "two.onnx"
    export_onnx(module, path, (2, 9, 7), (2, 4, 4), batch=2)
    return module, path


@pytest.mark.parametrize("runtime", runtimes.RUNTIMES)
def test_a_runtime_computes_what_the_module_does(two, runtime):
    module, path = two
    a, b = example_inputs([(2, 9, 7), (2, 4, 4)], batch=2, seed=3)
    for source in (path, path.read_bytes()):
        network = runtimes.load(source, runtime)
        assert network.inputs == {"x0": (2, 2, 9, 7), "x1": (2, 2, 4, 4)}
        assert network.outputs == {"y0": (2, 8, 7, 5), "y1": (2, 2)}
        found = network({"x1": b.numpy(), "x0": a.numpy()})
        with torch.no_grad():
            expected = module(a, b)
        for ours, theirs in zip(found, expected, strict=True):
            np.testing.assert_allclose(ours, theirs.numpy(), atol=1e-4)
    again = network({"x0": np.zeros_like(a.numpy()), "x1": b.numpy()})
    assert np.abs(found[1] - expected[1].numpy()).max() < 1e-4, "a later run has changed what an earlier one gave"
    assert np.abs(again[1] - found[1]).max() > 1e-3


@pytest.mark.parametrize("runtime", runtimes.RUNTIMES)
def test_a_network_is_timed_in_a_runtime(two, runtime):
    measured = measure(two[0], (2, 9, 7), (2, 4, 4), backend=runtime, batch=2, repeats=3)
    assert measured.median > 0 and (measured.backend, measured.batch) == (runtime, 2)
    assert describe_device(backend=runtime)[runtime] and runtime not in describe_device()


def test_openvino_computes_in_float32_with_the_threads_that_it_is_given(two, monkeypatch):
    asked = []

    class Core:
        available_devices = ("CPU",)

        def read_model(self, source):
            return source

        def compile_model(self, model, device, settings):
            asked.append((device, settings))
            raise RuntimeError("enough")

    monkeypatch.setattr("openvino.Core", Core)
    with pytest.raises(BackendError, match=r"openvino cannot load .*enough"):
        runtimes.load(two[1], "openvino", threads=3)
    ((device, settings),) = asked
    assert device == "CPU" and settings["INFERENCE_PRECISION_HINT"] == "f32"
    assert settings["INFERENCE_NUM_THREADS"] == 3 and not settings["ENABLE_CPU_PINNING"]


ALONE = """
import sys
from nasedu.hardware import runtimes
network = runtimes.load(sys.argv[1], "openvino")
import openvino.tools.ovc.convert_impl  # what reports conversions
assert "openvino" in sys.modules
told = [name for name, module in sys.modules.items() if name.startswith("openvino_telemetry") and module]
assert not told, told
"""


def test_openvino_reports_nothing_to_its_makers(two):
    done = subprocess.run([sys.executable, "-c", ALONE, str(two[1])], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_what_is_no_runtime_no_device_or_no_file_is_one_sentence(two, tmp_path):
    for name, told in (
        ("openvina", "did you mean 'openvino'"),
        ("onnxruntime:CPUExecutionProvide", "did you mean 'CPUExecutionProvider'"),
        ("openvino:TPU", "unknown device of OpenVINO 'TPU'"),
    ):
        with pytest.raises(UnknownName, match=told):
            runtimes.load(two[1], name)
    assert runtimes.load(two[1], "onnxruntime:CPUExecutionProvider").inputs
    (tmp_path / "broken.onnx").write_bytes(two[1].read_bytes()[:300])
    for runtime in runtimes.RUNTIMES:
        for path in (tmp_path / "broken.onnx", tmp_path / "none.onnx"):
            with pytest.raises(BackendError) as caught:
                runtimes.load(path, runtime)
            assert str(caught.value).startswith(f"{runtime} cannot load") and len(str(caught.value)) < 300


def test_a_runtime_that_is_missing_is_named(two, monkeypatch):
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(BackendError, match=r'openvino is not installed here: pip install "nasedu\[openvino\]"'):
        runtimes.load(two[1], "openvino")


def test_a_precision_that_a_backend_does_not_have_is_refused():
    module = nn.Conv2d(2, 2, 3)
    for backend, precision, told in (
        ("torch", "int8", "onnxruntime or openvino backend only, not by torch"),
        ("openvino", "float16", "on a GPU only .*, not by openvino"),
    ):
        with pytest.raises(ParameterError, match=told):
            measure(module, (2, 6, 6), backend=backend, precision=precision)
    with pytest.raises(UnknownName, match="did you mean 'int8'"):
        measure(module, (2, 6, 6), backend="openvino", precision="int")
