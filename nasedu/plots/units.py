"""What blocks are made of: bottlenecks and parallel branches."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Polygon
from torch import nn

from nasedu.hardware import count
from nasedu.plots.diagram import above, box, rows
from nasedu.plots.picture import COLOURS, DEEP, PALE, THIN, Picture, plain

MAP = 0.07  # half the width of a drawn feature map


def bottlenecks(blocks: Mapping[str, nn.Module], size: int) -> Picture:
    """Inverted residuals side by side: their maps, as high as their channels, and their layers with kernel and MACs.

    A 1×1 convolution is a solid face (every channel to every channel), one for each of its groups; a depthwise one is a
    bundle of lines.

    Args:
        blocks: `MBConv` or `FBNetBlock` by name.
        size: of the map that each is on, px.
    """
    layers = {name: _layers(block, size) for name, block in blocks.items()}
    tallest = max(conv.out_channels for parts in layers.values() for conv, _, _ in parts)
    told = [f"{name} {' → '.join(str(conv.out_channels) for conv, _, _ in parts)}" for name, parts in layers.items()]
    alt = f"Blocks as feature maps with convolutions between them. Channels: {', '.join(told)}."
    picture, axes = rows(blocks, 3.7, 3.3, alt, across=True)
    for ax, (name, block) in zip(axes, blocks.items(), strict=True):
        _bottleneck(ax, layers[name], tallest, block.shortcut)
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
        box(ax, x - MAP, -height / 2, (2 * MAP, height), facecolor=DEEP, edgecolor="white", zorder=3)
        above(ax, x, height / 2, str(height), fontsize=9)
    if shortcut:
        (first, last), end = (h / 2 + 0.13 * tallest for h in (heights[0], heights[-1])), len(layers)
        top, line = 0.7 * tallest, THIN | {"color": COLOURS[1], "linewidth": 1.5}
        ax.plot([0, 0, end, end], [first, top, top, last], marker="v", markevery=[-1], markersize=8, **line)
        above(ax, end / 2, top, "shortcut: + input", fontsize=9)
    ax.set(xlim=(-0.35, len(layers) + 0.35), ylim=(-0.95 * tallest, 0.95 * tallest))


def _convolution(ax: Axes, x: float, conv: nn.Conv2d, before: int, after: int) -> None:
    """The face of a convolution between two maps: solid, one for each group, or a line per channel."""
    left, right = x + MAP, x + 1 - MAP
    if conv.groups == conv.in_channels:
        for share in np.linspace(-0.45, 0.45, 13):
            ax.plot([left, right], [share * before, share * after], **THIN | {"color": COLOURS[1], "linewidth": 1.2})
        return
    space = 0.08 if conv.groups > 1 else 0
    for group in range(conv.groups):
        low, high = (group + space) / conv.groups - 0.5, (group + 1 - space) / conv.groups - 0.5
        corners = [(left, low * before), (left, high * before), (right, high * after), (right, low * after)]
        ax.add_patch(Polygon(corners, facecolor=PALE, edgecolor="0.6", linewidth=0.8))


def branches(units: Mapping[str, tuple[object, Sequence[Sequence[object]], object]]) -> Picture:
    """Parallel branches from left to right: boxes are layers, numbers the channels between them.

    Args:
        units: for every name the channels that come in, two branches, and the channels that go out. A branch has
            channels and layers in turn; the first, dark, stands above.
    """
    picture, axes = rows(units, 10, 2.1, f"Units of two branches each. {'; '.join(units)}.")
    for ax, (before, parts, after) in zip(axes, units.values(), strict=True):
        _branch(ax, 1, parts[0], {"facecolor": DEEP, "ink": "white"})
        _branch(ax, 0, parts[1], {"facecolor": PALE})
        ax.text(0.15, 0.5, f"in\n{before}", ha="center", va="center")
        ax.text(9.8, 0.5, f"concatenate\n{after}", ha="center", va="center")
        plain(ax).set(xlim=(-0.2, 10.5), ylim=(-0.55, 1.75))
    return picture


def _branch(ax: Axes, y: float, parts: Sequence[object], look: dict) -> None:
    """A line from the input to the output, on it in turn numbers of channels and boxes."""
    ax.plot([0.4, 0.8, 8.7, 9.1], [0.5, y, y, 0.5], zorder=1, **THIN)
    for i, (x, part) in enumerate(zip(np.linspace(0.8, 8.7, len(parts) + 2)[1:-1], parts, strict=True)):
        if i % 2:
            box(ax, x - 0.75, y - 0.24, (1.5, 0.48), part, **look)
        else:
            above(ax, x, y, str(part), 3, fontsize=9)
