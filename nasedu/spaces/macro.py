"""The outline that the classification spaces share: stages of blocks, and how options scale them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType
from typing import NamedTuple

from torch import nn

from nasedu.blocks import Classifier, ConvBN, MBConv, activation
from nasedu.errors import check_kind, check_number, check_whole
from nasedu.spaces.base import MOST_CLASSES, MOST_PIXELS, Arch, Layer, SearchSpace, Slot, choice


@dataclass(frozen=True)
class Stage:
    """`repeats` blocks of `channels` channels, the first of them with `stride`."""

    channels: int
    repeats: int
    stride: int


@dataclass(frozen=True)
class Outline:
    """A network's channels from end to end; `first` and `last` are blocks that are not searched (0: none)."""

    stem: int
    first: int
    stages: tuple[Stage, ...]
    head: int
    last: int = 0


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
        check_whole("num_classes", self.num_classes, 1, MOST_CLASSES)
        check_whole("input_size", self.input_size, 8, MOST_PIXELS)
        check_number("width", self.width, 0, 8, above=True)
        check_number("depth", self.depth, 0, 8, above=True)
        check_whole("stem_stride", self.stem_stride, 1, 2)
        check_kind("squeeze_excite", self.squeeze_excite, bool, "True or False")
        if self.activation is not None:
            activation(self.activation)

    @property
    def input_shape(self) -> tuple[int, int, int]:
        return (3, self.input_size, self.input_size)

    def channels(self, published: int) -> int:
        """A layer's channels at this width; 0 stays 0."""
        return make_divisible(published * self.width) if published else 0

    def scaled(self, net: Outline) -> Outline:
        """The whole outline at this width and depth."""
        repeats = [math.ceil(stage.repeats * self.depth - 1e-9) for stage in net.stages]
        stages = (Stage(self.channels(s.channels), n, s.stride) for s, n in zip(net.stages, repeats, strict=True))
        stem, first, head, last = map(self.channels, (net.stem, net.first, net.head, net.last))
        return Outline(stem, first, tuple(stages), head, last)


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


class MacroSpace(SearchSpace):
    """A classifier of one outline: stem, first block, a choice at every place of its stages, last block, head.

    A subclass sets `name`, `outline`, `activation` (the paper's own) and `operations`. Options: those of `Options`.
    """

    outline: Outline
    activation: str
    bias = True  # of the classifier

    def __init__(self, **options):
        self.options = Options(**options)
        self.input_shape = self.options.input_shape
        self.act = self.options.activation or self.activation
        self.net = net = self.options.scaled(self.outline)
        wide = net.stages[-1].channels
        self.layers = [
            Layer("stem", partial(ConvBN, 3, net.stem, 3, self.options.stem_stride, self.act)),
            *([Layer("first", partial(MBConv, net.stem, net.first, 3, 1, act=self.act))] if net.first else []),
            *(self.slot(place) for place in places(net.first or net.stem, net.stages)),
            *([Layer("last", partial(MBConv, wide, net.last, 3, 6, act=self.act))] if net.last else []),
            Layer("head", partial(ConvBN, net.last or wide, net.head, act=self.act)),
            Layer("classifier", partial(Classifier, net.head, self.options.num_classes, bias=self.bias)),
        ]

    def slot(self, place: Place) -> Slot:
        """The choice that stands at a place."""
        return choice(place.name, self.operations(place))

    def operations(self, place: Place) -> dict[str, Callable[[], nn.Module]]:
        """What makes the operations that a place chooses between, by name."""
        raise NotImplementedError

    def mbconvs(self, place: Place, kernels: Sequence[int] = (3, 5, 7)) -> dict[str, Callable[[], nn.Module]]:
        """Inverted residuals of every kernel and expansion for one place, by name: "k3e6" and so on."""
        block = partial(MBConv, place.c_in, place.c_out, stride=place.stride, act=self.act)
        block = partial(block, squeeze_excite=self.options.squeeze_excite)
        return {f"k{k}e{e}": partial(block, k, e) for k in kernels for e in (3, 6)}


def arch_of(space: SearchSpace, choices: Sequence[str] | str) -> Arch:
    """The architecture with these choices, one name per decision in order, or of the text that `space.parse` reads.

    Raises `ArchitectureError` or `UnknownName`.
    """
    return space.parse(choices) if isinstance(choices, str) else space.choose(choices)


def make_divisible(channels: float, divisor: int = 8) -> int:
    """The nearest multiple of `divisor`, at least one and not below 90 % of `channels` (MobileNetV2's public code)."""
    rounded = max(divisor, int(channels + divisor / 2) // divisor * divisor)
    return rounded + divisor if rounded < 0.9 * channels else rounded
