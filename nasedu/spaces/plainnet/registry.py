"""Which blocks a structure string may name, and how a learner adds one.

A block is a function that describes it as convolutions. Modules and exact counts follow from the description.
"""

from __future__ import annotations

import inspect
import string
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import NamedTuple

from nasedu.blocks import Cost, Part, check_parts, plain_cost
from nasedu.errors import ArchitectureError, ParameterError
from nasedu.registry import Registry

ARGUMENTS = ("c_in", "c_out", "stride", "bottleneck", "layers")
NAME = frozenset(string.ascii_letters + string.digits + "_")


class Block(NamedTuple):
    """One block of a structure string; equal to a tuple of the same values. `bottleneck` is 0 where it has none."""

    name: str
    c_in: int
    c_out: int
    stride: int
    bottleneck: int
    layers: int


@dataclass(frozen=True)
class PlainBlock:
    """A kind of block: `describe(c_in, c_out, stride[, bottleneck], layers)` yields its parts."""

    name: str
    describe: Callable[..., Iterable[Part]]

    @cached_property
    def arguments(self) -> tuple[str, ...]:
        """The names of the numbers that it takes, in the order of a structure string."""
        named = inspect.signature(self.describe).parameters.values()
        return tuple(p.name for p in named if p.default is p.empty)

    @property
    def has_bottleneck(self) -> bool:
        return "bottleneck" in self.arguments

    def parts(self, block: Block) -> tuple[Part, ...]:
        """The convolutions of `block`. Raises `ArchitectureError` where they do not fit one another."""
        return _parts(self, block)

    def cost(self, block: Block, size: int, squeeze_excite: bool = False) -> tuple[Cost, int]:
        """The exact cost, and the height and width of the result in pixels.

        block: of this kind.
        size: height and width of the map that enters, in pixels.
        squeeze_excite: whether squeeze-and-excitation follows marked convolutions.
        """
        return _cost(self, block, size, squeeze_excite)


@lru_cache(maxsize=20_000)
def _parts(kind: PlainBlock, block: Block) -> tuple[Part, ...]:
    """The checked description of a block."""
    parts = _described(kind, block)
    try:
        check_parts(parts, block.c_in, block.c_out, block.stride)
    except ParameterError as error:
        raise ArchitectureError(f"{show(block)}: {error}") from None
    return parts


def _described(kind: PlainBlock, block: Block) -> tuple[Part, ...]:
    """What the block's function returns or yields; it may be a learner's. Raises `ArchitectureError`."""
    values = {name: getattr(block, name) for name in kind.arguments}
    try:
        parts = kind.describe(**values)
        if isinstance(parts, Iterable):
            return tuple(parts)
    except Exception as error:
        raise ArchitectureError(f"{show(block)}: its function raises {type(error).__name__}: {error}") from error
    raise ArchitectureError(f"{show(block)}: its function must yield Conv and Residual, got {type(parts).__name__}")


@lru_cache(maxsize=100_000)
def _cost(kind: PlainBlock, block: Block, size: int, squeeze_excite: bool) -> tuple[Cost, int]:
    return plain_cost(kind.parts(block), size, squeeze_excite)


KINDS: Registry = Registry("block")
_PUBLISHED: set[str] = set()  # names that a learner cannot take


def plain_block(name: str) -> Callable[[Callable], Callable]:
    """Decorate `describe(c_in, c_out, stride[, bottleneck], layers)`, which yields `Conv` and `Residual`: block `name`.

    Structure strings may name it then, and spaces have it among their `blocks`. A second definition replaces the first.
    Raises `ParameterError` where the name is taken or the convolutions do not fit.
    """
    if not name or not set(name) <= NAME or name[0] in string.digits:
        raise ParameterError(f"a block's name is made of letters, digits and _, got {name!r:.40}")
    if name in _PUBLISHED:
        raise ParameterError(f"{name} is a published block: choose another name")

    def register(describe: Callable) -> Callable:
        KINDS[name] = checked(PlainBlock(name, describe))
        return describe

    return register


def checked(kind: PlainBlock) -> PlainBlock:
    """`kind`, if its function has the right arguments and its parts fit. Raises `ParameterError`."""
    valid = [ARGUMENTS, tuple(a for a in ARGUMENTS if a != "bottleneck")]
    if kind.arguments not in valid:
        raise ParameterError(f"block {kind.name} must take ({', '.join(ARGUMENTS)}), with or without bottleneck")
    for stride in (1, 2):
        try:
            kind.parts(Block(kind.name, 16, 32, stride, 8 * kind.has_bottleneck, 2))
        except ArchitectureError as error:
            raise ParameterError(str(error)) from None
    return kind


def published(name: str, describe: Callable) -> None:
    """Register a block under a name that stays its own."""
    plain_block(name)(describe)
    _PUBLISHED.add(name)


def is_published(kind: PlainBlock) -> bool:
    """Whether every process knows `kind` by its name alone."""
    return kind.name in _PUBLISHED


def show(block: Block) -> str:
    """The block as a structure string writes it; a bottleneck of 0 is left out."""
    numbers = [block.c_in, block.c_out, block.stride, *([block.bottleneck] if block.bottleneck else []), block.layers]
    return f"{block.name}({','.join(map(str, numbers))})"
