"""What a space's networks are put together from: every fixed layer, and every choice of every slot at its place."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import nn

from nasedu.spaces.base import Layer, SearchSpace, Slot


@dataclass(frozen=True)
class Piece:
    """One layer with its choice made: `option` indexes the entry of decision group `group`; a fixed layer has neither.

    `input_shapes` are the maps (C, H, W) that it reads in the network.
    """

    name: str
    layer: Layer
    input_shapes: tuple[tuple[int, ...], ...]
    group: int | None = None
    option: tuple[int, ...] = ()

    def make(self, device: str | torch.device = "cpu") -> nn.Module:
        """The module, freshly initialised on `device`."""
        with torch.device(device):
            return self.layer.make(*self.option)


def pieces(space: SearchSpace) -> Iterator[Piece]:
    """Every piece of `space`, in the order of its layers and, within a slot, of its options.

    The pieces of one (group, option) are what the option costs: slots that are decided together add up.
    """
    for layer in space.layers:
        shapes = tuple(map(tuple, space.input_shapes[layer.name]))
        if not isinstance(layer, Slot):
            yield Piece(layer.name, layer, shapes)
            continue
        group = space.groups.index(space.deciding[layer.name])
        for option in itertools.product(*(range(len(d.choices)) for d in layer.decisions)):
            chosen = ", ".join(d.choices[i] for d, i in zip(layer.decisions, option, strict=True))
            yield Piece(f"{layer.name} {chosen}", layer, shapes, group, option)
