"""Evaluators: from an architecture to how good it is, higher is better. Any function of an architecture is one, too.

These can be called from several threads, and sent to other processes, so that every executor can run them.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from nasedu.classification import accuracy, batches, classifier_step
from nasedu.data.classification import ImageSet
from nasedu.errors import ParameterError, ProxyError, check_name
from nasedu.proxies import Batch, as_batch, info, score, score_all
from nasedu.spaces.base import Arch, Network, SearchSpace
from nasedu.supernet.batchnorm import recalibrated
from nasedu.training import TrainingConfig, train


class SupernetAccuracy:
    """Accuracy on `val`, 0 to 1, of an architecture with the supernet's weights (SPOS, section 3.4).

    Its BN statistics are computed afresh from `batches` batches of training images, always the same, and the
    supernet's own are put back. Scores are kept by architecture: after more training, make a new evaluator.
    Raises `ParameterError` for fewer than 1 batch.
    """

    def __init__(
        self,
        space: SearchSpace,
        supernet: Network,
        train: ImageSet,
        val: ImageSet,
        *,
        batches: int = 4,
        batch_size: int = 128,
        seed: int = 0,
    ):
        if batches < 1 or batch_size < 1:
            raise ParameterError(f"recalibration needs at least 1 batch of 1 image, got {batches} of {batch_size}")
        self.space, self.supernet, self.val = space, supernet, val
        order = torch.randperm(len(train), generator=torch.Generator().manual_seed(seed))
        wanted = order[: batches * batch_size].to(train.labels.device)
        self.images = train.images[wanted].split(batch_size)
        self.cache: dict[Arch, float] = {}
        self._lock = threading.Lock()

    def __call__(self, arch: Arch) -> float:
        arch = self.space.validate(arch)
        with self._lock:  # one supernet holds one set of statistics
            if arch not in self.cache:
                self.cache[arch] = self._evaluate(arch)
            return self.cache[arch]

    @property
    def identity(self) -> list:
        """All that a score depends on but the architecture, the supernet's weights among them."""
        return [self.space, self.supernet, self.images, self.val]

    def _evaluate(self, arch: Arch) -> float:
        def forward(network: nn.Module, x: torch.Tensor) -> torch.Tensor:
            return network(x, arch)

        device = next(self.supernet.parameters()).device
        images = (x.to(device) for x in self.images)
        with recalibrated(self.supernet, images, forward):
            return accuracy(self.supernet, self.val, forward)

    def __getstate__(self) -> dict:
        return {name: value for name, value in self.__dict__.items() if name != "_lock"}

    def __setstate__(self, state: dict) -> None:
        self.__dict__.update(state)
        self._lock = threading.Lock()


class ZeroCost:
    """Zero-cost proxies of an architecture, freshly initialised with `seed`: no training at all.

    With one name, the score, and `options` are the proxy's own; with several, a dict of scores, for a search that
    combines them by rank, and `options` maps a name to that proxy's own. Raises `UnknownName`. A call raises
    `ProxyError` where a proxy fails: a search records that and ranks the architecture last.
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
            info(name)
            for option in options if alone else options.get(name, {}):
                check_name(f"option of {name}", option, info(name).options)
        for name in [] if alone else options:
            check_name("proxy with options", name, names)

    def __call__(self, arch: Arch) -> float | dict[str, float]:
        network = self.space.build(arch, seed=self.seed).to(self.batch.images.device)
        if isinstance(self.names, str):
            return score(self.names, network, self.batch, seed=self.seed, keep=False, **self.options)
        found = score_all(network, self.batch, self.names, seed=self.seed, options=self.options)
        for name, sentence in found.errors.items():
            raise ProxyError(f"{name}: {sentence}")
        return dict(found)


class StandAlone:
    """Accuracy on `val`, 0 to 1, of an architecture trained from scratch on `train` with `config` and `seed`."""

    def __init__(
        self,
        space: SearchSpace,
        train: ImageSet,
        val: ImageSet,
        config: TrainingConfig,
        *,
        batch_size: int = 64,
        seed: int = 0,
        device: torch.device | str = "cpu",
    ):
        self.space, self.train, self.val, self.config = space, train, val, config
        self.batch_size, self.seed, self.device = batch_size, seed, device

    def __call__(self, arch: Arch) -> float:
        network = self.space.build(arch, seed=self.seed)
        order = batches(self.train, self.batch_size, self.seed)
        trained = train(network, order, classifier_step(), self.config, seed=self.seed, device=self.device)
        return accuracy(trained.ema, self.val)
