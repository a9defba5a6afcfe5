"""Pictures of what mobile blocks are made of, and of what the choices between them cost."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Polygon, Rectangle
from torch import nn

from nasedu.hardware import count
from nasedu.plots.picture import COLOURS, LINES, MARKERS, Picture
from nasedu.tables import LookupTable
from nasedu.tables.file import options

PALE, SKY, DEEP = "#c6dbef", "#6aaed6", "#1f5a96"
MAP = 0.07  # half the width of a drawn feature map
BOTH = "D"  # the marker of a channel that knows of every group


def bottlenecks(blocks: Mapping[str, nn.Module], size: int) -> Picture:
    """Inverted residuals side by side, each on a map of `size` px: its maps, as high as their channels, and its layers.

    A 1×1 convolution is a solid face (every channel to every channel), one for each of its groups; a depthwise one is a
    bundle of lines. Below stand kernel and MACs. `blocks` are `MBConv` or `FBNetBlock`.
    """
    picture = Picture(3.7 * len(blocks), 3.3)
    axes = picture.subplots(1, len(blocks), sharey=True, squeeze=False).flatten()
    layers = {name: _layers(block, size) for name, block in blocks.items()}
    tallest = max(conv.out_channels for parts in layers.values() for conv, _, _ in parts)
    for ax, (name, block) in zip(axes, blocks.items(), strict=True):
        _bottleneck(ax, layers[name], tallest, block.shortcut)
        ax.set_title(name, fontsize=11, fontweight="bold")
    return picture


def part_costs(parts: Mapping[str, Mapping[str, float]], unit: str = "MACs (millions)") -> Picture:
    """Stacked bars: for every name what its parts cost, in `unit`."""
    picture = Picture(8, 3.4)
    ax = picture.subplots()
    kinds = list(next(iter(parts.values())))
    looks = zip(kinds, (PALE, COLOURS[1], DEEP, "0.7"), ("", "///", "", "..."), strict=False)
    bottom = np.zeros(len(parts))
    for kind, colour, hatch in looks:
        heights = np.array([costs[kind] for costs in parts.values()])
        ax.bar(list(parts), heights, 0.62, bottom, color=colour, hatch=hatch, edgecolor="white", label=kind)
        bottom += heights
    for i, total in enumerate(bottom):
        ax.text(i, total, f"{total:.3g}", ha="center", va="bottom", fontsize=10)
    ax.set_ylabel(unit)
    ax.legend(loc="center left", bbox_to_anchor=(1, 0.5), reverse=True)
    return picture


def wiring(layers: Mapping[str, Sequence[np.ndarray]], groups: int = 2) -> Picture:
    """Which channel reaches which: a panel for every name, a column of dots for every map.

    `layers[name]` holds 0/1 matrices (channels out, channels in), one for each step. A dot's marker and colour say from
    which of the input's `groups` it has heard; a diamond has heard from all.
    """
    picture = Picture(5.2 * len(layers), 3.6)
    for ax, (name, steps) in zip(
        picture.subplots(1, len(layers), squeeze=False).flatten(), layers.items(), strict=True
    ):
        reach = np.kron(np.eye(groups), np.ones(len(steps[0].T) // groups)).T > 0  # (channels, groups)
        _dots(ax, 0, reach)
        for x, step in enumerate(steps):
            for out, source in zip(*np.nonzero(step), strict=True):
                origin = _look(reach[source])[1]
                ax.plot([x, x + 1], [-source, -out], color=origin, linewidth=1, linestyle="-", alpha=0.55, zorder=1)
            reach = step.astype(bool) @ reach
            _dots(ax, x + 1, reach)
        ax.set_title(name, fontsize=11, fontweight="bold")
        ax.set_axis_off()
    picture.axes[-1].legend(handles=_marks(groups), loc="center left", bbox_to_anchor=(1, 0.5))
    return picture


def price_map(table: LookupTable, unit: str = "MACs (millions)", scale: float = 1e-6) -> Picture:
    """A table as a picture: a column for every decision group, a row for every option; colour and number: its entry."""
    named = options(table.space)
    rows = list(dict.fromkeys(name for names in named.values() for name in names))
    if any(", " in name for name in rows):  # decided together, as width and depth: sorted, the widths stand together
        rows.sort()
    values = np.full((len(rows), len(table.entries)), np.nan)
    for column, (names, entry) in enumerate(zip(named.values(), table.entries, strict=True)):
        values[[rows.index(name) for name in names], column] = entry.flatten().numpy() * scale
    picture = Picture(11, 0.9 + 0.34 * len(rows))
    ax = picture.subplots()
    image = ax.imshow(values, cmap="cividis", aspect="auto", vmin=0)
    for (row, column), value in np.ndenumerate(values):
        if not np.isnan(value):
            shade = "white" if value < 0.6 * np.nanmax(values) else "black"
            ax.text(column, row, f"{value:.1f}", ha="center", va="center", fontsize=7.5, color=shade)
    stages = all(name.startswith("stage") for name in named)
    names = [name.removeprefix("stage").replace("_", ".") if stages else name for name in named]
    ax.set_xticks(range(len(names)), names, fontsize=8)
    ax.set_yticks(range(len(rows)), rows, fontsize=9)
    ax.set(xlabel="block (stage.number)" if stages else "block")
    ax.grid(False)
    ax.spines[:].set_visible(False)
    picture.colorbar(image, ax=ax, label=unit, pad=0.01)
    return picture


def cost_histogram(
    costs: Mapping[str, Sequence[float]],
    marks: Mapping[str, Mapping[str, float]],
    unit: str = "MACs (millions)",
) -> Picture:
    """How the costs of many networks are distributed: a histogram for every name, with `marks[name]` as lines in it."""
    picture = Picture(9, 0.7 + 1.35 * len(costs))
    axes = picture.subplots(len(costs), 1, sharex=True, squeeze=False).flatten()
    everything = [*itertools.chain(*costs.values()), *itertools.chain(*(m.values() for m in marks.values()))]
    bins = np.linspace(min(everything), max(everything), 60)
    for ax, (name, values) in zip(axes, costs.items(), strict=True):
        ax.hist(values, bins, color=SKY, edgecolor="white", label=name)
        looks = zip(marks.get(name, {}).items(), MARKERS, itertools.cycle(LINES), strict=False)
        for (label, value), marker, line in looks:
            ax.axvline(value, color="black", linestyle=line, linewidth=1.5)
            ax.plot(
                [value], [1], marker, color="black", markersize=8, clip_on=False, transform=ax.get_xaxis_transform()
            )
            ax.plot([], [], color="black", linestyle=line, marker=marker, label=f"{label}: {value:,.4g}")
        ax.legend(loc="center left", bbox_to_anchor=(1, 0.5))
    axes[-1].set_xlabel(unit)
    axes[len(axes) // 2].set_ylabel("networks")
    return picture


def _layers(block: nn.Module, size: int) -> list[tuple[nn.Conv2d, int, str]]:
    """Every convolution of a block in order, with its MACs and what it is called."""
    layers = []
    for conv in block.modules():
        if isinstance(conv, nn.Conv2d):
            macs = count(conv, (conv.in_channels, size, size)).macs
            size = -(-size // conv.stride[0])
            layers.append((conv, macs, "depthwise" if conv.groups == conv.in_channels > 1 else "pointwise"))
    return layers


def _bottleneck(ax: Axes, layers: list[tuple[nn.Conv2d, int, str]], tallest: int, shortcut: bool) -> None:
    heights = [layers[0][0].in_channels, *(conv.out_channels for conv, _, _ in layers)]
    for x, ((conv, macs, kind), before, after) in enumerate(zip(layers, heights, heights[1:], strict=False)):
        _convolution(ax, x, conv, before, after)
        groups = f"\nin {conv.groups} groups" if 1 < conv.groups < conv.in_channels else ""
        text = f"{conv.kernel_size[0]}×{conv.kernel_size[0]}\n{kind}{groups}\n{macs / 1e6:.3g} M MACs"
        ax.text(x + 0.5, -0.57 * tallest, text, ha="center", va="top", fontsize=8.5)
    for x, height in enumerate(heights):
        ax.add_patch(Rectangle((x - MAP, -height / 2), 2 * MAP, height, facecolor=DEEP, edgecolor="white", zorder=3))
        ax.text(x, height / 2 + 0.02 * tallest, str(height), ha="center", va="bottom", fontsize=9)
    if shortcut:
        top = 0.7 * tallest
        start, end = (h / 2 + 0.13 * tallest for h in (heights[0], heights[-1]))
        ax.plot(
            [0, 0, len(layers), len(layers)], [start, top, top, end], color=COLOURS[1], linewidth=1.5, linestyle="-"
        )
        ax.plot([len(layers)], [end], marker="v", color=COLOURS[1], markersize=8)
        ax.text(len(layers) / 2, top, "shortcut: + input", ha="center", va="bottom", fontsize=9)
    ax.set(xlim=(-0.35, len(layers) + 0.35), ylim=(-0.95 * tallest, 0.95 * tallest))
    ax.set_axis_off()


def _convolution(ax: Axes, x: float, conv: nn.Conv2d, before: int, after: int) -> None:
    """The face of a convolution between two maps: solid, one for each group, or a line per channel."""
    left, right = x + MAP, x + 1 - MAP
    if conv.groups == conv.in_channels:
        for share in np.linspace(-0.45, 0.45, 13):
            ax.plot([left, right], [share * before, share * after], color=COLOURS[1], linewidth=1.2, linestyle="-")
        return
    space = 0.08 if conv.groups > 1 else 0
    for group in range(conv.groups):
        low, high = (group + space) / conv.groups - 0.5, (group + 1 - space) / conv.groups - 0.5
        corners = [(left, low * before), (left, high * before), (right, high * after), (right, low * after)]
        ax.add_patch(Polygon(corners, facecolor=PALE, edgecolor="0.6", linewidth=0.8))


def _look(reach: np.ndarray) -> tuple[str, str]:
    """Marker and colour of a channel that has heard from these groups (groups,)."""
    if reach.all():
        return BOTH, "black"
    first = int(reach.argmax())
    return MARKERS[first], COLOURS[first]


def _dots(ax: Axes, x: float, reach: np.ndarray) -> None:
    for channel, groups in enumerate(reach):
        marker, colour = _look(groups)
        ax.plot([x], [-channel], marker, color=colour, markersize=9, zorder=2)


def _marks(groups: int) -> list[Line2D]:
    looks = {f"knows group {i + 1}": (MARKERS[i], COLOURS[i]) for i in range(groups)}
    looks["knows all"] = (BOTH, "black")
    return [Line2D([], [], linestyle="", marker=m, color=c, markersize=9, label=n) for n, (m, c) in looks.items()]
