"""Classification spaces and architectures in them, as strips of blocks drawn to scale."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Mapping
from typing import NamedTuple

from matplotlib.axes import Axes

from nasedu.errors import ArchitectureError
from nasedu.plots.diagram import FIXED, above, box, rows, swatches
from nasedu.plots.picture import COLOURS, DEEP, PALE, SKY, Picture
from nasedu.spaces.base import Arch, SearchSpace, Slot

SKIPPED = {"facecolor": "none", "edgecolor": "0.25", "linestyle": ":", "linewidth": 1.3}
FRAME = {"edgecolor": COLOURS[2], "linewidth": 2.6, "zorder": 3}
SEARCHED = "#4a90c9"
KERNELS = {"3": PALE, "5": SKY, "7": DEEP}
OTHER = COLOURS[1]
GAP, ROOM, LETTER = 1.5, 3.3, 0.9  # between stages, for a number and for a letter, in % of all blocks' widths


class Layer(NamedTuple):
    """A layer as it is drawn: its place from the left, its size, and the channels and resolution that it puts out."""

    name: str
    left: float
    width: float
    height: float
    channels: int
    resolution: int
    slot: Slot | None
    keeps_shape: bool


def blocks(space: SearchSpace, archs: Mapping[str, Arch] | None = None, mark: str | None = None) -> Picture:
    """A chain of blocks from left to right: of the space itself, or one row for every architecture by name.

    Width and height of a block are the square roots of its channels and its resolution, so its area grows with both;
    a stride is a drop in height. Of the space, searchable blocks carry their number of choices; of an architecture,
    the chosen operation, coloured by its kernel, and a skipped block is a dotted outline ("1×1" where the shape changes
    and a projection is left).

    Args:
        space: a chain of blocks.
        archs: by name; the space itself where None.
        mark: a block to frame.

    Raises `ArchitectureError` where the space is no chain of blocks with one decision each, or an architecture is not
    its own.
    """
    boxes = _boxes(space)
    shown = {"": None} if archs is None else {name: space.validate(arch) for name, arch in archs.items()}
    told = ", ".join(filter(None, shown)) or space.name
    alt = f"The blocks of {told} from left to right, drawn to scale: {len(boxes)} boxes, lower with every stride."
    picture, axes = rows(shown, 11, 1.75 + 0.55 / len(shown), alt)
    seen: dict[str, dict] = {}
    for ax, (name, arch) in zip(axes, shown.items(), strict=True):
        chosen = {slot.name: slot.decisions[0].choices[i] for slot, i in zip(space.slots, arch or (), strict=False)}
        picture.alt += f" {name}: {' '.join(chosen.values())}." * bool(chosen)
        for stage in _stages(boxes):
            looks = [_look(b, chosen.get(b.name)) for b in stage]
            # labels are turned where the stage's blocks are too narrow for theirs
            turn = any(len(label) * LETTER > b.width for b, (_, label, _) in zip(stage, looks, strict=True))
            for b, (look, label, kind) in zip(stage, looks, strict=True):
                seen[kind] = look
                box(ax, b.left, 0, (b.width, b.height), **look | FRAME if b.name == mark else look)
                above(ax, b.left + b.width / 2, b.height, label, fontsize=8, rotation=90 if turn else 0)
        highest = max(b.height for b in boxes if b.slot)
        ax.set(xlim=(-GAP, boxes[-1].left + boxes[-1].width + 8), ylim=(0, max(boxes[0].height, highest / 0.6) * 1.03))
        ax.set_yticks([])
        ax.tick_params(bottom=False)
    _floor(axes[-1], space, boxes)
    marks = swatches(dict(sorted(seen.items())))
    axes[0].legend(handles=marks, loc="upper right", fontsize=8.5, ncols=5, borderaxespad=0)
    return picture


def _boxes(space: SearchSpace) -> list[Layer]:
    """Every layer before the classifier, after the images themselves."""
    if any(layer.inputs for layer in space.layers) or any(len(slot.decisions) != 1 for slot in space.slots):
        raise ArchitectureError(f"only a chain of blocks with one decision each is drawn as a strip, not {space.name}")
    shapes = [space.input_shapes[layer.name][0] for layer in space.layers]
    unit = 100 / sum(math.sqrt(shape[0]) for shape in shapes)
    boxes = [Layer("images", 0, unit * math.sqrt(shapes[0][0]), math.sqrt(shapes[0][1]), *shapes[0][:2], None, True)]
    for layer, before, after in zip(space.layers, shapes, shapes[1:], strict=False):
        last, width = boxes[-1], unit * math.sqrt(after[0])
        left = last.left + last.width + 0.2
        if _stage(last.name) != _stage(layer.name):  # the numbers below both need room
            left = max(left + GAP, last.left + (last.width - width) / 2 + ROOM)
        slot = layer if isinstance(layer, Slot) else None
        boxes.append(Layer(layer.name, left, width, math.sqrt(after[1]), *after[:2], slot, before == after))
    return boxes


def _stage(name: str) -> str:
    return name.partition("_")[0]


def _stages(boxes: list[Layer]) -> list[list[Layer]]:
    return [list(stage) for _, stage in itertools.groupby(boxes, lambda box: _stage(box.name))]


def _look(layer: Layer, operation: str | None) -> tuple[dict, str, str]:
    """How a layer is drawn, what stands above it, and what the legend calls it; no operation is chosen of a space."""
    if layer.slot is None:
        return {"facecolor": FIXED, "edgecolor": "0.6"}, "", "fixed"
    if operation is None:
        return {"facecolor": SEARCHED}, str(len(layer.slot.decisions[0].choices)), "searchable: number of choices"
    if operation == "skip":
        return SKIPPED, "" if layer.keeps_shape else "1×1", "skipped"
    kernel = re.sub(r"^k(\d+).*|^[a-z]+(\d+)$|.+", r"\1\2", operation)  # of "k5e6" and "shuffle5" 5, of others ""
    called = f"{kernel} × {kernel} kernel" if kernel in KERNELS else operation
    return {"facecolor": KERNELS.get(kernel, OTHER)}, operation, called


def _floor(ax: Axes, space: SearchSpace, boxes: list[Layer]) -> None:
    """Under every stage its channels and its resolution; behind the last block what comes out."""
    ticks = []
    for stage in _stages(boxes):
        middle = (stage[0].left + stage[-1].left + stage[-1].width) / 2
        ticks.append((middle, f"{stage[-1].channels}\n{stage[-1].resolution}"))
    ax.set_xticks(*zip(*ticks, strict=True), fontsize=8.5)
    beside = {"xycoords": ("axes fraction", "axes fraction"), "textcoords": "offset points", "fontsize": 8.5}
    ax.annotate("channels\npixels", (0, 0), (-4, -6), ha="right", va="top", linespacing=1.25, **beside)
    end = boxes[-1].left + boxes[-1].width
    arrow = {"arrowstyle": "->", "color": "0.4"}
    half = boxes[-1].height / 2
    ax.annotate("", (end + 3.5, half), (end + 0.5, half), arrowprops=arrow)
    ax.text(end + 4, half, f"{space.options.num_classes}\nclasses", va="center", fontsize=8.5)
