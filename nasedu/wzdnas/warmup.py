"""Phase 1: weights that serve every architecture.

theta stays uniform. Each step draws a fresh soft Gumbel sample at a high temperature, runs the whole mixed supernet on
it and trains the weights alone on the detection loss.
"""

from __future__ import annotations

import itertools
from pathlib import Path

import torch
from torch import Tensor, nn

from nasedu.errors import ParameterError, check_name
from nasedu.progress import Progress, silent
from nasedu.sampling import gumbel_softmax, softmax, uniform_logits
from nasedu.spaces.base import Network, SearchSpace
from nasedu.supernet.batchnorm import recalibrate
from nasedu.training import Trained, train
from nasedu.wzdnas.detector import DetectorConfig, DetectorData, detector_batches, detector_step

WARMUPS = ("train", "bn_only", "none")
TEMPERATURE = 3.0


def warm_up(
    space: SearchSpace,
    supernet: Network,
    data: DetectorData,
    config: DetectorConfig,
    *,
    mode: str = "train",
    temperature: float = TEMPERATURE,
    recalibration_batches: int = 10,
    seed: int = 0,
    device: torch.device | str = "cpu",
    state: str | Path | None = None,
    progress: Progress = silent,
) -> Trained:
    """Train the supernet's weights (WZDNAS phase 1) and load their running average into it.

    `mode`: "train"; "bn_only", which trains nothing and only sets the BN statistics to those of the data; "none",
    which leaves the fresh supernet as it is. After "train" the statistics are recalibrated too, under the uniform
    path that the search starts from. Raises `UnknownName`, `CheckpointError`.
    """
    check_name("warm-up", mode, WARMUPS)
    if config.training.epochs < 0:
        raise ParameterError(f"warm-up epochs must be at least 0, got {config.training.epochs}")
    trained = Trained(supernet.to(device).eval(), supernet, [])
    if mode == "train" and config.training.epochs > 0:

        def forward(model: nn.Module, images: Tensor, generator: torch.Generator):
            sample = gumbel_softmax(uniform_logits(space.choices), temperature, generator)
            return model(images, [p.to(images) for p in sample])

        trained = train(
            supernet,
            detector_batches(data, config, seed),
            detector_step(space, config, forward, device),
            config.training,
            seed=seed,
            device=device,
            state=state,
            progress=progress,
        )
        supernet.load_state_dict(trained.ema.state_dict())
    if mode != "none":
        path = [p.to(device) for p in softmax(uniform_logits(space.choices))]
        batches = itertools.islice(detector_batches(data, config, seed)(0), recalibration_batches)
        recalibrate(supernet, (images.to(device) for images, _ in batches), lambda net, x: net(x, path))
    supernet.eval()
    return trained
