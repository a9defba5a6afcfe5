"""What a supernet's hard path costs beside the network alone, what channels_last buys, how fast every sampler trains.

Both at 32 px and batch 64, at the course's size, on one core. Steps are interleaved and compared by their minimum and
median, in seconds of the processor, since other work on the machine disturbs the mean.
"""

from __future__ import annotations

import statistics
import time

import numpy as np
import pytest
import torch
from torch.nn import functional as F
from torch.optim.swa_utils import AveragedModel

from nasedu import spaces
from nasedu.classification import recipe
from nasedu.hardware.latency import fixed_threads
from nasedu.sampling import samplers, softmax, supernet_step, uniform_logits
from nasedu.task import Classification
from nasedu.training import _averaging, _following, make_optimizer

NAMES = [name for name in spaces.names() if name != "yolo"]
BATCH, ARCHS, ROUNDS = 64, 3, 12


@pytest.fixture(scope="module", params=NAMES)
def space(request):
    return spaces.create(request.param, **spaces.COURSE)


@pytest.fixture(scope="module")
def batch():
    generator = torch.Generator().manual_seed(0)
    return torch.randn(BATCH, 3, 32, 32, generator=generator), torch.randint(10, (BATCH,), generator=generator)


def stepping(model, batch, path=None):
    """Two functions: forward and backward, and all of a training step."""
    x, y = batch
    optimizer = make_optimizer(model.train(), recipe(1))
    ema = AveragedModel(model, multi_avg_fn=_averaging(recipe(1)), use_buffers=True)
    parameters, follow = list(model.parameters()), _following(ema, model)  # once, as the training loop does

    def gradient():
        F.cross_entropy(model(x) if path is None else model(x, path), y).backward()

    def step():
        optimizer.zero_grad(set_to_none=True)
        gradient()
        torch.nn.utils.clip_grad_norm_(parameters, 10.0)
        optimizer.step()
        follow()

    return gradient, step


def seconds(run) -> float:
    """Of this process on its core: other work on the machine does not count."""
    start = time.process_time()
    run()
    return time.process_time() - start


def test_a_hard_path_beside_the_network_alone(space, batch):
    """Wanted: at most 5 % more."""
    rng, over = np.random.default_rng(0), {"forward and backward": [], "whole step": []}
    torch.manual_seed(0)
    supernet = space.supernet()
    with fixed_threads(1):
        for _ in range(ARCHS):
            arch = space.sample(rng)
            pairs = zip(over, stepping(space.build(arch), batch), stepping(supernet, batch, arch), strict=True)
            for part, alone, hard in pairs:
                supernet.zero_grad(set_to_none=True)
                alone(), hard()
                taken = []
                for i in range(ROUNDS):  # whichever is first has no advantage
                    order = (alone, hard) if i % 2 else (hard, alone)
                    by = {run: seconds(run) for run in order}
                    taken.append((by[alone], by[hard]))
                a, h = zip(*taken, strict=True)
                over[part].append((min(h) / min(a), statistics.median(h) / statistics.median(a), min(a)))
    for part, ratios in over.items():
        shown = ", ".join(f"{100 * (low - 1):+.1f} % / {100 * (mid - 1):+.1f} %" for low, mid, _ in ratios)
        mean = 100 * (statistics.mean(low for low, _, _ in ratios) - 1)
        alone = 1e3 * statistics.mean(ms for *_, ms in ratios)
        print(f"\n{space.name}, {part} ({alone:.0f} ms alone): {mean:+.1f} %; per network, min / median: {shown}")


@pytest.mark.parametrize("kind", ["single path", "mixture"])
def test_a_step_with_channels_last_beside_one_without(space, batch, kind):
    """Wanted: nowhere slower. Both in one run, in turn."""
    arch = space.sample(np.random.default_rng(0))
    path = arch if kind == "single path" else softmax(uniform_logits(space.choices))
    steps = {}
    for layout in (torch.contiguous_format, torch.channels_last):
        supernet = space.supernet(seed=0).to(memory_format=layout)
        x = batch[0].contiguous(memory_format=layout)
        steps[layout] = stepping(supernet, (x, batch[1]), path)[1]
    with fixed_threads(1):
        taken = [
            [seconds(step) for step in steps.values()] for _ in range(1 + (ROUNDS if kind == "single path" else 3))
        ]
    before, after = (min(column) for column in zip(*taken[1:], strict=True))
    print(f"\n{space.name}, {kind}: {1e3 * before:.0f} ms, channels_last {1e3 * after:.0f} ms: {before / after:.2f} x")


def test_steps_per_second_of_every_sampler(space, batch):
    generator = torch.Generator().manual_seed(0)
    for name in samplers.names():
        torch.manual_seed(0)
        supernet = space.supernet().train()
        optimizer = make_optimizer(supernet, recipe(1))
        step = supernet_step(space, samplers.create(name, space), Classification(None))

        def once(supernet=supernet, optimizer=optimizer, step=step):
            optimizer.zero_grad(set_to_none=True)
            for losses in step(supernet, batch, generator):
                losses["total"].backward()
            optimizer.step()

        with fixed_threads(1):
            once()
            taken = []
            while len(taken) < 3 or sum(taken) < 1.5:
                taken.append(seconds(once))
        print(f"\n{space.name}, {name}: {1 / statistics.median(taken):.2f} steps/s of {BATCH} images")
