"""How long a network takes on this device."""

from __future__ import annotations

import os
import platform
import statistics
import time
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import nn

from nasedu.blocks import evaluation_mode
from nasedu.errors import ParameterError


@dataclass(frozen=True)
class Latency:
    """Milliseconds per batch: `median`, and the quartiles `low` and `high` over `repeats` timed runs."""

    median: float
    low: float
    high: float
    repeats: int
    batch: int


def measure(
    module: nn.Module,
    *input_shapes: tuple[int, ...],
    batch: int = 1,
    repeats: int = 30,
    warmup: int = 5,
    threads: int = 1,
    device: str | torch.device = "cpu",
) -> Latency:
    """Time `module` in eval and inference mode on random inputs (batch, C, H, W), one per shape.

    The module is moved to `device` and put back into its mode. Threads are fixed while it runs and the accelerator is
    synchronised. Raises `ParameterError` for fewer than 3 repeats.
    """
    if repeats < 3:
        raise ParameterError(f"latency needs at least 3 repeats, got {repeats}")
    device = torch.device(device)
    module = module.to(device)
    generator = torch.Generator().manual_seed(0)
    inputs = [torch.randn(batch, *shape, generator=generator).to(device) for shape in input_shapes]
    with fixed_threads(threads), evaluation_mode(module), torch.inference_mode():
        times = [_once(module, inputs, device) for _ in range(warmup + repeats)][warmup:]
    low, median, high = statistics.quantiles(times, n=4)
    return Latency(median, low, high, repeats, batch)


def _once(module: nn.Module, inputs: list[torch.Tensor], device: torch.device) -> float:
    start = time.perf_counter()
    module(*inputs)
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return 1e3 * (time.perf_counter() - start)


@contextmanager
def fixed_threads(threads: int):
    """Run with this many CPU threads, and give the old number back."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def describe_device(device: str | torch.device = "cpu") -> dict[str, str | int]:
    """The device and the software that a measurement was made with."""
    device = torch.device(device)
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else _processor()
    return {
        "device": name,
        "cores": os.cpu_count() or 1,
        "system": platform.system(),
        "python": platform.python_version(),
        "torch": torch.__version__,
    }


def _processor() -> str:
    try:
        with open("/proc/cpuinfo") as lines:
            models = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
        return models[0]
    except (OSError, IndexError):
        return platform.processor() or platform.machine()
