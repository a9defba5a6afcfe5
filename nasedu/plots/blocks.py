"""Classification spaces and architectures in them, as strips of blocks drawn to scale."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Mapping
from typing import NamedTuple

from matplotlib.axes import Axes
from matplotlib.patches import Patch, Rectangle

from nasedu.errors import ArchitectureError
from nasedu.plots.picture import COLOURS, Picture
from nasedu.spaces.base import Arch, SearchSpace, Slot

FIXED = "0.82"
SHADES = ("#9ecae1", "#4a90c9", "#1f5a96")  # fewer to more choices
KERNELS = {"3": "#c6dbef", "5": "#6aaed6", "7": "#1d5fa2"}  # light to dark: the order is seen without colours
OTHER = COLOURS[1]
GAP, ROOM, LETTER = 1.5, 3.3, 0.9  # between stages, for a number and for a letter, in % of all blocks' widths


class Box(NamedTuple):
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
    and a projection is left). `mark` names a block to frame. Raises `ArchitectureError` where the space is no chain of
    blocks with one decision each, or an architecture is not its own.
    """
    boxes = _boxes(space)
    rows = {space.name: None} if archs is None else {name: space.validate(arch) for name, arch in archs.items()}
    picture = Picture(11, 0.55 + 1.75 * len(rows))
    axes = picture.subplots(len(rows), 1, sharex=True, squeeze=False).flatten()
    for ax, (name, arch) in zip(axes, rows.items(), strict=True):
        looks = _space_looks(space, boxes) if arch is None else _arch_looks(space, boxes, arch)
        for stage in _stages(boxes):
            turn = any(len(looks[box.name][1]) * LETTER > box.width for box in stage)
            for box in stage:
                _draw(ax, box, *looks[box.name], turn, framed=box.name == mark)
        _dress(ax, boxes, "" if arch is None else name)
    _floor(axes[-1], space, boxes)
    axes[0].legend(handles=_legend(space, boxes, archs), loc="upper right", fontsize=8.5, ncols=5, borderaxespad=0)
    return picture


def _boxes(space: SearchSpace) -> list[Box]:
    """Every layer before the classifier, after the images themselves."""
    if any(layer.inputs for layer in space.layers) or any(len(slot.decisions) != 1 for slot in space.slots):
        raise ArchitectureError(
            f"only a chain of blocks with one decision each is drawn as a strip, {space.name} isn't"
        )
    shapes = [space.input_shapes[layer.name][0] for layer in space.layers]
    unit = 100 / sum(math.sqrt(shape[0]) for shape in shapes)
    boxes = [Box("images", 0, unit * math.sqrt(shapes[0][0]), math.sqrt(shapes[0][1]), *shapes[0][:2], None, True)]
    for layer, before, after in zip(space.layers, shapes, shapes[1:], strict=False):
        last, width = boxes[-1], unit * math.sqrt(after[0])
        left = last.left + last.width + 0.2
        if _stage(last.name) != _stage(layer.name):  # the numbers below both need room
            left = max(left + GAP, last.left + (last.width - width) / 2 + ROOM)
        slot = layer if isinstance(layer, Slot) else None
        boxes.append(Box(layer.name, left, width, math.sqrt(after[1]), *after[:2], slot, before == after))
    return boxes


def _stage(name: str) -> str:
    return name.partition("_")[0]


def _stages(boxes: list[Box]) -> list[list[Box]]:
    return [list(stage) for _, stage in itertools.groupby(boxes, lambda box: _stage(box.name))]


def _space_looks(space: SearchSpace, boxes: list[Box]) -> dict[str, tuple[str, str]]:
    """Colour and label of every box by its number of choices."""
    shades = _shades(space)
    return {
        box.name: (shades[n], str(n)) if (n := len(box.slot.decisions[0].choices) if box.slot else 0) else (FIXED, "")
        for box in boxes
    }


def _shades(space: SearchSpace) -> dict[int, str]:
    """A shade for every number of choices that occurs."""
    counts = sorted(set(space.choices))
    return {n: SHADES[min(i + (len(counts) == 1), len(SHADES) - 1)] for i, n in enumerate(counts)}


def _arch_looks(space: SearchSpace, boxes: list[Box], arch: Arch) -> dict[str, tuple[str | None, str]]:
    """Colour and label of every box by the chosen operation; no colour where the block is skipped."""
    chosen = {slot.name: slot.decisions[0].choices[i] for slot, i in zip(space.slots, arch, strict=True)}
    looks = {}
    for box in boxes:
        operation = chosen.get(box.name)
        if operation == "skip":
            looks[box.name] = (None, "" if box.keeps_shape else "1×1")
        else:
            looks[box.name] = (FIXED, "") if operation is None else (KERNELS.get(_kernel(operation), OTHER), operation)
    return looks


def _kernel(operation: str) -> str:
    """The kernel in an operation's name ("k5e6", "shuffle5"), or "" where it names none."""
    found = re.match(r"k(\d+)|[a-z]+(\d+)$", operation)
    return "".join(found.groups("")) if found else ""


def _draw(ax: Axes, box: Box, colour: str | None, label: str, turn: bool, framed: bool) -> None:
    """One box on the floor, with its label on it, turned where the stage's blocks are too narrow for theirs."""
    look = {"facecolor": colour or "none", "edgecolor": "0.35" if box.slot else "0.6", "linewidth": 0.8}
    if colour is None:
        look |= {"linestyle": ":", "edgecolor": "0.25", "linewidth": 1.3}
    if framed:
        look |= {"edgecolor": COLOURS[2], "linewidth": 2.6, "zorder": 3}
    ax.add_patch(Rectangle((box.left, 0), box.width, box.height, **look))
    place = box.left + box.width / 2, box.height
    text = {"ha": "center", "va": "bottom", "fontsize": 8, "rotation": 90 if turn else 0}
    ax.annotate(label, place, (0, 2), textcoords="offset points", **text)


def _dress(ax: Axes, boxes: list[Box], title: str) -> None:
    highest = max(box.height for box in boxes if box.slot)
    ax.set(xlim=(-GAP, boxes[-1].left + boxes[-1].width + 8), ylim=(0, max(boxes[0].height, highest / 0.6) * 1.03))
    ax.set_yticks([])
    ax.tick_params(bottom=False)
    ax.grid(False)
    ax.spines[["top", "left", "right"]].set_visible(False)
    if title:
        ax.set_title(title, fontsize=11, fontweight="bold", loc="left", pad=3)


def _floor(ax: Axes, space: SearchSpace, boxes: list[Box]) -> None:
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


def _legend(space: SearchSpace, boxes: list[Box], archs: Mapping[str, Arch] | None) -> list[Patch]:
    if archs is None:
        kinds = {f"searchable, {n} choices": shade for n, shade in _shades(space).items()}
    else:
        offered = {operation for decision in space.decisions for operation in decision.choices} - {"skip"}
        kernels = {_kernel(operation) for operation in offered}
        kinds = {f"{k} × {k} kernel": KERNELS[k] for k in KERNELS if k in kernels}
        kinds |= {operation: OTHER for operation in sorted(offered) if _kernel(operation) not in KERNELS}
    marks = [Patch(facecolor=colour, edgecolor="0.35", label=label) for label, colour in kinds.items()]
    if archs is not None and any("skip" in decision.choices for decision in space.decisions):
        marks.append(Patch(facecolor="none", edgecolor="0.25", linestyle=":", linewidth=1.3, label="skipped"))
    return [*marks, Patch(facecolor=FIXED, edgecolor="0.6", label="fixed")]
