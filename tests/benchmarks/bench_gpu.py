"""Whether a GPU is busy: training, warm-up, maps, zero-shot search, memory, and latency as it is deployed.

`python tests/benchmarks/bench_gpu.py` prints one table. On a GPU the sizes are the published ones (p5 at 416 px),
and `--quick` takes fewer steps; on the CPU they are tiny, and say nothing of a GPU.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from torch import nn

from nasedu import data, search, spaces, wzdnas
from nasedu.hardware.memory import Peak
from nasedu.sampling import Gumbel, softmax, supernet_step, uniform_logits
from nasedu.spaces.plainnet import PUBLISHED
from nasedu.supernet.telling import told
from nasedu.tables import LookupTable
from nasedu.tables.additivity import correct, measure_networks, random_networks
from nasedu.task import Detection, fit
from nasedu.training import TrainingConfig
from nasedu.training.forward import checkpointed
from nasedu.wzdnas.warmup import TEMPERATURE


class Size(NamedTuple):
    """What is measured: the detector's template and pixels, batches, and how often."""

    template: str = "p5"
    pixels: int = 416
    batch: int = 32  # of the training
    warmup_batch: int = 4
    memory_batch: int = 16
    scenes: int = 512
    steps: int = 30
    structures: int = 24
    networks: int = 20
    precision: str = "bfloat16"
    repeats: int = 30
    zero_shot: tuple[tuple[str, str, int, int], ...] = (  # whose children, at how many pixels, on how many images
        ("imagenet 600M", "ZenNet-600M-SE", 224, 64),
        ("CIFAR 1M", "ZenNet-1.0M", 32, 64),
    )


FULL = Size()
QUICK = FULL._replace(scenes=192, steps=8, structures=8, networks=10, repeats=5)
TINY = Size("course", 64, 2, 2, 2, 8, 2, 2, 10, "float32", 3, (("CIFAR 1M", "CIFAR seed", 16, 4),))
WANTED = {
    "training, images/s": "450 or more",
    "training, share of the time that kernels run": "0.8 or more",
    "warm-up step, ms": "90 or less",
    "map, ms": "300 or less",
    "imagenet 600M, structures/s": "10 or more",
    "CIFAR 1M, structures/s": "100 or more",
    "memory of a warm-up step at batch 16, checkpointed, GB": "24 or less",
    "table against whole networks, mean error after the correction": "0.1 or less",
}


def wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def seconds(call: Callable[[], object], device: torch.device, times: int) -> float:
    """The median time of a call that is waited for."""
    taken = []
    for _ in range(times):
        wait(device)
        start = time.perf_counter()
        call()
        wait(device)
        taken.append(time.perf_counter() - start)
    return statistics.median(taken)


class Laps:
    """A step that notes when it is asked for the first time and the fourth; in between nothing waits for the device."""

    def __init__(self, step: Callable, device: torch.device):
        self.step, self.device, self.count, self.start = step, device, 0, 0.0

    def __call__(self, model: nn.Module, batch: object, generator: torch.Generator) -> object:
        if self.count in (0, 3):
            wait(self.device)
            self.start, self.first = time.perf_counter(), self.count
        self.count += 1
        return self.step(model, batch, generator)

    def mean(self) -> float:
        """Seconds of a step, loader included, without the first three where there are more."""
        wait(self.device)
        return (time.perf_counter() - self.start) / (self.count - self.first)


def task_of(size: Size, batch: int) -> tuple[spaces.SearchSpace, Detection]:
    space = spaces.create("yolo", template=size.template, num_classes=10, image_size=size.pixels)
    scenes = data.detection("digits", "train", size=size.scenes, image_size=size.pixels)
    config = wzdnas.recipe("published", epochs=1, flip=False, batch_size=batch)
    return space, wzdnas.detection_task(space, config, scenes, seed=0)


def training(size: Size, device: torch.device, compile: bool = False) -> Iterator[tuple[str, float]]:
    """End to end: loader, augmentation, forward, backward, optimizer, running average."""
    space, task = task_of(size, size.batch)
    epochs = max(1, -(-size.steps * size.batch // size.scenes))
    config = TrainingConfig(epochs=epochs, precision=size.precision, compile=compile)
    named = " compiled" if compile else ""
    network = space.build(space.hand_designed, seed=0)
    images, passed = epochs * (size.scenes // size.batch) * size.batch, 0.0
    for _ in range(2):  # the first warms up
        wait(device)
        begun = time.perf_counter()
        fit(network, task, config, device=device)
        wait(device)
        passed = time.perf_counter() - begun
    yield f"training{named}, images/s", images / passed
    if device.type == "cuda":  # once more, since a profiler slows what launches kernels, but not the kernels
        with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]) as profile:
            fit(network, task, config, device=device)
        kernels = sum(e.self_device_time_total for e in profile.key_averages()) / 1e6
        yield f"training{named}, share of the time that kernels run", kernels / passed


def warm_up(size: Size, device: torch.device) -> Iterator[tuple[str, float]]:
    """A step of the soft supernet, and the most memory that one takes with and without checkpoints."""
    space, task = task_of(size, size.warmup_batch)
    sampled = Gumbel(start=TEMPERATURE, end=TEMPERATURE)
    laps = Laps(supernet_step(space, sampled, task), device)
    config = TrainingConfig(epochs=1, precision=size.precision)
    some = replace(task, train=task.train.take(range(min(size.scenes, size.steps * size.warmup_batch)), "train"))
    fit(space.supernet(seed=0), some, config, laps, device=device)
    yield "warm-up step, ms", 1e3 * laps.mean()
    images = torch.rand(size.memory_batch, 3, size.pixels, size.pixels, device=device)
    path = [told(entry, device) for entry in softmax(uniform_logits(space.choices))]
    for name, context in (("plain", nullcontext), ("checkpointed", checkpointed)):
        supernet = space.supernet(seed=0).to(device, memory_format=torch.channels_last).train()
        peak = Peak(device, supernet)
        with context(supernet), torch.autocast(device.type, torch.bfloat16, enabled=size.precision == "bfloat16"):
            losses = [m.float().square().mean() for m in supernet(images, path)]
        sum(losses).backward()
        yield f"memory of a warm-up step at batch {size.memory_batch}, {name}, GB", (peak.megabytes() or 0) / 1e3
        del supernet, losses


def maps(size: Size, device: torch.device) -> Iterator[tuple[str, float]]:
    """One refresh of the NASWOT map in both semantics."""
    for semantics in ("sliced", "faithful"):
        options = {"template": size.template, "image_size": size.pixels, "semantics": semantics}
        space = spaces.create("yolo", num_classes=20, **options)
        supernet = space.supernet(seed=0).to(device).eval()
        images = torch.rand(size.warmup_batch, 3, size.pixels, size.pixels, device=device)
        path = [told(entry, device) for entry in softmax(uniform_logits(space.choices))]
        refresh = lambda: wzdnas.zero_cost_map(space, supernet, path, images)  # noqa: B023, E731
        refresh()
        yield ("map, ms" if semantics == "sliced" else "map, faithful, ms"), 1e3 * seconds(refresh, device, 3)


def zero_shot(size: Size, device: torch.device) -> Iterator[tuple[str, float]]:
    """Structures a second by the Zen-score: built, drawn and scored; children of published networks."""
    for name, parent, pixels, batch in size.zero_shot:
        published, draws = PUBLISHED[parent], np.random.default_rng(0)
        space = spaces.create("plainnet", **published.options | {"input_size": pixels, "squeeze_excite": False})
        archs = [space.mutate(space.parse(published.choices), draws) for _ in range(size.structures)]
        evaluate = search.ZeroCost(space, "zen", torch.randn(batch, 3, pixels, pixels, device=device))
        evaluate(archs[0])
        wait(device)
        begun = time.perf_counter()
        for arch in archs:
            evaluate(arch)
        wait(device)
        yield f"{name}, structures/s", len(archs) / (time.perf_counter() - begun)


def latency(size: Size, device: torch.device) -> Iterator[tuple[str, float]]:
    """The table of the usual backend, corrected on half of the networks by folds, against whole networks."""
    space = spaces.create("yolo", template=size.template, num_classes=20, image_size=size.pixels)
    options = {"repeats": size.repeats, "device": device}
    if device.type == "cuda":
        options["precision"] = "float16"
    table = LookupTable.build(space, "latency_ms", **options)
    archs = random_networks(space, size.networks)
    fitted = correct(table, archs, measure_networks(space, archs, rounds=1, **options))
    yield "table against whole networks, mean error before the correction", fitted.before.mape
    yield "table against whole networks, mean error after the correction", fitted.after.mape


def report(size: Size, device: torch.device) -> pd.DataFrame:
    """One row a figure, printed as it comes."""
    compiled = (lambda s, d: training(s, d, compile=True),) if device.type == "cuda" and size is FULL else ()
    rows = {}
    for part in (training, warm_up, maps, zero_shot, latency, *compiled):
        for name, value in part(size, device):
            rows[name] = {"measured": float(f"{value:.4g}"), "wanted on an H100": WANTED.get(name, "")}
            print(f"{name}: {value:.4g}", flush=True)
    return pd.DataFrame.from_dict(rows, orient="index")


if __name__ == "__main__":
    cuda = torch.cuda.is_available()
    place = torch.device("cuda" if cuda else "cpu")
    print(torch.cuda.get_device_name() if cuda else "no GPU: tiny sizes on the CPU, which say nothing of one")
    print(report((QUICK if "--quick" in sys.argv else FULL) if cuda else TINY, place).to_string())
