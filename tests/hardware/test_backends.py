"""What a backend does before, while and after it runs a network, and what it says where it cannot."""

from __future__ import annotations

import sys
import warnings
from contextlib import contextmanager, nullcontext
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from nasedu import spaces
from nasedu.errors import BackendError, ParameterError, UnknownName
from nasedu.hardware import BACKENDS, NoisyMeasurement, backends, measure, runtimes
from nasedu.hardware.about import describe_device
from nasedu.hardware.backends import LAUNCHES, Clock, CudaProgram, Job, Program, Replayed
from nasedu.hardware.export import export_onnx
from nasedu.hardware.latency import measure_onnx
from nasedu.hardware.memory import Peak
from nasedu.tables import LookupTable

pytestmark = pytest.mark.filterwarnings("ignore::nasedu.hardware.NoisyMeasurement")


def small() -> nn.Module:
    return nn.Sequential(nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4), nn.ReLU()).train()


def logged(events: list, name: str, value=None):
    def note(*_, **__):
        events.append(name)
        return value

    return note


def test_the_clock_is_read_when_the_device_has_done_everything():
    events = []
    clock = Clock(logged(events, "clock", 1.0), None)
    program = Program(logged(events, "run"), logged(events, "wait"))
    program.seconds(2, clock)
    assert events == ["wait", "clock", "run", "run", "wait", "clock"]
    events.clear()
    program.idle().seconds(1, clock)
    assert events == ["wait", "clock", "wait", "clock"]


def test_eager_waits_for_the_accelerator_and_not_for_the_cpu(monkeypatch):
    waited = []
    monkeypatch.setattr(torch.accelerator, "synchronize", waited.append)
    backends.waiting(torch.device("cpu"))()
    assert waited == []
    backends.waiting(torch.device("cuda", 1))()
    assert waited == [torch.device("cuda", 1)]


def test_cuda_times_what_lies_between_its_events(monkeypatch):
    events = []

    class Event:
        def __init__(self, enable_timing):
            assert enable_timing

        def record(self):
            events.append("record")

        def synchronize(self):
            events.append("wait")

        def elapsed_time(self, end):
            return 8.0  # ms

    monkeypatch.setattr(torch.cuda, "Event", Event)
    assert CudaProgram(logged(events, "run"), on_cpu=False).seconds(2, Clock()) == 8e-3
    assert events == ["record", "run", "run", "record", "wait"]


class Cuda:
    """What the capture of a graph asks of `torch.cuda`, written down in order; a stream is "main" or "side"."""

    def __init__(self, monkeypatch, error=None):
        self.events, self.current, self.error = [], "main", error
        stream = lambda name: SimpleNamespace(name=name, wait_stream=lambda o: self.events.append((name, o.name)))  # noqa: E731
        self.main, self.side = stream("main"), stream("side")
        monkeypatch.setattr(torch.cuda, "Stream", lambda: self.side)
        monkeypatch.setattr(torch.cuda, "current_stream", lambda: self.main)
        monkeypatch.setattr(torch.cuda, "stream", self.on)
        monkeypatch.setattr(torch.cuda, "graph", self.graph)
        monkeypatch.setattr(torch.cuda, "device", lambda device: nullcontext())
        monkeypatch.setattr(
            torch.cuda, "CUDAGraph", lambda: SimpleNamespace(replay=lambda: self.events.append("replay"))
        )
        monkeypatch.setattr(torch.cuda, "Event", lambda enable_timing: self.event())

    @contextmanager
    def on(self, stream):
        self.current = stream.name
        yield
        self.current = "main"

    @contextmanager
    def graph(self, graph):
        self.current = "graph"
        yield
        self.current = "main"
        if self.error:
            raise self.error

    def event(self):
        quiet = dict.fromkeys(("record", "synchronize"), lambda: None)
        return SimpleNamespace(**quiet, elapsed_time=lambda end: 6.0)

    def run(self):
        self.events.append(f"run on {self.current}")


def test_a_graph_is_captured_after_runs_on_a_stream_of_its_own(monkeypatch):
    cuda = Cuda(monkeypatch)
    backends.capture(cuda.run).replay()
    warm = [("side", "main"), *["run on side"] * 3, ("main", "side")]
    assert cuda.events == [*warm, "run on graph", "replay"]


def test_the_runs_of_a_repeat_are_one_graph_which_is_captured_once(monkeypatch):
    cuda = Cuda(monkeypatch)
    program = Replayed(cuda.run)
    assert program.seconds(4, Clock()) == 6e-3 and not program.on_cpu
    assert cuda.events.count("run on graph") == 4 and cuda.events[-1] == "replay"
    cuda.events.clear()
    program.seconds(4, Clock())
    assert cuda.events == ["replay"]
    program.idle().seconds(1, Clock())
    assert cuda.events == ["replay"], "a graph of nothing is not captured"


def test_what_cannot_be_captured_is_one_sentence(monkeypatch):
    Cuda(monkeypatch, RuntimeError("operation not permitted when stream is capturing\nmore"))
    job = Job(small(), [(2, 5, 5)], 1, 1, "float32", torch.device("cpu"))
    told = r"a CUDA graph cannot be captured .*: operation not permitted.*capturing$"
    with pytest.raises(BackendError, match=told), backends.cuda(job):
        pass


@pytest.mark.parametrize("backend", ["torch", "onnxruntime"])
def test_load_and_memory_stand_beside_latency(backend):
    """Weights of 64 MB, and what is not loaded again; the process may keep some of what others freed."""
    wide = nn.Sequential(nn.Flatten(), nn.Linear(4096, 4096, bias=False))
    measured = measure(wide, (1, 64, 64), backend=backend, repeats=3)
    assert measured.load_ms > 0
    assert f"loaded in {measured.load_ms:.3g}" in str(measured) or measured.load_ms >= 1000
    if not Path("/proc/self/clear_refs").exists():
        assert measured.memory_mb is None
    else:
        assert measured.memory_mb < 1000
        assert measured.memory_mb > (60 if backend == "onnxruntime" else -1), "its own copy of the weights"


def test_the_peak_is_what_was_taken_meanwhile_and_given_back_again():
    peak = Peak(torch.device("cpu"))
    if peak.megabytes() is None:
        pytest.skip("this system does not tell")
    assert peak.megabytes() < 20
    torch.ones(16 * 2**20)  # 67 MB, gone when it is asked for
    assert 60 < peak.megabytes() < 100
    assert Peak(torch.device("cpu")).megabytes() < 20


def test_on_a_gpu_the_allocator_tells_and_weights_that_lie_there_count(monkeypatch):
    told = {"reset_peak_memory_stats": None, "memory_allocated": 70e6, "max_memory_allocated": 95e6}
    for name, value in told.items():
        monkeypatch.setattr(torch.cuda, name, lambda device, value=value: value)
    assert Peak(torch.device("cuda"), small()).megabytes() == 25


@pytest.mark.parametrize("precision", ["float16", "bfloat16"])
def test_another_precision_is_a_copys(precision):
    module = small()
    job = Job(module, [(2, 5, 5)], 3, 1, precision, torch.device("cpu"))
    with backends.ready(job) as (copied, (x,)):
        assert {x.dtype, copied[0].weight.dtype, copied(x).dtype} == {getattr(torch, precision)}
        assert x.shape == (3, 2, 5, 5) and not copied.training
    assert module.training and module[0].weight.dtype == torch.float32
    with backends.ready(Job(module, [(2, 5, 5)], 1, 1, "float32", torch.device("cpu"))) as (same, _):
        assert same is module and not same[1].training
    assert module.training


def test_onnx_runtime_runs_the_exported_network_with_its_own_threads(monkeypatch, tmp_path):
    made, module = [], small()
    session = runtimes.onnx_session
    record = lambda path, threads, *more: made.append(threads) or session(path, threads, *more)  # noqa: E731
    monkeypatch.setattr(runtimes, "onnx_session", record)
    measured = measure(module, (2, 6, 6), backend="onnxruntime", batch=2, threads=2, repeats=3)
    assert made == [2] and (measured.backend, measured.batch, measured.threads) == ("onnxruntime", 2, 2)
    assert measured.median > 0 and module.training
    export_onnx(module, tmp_path / "network.onnx", (2, 6, 6), batch=2)
    again = measure_onnx(tmp_path / "network.onnx", (2, 6, 6), batch=2, repeats=3)
    assert made == [2, 1] and (again.backend, again.batch, again.threads) == ("onnxruntime", 2, 1)
    assert LAUNCHES.keys() == BACKENDS.keys() and describe_device()["launch"] == "eager"
    assert "onnxruntime" in describe_device(backend="onnxruntime") and "onnxruntime" not in describe_device()


def test_compiled_runs_what_the_compiler_made_and_not_the_module(monkeypatch):
    events = []
    module = small()
    module.register_forward_hook(logged(events, "eager"))
    monkeypatch.setattr(torch, "compile", lambda module, dynamic: logged(events, "compiled"))
    measured = measure(module, (2, 6, 6), backend="compiled", repeats=3, warmup=1)
    assert measured.backend == "compiled" and events[:2] == ["eager", "compiled"] and events.count("eager") == 1


def test_a_compiler_that_is_missing_is_one_sentence_and_wrong_inputs_are_not_its_fault(monkeypatch):
    def fails(*_):
        raise RuntimeError("No working C++ compiler found in cpp.cxx\n\nSet TORCHDYNAMO_VERBOSE=1 for more")

    monkeypatch.setattr(torch, "compile", lambda module, dynamic: fails)
    module = small()
    with pytest.raises(BackendError, match=r"torch.compile does not work .*: No working C\+\+ compiler.*cxx$"):
        measure(module, (2, 6, 6), backend="compiled")
    assert module.training
    with pytest.raises(ParameterError, match="does not run on inputs"):
        measure(module, (3, 6, 6), backend="compiled")


def test_a_package_that_is_missing_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(BackendError, match=r'onnxruntime is not installed here: pip install "nasedu\[deploy\]"'):
        measure(small(), (2, 6, 6), backend="onnxruntime")


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_device_that_is_not_there_is_one_sentence(backend, monkeypatch):
    device = "cpu" if backend == "cuda" else "xpu"
    with pytest.raises(BackendError) as caught:
        measure(small(), (2, 6, 6), backend=backend, device=device)
    assert device in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_without_cuda_its_backend_says_so():
    with pytest.raises(BackendError, match="no device 'cuda'"):
        measure(small(), (2, 6, 6), backend="cuda", precision="float16")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("precision", ["float32", "float16", "bfloat16"])
def test_cuda_measures_at_every_precision(precision):
    module = small()
    measured = measure(module, (2, 6, 6), backend="cuda", precision=precision, repeats=3)
    assert measured.median > 0 and measured.precision == precision
    assert module[0].weight.device.type == "cpu" and module[0].weight.dtype == torch.float32


def test_names_are_checked_and_meta_networks_refused():
    with pytest.raises(UnknownName, match="did you mean 'onnxruntime'"):
        measure(small(), (2, 6, 6), backend="onxruntime")
    with pytest.raises(UnknownName, match="precision 'float61'"):
        measure(small(), (2, 6, 6), backend="cuda", precision="float61")
    with pytest.raises(ParameterError, match="meta device"):
        measure(small().to("meta"), (2, 6, 6))


def test_a_latency_table_takes_the_options_of_measure():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NoisyMeasurement)
        with pytest.raises(BackendError, match="onnxruntime backend"):
            LookupTable.build(spaces.create("fbnet:course"), "latency_ms", backend="onnxruntime", device="cuda")


class Returns(nn.Module):
    """A convolution, and what a function makes of its map."""

    def __init__(self, function):
        super().__init__()
        self.conv, self.function = nn.Conv2d(2, 4, 3), function

    def forward(self, x):
        return self.function(self.conv(x))


@pytest.mark.parametrize("function", [lambda y: {"logits": y, "aux": None}, lambda y: {"a": [y, {"b": (y, None)}]}])
@pytest.mark.parametrize("backend", ["torch", "onnxruntime"])
def test_networks_that_return_dictionaries_are_timed(function, backend):
    assert measure(Returns(function), (2, 6, 6), backend=backend, repeats=3).median > 0


@pytest.mark.parametrize("function", [lambda y: None, lambda y: {}, lambda y: 3, lambda y: object()])
def test_what_returns_no_tensor_is_not_exported(function):
    with pytest.raises(ParameterError, match="this Returns returns no tensor"):
        measure(Returns(function), (2, 6, 6), backend="onnxruntime")
    assert measure(Returns(function), (2, 6, 6), repeats=3).median > 0


def test_what_cannot_be_exported_says_why_and_not_that_it_does_not_run():
    scripted = torch.jit.script(nn.Sequential(nn.Linear(6, 4)))
    for module, words in ((scripted, "ScriptModule"), (Returns(lambda y: y[y > 0].tolist()[0] + y), "Returns")):
        with pytest.raises(BackendError, match=f"{words}.* cannot be exported to ONNX: ") as told:
            measure(module, (2, 6, 6), backend="onnxruntime")
        assert len(str(told.value)) < 300 and "\n" not in str(told.value) and "\33" not in str(told.value)
        assert measure(module, (2, 6, 6), repeats=3).median > 0
    assert measure(torch.jit.freeze(scripted.eval()), (2, 6, 6), repeats=3).median > 0


@pytest.mark.parametrize("backend", ["torch", "onnxruntime"])
def test_lazy_layers_are_not_given_a_shape_by_a_measurement(backend):
    module = nn.Sequential(nn.LazyConv2d(4, 3))
    with pytest.raises(ParameterError, match="lazy layers without a shape"):
        measure(module, (2, 6, 6), backend=backend)
    assert isinstance(module[0], nn.LazyConv2d)
