"""Names beside points, where they cover as little as possible."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.text import Annotation
from matplotlib.transforms import Bbox

# where a label may stand: directions, and how many points away, the nearest first
DIRECTIONS = [(np.cos(a), np.sin(a)) for a in np.radians([0, 180, 90, 270, 45, 135, 225, 315])]
PLACES = [(direction, distance) for distance in (8, 18, 30, 44, 60, 80) for direction in DIRECTIONS]


def label(ax: Axes, points: Mapping[str, tuple[float, float]]) -> None:
    """Write each name near its point, over no other name and no line's points as far as there is room.

    A name that stands away from its point has a line to it.

    Args:
        ax: where the points are drawn already.
        points: x and y for every name.
    """
    ax.figure.draw_without_rendering()  # the layout decides where data lie in pixels
    size, frame = 4 * ax.figure.dpi / 72, ax.get_window_extent()
    marks = np.concatenate([_along(line.get_xydata()) for line in ax.lines])
    taken = [Bbox.from_bounds(*(mark - size), 2 * size, 2 * size) for mark in ax.transData.transform(marks)]
    for text, point in points.items():
        best = None
        for place in PLACES:
            note = _note(ax, text, point, *place, line=False)
            box = note.get_window_extent()
            note.remove()
            outside = box.x0 < frame.x0 or box.x1 > frame.x1 or box.y0 < frame.y0 or box.y1 > frame.y1
            cost = box.count_overlaps(taken) + 10 * outside  # leaving the axes is worse than covering something
            if best is None or cost < best[0]:
                best = cost, place, box
            if not cost:
                break
        _note(ax, text, point, *best[1], line=best[1][1] > 10)
        taken.append(best[2])


def _along(ends: np.ndarray) -> np.ndarray:
    """Points (m, 2) themselves, or of a line between two of them some more."""
    return np.linspace(*ends, 6) if len(ends) == 2 else ends


def _note(ax: Axes, text: str, point: Sequence[float], direction: tuple, distance: float, line: bool) -> Annotation:
    """A label so many points away from its point in a direction, with a thin line or without."""
    cos, sin = direction
    ha = "left" if cos > 0.1 else "right" if cos < -0.1 else "center"
    va = "bottom" if sin > 0.1 else "top" if sin < -0.1 else "center"
    look = {"arrowstyle": "-", "color": "0.6", "linewidth": 0.8, "shrinkA": 0, "shrinkB": 4} if line else None
    where = {"xytext": (distance * cos, distance * sin), "textcoords": "offset points", "ha": ha, "va": va}
    note = ax.annotate(text, point, fontsize=9, arrowprops=look, **where)
    note.set_in_layout(False)
    return note
