"""The outline that the classification spaces share: stages of blocks, and how options scale them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType
from typing import NamedTuple

from torch import nn

from nasedu.blocks import MBConv, activation
from nasedu.errors import ArchitectureError, ParameterError, check_name
from nasedu.spaces.base import Arch, SearchSpace


@dataclass(frozen=True)
class Stage:
    """`repeats` blocks of `channels` channels, the first of them with `stride`."""

    channels: int
    repeats: int
    stride: int


@dataclass(frozen=True)
class Outline:
    """A network's channels from end to end: stem, a first block that is not searched (0: none), stages, head."""

    stem: int
    first: int
    stages: tuple[Stage, ...]
    head: int


@dataclass(frozen=True)
class Options:
    """What every classification space can be asked for; the defaults are the published size on ImageNet.

    `width` multiplies channels (to multiples of 8), `depth` the number of blocks of a stage (rounded up), `activation`
    None is the paper's own, `squeeze_excite` adds squeeze-and-excitation to every searchable block. Raises
    `ParameterError` or `UnknownName`.
    """

    num_classes: int = 1000
    input_size: int = 224
    width: float = 1.0
    depth: float = 1.0
    stem_stride: int = 2
    activation: str | None = None
    squeeze_excite: bool = False

    def __post_init__(self):
        if self.num_classes < 1 or self.input_size < 8:
            raise ParameterError(
                f"a space needs at least 1 class and 8 px, got {self.num_classes} classes and {self.input_size} px"
            )
        if not (0 < self.width <= 8 and 0 < self.depth <= 8):
            raise ParameterError(f"width and depth must lie in (0, 8], got {self.width} and {self.depth}")
        if self.stem_stride not in (1, 2):
            raise ParameterError(f"stem_stride must be 1 or 2, got {self.stem_stride}")
        if self.activation is not None:
            activation(self.activation)

    @property
    def input_shape(self) -> tuple[int, int, int]:
        return (3, self.input_size, self.input_size)

    def channels(self, published: int) -> int:
        """A layer's channels at this width."""
        return make_divisible(published * self.width)

    def stages(self, published: Sequence[Stage]) -> list[Stage]:
        """The stages at this width and depth."""
        return [Stage(self.channels(s.channels), math.ceil(s.repeats * self.depth - 1e-9), s.stride) for s in published]

    def scaled(self, published: Outline) -> Outline:
        """The whole outline at this width and depth."""
        first = self.channels(published.first) if published.first else 0
        stages = tuple(self.stages(published.stages))
        return Outline(self.channels(published.stem), first, stages, self.channels(published.head))


class Published(NamedTuple):
    """A published network: its choices, one name per decision (or the text that `parse` reads), and its exact counts.

    `macs` of convolution and linear layers, `params` with BN's affine ones; `options` make the space that holds it.
    """

    choices: tuple[str, ...] | str
    macs: int
    params: int
    source: str
    options: Mapping[str, object] = MappingProxyType({})


@dataclass(frozen=True)
class Place:
    """Where a block stands: block `number` (from 1) of stage `stage` (from 1), its channels and stride."""

    stage: int
    number: int
    c_in: int
    c_out: int
    stride: int

    @property
    def name(self) -> str:
        return f"stage{self.stage}_{self.number}"

    @property
    def keeps_shape(self) -> bool:
        """Whether an identity could stand here."""
        return self.stride == 1 and self.c_in == self.c_out


def places(c_in: int, stages: Sequence[Stage]) -> Iterator[Place]:
    """Every block's place, in order, after a layer of `c_in` channels."""
    for i, stage in enumerate(stages, 1):
        for n in range(1, stage.repeats + 1):
            yield Place(i, n, c_in, stage.channels, stage.stride if n == 1 else 1)
            c_in = stage.channels


def mbconvs(
    place: Place, options: Options, act: str, kernels: Sequence[int] = (3, 5, 7), expansions: Sequence[int] = (3, 6)
) -> dict[str, Callable[[], nn.Module]]:
    """Inverted residuals of every kernel and expansion for one place, by name: "k3e6" and so on."""
    return {
        f"k{k}e{e}": partial(MBConv, place.c_in, place.c_out, k, e, place.stride, act, options.squeeze_excite)
        for k in kernels
        for e in expansions
    }


def arch_of(space: SearchSpace, choices: Sequence[str] | str) -> Arch:
    """The architecture with these choices, one name per decision in order, or of the text that `space.parse` reads.

    Raises `ArchitectureError` or `UnknownName`.
    """
    if isinstance(choices, str):
        return space.parse(choices)
    if len(choices) != len(space.decisions):
        raise ArchitectureError(f"this {space.name} has {len(space.decisions)} decisions, {len(choices)} are given")
    return tuple(
        d.choices.index(check_name(f"choice of {d.name}", name, d.choices))
        for d, name in zip(space.decisions, choices, strict=True)
    )


def make_divisible(channels: float, divisor: int = 8) -> int:
    """The nearest multiple of `divisor`, at least one and not below 90 % of `channels` (MobileNetV2's public code)."""
    rounded = max(divisor, int(channels + divisor / 2) // divisor * divisor)
    return rounded + divisor if rounded < 0.9 * channels else rounded
