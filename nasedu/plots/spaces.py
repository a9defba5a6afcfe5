"""Pictures of a search space, of what its options cost, and of architectures in it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import torch
from matplotlib.axes import Axes

from nasedu.plots.diagram import FIXED, above, box, rows, swatches
from nasedu.plots.forms import heat
from nasedu.plots.picture import COLOURS, THIN, Picture
from nasedu.spaces.base import Arch, SearchSpace, Slot
from nasedu.tables import LookupTable
from nasedu.tables.file import options

SEARCHED = COLOURS[0]
HEAD = {"linestyle": "", "marker": "D", "color": COLOURS[1], "markersize": 9, "zorder": 2}


def network(space: SearchSpace) -> Picture:
    """The network of a space from left to right, one row per resolution; searchable blocks carry their choices.

    A block's width grows with its channels and its height with its resolution, both as square roots. Layers without
    weights (concatenation, upsampling, pooling) are drawn as the lines that pass through them.
    """
    shapes, sources = _outputs(space), _sources(space)
    columns: dict[str, int] = {}  # how many layers lie before each, on the longest way to it
    for name, origins in sources.items():
        columns[name] = 1 + max((columns[origin] for origin in origins), default=-1)
    levels = {pixels: -i for i, pixels in enumerate(sorted({shape[1] for shape in shapes.values()}, reverse=True))}
    places = {name: (columns[name], levels[shapes[name][1]]) for name in sources if name in shapes}
    alt = f"The network of {space.name} from left to right, a row for each resolution. Blocks with their choices above "
    alt += f"them are searched: {', '.join(slot.name for slot in space.slots)}."
    picture, (ax,) = rows([""], 10.5, 0.5 + 0.85 * len(levels), alt)
    slots = {slot.name: slot for slot in space.slots}
    most, finest = max(shape[0] for shape in shapes.values()), max(levels)
    for name, (x, y) in places.items():
        for source in sources[name]:
            ax.plot([places[source][0], x], [places[source][1], y], zorder=1, **THIN)
        channels, pixels = shapes[name][:2]
        size = 0.75 * math.sqrt(channels / most), 0.62 * math.sqrt(pixels / finest)
        _block(ax, (x, y), size, slots.get(name))
    end = max(columns.values())
    for x, y in (places[source] for source in list(sources.values())[-1]):  # the last layer: a result for each scale
        ax.plot([x, end], [y, y], zorder=1, **THIN)
        ax.plot(end, y, **HEAD)
    _dress(ax, levels)
    return picture


def architectures(space: SearchSpace, archs: Mapping[str, Arch]) -> Picture:
    """Architectures one below the other: per block a stack of its bottlenecks, as wide as its width ratio.

    The space's decisions must be a width and a depth per slot, or a width and, of an ELAN's chain, which outputs are
    read: these are filled, and the chain ends with the last one. The outline is the largest choice of both.
    """
    said = "; ".join(f"{name}: {' '.join(space.format(arch).split())}" for name, arch in archs.items())
    picture, axes = rows(archs, 11, 1.6 + 0.4 / len(archs), f"Stacks of bottlenecks for each block. {said}")
    most = [len(_levels(slot, [len(d.choices) - 1 for d in slot.decisions])) for slot in space.slots]
    highest = max(most)
    for ax, arch in zip(axes, archs.values(), strict=True):
        for i, (slot, group) in enumerate(zip(space.slots, space.groups, strict=True)):
            ratios, chosen = [float(c) for c in slot.decisions[0].choices], [arch[d] for d in group]
            ratio, levels = ratios[chosen[0]], _levels(slot, chosen)
            _stack(ax, i, 0.8 * ratio / max(ratios), levels, most[i])
            told = f"n {len(levels)}" if len(chosen) == 2 else "out " + (" ".join(map(str, levels)) or "none")
            ax.text(i, -0.35, f"γ {ratio:g}, {told}", ha="center", va="top", fontsize=8)
        ax.set(ylabel="bottlenecks", ylim=(-0.3 * highest, highest * 1.05), xlim=(-0.5, len(space.slots) - 0.5))
        ax.set_yticks(sorted({0, highest}))
    axes[-1].set_xticks(range(len(space.slots)), [slot.name for slot in space.slots])
    return picture


def price_map(
    table: LookupTable, unit: str = "MACs (millions)", scale: float = 1e-6, *, lead: bool = False, numbers: str = ".1f"
) -> Picture:
    """A column for every decision group, a row for every option; colour and number are its entry.

    Args:
        table: of any space.
        unit: what is shown.
        scale: what the entries are multiplied by.
        lead: whether each column shows the lead over its own lowest, as for scores of blocks that differ in size.
        numbers: how entries are written.
    """
    named = options(table.space)
    entries = [entry.flatten().numpy() * scale for entry in table.entries]
    columns = {b: pd.Series(e, names, dtype=float) for (b, names), e in zip(named.items(), entries, strict=True)}
    rows = list(dict.fromkeys(name for names in named.values() for name in names))
    if any(", " in name for name in rows):  # decided together, as width and depth: sorted, the widths stand together
        rows.sort()
    frame = pd.DataFrame(columns).reindex(rows)
    frame -= frame.min() if lead else 0
    stages = all(name.startswith("stage") for name in named)
    if stages:
        frame.columns = [name.removeprefix("stage").replace("_", ".") for name in named]
    look = {"xlabel": "block (stage.number)" if stages else "block", "width": 11, "height": 1.2 + 0.3 * len(rows)}
    return heat(frame, limits=(0.0, float(np.nanmax(frame.to_numpy()))), numbers=numbers, bar=unit, **look)


def _levels(slot: Slot, chosen: Sequence[int]) -> list[int]:
    """Which levels of a block's stack are filled, from 1 on: bottlenecks, or the outputs of a chain that are read."""
    depth, *others = slot.decisions[1:]
    if others:
        return [level for level, out in enumerate(chosen[1:], 1) if out]
    return list(range(1, 1 + int(depth.choices[chosen[1]])))


def _stack(ax: Axes, x: float, width: float, read: Sequence[int], most: int) -> None:
    """A box for every level up to the last one in `read`, filled where it is in it."""
    box(ax, x - 0.4, 0, (0.8, most), facecolor="none", edgecolor="0.8", linestyle=":")
    if not read:
        ax.plot([x - width / 2, x + width / 2], [0, 0], color=SEARCHED, linewidth=3, linestyle="-")
    for level in range(1, 1 + max(read, default=0)):
        look = {"facecolor": SEARCHED, "edgecolor": "white"} if level in read else {"facecolor": "white"}
        box(ax, x - width / 2, level - 1, (width, 1), **look)


def _outputs(space: SearchSpace) -> dict[str, tuple[int, ...]]:
    """The output shape (C, H, W) of every layer that another one reads."""
    read, before = {}, ()
    for layer in space.layers:
        read |= dict(zip(layer.inputs or before, space.input_shapes[layer.name], strict=False))
        before = (layer.name,)
    return read


def _sources(space: SearchSpace) -> dict[str, list[str]]:
    """For every layer with weights, the layers with weights that it reads, in the order of the network."""
    with torch.device("meta"):
        parts = space.build([0] * len(space.choices)).parts
    passing, sources, before = {}, {}, ()
    for layer in space.layers:
        resolved = [origin for name in layer.inputs or before for origin in passing.get(name, [name])]
        weighty = any(True for _ in parts[layer.name].parameters())
        (sources if weighty else passing)[layer.name] = resolved
        before = (layer.name,)
    return sources


def _block(ax: Axes, place: tuple[int, int], size: tuple[float, float], slot: Slot | None) -> None:
    (x, y), (width, height) = place, size
    fill, edge = (SEARCHED, "black") if slot else (FIXED, "0.5")
    box(ax, x - width / 2, y - height / 2, size, facecolor=fill, edgecolor=edge)
    if slot:  # words on a white ground, so that no line runs through them
        ground = {"bbox": {"facecolor": "white", "edgecolor": "none", "pad": 0.6, "alpha": 0.85}}
        choices = "\n".join(" ".join(c.removeprefix("0") or "0" for c in d.choices) for d in slot.decisions)
        above(ax, x, y + height / 2, choices, 3, fontsize=7.5, linespacing=1.1, **ground)
        above(ax, x, y + height / 2, slot.name, 25, fontsize=9, fontweight="bold", **ground)


def _dress(ax: Axes, levels: Mapping[int, int]) -> None:
    ax.set_yticks(list(levels.values()), [f"{pixels} px" for pixels in levels])
    ax.spines["bottom"].set_visible(False)
    ax.tick_params(left=False)
    ax.set(ylabel="resolution", xticks=[], ylim=(min(levels.values()) - 0.4, 0.6))
    marks = swatches({"searchable block: width ratios, numbers of bottlenecks": SEARCHED, "fixed layer": FIXED})
    ax.legend(handles=marks + ax.plot([], [], label="predictions", **HEAD), loc="upper right", fontsize=9)
