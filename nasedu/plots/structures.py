"""Pictures of structure strings: a network's depth, width and resolution, and what a search over such strings does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Patch, Rectangle

from nasedu.errors import ArchitectureError, ParameterError
from nasedu.plots.picture import COLOURS, Picture, every, styles
from nasedu.spaces.plainnet import Block, PlainNetSpace

BLUES = matplotlib.colormaps["Blues"]
SLICE = 0.9  # of a layer's place, so that layers can be counted
ROOM = 0.35  # layers between two blocks
TICKS = (8, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192)


class Piece(NamedTuple):
    """A block as it is drawn: where it starts, in layers from the left, and the pixels of its result."""

    block: Block
    left: float
    pixels: int


def structures(space: PlainNetSpace, archs: Mapping[str, Sequence[Block] | str]) -> Picture:
    """One row for every architecture (or structure string) by name: blocks from left to right, a bar for each layer.

    The number of bars is the depth, their height the channels that come out (on a square-root scale), the orange inner
    bar the bottleneck, and the shade the resolution: the darker, the fewer pixels. Raises `ArchitectureError`,
    `ParameterError`.
    """
    if not archs:
        raise ParameterError("there is nothing to draw: no structure")
    rows = {name: space.parse(a) if isinstance(a, str) else space.validate(a) for name, a in archs.items()}
    pieces = {name: _pieces(space, arch) for name, arch in rows.items()}
    sizes = sorted({piece.pixels for row in pieces.values() for piece in row}, reverse=True)
    shades = {size: BLUES(0.2 + 0.7 * i / max(1, len(sizes) - 1)) for i, size in enumerate(sizes)}
    picture = Picture(11, 0.4 + 1.9 * len(rows))
    axes = picture.subplots(len(rows), 1, sharey=True, squeeze=False).flatten()
    end = max(row[-1].left + row[-1].block.layers + ROOM for row in pieces.values())
    top = max(max(p.block.c_out, p.block.bottleneck) for row in pieces.values() for p in row)
    for ax, (name, row) in zip(axes, pieces.items(), strict=True):
        for piece in row:
            _draw(ax, piece, shades[piece.pixels])
        cost = space.cost(rows[name])
        ax.set_xlim(-ROOM, end)  # one scale of depth for all rows
        _dress(ax, row, top, f"{name}: {cost.params:,} parameters, {cost.macs / 1e6:.3g} M MACs")
    marks = [Patch(facecolor=shades[s], edgecolor="0.35", label=f"{s} px") for s in sizes]
    marks.append(Patch(facecolor=COLOURS[1], edgecolor="0.35", label="bottleneck"))
    picture.legend(handles=marks, loc="outside right center", fontsize=9)
    return picture


def short(name: str) -> str:
    """A block's name without what all of them share: SuperResK3K3 is K3K3, SuperConvK1BNRELU is ConvK1."""
    return name.removeprefix("Super").removeprefix("Res").removesuffix("BNRELU")


def mutation_types(shares: Mapping[str, Mapping[str, float]]) -> Picture:
    """How often a mutation ends in each type of block: a row per type, a marker for every rule by name.

    `shares` maps a rule to {type: share of its draws}; the line is where all types are alike. Raises `ParameterError`.
    """
    types = list(dict.fromkeys(kind for rule in shares.values() for kind in rule))
    if not types:
        raise ParameterError("there is nothing to draw: no mutation")
    picture = Picture(7.5, 1.1 + 0.3 * len(types))
    ax = picture.subplots()
    for i, (rule, look) in enumerate(styles(shares).items()):
        places = np.arange(len(types)) + 0.16 * (i - (len(shares) - 1) / 2)
        points = look | {"linestyle": "", "markersize": 8, "label": rule}
        ax.plot([100 * shares[rule].get(kind, 0.0) for kind in types], places, **points)
    ax.axvline(100 / len(types), color="0.4", linestyle="--", linewidth=1.2, label="all alike")
    ax.set_yticks(range(len(types)), [short(kind) for kind in types])
    ax.set(xlabel="share of mutations (%)", xlim=(0, None), ylim=(len(types) - 0.5, -0.5))
    ax.legend(loc="center left", bbox_to_anchor=(1, 0.5))
    return picture


def lines(panels: Mapping[str, tuple[Sequence[float], Mapping[str, Sequence[float]]]], ylabel: str) -> Picture:
    """Curves over something: a panel per x axis by its label, which holds x (n,) and curves (n,) by name."""
    picture = Picture(4.4 * len(panels) + 1.4, 3.3)
    names = list(dict.fromkeys(name for _, curves in panels.values() for name in curves))
    looks = styles(names)
    axes = picture.subplots(1, len(panels), sharey=True, squeeze=False).flatten()
    for ax, (xlabel, (x, curves)) in zip(axes, panels.items(), strict=True):
        for name, y in curves.items():
            ax.plot(x, y, label=name, markevery=every(len(x)), markersize=6, **looks[name])
        ax.set_xlabel(xlabel)
        ax.xaxis.get_major_locator().set_params(integer=all(float(value).is_integer() for value in x))
    axes[0].set_ylabel(ylabel)
    marks = {label: mark for ax in axes for mark, label in zip(*ax.get_legend_handles_labels(), strict=True)}
    if len(names) > 1:
        picture.legend(marks.values(), marks.keys(), loc="outside right center", fontsize=9)
    return picture


def contest(scores: Mapping[str, Sequence[float]], xlabel: str = "test accuracy (%)") -> Picture:
    """One row per name: a small dot for each training, a large marker with the number at their mean."""
    picture = Picture(7.5, 1 + 0.5 * len(scores))
    ax = picture.subplots()
    for i, (name, look) in enumerate(styles(scores).items()):
        values, mean = list(scores[name]), float(np.mean(scores[name]))
        ax.plot(values, [i] * len(values), "o", color=look["color"], alpha=0.6, markersize=6, markeredgewidth=0)
        ax.plot([mean], [i], **look | {"linestyle": "", "markersize": 11, "markeredgecolor": "black"})
        ax.annotate(f"{mean:.1f}", (mean, i), (0, 9), textcoords="offset points", ha="center", fontsize=10)
    ax.set_yticks(range(len(scores)), list(scores))
    ax.set(xlabel=xlabel, ylim=(len(scores) - 0.5, -0.8))
    ax.margins(x=0.12)
    return picture


def _pieces(space: PlainNetSpace, arch: Sequence[Block]) -> list[Piece]:
    left, size, pieces = 0.0, space.input_size, []
    for block in arch:
        size = space.kinds[block.name].cost(block, size, space.squeeze_excite)[1]
        if size < 1:
            raise ArchitectureError(f"{block.name} leaves no pixel of {space.input_size}")
        pieces.append(Piece(block, left, size))
        left += block.layers + ROOM
    return pieces


def _draw(ax: Axes, piece: Piece, shade: tuple) -> None:
    """The bars of one block, and its name above them."""
    block = piece.block
    for layer in range(block.layers):
        left = piece.left + layer
        ax.add_patch(Rectangle((left, 0), SLICE, block.c_out, facecolor=shade, edgecolor="0.35", linewidth=0.8))
        if block.bottleneck:
            inner = {"facecolor": COLOURS[1], "edgecolor": "0.35", "linewidth": 0.6}
            ax.add_patch(Rectangle((left + 0.3 * SLICE, 0), 0.4 * SLICE, block.bottleneck, **inner))
    place = piece.left + (block.layers - 1 + SLICE) / 2, max(block.c_out, block.bottleneck)
    turn = block.layers < 3
    look = {"ha": "center", "va": "bottom", "fontsize": 8.5, "rotation": 90 if turn else 0}
    ax.annotate(short(block.name), place, (0, 3), textcoords="offset points", **look)


def _dress(ax: Axes, row: Sequence[Piece], top: int, title: str) -> None:
    ax.set_yscale("function", functions=(lambda y: np.sqrt(np.maximum(y, 0)), np.square))
    ticks = [0]
    for tick in TICKS:  # a square-root scale squeezes what is small: keep ticks that are far enough apart to be read
        if tick <= top and np.sqrt(tick) - np.sqrt(ticks[-1]) > 0.13 * np.sqrt(top):
            ticks.append(tick)
    ax.set_yticks(ticks, [str(tick) for tick in ticks])
    ax.minorticks_off()
    ax.set(ylim=(0, (1.45 * np.sqrt(top)) ** 2), ylabel="channels")
    middles = [piece.left + (piece.block.layers - 1 + SLICE) / 2 for piece in row]
    ax.set_xticks(middles, [f"×{piece.block.layers}" for piece in row], fontsize=8.5)
    ax.tick_params(axis="x", length=0)
    ax.grid(False)
    ax.spines[["top", "right"]].set_visible(False)
    ax.set_title(title, fontsize=11, loc="left")
