"""A network's blocks, in the order they run: for proxies that compare a block's output with the one before."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from fnmatch import fnmatchcase

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from nasedu.blocks import ACTIVATIONS
from nasedu.errors import ProxyError, UnknownName
from nasedu.spaces.base import Network

CONTAINERS = (nn.Sequential, nn.ModuleList, nn.ModuleDict)
CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose2d)
NO_BLOCK = (_BatchNorm, nn.Identity, *ACTIVATIONS.values())


@dataclass(frozen=True)
class Unit:
    """One run of a block: its name, the map (B, C, H, W) that left it, and what `mark()` returned just then."""

    name: str
    map: Tensor
    mark: object = None


def run_units(
    model: nn.Module,
    images: Tensor,
    layers: str | Sequence[str] | None = None,
    mark: Callable[[], object] = lambda: None,
) -> list[Unit]:
    """Run `model` on images (B, C, H, W) and return its blocks that gave a map, in the order they ran.

    model: the network.
    images: (B, C, H, W).
    layers: names of parts, or patterns such as "layer*.?". By default, in a network of one of our spaces, every layer
        that all information passes through, as the last node of a cell; in any other network, the parts that hold a
        convolution, looking into the network and into plain containers (`nn.Sequential` itself, no subclass) only: of
        torchvision's ResNet-18 its first convolution and eight BasicBlocks.
    mark: called whenever a block has run; its result goes with the block.

    Raises `UnknownName` for a pattern that fits nothing, `ProxyError` for fewer than two blocks.
    """
    found: list[Unit] = []

    def keep(name: str, output: Tensor) -> Tensor:
        found.append(Unit(name, output, mark()))
        return output.clone()  # the network may write over what it goes on with

    _watched(model, images, _parts(model, layers), keep)
    if len(found) < 2:
        raise _too_few(model, images, len(found))
    return found


def _watched(
    model: nn.Module, images: Tensor, parts: dict[str, nn.Module], see: Callable[[str, Tensor], Tensor | None]
) -> None:
    """Run `model` on images; `see` gets the name and the map of each of `parts` and may hand another one on."""

    def hook(name: str, output: object) -> Tensor | None:
        return see(name, output) if isinstance(output, Tensor) and output.ndim == 4 else None

    with ExitStack() as hooks:
        for name, part in parts.items():
            hooks.enter_context(part.register_forward_hook(lambda _, __, y, name=name: hook(name, y)))
        model(images)


def _too_few(model: nn.Module, images: Tensor, blocks: int) -> ProxyError:
    """The error for a network with fewer than two blocks: can `layers` help, or has it no feature maps?"""
    maps: list[str] = []
    parts = {name: part for name, part in model.named_modules() if name}
    with torch.no_grad():
        _watched(model, images, parts, lambda name, _: maps.append(name))
    way_out = "; `layers` can name them" if len(maps) > 1 else ", but the network has no feature maps to compare"
    return ProxyError(
        f"{blocks} blocks with a map (B, C, H, W) were seen in this {type(model).__name__}, two or more are "
        f"needed{way_out}"
    )


def _parts(model: nn.Module, layers: str | Sequence[str] | None) -> dict[str, nn.Module]:
    """The parts to watch, by name."""
    if layers is not None:
        return _named(model, [layers] if isinstance(layers, str) else list(layers))
    if isinstance(model, Network):
        return _crossings(model)
    parts = _walk(model)
    while len(parts) == 1:  # the network wraps another one
        ((name, only),) = parts.items()
        inner = {f"{name}.{n}": part for n, part in _walk(only).items()}
        if not inner:
            break
        parts = inner
    return parts


def _named(model: nn.Module, patterns: list[str]) -> dict[str, nn.Module]:
    every = dict(model.named_modules())
    for pattern in patterns:
        if not any(fnmatchcase(name, pattern) for name in every):
            raise UnknownName(f"no part of this {type(model).__name__} is called {pattern!r}: see named_modules()")
    return {name: part for name, part in every.items() if any(fnmatchcase(name, p) for p in patterns)}


def _walk(part: nn.Module, prefix: str = "") -> dict[str, nn.Module]:
    """The blocks below `part`; containers are looked into, other parts are blocks where they hold a convolution."""
    blocks = {}
    for name, child in part.named_children():
        if type(child) in CONTAINERS:
            blocks |= _walk(child, f"{prefix}{name}.")
        elif any(isinstance(inner, CONVOLUTIONS) for inner in child.modules()):
            blocks[prefix + name] = child
    return blocks


def _crossings(network: Network) -> dict[str, nn.Module]:
    """The layers of one of our networks after which no other output is still to be read."""
    blocks, live = {}, set()
    for i, (name, part) in enumerate(network.parts.items()):
        live = {source for source in live | {name} if network.last_use.get(source, -1) > i}
        if live <= {name} and not isinstance(part, NO_BLOCK):
            blocks[f"parts.{name}"] = part
    return blocks
