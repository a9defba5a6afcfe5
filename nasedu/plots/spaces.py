"""Pictures of a search space and of architectures in it."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from matplotlib.axes import Axes
from matplotlib.patches import Patch, Rectangle

from nasedu.plots.picture import COLOURS, Picture
from nasedu.spaces.base import Arch, SearchSpace, Slot

FIXED, SEARCHED = "0.8", COLOURS[0]


def network(space: SearchSpace) -> Picture:
    """The network of a space from left to right, one row per resolution; searchable blocks carry their choices.

    A block's width grows with its channels and its height with its resolution, both as square roots. Layers without
    weights (concatenation, upsampling, pooling) are drawn as the lines that pass through them.
    """
    shapes, sources = _outputs(space), _sources(space)
    columns = _columns(sources)
    resolutions = sorted({shape[1] for shape in shapes.values()}, reverse=True)
    rows = {resolution: -i for i, resolution in enumerate(resolutions)}
    places = {name: (columns[name], rows[shapes[name][1]]) for name in sources if name in shapes}
    picture = Picture(10.5, 0.5 + 0.85 * len(rows))
    ax = picture.subplots()
    for name, (x, y) in places.items():
        for source in sources[name]:
            ax.plot([places[source][0], x], [places[source][1], y], color="0.5", linewidth=1, linestyle="-", zorder=1)
    slots = {slot.name: slot for slot in space.slots}
    most = max(shape[0] for shape in shapes.values())
    for name, place in places.items():
        channels, resolution = shapes[name][:2]
        size = 0.75 * math.sqrt(channels / most), 0.62 * math.sqrt(resolution / resolutions[0])
        _block(ax, place, size, slots.get(name))
    _outlets(ax, places, sources, max(columns.values()))
    _dress(ax, shapes, rows)
    return picture


def architectures(space: SearchSpace, archs: Mapping[str, Arch]) -> Picture:
    """Architectures side by side: per block a stack of its bottlenecks, as wide as its width ratio.

    The space's decisions must be a width and a depth per slot. The outline is the largest choice of both.
    """
    picture = Picture(11, 0.4 + 1.6 * len(archs))
    axes = picture.subplots(len(archs), 1, sharex=True, squeeze=False).flatten()
    for ax, (name, arch) in zip(axes, archs.items(), strict=True):
        for i, (slot, group) in enumerate(zip(space.slots, space.groups, strict=True)):
            ratios, depths = ([float(c) for c in d.choices] for d in slot.decisions)
            width, depth = (ratios[arch[group[0]]], depths[arch[group[1]]])
            _stack(ax, i, 0.8 * width / max(ratios), int(depth), int(max(depths)))
            ax.text(i, -0.35, f"γ {width:g}, n {depth:g}", ha="center", va="top", fontsize=8)
        highest = max(float(slot.decisions[1].choices[-1]) for slot in space.slots)
        ax.set(
            title=name, ylabel="bottlenecks", ylim=(-0.3 * highest, highest * 1.05), xlim=(-0.5, len(space.slots) - 0.5)
        )
        ax.title.set(fontsize=11, fontweight="bold")
        ax.set_yticks(sorted({0, highest}))
        ax.grid(False)
    axes[-1].set_xticks(range(len(space.slots)), [slot.name for slot in space.slots])
    return picture


def _stack(ax: Axes, x: float, width: float, depth: int, most: int) -> None:
    ax.add_patch(Rectangle((x - 0.4, 0), 0.8, most, fill=False, edgecolor="0.8", linestyle=":"))
    if depth == 0:
        base = {"color": SEARCHED, "linewidth": 3, "linestyle": "-", "solid_capstyle": "butt"}
        ax.plot([x - width / 2, x + width / 2], [0, 0], **base)
    for level in range(depth):
        box = {"facecolor": SEARCHED, "edgecolor": "white", "linewidth": 1}
        ax.add_patch(Rectangle((x - width / 2, level), width, 1, **box))


def _outputs(space: SearchSpace) -> dict[str, tuple[int, ...]]:
    """The output shape (C, H, W) of every layer but the last, which has one per scale."""
    shapes = {}
    with torch.device("meta"):
        built = space.build([0] * len(space.choices)).eval()
        for name, part in list(built.parts.items())[:-1]:
            part.register_forward_hook(lambda _, inputs, out, name=name: shapes.__setitem__(name, tuple(out.shape[1:])))
        built(torch.empty(1, *space.input_shape))
    return shapes


def _sources(space: SearchSpace) -> dict[str, list[str]]:
    """For every layer with weights, the layers with weights that it reads, in the order of the network."""
    with torch.device("meta"):
        parts = space.build([0] * len(space.choices)).parts
    passing, sources, before = {}, {}, ()
    for layer in space.layers:
        direct = layer.inputs or before
        resolved = [origin for name in direct for origin in passing.get(name, [name])]
        if any(True for _ in parts[layer.name].parameters()):
            sources[layer.name] = resolved
        else:
            passing[layer.name] = resolved
        before = (layer.name,)
    return sources


def _columns(sources: Mapping[str, list[str]]) -> dict[str, int]:
    """How many layers lie before each: the longest way to it."""
    columns = {}
    for name, origins in sources.items():
        columns[name] = 1 + max((columns[origin] for origin in origins), default=-1)
    return columns


def _block(ax: Axes, place: tuple[int, int], size: tuple[float, float], slot: Slot | None) -> None:
    (x, y), (width, height) = place, size
    shape = {"facecolor": SEARCHED if slot else FIXED, "edgecolor": "black" if slot else "0.5", "zorder": 2}
    ax.add_patch(Rectangle((x - width / 2, y - height / 2), width, height, **shape))
    if slot:
        choices = "\n".join(" ".join(c.removeprefix("0") or "0" for c in d.choices) for d in slot.decisions)
        _above(ax, (x, y + height / 2), 3, choices, fontsize=7.5, linespacing=1.1)
        _above(ax, (x, y + height / 2), 25, slot.name, fontsize=9, fontweight="bold")


def _above(ax: Axes, place: tuple[float, float], points: float, text: str, **style) -> None:
    """Text some points above a place, on a white ground so that no line runs through it."""
    ground = {"facecolor": "white", "edgecolor": "none", "pad": 0.6, "alpha": 0.85}
    ax.annotate(text, place, (0, points), textcoords="offset points", ha="center", va="bottom", bbox=ground, **style)


def _outlets(ax: Axes, places: Mapping, sources: Mapping, column: int) -> None:
    """One mark for every scale at which the last layer gives a result."""
    for source in list(sources.values())[-1]:
        x, y = places[source]
        ax.plot([x, column], [y, y], color="0.5", linewidth=1, linestyle="-", zorder=1)
        ax.plot(column, y, marker="D", color=COLOURS[1], markersize=9, zorder=2)


def _dress(ax: Axes, shapes: Mapping, rows: Mapping[int, int]) -> None:
    ax.set_yticks(list(rows.values()), [f"{resolution} px" for resolution in rows])
    ax.set_xticks([])
    ax.grid(False)
    ax.spines[:].set_visible(False)
    ax.tick_params(left=False)
    ax.set_ylabel("resolution")
    ax.set_ylim(min(rows.values()) - 0.4, 0.6)
    kinds = {"searchable block: width ratios, numbers of bottlenecks": SEARCHED, "fixed layer": FIXED}
    marks = [Patch(facecolor=colour, edgecolor="0.4", label=label) for label, colour in kinds.items()]
    head = ax.plot([], [], linestyle="", marker="D", color=COLOURS[1], label="predictions")
    ax.legend(handles=marks + head, loc="upper right", fontsize=9)
