"""Structure strings as pictures: a network's depth, width and resolution."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import matplotlib
import numpy as np
from matplotlib.axes import Axes

from nasedu.errors import ArchitectureError, ParameterError
from nasedu.plots.diagram import above, box, rows, swatches
from nasedu.plots.picture import COLOURS, Picture
from nasedu.spaces.plainnet import Block, PlainNetSpace

SLICE = 0.9  # of a layer's place, so that layers can be counted
ROOM = 0.35  # layers between two blocks


class Piece(NamedTuple):
    """A block as it is drawn: where it starts and where its middle is, in layers from the left; its result's pixels."""

    block: Block
    left: float
    middle: float
    pixels: int


def structures(space: PlainNetSpace, archs: Mapping[str, Sequence[Block] | str]) -> Picture:
    """One row for every architecture (or structure string) by name: blocks from left to right, a bar for each layer.

    The number of bars is the depth, their height the channels that come out (on a square-root scale), the orange inner
    bar the bottleneck, and the shade the resolution: the darker, the fewer pixels. Raises `ArchitectureError`,
    `ParameterError`.
    """
    if not archs:
        raise ParameterError("there is nothing to draw: no structure")
    found = {name: space.parse(a) if isinstance(a, str) else space.validate(a) for name, a in archs.items()}
    pieces = [_pieces(space, arch) for arch in found.values()]
    sizes = sorted({piece.pixels for row in pieces for piece in row}, reverse=True)
    blues = matplotlib.colormaps["Blues"]
    shades = {f"{size} px": blues(0.2 + 0.7 * i / max(1, len(sizes) - 1)) for i, size in enumerate(sizes)}
    costs = {name: space.cost(arch) for name, arch in found.items()}
    titles = [f"{name}: {cost.params:,} parameters, {cost.macs / 1e6:.3g} M MACs" for name, cost in costs.items()]
    alt = f"Layers as bars, as high as their channels, from left to right. {'; '.join(titles)}."
    picture, axes = rows(titles, 11, 1.9 + 0.4 / len(titles), alt)
    end = max(row[-1].left + row[-1].block.layers + ROOM for row in pieces)
    top = max(max(p.block.c_out, p.block.bottleneck) for row in pieces for p in row)
    for ax, row in zip(axes, pieces, strict=True):
        for piece in row:
            _draw(ax, piece, shades[f"{piece.pixels} px"])
        ax.set_xlim(-ROOM, end)  # one scale of depth for all rows
        _dress(ax, row, top)
    picture.legend(handles=swatches(shades | {"bottleneck": COLOURS[1]}), loc="outside right center", fontsize=9)
    return picture


def _pieces(space: PlainNetSpace, arch: Sequence[Block]) -> list[Piece]:
    left, size, pieces = 0.0, space.input_size, []
    for block in arch:
        size = space.kinds[block.name].cost(block, size, space.squeeze_excite)[1]
        if size < 1:
            raise ArchitectureError(f"{block.name} leaves no pixel of {space.input_size}")
        pieces.append(Piece(block, left, left + (block.layers - 1 + SLICE) / 2, size))
        left += block.layers + ROOM
    return pieces


def _draw(ax: Axes, piece: Piece, shade: tuple) -> None:
    """The bars of one block, and above them its name without what all names share: SuperResK3K3 is K3K3."""
    block = piece.block
    for layer in range(block.layers):
        box(ax, piece.left + layer, 0, (SLICE, block.c_out), facecolor=shade)
        if block.bottleneck:
            box(ax, piece.left + layer + 0.3 * SLICE, 0, (0.4 * SLICE, block.bottleneck), facecolor=COLOURS[1])
    name = block.name.removeprefix("Super").removeprefix("Res").removesuffix("BNRELU")
    above(ax, piece.middle, max(block.c_out, block.bottleneck), name, 3, rotation=90 if block.layers < 3 else 0)


def _dress(ax: Axes, row: Sequence[Piece], top: int) -> None:
    ax.set_yscale("function", functions=(lambda y: np.sqrt(np.maximum(y, 0)), np.square))
    ticks = [0, *(2**k for k in range(16) if top / 10 < 2**k <= top)]  # far enough apart to be read
    ax.set_yticks(ticks, [str(tick) for tick in ticks])
    ax.set(ylim=(0, (1.45 * np.sqrt(top)) ** 2), ylabel="channels")
    ax.spines["left"].set_visible(True)
    ax.set_xticks([piece.middle for piece in row], [f"×{piece.block.layers}" for piece in row], fontsize=8.5)
    ax.tick_params(axis="x", length=0, labelbottom=True)
