"""A figure that a notebook shows by itself, and the colours, markers and lines that all pictures share."""

from __future__ import annotations

import io
from collections.abc import Iterable

import matplotlib
from matplotlib.figure import Figure

COLOURS = matplotlib.color_sequences["petroff8"]  # safe for colour-blind eyes
MARKERS = "osD^vPX*"
LINES = ("-", "--", "-.", ":")


class Picture(Figure):
    """A matplotlib figure of `width` by `height` inches without pyplot, so nothing global is left behind.

    A notebook shows a plain `Figure` only once pyplot has been imported; this one it always shows.
    """

    def __init__(self, width: float, height: float):
        super().__init__(figsize=(width, height), layout="constrained")

    def png(self) -> bytes:
        """The figure as a PNG at its own resolution."""
        buffer = io.BytesIO()
        self.savefig(buffer, format="png", dpi=self.dpi, metadata={"Software": None})
        return buffer.getvalue()

    _repr_png_ = png


def styles(names: Iterable[str]) -> dict[str, dict]:
    """For every name a colour, a marker and a line style: no two names share all, and none relies on colour alone."""
    return {
        name: {
            "color": COLOURS[i % len(COLOURS)],
            "marker": MARKERS[i % len(MARKERS)],
            "linestyle": LINES[i % len(LINES)],
        }
        for i, name in enumerate(names)
    }


def every(points: int, marks: int = 8) -> int:
    """`markevery` for a line of so many points: about `marks` markers."""
    return max(1, points // marks)
