"""Evaluators: from an architecture to how good it is, higher is better. Any function of an architecture is one, too.

These can be called from several threads, and sent to other processes, so that every executor can run them.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from nasedu.errors import ProxyError, check_name, check_whole
from nasedu.proxies import Batch, as_batch, info, score, score_all
from nasedu.registry import check_options
from nasedu.spaces.base import Arch, Network, SearchSpace
from nasedu.supernet.batchnorm import recalibrated
from nasedu.task import Outputs, Task, fit
from nasedu.training import TrainingConfig

TURN = threading.Lock()  # a supernet holds one set of statistics


class SupernetScore:
    """A task's score of an architecture with the supernet's weights (SPOS, section 3.4).

    Its BN statistics are computed afresh from training batches, always the same, and the supernet's own are put back.
    Threads take turns. Raises `ParameterError` for fewer than 1 batch.

        space: whose architectures are judged.
        supernet: with whose weights.
        task: what for.
        split: on whose data.
        calibrate: the split whose batches give the statistics, in an order that no epoch of a training has.
        batches: how many of them.
    """

    def __init__(
        self,
        space: SearchSpace,
        supernet: Network,
        task: Task,
        split: str = "val",
        *,
        calibrate: str = "train",
        batches: int = 8,
    ):
        check_whole("batches", batches)
        self.space, self.supernet, self.task, self.split = space, supernet, task, split
        self.images = [x for x, _ in itertools.islice(task.batches(calibrate, -1), batches)]

    def __call__(self, arch: Arch) -> float:
        arch = self.space.validate(arch)

        def forward(network: nn.Module, x: Tensor) -> Outputs:
            return network(x, arch)

        with TURN, recalibrated(self.supernet, self.images, forward):
            return self.task.score(self.supernet, self.split, forward)


class ZeroCost:
    """Zero-cost proxies of an architecture, freshly initialised with `seed`: no training at all.

    Raises `UnknownName`. A call raises `ProxyError` where a proxy fails: a search records that and ranks the
    architecture last.

        space: whose architectures.
        names: one proxy, for its score, or several, for a dict of scores that a search combines by rank.
        batch: images, with labels where a proxy needs them.
        seed: of the weights, and of what a proxy draws.
        options: of the one proxy; of several, from a name to that proxy's own.
    """

    def __init__(
        self,
        space: SearchSpace,
        names: str | Sequence[str],
        batch: Batch | Tensor | tuple[Tensor, Tensor],
        *,
        seed: int = 0,
        **options,
    ):
        self.space, self.names, self.batch, self.seed, self.options = space, names, as_batch(batch), seed, options
        alone = isinstance(names, str)
        for name in [names] if alone else names:
            check_options(name, options if alone else options.get(name, {}), info(name).options)
        for name in [] if alone else options:
            check_name("proxy with options", name, names)

    @property
    def identity(self) -> tuple:
        """All that a score depends on but the architecture."""
        names = [self.names] if isinstance(self.names, str) else self.names
        code = [info(name).function for name in names]  # of one's own proxies the body counts
        return self.space, self.names, code, self.batch.images, self.batch.labels, self.seed, self.options

    def __call__(self, arch: Arch) -> float | dict[str, float]:
        with self.batch.images.device:  # on a GPU the weights are drawn there: other ones, by the same seed
            network = self.space.build(arch, seed=self.seed)
        if isinstance(self.names, str):
            return score(self.names, network, self.batch, seed=self.seed, keep=False, **self.options)
        found = score_all(network, self.batch, self.names, seed=self.seed, options=self.options)
        for name, sentence in found.errors.items():
            raise ProxyError(f"{name}: {sentence}")
        return dict(found)


@dataclass(frozen=True, eq=False)
class StandAlone:
    """A task's score of an architecture that is trained from scratch.

    space: whose architectures.
    task: what for.
    config: the settings of the training.
    split: on whose data the averaged weights are judged.
    seed: of the initial weights; the order of the images is the task's.
    device: where to train.
    """

    space: SearchSpace
    task: Task
    config: TrainingConfig
    split: str = "val"
    seed: int = 0
    device: torch.device | str = "cpu"

    def __call__(self, arch: Arch) -> float:
        network = self.space.build(arch, seed=self.seed)
        trained = fit(network, self.task, self.config, seed=self.seed, device=self.device)
        return self.task.score(trained.ema, self.split)
