"""Batch-normalisation statistics of the network that is about to be judged, rather than of whatever ran before."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from nasedu.modules import evaluation_mode, placed


@torch.no_grad()
def recalibrate(model: nn.Module, batches: Iterable[Tensor], forward: Callable[[nn.Module, Tensor], object]) -> int:
    """Replace running statistics by the plain average over batches, and return how many there were (SPOS, section 3.4).

    Every batch weighs the same (cumulative average). Nothing else changes; the mode is put back.

        model: whose `BatchNorm` layers are set.
        batches: images (B, C, H, W), on any device.
        forward: `forward(model, images)` runs what is to be judged.
    """
    norms = [m for m in model.modules() if isinstance(m, _BatchNorm)]
    momenta, seen = [m.momentum for m in norms], 0
    for norm in norms:
        norm.reset_running_stats()
    try:
        with evaluation_mode(model):  # for its putting back of every part's mode
            model.train()
            for images in batches:
                seen += 1
                for norm in norms:
                    norm.momentum = 1 / seen
                forward(model, *placed(model, images))
    finally:
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
    return seen


@contextmanager
def recalibrated(
    model: nn.Module, batches: Iterable[Tensor], forward: Callable[[nn.Module, Tensor], object]
) -> Iterator[nn.Module]:
    """`model` with recalibrated statistics while the context is open; afterwards with the ones that it had.

    model: whose `BatchNorm` layers are set.
    batches: images (B, C, H, W), on any device.
    forward: `forward(model, images)` runs what is to be judged.
    """
    norms = [m for m in model.modules() if isinstance(m, _BatchNorm)]
    before = [{name: buffer.clone() for name, buffer in norm.named_buffers()} for norm in norms]
    try:
        recalibrate(model, batches, forward)
        yield model
    finally:
        for norm, buffers in zip(norms, before, strict=True):
            for name, buffer in norm.named_buffers():
                buffer.copy_(buffers[name])
