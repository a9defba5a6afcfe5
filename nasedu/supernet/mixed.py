"""All operations of a choice side by side: one of them runs, or a weighted sum of several.

An entry of a path says which: an index runs that operation only; weights (n_choices,) run every operation whose weight
is not a constant zero; a `Subset` runs the operations that it names.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable
from typing import NamedTuple

import torch
from torch import Tensor, nn


class Subset(NamedTuple):
    """A path entry that runs some choices only: `weights` (len(indices),) for the choices `indices`."""

    indices: tuple[int, ...]
    weights: Tensor


Entry = int | Tensor | Subset


class MixedOp(nn.Module):
    """The operations of one choice (DARTS, eq. 2; ProxylessNAS, eq. 1): `forward(x, entry)`."""

    def __init__(self, operations: Iterable[nn.Module]):
        super().__init__()
        self.operations = nn.ModuleList(operations)

    def forward(self, x: Tensor, entry: Entry) -> Tensor:
        """(B, C, H, W) to what the operations return: one of their outputs, or the weighted sum."""
        if isinstance(entry, int):
            return self.operations[entry](x)
        indices, weights = running(entry)
        outputs = (weight * self.operations[i](x) for i, weight in zip(indices, weights, strict=True))
        return functools.reduce(torch.add, outputs)

    def extract(self, index: int) -> dict[str, Tensor]:
        """The state of the chosen operation, as copies."""
        return {name: value.clone() for name, value in self.operations[index].state_dict().items()}


def running(entry: Tensor | Subset) -> tuple[tuple[int, ...], tuple[Tensor, ...]]:
    """The choices that a soft entry runs, and their weights: those it names, or those that are not constant zeros."""
    if isinstance(entry, Subset):
        return entry.indices, entry.weights.unbind()
    if entry.requires_grad or entry.is_meta:  # a weight of 0 may still have a gradient
        return tuple(range(len(entry))), entry.unbind()
    indices = tuple(entry.nonzero().flatten().tolist())
    return indices, tuple(entry[i] for i in indices)


def dense(entry: Entry, choices: int) -> Tensor:
    """An entry as weights for all choices (choices,); an index becomes one-hot."""
    if isinstance(entry, int):
        return torch.nn.functional.one_hot(torch.tensor(entry), choices).float()
    if isinstance(entry, Subset):
        if entry.indices == tuple(range(choices)):
            return entry.weights
        index = torch.tensor(entry.indices).to(entry.weights.device, non_blocking=True)
        return entry.weights.new_zeros(choices).index_put((index,), entry.weights)
    return entry
