"""What runs a network when its time is taken: PyTorch as it is or compiled, runtimes of ONNX, a captured CUDA graph.

A backend is a context manager that makes a `Program` of a network; how often it runs, and how the times are summed up,
is `nasedu.hardware.latency`'s business.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from nasedu.errors import BackendError, ParameterError, check_name
from nasedu.hardware import runtimes
from nasedu.hardware.export import example_inputs, onnx_model, write_onnx
from nasedu.hardware.quantise import INT8, quantised
from nasedu.modules import copy_of, evaluation_mode, hidden, reason

PRECISIONS = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}
SAMPLES = 4  # random inputs that an int8 network is calibrated on where only its time matters, which no scale changes


@dataclass(frozen=True)
class Clock:
    """Where the time comes from, in seconds: `wall` the clock on the wall, `cpu` what this process has computed.

    `cpu` may lag behind by a `tick`: it is coarse on Windows.
    """

    wall: Callable[[], float] = time.perf_counter
    cpu: Callable[[], float] = time.process_time
    tick: float = 1 / 64 if os.name == "nt" else 0.0


@dataclass(frozen=True)
class Job:
    """A network to be timed on random maps (batch, C, H, W), one per shape; names are known to be valid."""

    module: nn.Module
    input_shapes: Sequence[tuple[int, ...]]
    batch: int
    threads: int
    precision: str
    device: torch.device
    backend: str = "torch"


class Program:
    """A network that is ready to run.

    call: starts one run.
    wait: returns when all runs that started have ended.
    on_cpu: whether it computes on this process's CPU.
    """

    def __init__(self, call: Callable[[], object], wait: Callable[[], object] = lambda: None, on_cpu: bool = True):
        self.call, self.wait, self.on_cpu = call, wait, on_cpu

    def seconds(self, runs: int, clock: Clock) -> float:
        """How long so many runs take together."""
        self.wait()
        start = clock.wall()
        for _ in range(runs):
            self.call()
        self.wait()
        return clock.wall() - start

    def idle(self) -> Program:
        """A program that does nothing, timed the same way: what is left is the timer's own time."""
        return type(self)(lambda: None, self.wait, self.on_cpu)


class CudaProgram(Program):
    """A program whose time is that between two events in CUDA's queue.

    For a network whose kernels take longer than starting them that is the GPU's own time. A small one's queue runs
    empty, and its time is how fast the CPU starts kernels: `Replayed` leaves that out.
    """

    def seconds(self, runs: int, clock: Clock) -> float:
        """What passes on the GPU between the first run's start and the last one's end; `clock` is not read."""
        repeated = self.repeated(runs)
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        repeated()
        end.record()
        end.synchronize()
        return start.elapsed_time(end) / 1e3

    def repeated(self, runs: int) -> Callable[[], object]:
        """What starts so many runs."""
        return lambda: [self.call() for _ in range(runs)]


class Replayed(CudaProgram):
    """A program that is captured in a CUDA graph, which starts all its kernels at once: how a network is deployed.

    As many runs as a repeat holds are captured one behind the other, so that a block of a few microseconds is not timed
    as the start of a graph: within a network's graph it has none of its own.
    """

    def __init__(self, call: Callable[[], object], wait: Callable[[], object] = lambda: None):
        super().__init__(call, wait, on_cpu=False)
        self._graphs: dict[int, torch.cuda.CUDAGraph] = {}

    def repeated(self, runs: int) -> Callable[[], object]:
        """The replay of a graph of so many runs, which is captured the first time."""
        if runs not in self._graphs:
            self._graphs[runs] = capture(super().repeated(runs))
        return self._graphs[runs].replay

    def idle(self) -> Program:
        """Two events with nothing between them: a graph of nothing cannot be captured."""
        return CudaProgram(lambda: None, self.wait, on_cpu=False)


def capture(call: Callable[[], object]) -> torch.cuda.CUDAGraph:
    """A CUDA graph of what `call` starts, which must neither look at its results nor allocate outside of PyTorch.

    It runs three times before, on a stream of its own as PyTorch wants it, so that libraries choose their kernels.
    """
    side, graph = torch.cuda.Stream(), torch.cuda.CUDAGraph()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(3):
            call()
    torch.cuda.current_stream().wait_stream(side)
    with torch.cuda.graph(graph):
        call()
    return graph


@contextmanager
def eager(job: Job) -> Iterator[Program]:
    """PyTorch, one operation after the other, on any device."""
    with ready(job) as (module, inputs), torch.inference_mode():
        yield Program(lambda: module(*inputs), waiting(job.device), job.device.type == "cpu")


@contextmanager
def compiled(job: Job) -> Iterator[Program]:
    """`torch.compile` for these shapes. What this process compiled before is forgotten: networks share one limit.

    Raises `BackendError` where the platform cannot compile.
    """
    with ready(job) as (module, inputs), torch.no_grad():
        module(*inputs)  # a network that does not run at all is its maker's mistake, not the compiler's
        try:
            torch.compiler.reset()
            program = torch.compile(module, dynamic=False)
            program(*inputs)
        except Exception as error:
            told = "torch.compile does not work for this network on this machine"
            raise BackendError(f"{told}: {reason(error)}") from error
        yield Program(lambda: program(*inputs), waiting(job.device), job.device.type == "cpu")


@contextmanager
def exported(job: Job, runtime: str) -> Iterator[Program]:
    """A runtime of ONNX on the CPU, for the network exported to a temporary file, in int8 if that is asked for.

    job: what is timed.
    runtime: one of `runtimes.RUNTIMES`.

    Raises `BackendError`.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "network.onnx"
        export_job(job, path)
        yield onnx_program(path, job.input_shapes, job.batch, job.threads, runtime)


def export_job(job: Job, path: Path) -> None:
    """Write the job's network as an ONNX file for `onnx_program`, at its precision. Raises `BackendError`."""
    with ready(job) as (module, _):
        model = onnx_model(module, *job.input_shapes, batch=job.batch)
    if job.precision == INT8:
        model = quantised(model, [example_inputs(job.input_shapes, job.batch, seed) for seed in range(SAMPLES)])
    write_onnx(model, path)


def onnx_program(
    path: str | Path, input_shapes: Sequence[tuple[int, ...]], batch: int, threads: int, runtime: str = "onnxruntime"
) -> Program:
    """An ONNX file in a runtime, on the CPU. Raises `BackendError`.

    path: the file.
    input_shapes: of each input, (C, H, W).
    batch: images of one run.
    threads: of the CPU.
    runtime: one of `runtimes.RUNTIMES`.
    """
    network = runtimes.load(path, runtime, threads)
    maps = zip(network.inputs, example_inputs(input_shapes, batch), strict=True)
    inputs = {name: drawn.numpy() for name, drawn in maps}
    return Program(lambda: network(inputs))


@contextmanager
def cuda(job: Job) -> Iterator[Program]:
    """PyTorch on an NVIDIA GPU as it would be deployed: the replays of a captured graph, timed by CUDA events.

    Raises `BackendError` for a network that cannot be captured, such as one whose next step depends on a value.
    """
    with ready(job) as (module, inputs), torch.inference_mode(), torch.cuda.device(job.device):
        module(*inputs)  # a network that does not run at all is its maker's mistake
        program = Replayed(lambda: module(*inputs), waiting(job.device))
        try:
            program.repeated(1)
        except RuntimeError as error:
            told = "a CUDA graph cannot be captured of this network (backend='torch' times it operation by operation)"
            raise BackendError(f"{told}: {reason(error)}") from error
        yield program


EXPORTED = {name: partial(exported, runtime=name) for name in runtimes.RUNTIMES}
BACKENDS = {"torch": eager, "compiled": compiled, **EXPORTED, "cuda": cuda}
LAUNCHES = {"torch": "eager", "compiled": "torch.compile", "cuda": "cuda graph"}
LAUNCHES |= {name: f"{name} session" for name in EXPORTED}
WHOLE_PROGRAMS = ("compiled", *EXPORTED, "cuda")  # these run no operator for an identity within a network


def usual_backend(device: torch.device | str | None) -> str:
    """What times a network where nothing else is asked for: a captured graph on an NVIDIA GPU, else PyTorch as it is.

    device: where it runs; None is the CPU.
    """
    return "cuda" if str(device or "cpu").partition(":")[0] == "cuda" else "torch"


def make_job(backend: str | None, module, input_shapes, batch, threads, precision, device) -> Job:
    """Check what a measurement is asked for. Raises `UnknownName`, `ParameterError`, `BackendError`.

    backend: one of `BACKENDS`; None: `usual_backend`.
    module: the network.
    input_shapes: of each input, (C, H, W).
    batch: images of one run.
    threads: of the CPU.
    precision: one of `PRECISIONS`, or "int8".
    device: where to run; None is where the backend has to, or where the module is.
    """
    own = next((t.device for t in (*module.parameters(), *module.buffers())), torch.device("cpu"))
    backend = check_name("backend", usual_backend(device or own) if backend is None else backend, BACKENDS)
    check_name("precision", precision, [*PRECISIONS, INT8])
    _check_shapes(input_shapes)
    if any(is_lazy(t) for t in module.parameters()):
        raise ParameterError(hidden(module))
    place = _device(backend, own, device)
    if precision == INT8 and backend not in EXPORTED:
        raise ParameterError(f"int8 is timed by the {' or '.join(EXPORTED)} backend only, not by {backend}")
    if precision not in ("float32", INT8) and place.type == "cpu":
        raise ParameterError(f"{precision} is timed on a GPU only (backend='cuda'), not by {backend} on {place}")
    return Job(module, input_shapes, batch, threads, precision, place, backend)


def _check_shapes(input_shapes: Sequence[Sequence[int]]) -> None:
    """Raise `ParameterError` unless there is a shape, and all are of whole numbers of at least 1."""
    sides = [side for shape in input_shapes for side in (shape if isinstance(shape, Sequence) else [None])]
    if not sides or not all(isinstance(side, int) and side >= 1 for side in sides):
        shapes = ", ".join(map(str, input_shapes)) or "none"
        raise ParameterError(f"a network is timed on inputs of one shape or more, such as (3, 64, 64), got {shapes}")


def _device(backend: str, own: torch.device, device: torch.device | str | None) -> torch.device:
    """Where to run: `device`, or where the backend has to, or where the module is, its `own`."""
    needed = ({"cuda": "cuda"} | dict.fromkeys(EXPORTED, "cpu")).get(backend)
    try:
        device = torch.device(needed or own) if device is None else torch.device(device)
    except RuntimeError:
        raise ParameterError(f"unknown device {device!r}: valid ones are cpu, cuda, cuda:1 ...") from None
    if "meta" in (own.type, device.type):
        raise ParameterError("a network on the meta device has no weights to run with: build it on the CPU")
    if device.type != (needed or device.type):
        raise BackendError(f"the {backend} backend runs on {needed}, not on {device}")
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, NotImplementedError):  # the last two: PyTorch was built without it
        raise BackendError(f"this machine, or this build of PyTorch, has no device {str(device)!r}") from None
    return device


@contextmanager
def ready(job: Job) -> Iterator[tuple[nn.Module, list[Tensor]]]:
    """The module in eval mode with its inputs, on the job's device; a copy where it would have to be moved."""
    dtype = PRECISIONS.get(job.precision, torch.float32)  # int8 is made of it
    tensors = [*job.module.parameters(), *job.module.buffers()]
    floating = {t.dtype for t in tensors if t.is_floating_point()}
    same = all(t.device.type == job.device.type and job.device.index in (None, t.device.index) for t in tensors)
    stays = same and floating <= {dtype}
    module = job.module if stays else copy_of(job.module).to(job.device, dtype)
    inputs = [x.to(job.device, dtype) for x in example_inputs(job.input_shapes, job.batch)]
    with evaluation_mode(module):
        yield module, inputs


def waiting(device: torch.device) -> Callable[[], object]:
    """What returns when the device has done all that it was given."""
    return (lambda: None) if device.type == "cpu" else lambda: torch.accelerator.synchronize(device)
