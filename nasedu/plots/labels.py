"""Names beside points, where they cover as little as possible."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.path import Path
from matplotlib.transforms import Bbox

# where a name may stand: points to the right and upwards, the nearest first
AROUND = [(1, 0), (-1, 0), (0, 1), (0, -1), (1, 1), (-1, 1), (-1, -1), (1, -1)]
PLACES = [(far * across, far * up) for far in (8, 14, 22, 32, 44, 58) for across, up in AROUND]
SIDES = {-1: "right", 0: "center", 1: "left"}  # of a name that lies at its place


def label(ax: Axes, points: Mapping[str, tuple[float, float]]) -> None:
    """Write each name near its point, over no other name and no mark as far as there is room, with a line to it.

    Args:
        ax: where the points are drawn already.
        points: x and y for every name; what is not finite is not drawn, and gets no name.
    """
    ax.figure.draw_without_rendering()  # the layout decides where data lie in pixels
    points = {text: point for text, point in points.items() if np.isfinite(np.asarray(point, dtype=float)).all()}
    drawn = [xy[np.isfinite(xy).all(axis=1)] for xy in (line.get_xydata() for line in ax.lines)]
    if not points:
        return
    marks = np.concatenate([np.linspace(*xy, 6) if len(xy) == 2 else xy for xy in drawn])
    taken = [Bbox.from_bounds(*(mark - 5), 10, 10) for mark in ax.transData.transform(marks)]
    frame, ways = ax.get_window_extent(), []
    look = {"textcoords": "offset points", "va": "center", "fontsize": 9, "annotation_clip": False}
    for text, point in points.items():
        boxes = []
        for at in PLACES:
            note = ax.annotate(text, point, at, ha=SIDES[np.sign(at[0])], **look)
            boxes.append(note.get_window_extent())
            note.remove()
        leaving = [10 * (not frame.contains(*box.min) or not frame.contains(*box.max)) for box in boxes]
        lines = [Path([ax.transData.transform(point), (box.min + box.max) / 2]) for box in boxes]
        crossing = [sum(map(line.intersects_path, ways)) + sum(map(line.intersects_bbox, taken)) / 4 for line in lines]
        best = int(np.argmin(np.sum([[box.count_overlaps(taken) for box in boxes], leaving, crossing], axis=0)))
        taken.append(boxes[best])
        ways.append(lines[best])
        at, line = PLACES[best], {"arrowstyle": "-", "color": "0.6", "shrinkA": 0, "shrinkB": 4}
        note = ax.annotate(text, point, at, ha=SIDES[np.sign(at[0])], arrowprops=line, **look)
        note.set_in_layout(False)
