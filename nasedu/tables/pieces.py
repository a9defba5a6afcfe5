"""What a space's networks are put together from: every fixed layer, and every choice of every slot at its place."""

from __future__ import annotations

import itertools
import json
from collections.abc import Hashable, Iterator
from dataclasses import dataclass
from types import FunctionType

import torch
from torch import nn

from nasedu.blocks import Zero
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

    @property
    def plan(self) -> Hashable:
        """What tells that it is made as another piece is, before either is made."""
        slot = self.layer
        return (slot.name, slot.plan(*self.option)) if isinstance(slot, Slot) and slot.plan else self

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
            if layer.plan:
                shapes = tuple((layer.plan(*option).c_in, *shape[1:]) for shape in shapes)
            yield Piece(f"{layer.name} {chosen}", layer, shapes, group, option)


def runs(module: nn.Module) -> bool:
    """Whether a piece does anything to its maps; an identity and a missing connection do not."""
    kinds = [type(part) for part in module.modules() if not any(True for _ in part.children())]
    return any(kind not in (nn.Identity, Zero) for kind in kinds)


def make_up(module: nn.Module, input_shapes: tuple[tuple[int, ...], ...]) -> str | None:
    """A text that two modules share only if they do the same work, weights aside, on maps of the same shapes (C, H, W).

    It holds every part's kind, settings and tensors' shapes. None where a setting cannot be compared, such as a
    function made on the spot: such a piece is like no other, which costs time but is never wrong.
    """
    parts = []
    for name, part in module.named_modules():
        settings = {k: v for k, v in vars(part).items() if k not in _OF_EVERY_MODULE}
        try:
            told = json.dumps(settings, sort_keys=True, default=_as_plain)
        except (TypeError, ValueError):
            return None
        own = itertools.chain(part.named_parameters(recurse=False), part.named_buffers(recurse=False))
        tensors = [(n, tuple(t.shape), str(t.dtype)) for n, t in own]
        parts.append([name, _full_name(type(part)), told, tensors])
    return json.dumps([input_shapes, parts])


_OF_EVERY_MODULE = set(vars(nn.Module()))


def _as_plain(value: object) -> object:
    """What JSON lacks, by what it holds or by a name that means one thing. Raises `TypeError` for anything else."""
    if isinstance(value, (set, frozenset)):
        return sorted(value)
    if isinstance(value, (torch.dtype, torch.device)):
        return str(value)
    if not isinstance(value, (type, FunctionType)) or "<" in value.__qualname__:  # many have the name <lambda>
        raise TypeError(f"{value!r} cannot be compared")
    return _full_name(value)


def _full_name(value: type | FunctionType) -> str:
    return f"{value.__module__}.{value.__qualname__}"
