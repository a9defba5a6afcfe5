"""Paths for a supernet on a GPU: the CPU, where they are drawn, tells which choices weigh."""

from __future__ import annotations

import torch
from torch import Tensor

from nasedu.supernet.mixed import Entry, Subset


def told(entry: Entry, device: torch.device) -> Entry:
    """An entry on a device, which need not be asked there which choices weigh: a GPU would be waited for.

    entry: of a path, on the CPU; weights without a gradient become those of a `Subset`.
    device: where the supernet is.
    """
    if isinstance(entry, Subset):
        return entry._replace(weights=entry.weights.to(device, non_blocking=True))
    if not isinstance(entry, Tensor):
        return entry
    if device.type == "cpu" or entry.device.type != "cpu" or entry.requires_grad:
        return entry.to(device)
    indices = tuple(entry.nonzero().flatten().tolist())
    return Subset(indices, entry[list(indices)].to(device, non_blocking=True))
