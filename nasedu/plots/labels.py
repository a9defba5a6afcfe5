"""Names beside points, where they cover as little as possible."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.text import Annotation
from matplotlib.transforms import Bbox

# where a name may stand: points to the right and upwards, the nearest first
DIRECTIONS = [(np.cos(a), np.sin(a)) for a in np.radians([0, 180, 90, 270, 45, 135, 225, 315])]
PLACES = [(far * cos, far * sin) for far in (8, 18, 30, 44, 60, 80) for cos, sin in DIRECTIONS]
ENDS = (("left", "right"), ("bottom", "top"))  # of a name, which lies at its place


def label(ax: Axes, points: Mapping[str, tuple[float, float]]) -> None:
    """Write each name near its point, over no other name and no mark as far as there is room, with a line to it.

    Args:
        ax: where the points are drawn already.
        points: x and y for every name.
    """
    ax.figure.draw_without_rendering()  # the layout decides where data lie in pixels
    marks = np.concatenate(
        [np.linspace(*xy, 6) if len(xy) == 2 else xy for xy in (line.get_xydata() for line in ax.lines)]
    )
    taken = [Bbox.from_bounds(*(mark - 5), 10, 10) for mark in ax.transData.transform(marks)]
    frame = ax.get_window_extent()
    for text, point in points.items():
        tried = {}
        for place in PLACES:
            note = _note(ax, text, point, place, None)
            box = note.get_window_extent()
            note.remove()
            outside = box.x0 < frame.x0 or box.x1 > frame.x1 or box.y0 < frame.y0 or box.y1 > frame.y1
            tried[place] = box.count_overlaps(taken) + 10 * outside, box  # leaving is worse than covering something
            if not tried[place][0]:
                break
        place = min(tried, key=lambda place: tried[place][0])
        far = max(map(abs, place)) > 10
        _note(ax, text, point, place, {"arrowstyle": "-", "color": "0.6", "shrinkA": 0, "shrinkB": 4} if far else None)
        taken.append(tried[place][1])


def _note(ax: Axes, text: str, point: tuple, place: tuple, arrow: dict | None) -> Annotation:
    sides = ["center" if abs(shift) < 1 else ends[int(shift < 0)] for shift, ends in zip(place, ENDS, strict=True)]
    look = {"ha": sides[0], "va": sides[1], "fontsize": 9, "arrowprops": arrow, "annotation_clip": False}
    note = ax.annotate(text, point, place, textcoords="offset points", **look)
    note.set_in_layout(False)
    return note
