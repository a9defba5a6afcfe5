"""How long a network takes on this device: the median of many runs, and whether the machine was free to tell."""

from __future__ import annotations

import inspect
import math
import os
import platform
import statistics
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from importlib import metadata
from pathlib import Path

import torch
from torch import nn

from nasedu.errors import check_whole
from nasedu.hardware.backends import BACKENDS, Clock, Program, make_job, onnx_program
from nasedu.modules import told_of_inputs
from nasedu.origin import processor

SHORTEST = 2e-4  # seconds that one repeat lasts at least: a thousand times what a clock's tick and reading it cost
ATTEMPTS, PATIENCE = 3, 10  # tries, and the seconds after which no other one begins
SPREAD = 0.15  # (high - low) / median of a free machine is a few hundredths
CLOCK = Clock()  # what every measurement reads
SHARE = 0.9  # of a repeat's time: a program that has a core to itself computes all the time that passes


class NoisyMeasurement(UserWarning):
    """The machine was busy with something else while a latency was measured."""


@dataclass(frozen=True)
class Latency:
    """Milliseconds per batch: `median`, and the quartiles `low` and `high` over `repeats`.

    `overhead` is the timer's own median in ms, which each repeat holds once. `noisy`: all `attempts` were disturbed,
    and this is the calmest.
    """

    median: float
    low: float
    high: float
    repeats: int
    batch: int
    threads: int = 1
    backend: str = "torch"
    precision: str = "float32"
    overhead: float = 0.0
    noisy: bool = False
    attempts: int = 1

    def __str__(self) -> str:
        threads = f"{self.threads} thread{'s' * (self.threads > 1)}"
        parts = [f"{_short(self.median)} ms ({_short(self.low)} to {_short(self.high)})", f"batch {self.batch}"]
        parts += [threads, self.backend] + [self.precision] * (self.precision != "float32")
        return ", ".join(parts + ["noisy"] * self.noisy)


def measure(
    module: nn.Module,
    *input_shapes: tuple[int, ...],
    backend: str = "torch",
    batch: int = 1,
    threads: int = 1,
    repeats: int = 30,
    warmup: int = 5,
    precision: str = "float32",
    device: str | torch.device | None = None,
) -> Latency:
    """Time a network in eval mode on random inputs (batch, C, H, W).

    After the warm-up, each repeat lasts 0.2 ms or more: short modules run several times in it. Where another program
    took the processor, or the quartiles lie more than 15 % apart, it is tried again, three times in all and not after
    10 s; the calmest counts, with a `NoisyMeasurement` warning if it was disturbed, too. With several threads a lost
    processor shows only in the quartiles, as networks keep different numbers of them busy. The compiled backend forgets
    all that this process had compiled with `torch.compile`, which then compiles anew.

    module: the network; it stays as it is.
    input_shapes: of each input, (C, H, W).
    backend: one of `BACKENDS`.
    batch: images of one run.
    threads: of the CPU, fixed meanwhile.
    repeats: how many times are taken.
    warmup: runs before the first that counts; there is at least one, which tells how long a run is.
    precision: "float32"; with cuda "float16" or "bfloat16" as well.
    device: where to run; None is where the module is.

    Raises `UnknownName`, `ParameterError` (fewer than 3 repeats, or inputs that the network does not take, say) and
    `BackendError` for what is not installed.
    """
    options = {"batch": batch, "threads": threads, "repeats": repeats, "warmup": warmup, "precision": precision}
    with timer(module, *input_shapes, backend=backend, device=device, **options) as time:
        return time(4)


@contextmanager
def timer(module: nn.Module, *input_shapes: tuple[int, ...], **options) -> Iterator[Callable[[], Latency]]:
    """What `measure` does in two steps, for networks that are timed more than once: yields what times it.

    module: the network; it is made ready for its backend once.
    input_shapes: of each input, (C, H, W).
    options: of `measure`.

    Raises as `measure`.
    """
    made = measure_defaults() | options
    threads, backend, device = (made[name] for name in ("threads", "backend", "device"))
    settings = {name: made[name] for name in ("batch", "threads", "backend", "precision")}
    _check(made["batch"], threads, made["repeats"], made["warmup"])
    job = make_job(backend, module, input_shapes, made["batch"], threads, made["precision"], device)
    told = partial(told_of_inputs, "the network does not run", input_shapes)
    with ExitStack() as stack:
        with told(), fixed_threads(threads):
            program = stack.enter_context(BACKENDS[backend](job))

        def time(level: int = 3) -> Latency:
            with told(), fixed_threads(threads):
                return _latency(program, made["warmup"], made["repeats"], level, **settings)

        yield time


def measure_defaults() -> dict[str, object]:
    """The options of `measure` with their defaults."""
    taken = inspect.signature(measure).parameters.values()
    return {p.name: p.default for p in taken if p.kind is p.KEYWORD_ONLY}


def measure_onnx(
    path: str | Path,
    *input_shapes: tuple[int, ...],
    batch: int = 1,
    threads: int = 1,
    repeats: int = 30,
    warmup: int = 5,
) -> Latency:
    """Time an ONNX file, written by `export_onnx` at this batch size, in ONNX Runtime; the rest is as in `measure`.

    path: the file.
    input_shapes: of each input, (C, H, W).
    batch: images of one run.
    threads: of the CPU.
    repeats: how many times are taken.
    warmup: runs before the first that counts.
    """
    _check(batch, threads, repeats, warmup)
    program = onnx_program(path, input_shapes, batch, threads)
    return _latency(program, warmup, repeats, 3, batch=batch, threads=threads, backend="onnxruntime")


@dataclass(frozen=True)
class _Attempt:
    """Seconds per run, and `share`: of the time, how much this process had a processor at least (1 on accelerators).

    It is the median over repeats, as the time is: a few that another program held up do not matter. On a clock whose
    ticks are longer than a repeat it is that of the whole attempt, and 1 where a tick is longer than that.
    """

    low: float
    median: float
    high: float
    share: float

    @property
    def spread(self) -> float:
        """How far the quartiles lie apart, as a fraction of the median."""
        return (self.high - self.low) / self.median if self.median > 0 else 0.0

    @property
    def disturbance(self) -> float:
        """What was worse, spread or a lost processor, each as a multiple of what is still calm."""
        return max(self.spread / SPREAD, (1 - self.share) / (1 - SHARE))

    @property
    def calm(self) -> bool:
        """Whether nothing else seems to have run."""
        return self.disturbance <= 1


def _latency(program: Program, warmup: int, repeats: int, level: int, **settings) -> Latency:
    """Warm up, then try until an attempt is calm, or the last; a warning if every attempt was disturbed.

    level: how many calls above the warning stands, at the line of whoever asked.
    """
    overhead = statistics.median(program.idle().seconds(1, CLOCK) for _ in range(30))
    fastest = min(program.seconds(1, CLOCK) for _ in range(max(warmup, 1)))
    runs = max(1, math.ceil(SHORTEST / max(fastest - overhead, overhead, 1e-9)))
    start, tries = CLOCK.wall(), [_attempt(program, repeats, runs)]
    while not tries[-1].calm and len(tries) < ATTEMPTS and CLOCK.wall() - start < PATIENCE:
        tries.append(_attempt(program, repeats, runs))
    best = min(tries, key=lambda t: t.disturbance)
    if not best.calm:
        warnings.warn(
            "the machine was busy while latency was measured: close other programs, or read the figures as rough ones",
            NoisyMeasurement,
            stacklevel=level,
        )
    times = {"median": 1e3 * best.median, "low": 1e3 * best.low, "high": 1e3 * best.high}
    settings |= {"repeats": repeats, "overhead": 1e3 * overhead, "noisy": not best.calm, "attempts": len(tries)}
    return Latency(**times, **settings)


def _attempt(program: Program, repeats: int, runs: int) -> _Attempt:
    times, used = [], []
    for _ in range(repeats):
        wall, cpu = CLOCK.wall(), CLOCK.cpu()
        times.append(program.seconds(runs, CLOCK) / runs)
        used.append((CLOCK.cpu() - cpu, CLOCK.wall() - wall))
    share = _share(used, CLOCK.tick) if program.on_cpu else 1.0
    return _Attempt(*statistics.quantiles(times, n=4), share)


def _share(used: list[tuple[float, float]], tick: float) -> float:
    """Of the wall's time, the processor's, at most 1; from (processor, wall) seconds of every repeat."""
    if tick:  # most repeats see no tick at all, some a whole one
        used = [(sum(cpu for cpu, _ in used) + tick, sum(wall for _, wall in used))]
    return statistics.median(min(1.0, cpu / wall) if wall > 0 else 1.0 for cpu, wall in used)


def _check(batch: int, threads: int, repeats: int, warmup: int) -> None:
    given = {"batch": (batch, 1), "threads": (threads, 1), "repeats": (repeats, 3), "warmup": (warmup, 0)}
    for name, (value, least) in given.items():
        check_whole(name, value, least)


def _short(ms: float) -> str:
    """Three digits."""
    return f"{ms:.3g}" if ms < 1000 else f"{ms:,.0f}"


@contextmanager
def fixed_threads(threads: int):
    """Run with this many CPU threads, and give the old number back."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def describe_device(device: str | torch.device | None = None, backend: str = "torch") -> dict[str, str | int]:
    """The device and the software that a measurement was made with; `device` None is the CPU, or the GPU for cuda."""
    device = torch.device(device or ("cuda" if backend == "cuda" else "cpu"))
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else processor()
    return {
        "device": name,
        "cores": os.cpu_count() or 1,
        "system": platform.system(),
        "python": platform.python_version(),
        "torch": torch.__version__,
    } | ({"onnxruntime": metadata.version("onnxruntime")} if backend == "onnxruntime" else {})
