"""Pictures of what a block is made of: shuffle units, superkernels, the thresholds that decide, and BN statistics."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.patches import Patch, Rectangle
from torch import Tensor

from nasedu.plots.picture import COLOURS, Picture, every, styles
from nasedu.sampling import one_hot
from nasedu.spaces.base import Arch, SearchSpace
from nasedu.supernet.superkernel import CHOICES, SuperKernel

PASSED, WORKED = "#c6dbef", "#1d5fa2"
TONES = ("#dceaf6", "#8fbfe0", "#fdd0a2", "#e6842a", "0.25")  # k3e3, k3e6, k5e3, k5e6, skip


def shuffle_units(c_in: int = 64, c_out: int = 160) -> Picture:
    """ShuffleNetV2's two units from left to right: stride 1 at `c_out` channels, stride 2 from `c_in` to `c_out`.

    Boxes are convolutions, numbers the channels between them.
    """
    half = c_out // 2
    main = ["1 × 1", "depthwise k × k", "1 × 1"]
    picture = Picture(10, 4.2)
    kept, reduced = picture.subplots(2, 1)
    kept.set_title(f"stride 1: half of the channels pass untouched ({c_out} → {c_out})", fontsize=11, loc="left")
    _branch(kept, 1, [f"odd:\n{half}", half, half, half], main, WORKED)
    _branch(kept, 0, [f"even: {half}"], [], PASSED)
    title = f"stride 2: nothing passes untouched, both branches halve the resolution ({c_in} → {c_out})"
    reduced.set_title(title, fontsize=11, loc="left")
    _branch(reduced, 1, [c_in, half, half, c_out - c_in], [main[0], f"{main[1]}\nstride 2", main[2]], WORKED)
    _branch(reduced, 0, [c_in, c_in, c_in], ["depthwise k × k\nstride 2", "1 × 1"], PASSED)
    for ax, channels in ((kept, c_out), (reduced, c_in)):
        ends = {"ha": "center", "va": "center", "fontsize": 10}
        ax.text(0.15, 0.5, f"in\n{channels}", **ends)
        ax.text(9.8, 0.5, f"concatenate\n{c_out}", **ends)
        ax.set(xlim=(-0.2, 10.5), ylim=(-0.55, 1.75))
        ax.set_axis_off()
    return picture


def _branch(ax: Axes, y: float, channels: Sequence[object], boxes: Sequence[str], colour: str) -> None:
    """A line from the input to the output with boxes on it, and between them the number of channels."""
    line = {"color": "0.5", "linewidth": 1.2, "linestyle": "-", "zorder": 1}
    ax.plot([0.4, 0.8, 8.7, 9.1], [0.5, y, y, 0.5], **line)
    places = np.linspace(0.8, 8.7, 2 * len(channels) + 1)[1:-1]
    for i, box in enumerate(boxes):
        x = places[2 * i + 1]
        ax.add_patch(Rectangle((x - 0.75, y - 0.24), 1.5, 0.48, facecolor=colour, edgecolor="0.3", zorder=2))
        dark = "white" if colour == WORKED else "black"
        ax.text(x, y, box, ha="center", va="center", fontsize=8, color=dark, zorder=3)
    for x, number in zip(places[::2], channels, strict=True):
        ax.text(x, y + 0.08, str(number), ha="center", va="bottom", fontsize=9)


def channel_flow(seen: Mapping[str, np.ndarray]) -> Picture:
    """How many input channels every channel depends on, (units + 1, channels) by name: a panel each, top down."""
    picture = Picture(10, 3.0)
    for ax, (name, counts) in zip(picture.subplots(1, len(seen), sharey=True), seen.items(), strict=True):
        most = counts.shape[1]
        image = ax.imshow(counts, cmap="cividis", vmin=0, vmax=most, aspect="auto")
        for (row, column), count in np.ndenumerate(counts):
            shade = "white" if count < 0.6 * most else "black"
            ax.text(column, row, str(count), ha="center", va="center", fontsize=8, color=shade)
        ax.set(title=name, xlabel="channel")
        ax.grid(False)
    picture.axes[0].set_yticks(range(len(counts)), ["input", *(f"after unit {i}" for i in range(1, len(counts)))])
    picture.colorbar(image, ax=list(picture.axes), label="input channels seen", pad=0.01)
    return picture


def bn_statistics(kept: Tensor, own: Tensor, labels: tuple[str, str] = ("in the supernet", "its own")) -> Picture:
    """Per channel, the running mean that a layer holds against the mean of the network that now runs, both (C,)."""
    picture = Picture(4.6, 4.2)
    ax = picture.subplots()
    low, high = float(min(kept.min(), own.min())), float(max(kept.max(), own.max()))
    edge = 0.06 * (high - low)
    ends = [low - edge, high + edge]
    ax.plot(ends, ends, color="0.5", linestyle=":", linewidth=1.5, label="no difference")
    ax.plot(own.tolist(), kept.tolist(), linestyle="", marker="o", color=COLOURS[0], label="a channel")
    ax.set(xlabel=f"mean, {labels[1]}", ylabel=f"mean, {labels[0]}", xlim=ends, ylim=ends)
    ax.legend()
    return picture


def recalibration(accuracies: Mapping[int, Sequence[float]], chance: float) -> Picture:
    """Accuracy (0 to 1) of some architectures by the number of batches of recalibration, 0 for none: a line each."""
    picture = Picture(7, 3.6)
    ax = picture.subplots()
    counts, rows = list(accuracies), np.array(list(accuracies.values()))
    for i in range(rows.shape[1]):
        ax.plot(range(len(counts)), 100 * rows[:, i], color="0.7", linewidth=1.2, linestyle="-")
    mean = {"color": COLOURS[0], "marker": "o", "linestyle": "-", "linewidth": 3}
    ax.plot(range(len(counts)), 100 * rows.mean(1), label="mean", **mean)
    ax.axhline(100 * chance, color="0.4", linestyle=":", label="chance")
    ax.plot([], [], color="0.7", linewidth=1.2, linestyle="-", label="one architecture")
    ax.set_xticks(range(len(counts)), [str(count) if count else "none:\nthe supernet's own" for count in counts])
    ax.set(xlabel="batches that the statistics were computed from", ylabel="accuracy (%)", ylim=(0, None))
    ax.legend(loc="center left", bbox_to_anchor=(1, 0.5))
    return picture


def superkernel(block: SuperKernel) -> Picture:
    """The part of a superkernel's depthwise kernel that every choice keeps: a column each, the halves of the channels.

    A cell is a tap of the 5x5 kernel: filled where some channel of that half keeps it.
    """
    names = [name for name in block.choices if name in CHOICES] + (["skip"] if block.skip else [])
    picture = Picture(2.1 * len(names), 4.4)
    axes = picture.subplots(2, len(names), squeeze=False)
    for column, name in enumerate(names):
        (weights,) = one_hot([block.choices.index(name)], [len(block.choices)])
        kept = (block.kernel(weights).detach() != 0)[:, 0]
        for row, half in enumerate(kept.chunk(2)):
            _taps(axes[row, column], half.any(0))
        axes[0, column].set_title(name, fontsize=12, fontweight="bold")
    n = len(kept) // 2
    for row, text in enumerate((f"channels 1 to {n}\n(expansion 3)", f"channels {n + 1} to {2 * n}\n(the other half)")):
        axes[row, 0].set_ylabel(text)
    parts = {"3 × 3 core": WORKED, "ring": "#6aaed6", "masked": "white"}
    marks = [Patch(facecolor=colour, edgecolor="0.5", label=label) for label, colour in parts.items()]
    picture.legend(handles=marks, loc="outside lower center", ncols=3)
    return picture


def _taps(ax: Axes, kept: Tensor) -> None:
    for row, column in np.ndindex(*kept.shape):
        core = 0 < row < len(kept) - 1 and 0 < column < len(kept) - 1
        colour = (WORKED if core else "#6aaed6") if kept[row, column] else "white"
        ax.add_patch(Rectangle((column, row), 1, 1, facecolor=colour, edgecolor="0.6", linewidth=0.8))
    ax.set(xlim=(-0.1, 5.1), ylim=(5.1, -0.1), aspect="equal", xticks=[], yticks=[])
    ax.grid(False)
    ax.spines[:].set_visible(False)


def straight_through(x: Sequence[float], value: Sequence[float], gradient: Sequence[float]) -> Picture:
    """An indicator's value and the gradient that is passed back in its place, over norm less threshold."""
    picture = Picture(6.5, 3.0)
    ax = picture.subplots()
    look = styles(["value", "gradient"])
    for (name, style), label in zip(look.items(), ("forward: value", "backward: gradient"), strict=True):
        line = value if name == "value" else gradient
        ax.plot(x, line, label=label, markevery=every(len(x)), **style)
    ax.set(xlabel="norm − threshold", ylabel="indicator")
    ax.legend(loc="center left", bbox_to_anchor=(1, 0.5))
    return picture


def thresholds(steps: Sequence[int], pairs: Mapping[str, tuple[Sequence[float], Sequence[float]]]) -> Picture:
    """Norm and threshold over the steps, a panel for each name in `pairs`; shaded where the threshold is above."""
    columns = min(3, len(pairs))
    rows = -(-len(pairs) // columns)
    picture = Picture(3.4 * columns, 0.6 + 2.2 * rows)
    axes = picture.subplots(rows, columns, sharex=True, squeeze=False).flatten()
    look = styles(["norm", "threshold"])
    for ax, (name, (norm, threshold)) in zip(axes, pairs.items(), strict=False):
        norm, threshold = np.asarray(norm), np.asarray(threshold)
        ax.plot(steps, norm, label="norm of the weights", markevery=every(len(steps), 5), **look["norm"])
        ax.plot(steps, threshold, label="threshold", markevery=every(len(steps), 5), **look["threshold"])
        off = norm < threshold
        ax.fill_between(steps, 0, 1, where=off, transform=ax.get_xaxis_transform(), color="0.88", step="mid")
        ax.set_title(name, fontsize=10.5)
    for ax in axes[len(pairs) :]:
        ax.set_axis_off()
    for ax in axes.reshape(rows, columns)[-1, :]:
        ax.set_xlabel("step")
    handles = [*axes[0].lines, Patch(color="0.88", label="indicator 0: masked")]
    picture.legend(handles=handles, loc="outside lower center", ncols=3)
    return picture


def choices_over_steps(space: SearchSpace, steps: Sequence[int], runs: Mapping[str, Sequence[Arch]]) -> Picture:
    """What every layer chooses over the steps: a panel per run, a row per layer, colours and the last choice's name.

    Every decision's choices must be among those of `SuperKernel`.
    """
    names = [*CHOICES, "skip"]
    picture = Picture(11, 0.9 + 0.32 * len(space.decisions))
    for ax, (title, archs) in zip(
        picture.subplots(1, len(runs), sharey=True, squeeze=False)[0], runs.items(), strict=True
    ):
        picked = [[names.index(d.choices[i]) for d, i in zip(space.decisions, arch, strict=True)] for arch in archs]
        extent = (steps[0] - 0.5, steps[-1] + 0.5, len(space.decisions) - 0.5, -0.5)
        look = {"cmap": ListedColormap(TONES), "vmin": -0.5, "vmax": len(names) - 0.5, "aspect": "auto"}
        ax.imshow(np.array(picked).T, extent=extent, interpolation="nearest", **look)
        for row, last in enumerate(picked[-1]):
            ax.annotate(
                names[last],
                (1, row),
                (4, 0),
                xycoords=("axes fraction", "data"),
                fontsize=9,
                va="center",
                textcoords="offset points",
            )
        ax.set(title=title, xlabel="step")
        ax.grid(False)
    picture.axes[0].set_yticks(range(len(space.decisions)), [d.name for d in space.decisions])
    marks = [Patch(facecolor=tone, edgecolor="0.5", label=name) for name, tone in zip(names, TONES, strict=True)]
    picture.legend(handles=marks, loc="outside lower center", ncols=len(names))
    return picture
