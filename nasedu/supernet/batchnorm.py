"""Batch-normalisation statistics of the network that is about to be judged, rather than of whatever ran before."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from nasedu.blocks import evaluation_mode


@torch.no_grad()
def recalibrate(model: nn.Module, batches: Iterable[Tensor], forward: Callable[[nn.Module, Tensor], object]) -> int:
    """Replace running statistics by the plain average over `batches` of images, and return how many there were.

    Every batch weighs the same (cumulative average). Nothing else changes; the mode is put back. SPOS, section 3.4.
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
                forward(model, images)
    finally:
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
    return seen
