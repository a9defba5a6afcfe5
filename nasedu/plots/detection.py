"""Pictures of detection data, of what a detector finds, and of how it was trained."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

import matplotlib.patheffects as effects
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator

from nasedu.plots.picture import COLOURS, Picture, every, styles

TITLES = {"box": "box: how far off", "obj": "object: is there one", "cls": "class: which one"}


def scenes(dataset: Sequence, indices: Iterable[int] = range(8), columns: int = 4) -> Picture:
    """A grid of images of a detection data set with their boxes and class names; ignored objects are dotted."""
    picture, cells = _grid(dataset, indices, columns)
    for ax, (image, target) in cells:
        _show(ax, image)
        for box, label, ignore in _rows(target, "boxes", "labels", "ignore"):
            _box(ax, box, _colour(label), ":" if ignore else "-", dataset.classes[label])
    return picture


def detections(
    dataset: Sequence,
    found: Sequence[dict],
    indices: Iterable[int] = range(8),
    columns: int = 4,
    confidence: float = 0.3,
) -> Picture:
    """A grid of images with what was found at `confidence` or above (class and score), and the truth dashed in white.

    `found` has one dict of boxes, scores and labels per image of `dataset`, as `task.Detection.find` returns.
    """
    indices = list(indices)
    picture, cells = _grid(dataset, indices, columns)
    for index, (ax, (image, target)) in zip(indices, cells, strict=True):
        _show(ax, image)
        for (box,) in _rows(target, "boxes"):
            _box(ax, box, "white", "--")
        for box, label, score in _rows(found[index], "boxes", "labels", "scores"):
            if score >= confidence:
                _box(ax, box, _colour(label), "-", f"{dataset.classes[label]} {score:.2f}".replace(" 0.", " ."))
    return picture


def training_curves(
    histories: Mapping[str, Sequence[Mapping]], parts: Sequence[str] = ("box", "obj", "cls")
) -> Picture:
    """The mean loss of every epoch, one panel for each part of the detection loss, one line for each network."""
    picture = Picture(11, 3)
    look = styles(histories)
    for ax, part in zip(picture.subplots(1, len(parts)), parts, strict=True):
        for name, history in histories.items():
            epochs, losses = [r["epoch"] for r in history], [r[part] for r in history]
            ax.plot(epochs, losses, label=name, markevery=every(len(epochs)), markersize=5, **look[name])
        highest = max((r[part] for history in histories.values() for r in history), default=1)
        ax.set(title=TITLES.get(part, part), xlabel="epoch", ylim=(0, 1.08 * highest))
        ax.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    picture.axes[0].set_ylabel("mean weighted loss")
    picture.axes[-1].legend(loc="center left", bbox_to_anchor=(1, 0.5))
    return picture


def _grid(dataset: Sequence, indices: Iterable[int], columns: int) -> tuple[Picture, list]:
    """A picture with one square axis per image, and the pairs of axis and sample."""
    samples = [dataset[i] for i in indices]
    rows = math.ceil(len(samples) / columns)
    picture = Picture(2.5 * columns, 2.5 * rows)
    axes = picture.subplots(rows, columns, squeeze=False).flatten()
    for ax in axes:
        ax.set_axis_off()
    return picture, list(zip(axes, samples, strict=False))


def _show(ax: Axes, image) -> None:
    side = image.shape[-1]
    ax.imshow(image.permute(1, 2, 0).numpy(), extent=(0, side, side, 0), interpolation="nearest")
    ax.set(xlim=(0, side), ylim=(side, 0))


def _rows(target: Mapping, *keys: str) -> zip:
    return zip(*(target[key].tolist() for key in keys), strict=True)


def _colour(label: int) -> str:
    return COLOURS[label % len(COLOURS)]


def _box(ax: Axes, box: Sequence[float], colour: str, line: str, text: str = "") -> None:
    """A box in pixels, outlined so that it stands out from any background, and its text at the upper left."""
    x1, y1, x2, y2 = box
    outline = [effects.withStroke(linewidth=3, foreground="black", alpha=0.6)]
    shape = {"fill": False, "edgecolor": colour, "linestyle": line, "linewidth": 1.5, "path_effects": outline}
    ax.add_patch(Rectangle((x1, y1), x2 - x1, y2 - y1, **shape))
    if text:
        label = {"facecolor": colour, "edgecolor": "none", "pad": 1.0}
        above = y1 > 0.08 * ax.get_xlim()[1]
        ink = "black" if _lightness(colour) > 0.5 else "white"
        ax.text(x1, y1, text, fontsize=8, color=ink, bbox=label, va="bottom" if above else "top", clip_on=True)


def _lightness(colour: str) -> float:
    return float(np.dot(to_rgb(colour), (0.3, 0.59, 0.11)))
