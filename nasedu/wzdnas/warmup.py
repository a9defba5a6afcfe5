"""Phase 1: weights that serve every architecture.

theta stays uniform. Each step draws a fresh soft Gumbel sample at a high temperature, runs the whole mixed supernet on
it and trains the weights alone on the detection loss: the step of a supernet with a sampler that does not anneal.
"""

from __future__ import annotations

import itertools
from pathlib import Path

import torch
from torch import nn

from nasedu.blocks import ConvBNAct
from nasedu.blocks.factorised import Factorised, exchange
from nasedu.errors import check_name, check_whole
from nasedu.progress import Progress, silent
from nasedu.randomness import initialised
from nasedu.sampling import Gumbel, softmax, supernet_step, uniform_logits
from nasedu.spaces.base import Network, SearchSpace
from nasedu.supernet.batchnorm import recalibrate
from nasedu.task import Task, fit
from nasedu.training import Trained, TrainingConfig

WARMUPS = ("train", "factorised", "bn_only", "none")
FACTORISED = ("stem", "down", "back", "spp")  # the parts whose convolutions above 1x1 are; neck and heads stay dense
TEMPERATURE = 3.0
RECALIBRATION = 10  # batches


def warm_up(
    space: SearchSpace,
    supernet: Network,
    task: Task,
    config: TrainingConfig,
    *,
    mode: str = "train",
    seed: int = 0,
    state: str | Path | None = None,
    progress: Progress = silent,
) -> Trained:
    """Train the supernet's weights (WZDNAS phase 1) and load their running average into it. Raises what `train` raises.

    space: the space.
    supernet: its supernet, trained where it is.
    task: what it learns.
    config: the settings of the training.
    mode: "train"; "factorised", the published speed-up: see `factorise`; "bn_only", which trains nothing and only sets
        the BN statistics to those of the data; "none", which leaves the fresh supernet as it is. After a training
        the statistics are recalibrated too, under the uniform path that the search starts from.
    seed: of the samples.
    state: the checkpoint's file.
    progress: as in `train`.
    """
    check_name("warm-up", mode, WARMUPS)
    check_whole("warm-up epochs", config.epochs, 0)
    trained, device = Trained(supernet.eval(), supernet, []), next(supernet.parameters()).device
    if mode == "factorised":
        factorise(supernet, seed)
    if mode in ("train", "factorised") and config.epochs > 0:
        step = supernet_step(space, Gumbel(start=TEMPERATURE, end=TEMPERATURE), task)
        options = {"seed": seed, "device": device, "state": state, "progress": progress}
        trained = fit(supernet, task, config, step, **options)
        supernet.load_state_dict(trained.ema.state_dict())
    if mode == "factorised":
        merge(supernet)
        trained = Trained(supernet, supernet, trained.history)
    if mode != "none":
        path = [p.to(device) for p in softmax(uniform_logits(space.choices))]
        batches = itertools.islice(task.batches("train", -1), RECALIBRATION)
        recalibrate(supernet, (images for images, _ in batches), lambda net, x: net(x, path))
    supernet.to(memory_format=torch.contiguous_format).eval()  # the maps of phase 2 gain nothing from the other layout
    return trained


def factorise(supernet: Network, seed: int = 0) -> list[str]:
    """Train what is dear in two factors: WZDNAS's speed-up. Returns the names of the convolutions that are.

    Every convolution above 1x1 of stem, downsampling, backbone and pyramid becomes depthwise and pointwise. Biases that
    a normalisation follows do nothing, and are frozen.

    supernet: of a YOLO space, changed in place; `merge` makes it dense again.
    seed: draws the factors.
    """
    done = []
    with initialised(seed):
        for name, part in supernet.parts.items():
            if name.startswith(FACTORISED):
                found = exchange(part, nn.Conv2d, lambda conv: Factorised(conv) if conv.kernel_size[0] > 1 else conv)
                done += [f"{name}.{one}" for one in found]
    _biases(supernet, False)
    return done


def merge(supernet: Network) -> None:
    """Make every factorised convolution the dense one that computes the same, once.

    supernet: changed in place.
    """
    exchange(supernet, Factorised, Factorised.merged)
    _biases(supernet, True)


def _biases(supernet: Network, trained: bool) -> None:
    for part in supernet.modules():
        if isinstance(part, ConvBNAct) and getattr(part.conv, "bias", None) is not None:
            part.conv.bias.requires_grad_(trained)
