"""Pictures of data, and of what a detector finds in them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib.patheffects as effects
from matplotlib.axes import Axes
from matplotlib.font_manager import FontProperties, findfont, get_font
from matplotlib.patches import Rectangle

from nasedu.data.notes import shown
from nasedu.plots.diagram import panes
from nasedu.plots.picture import COLOURS, Picture, ink


def images(image_set, count: int = 20) -> Picture:
    """The first images of an `ImageSet` in grey, with their classes.

    Args:
        image_set: images and labels.
        count: how many, if there are as many.
    """
    names = [image_set.classes[int(label)] for label in image_set.labels[:count]]
    picture, axes = panes(len(names), 10, (0.95, 1.2), f"Images of the classes {', '.join(names)}.")
    for ax, image, name in zip(axes, image_set.images[:count], names, strict=True):
        ax.imshow(image.mean(0).numpy(), cmap="gray", interpolation="nearest")
        ax.set_title(name, fontsize=9, pad=2, parse_math=False)
    return picture


def scenes(dataset: Sequence) -> Picture:
    """The first eight images of a detection data set with their boxes and class names; ignored objects are dotted.

    Args:
        dataset: images (C, H, W) with their targets, and `classes`.
    """
    picture, axes = _scenes(dataset)
    told = []
    for ax, (_, target) in zip(axes, dataset, strict=False):
        for box, label, ignore in _rows(target, "boxes", "labels", "ignore"):
            outline(ax, box, COLOURS[label % len(COLOURS)], ":" if ignore else "-", _name(dataset, label))
        told.append(_classes(dataset, target))
    picture.alt = f"{len(axes)} scenes with a box around every object: {'; '.join(told)}."
    return picture


def detections(dataset: Sequence, found: Sequence[dict]) -> Picture:
    """The first eight images with what was found (class and score), and the truth dashed in white.

    Args:
        dataset: as for `scenes`.
        found: one dict of boxes, scores and labels per image of `dataset`, as `task.Detection.find` returns.
    """
    picture, axes = _scenes(dataset)
    told = []
    for ax, (_, target), result in zip(axes, dataset, found, strict=False):
        for (box,) in _rows(target, "boxes"):
            outline(ax, box, "white", "--")
        for box, label, score in _rows(result, "boxes", "labels", "scores"):
            text = f"{_name(dataset, label)} {score:.2f}".replace(" 0.", " .")
            outline(ax, box, COLOURS[label % len(COLOURS)], "-", text)
        told.append(f"{_classes(dataset, result)} ({_classes(dataset, target)})")
    picture.alt = f"{len(axes)} scenes with a box around all that was found. Found (and there): {'; '.join(told)}."
    return picture


def boxes(panels: Mapping[str, tuple], columns: int = 4) -> Picture:
    """Pictures with named boxes; the first word decides the colour, a name in brackets, or "()", has a dashed box.

    Args:
        panels: by title, pixels, uint8 (height, width, 3), and the boxes, as pairs of a name and corners in pixels.
        columns: pictures in a row, at most.
    """
    kinds = dict.fromkeys(name.split(" ")[0].strip("()") for _, found in panels.values() for name, _ in found)
    place = {kind: COLOURS[i % len(COLOURS)] for i, kind in enumerate(kinds)}
    height, width = next(iter(panels.values()))[0].shape[:2]
    scale = (5 if len(panels) == 1 else 10 / min(columns, len(panels))) / max(height, width)
    told = [f"{t}: " * bool(t) + (", ".join(n for n, _ in f if n != "()") or "nothing") for t, (_, f) in panels.items()]
    alt = f"A picture with a box around each of these. {'; '.join(told)}."
    picture, axes = panes(len(panels), columns, (width * scale, height * scale), alt)
    for ax, (title, (image, found)) in zip(axes, panels.items(), strict=True):
        rows, across = image.shape[:2]
        ax.imshow(image, extent=(0, across, rows, 0), interpolation="nearest")
        ax.set(xlim=(0, across), ylim=(rows, 0))
        ax.set_title(title, fontsize=9, pad=2, parse_math=False)
        for name, box in found:
            line = "--" if name.startswith("(") else "-"
            outline(ax, box, place[name.split(" ")[0].strip("()")], line, name.strip("()"))
    return picture


def _scenes(dataset: Sequence) -> tuple[Picture, list[Axes]]:
    """A picture with the first eight images, and their axes."""
    picture, axes = panes(min(8, len(dataset)), 4, (2.5, 2.5), "")
    for ax, (image, _) in zip(axes, dataset, strict=False):
        side = image.shape[-1]
        ax.imshow(image.permute(1, 2, 0).numpy(), extent=(0, side, side, 0), interpolation="nearest")
        ax.set(xlim=(0, side), ylim=(side, 0))
    return picture, axes


def _name(dataset: Sequence, label: int) -> str:
    """A class's name as the font can write it; its number where it cannot."""
    text = shown(dataset.classes[label], 30)
    font = get_font(findfont(FontProperties()))
    return text if all(font.get_char_index(ord(letter)) for letter in text) else f"class {label}"


def _rows(target: Mapping, *keys: str) -> zip:
    return zip(*(target[key].tolist() for key in keys), strict=True)


def _classes(dataset: Sequence, target: Mapping) -> str:
    """The classes of some boxes, in words."""
    return ", ".join(sorted(shown(dataset.classes[label], 30) for label in target["labels"].tolist())) or "nothing"


def outline(ax: Axes, box: Sequence[float], colour: str, line: str, text: str = "") -> None:
    """A box, outlined so that it stands out from any background, and its text at the upper left.

    ax: shows a picture.
    box: x1 y1 x2 y2 in its pixels.
    colour: of the line.
    line: its style, as "-".
    text: what stands there.
    """
    x1, y1, x2, y2 = box
    halo = [effects.withStroke(linewidth=3, foreground="black", alpha=0.6)]
    shape = {"fill": False, "edgecolor": colour, "linestyle": line, "linewidth": 1.5, "path_effects": halo}
    ax.add_patch(Rectangle((x1, y1), x2 - x1, y2 - y1, **shape))
    if text:
        look = {"fontsize": 8, "color": ink(colour), "bbox": {"facecolor": colour, "edgecolor": "none", "pad": 1.0}}
        at = "bottom" if y1 > 0.08 * ax.get_xlim()[1] else "top"
        ax.text(x1, y1, text, va=at, clip_on=True, parse_math=False, **look)  # a class may be called "$"
