"""What drawings of boxes share: rows of axes, and boxes with words in or above them."""

from __future__ import annotations

from collections.abc import Iterable

from matplotlib.axes import Axes
from matplotlib.patches import Patch, Rectangle

from nasedu.plots.picture import Picture, plain

FIXED = "0.82"  # what no search decides


def rows(
    names: Iterable[str], width: float, height: float, alt: str, *, across: bool = False
) -> tuple[Picture, list[Axes]]:
    """A picture with an axes without grid and frame for every name, which stands above it.

    Args:
        names: one below the other.
        width: of each, inches.
        height: of each, inches.
        alt: what is seen.
        across: whether they stand side by side, and without ticks.
    """
    names = list(names)
    shape = (1, len(names)) if across else (len(names), 1)
    picture = Picture(width * shape[1], height * shape[0], alt)
    axes = picture.subplots(*shape, sharey=across, squeeze=False).flatten().tolist()
    for ax, name in zip(axes, names, strict=True):
        ax.set_title(name, fontsize=11, fontweight="bold", loc="center" if across else "left", pad=3)
        ax.grid(False)
        ax.spines[["top", "left", "right"]].set_visible(False)
        ax.set_axis_off() if across else None
    for ax in axes[:-1]:
        ax.set_xticks([])  # a drawing has them below all rows, or sets its own in each
    return picture, axes


def panes(
    count: int, columns: int, size: tuple[float, float], alt: str, margin: float = 0.0
) -> tuple[Picture, list[Axes]]:
    """A picture with so many empty axes, row by row.

    Args:
        count: of the axes.
        columns: axes in a row, at most.
        size: width and height of each, in inches.
        alt: what the picture shows, in words.
        margin: what the picture is wider than they are, in inches.
    """
    columns = max(1, min(columns, count))
    rows = max(1, -(-count // columns))
    picture = Picture(size[0] * columns + margin, size[1] * rows, alt)
    axes = [plain(ax) for ax in picture.subplots(rows, columns, squeeze=False).flatten()]
    return picture, axes[:count]


def box(ax: Axes, left: float, bottom: float, size: tuple[float, float], text: str = "", **look) -> None:
    """A box with words in its middle, which are black on a ground of their own where the box is hatched.

    Args:
        ax: where it is drawn.
        left: of the box.
        bottom: of the box.
        size: its width and height.
        text: the words.
        look: matplotlib's keywords for the box, and `ink`, the colour of the words.
    """
    ink = look.pop("ink", "black")
    look = {"edgecolor": "0.35", "linewidth": 0.8, "zorder": 2} | look
    ax.add_patch(Rectangle((left, bottom), *size, **look))
    if text:
        ground = {"facecolor": look["facecolor"], "edgecolor": "none", "pad": 1.5} if look.get("hatch") else None
        place = left + size[0] / 2, bottom + size[1] / 2
        ax.text(*place, text, ha="center", va="center", fontsize=8.5, color=ink, bbox=ground, zorder=3)


def above(ax: Axes, x: float, y: float, text: str, points: float = 2, **look) -> None:
    """Words above a place.

    Args:
        ax: where they are drawn.
        x: of the place.
        y: of the place.
        text: the words.
        points: how far above it they are.
        look: matplotlib's keywords.
    """
    look = {"ha": "center", "va": "bottom", "fontsize": 8.5} | look
    ax.annotate(text, (x, y), (0, points), textcoords="offset points", **look)


def swatches(kinds: dict[str, object]) -> list[Patch]:
    """Marks for a legend: a name for each colour, or for each of matplotlib's looks."""
    looks = {name: look if isinstance(look, dict) else {"facecolor": look} for name, look in kinds.items()}
    return [Patch(**{"edgecolor": "0.35"} | look, label=name) for name, look in looks.items()]
