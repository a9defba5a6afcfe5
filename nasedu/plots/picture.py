"""A figure that a notebook shows by itself, with its alt text, and the looks that all pictures share."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable, Sequence
from itertools import cycle

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from PIL import Image

COLOURS = matplotlib.color_sequences["petroff8"]  # safe for colour-blind eyes
MARKERS = "osD^vPX*"
LINES = ("-", "--", "-.", ":")
HATCHES = ("", "///", "...", "xx", "\\\\", "++", "oo", "--")
PALE, SKY, DEEP = "#c6dbef", "#6aaed6", "#1f5a96"  # light to dark: their order is seen without colours
SIDES = {"right": {"loc": "outside right center"}, "bottom": {"loc": "outside lower center", "ncols": 4, "fontsize": 9}}
Place = float | Sequence
THIN = {"color": "0.5", "linewidth": 1, "linestyle": "-"}


class Picture(Figure):
    """A matplotlib figure without pyplot, so nothing global is left behind; a notebook shows it with its `alt` text.

    Args:
        width: inches.
        height: inches.
        alt: one or two sentences that say what is seen; by default they are made of `kind`, titles, axes and legend.
        kind: what sort of picture it is, as in "Line chart".

    `told` is what the made alt text says last, such as values.
    """

    def __init__(self, width: float, height: float, alt: str = "", kind: str = "Picture"):
        super().__init__(figsize=(width, height), layout="constrained")
        self._alt, self.kind, self.legend_at, self.told = alt, kind, "right", ""

    @property
    def alt(self) -> str:
        """What is seen, in one or two sentences."""
        return self._alt or self._described()

    @alt.setter
    def alt(self, text: str) -> None:
        self._alt = text

    def _described(self) -> str:
        across = _told([self.get_supxlabel(), *(ax.get_xlabel() for ax in self.axes)])
        up = _told([self.get_supylabel(), *(ax.get_ylabel() for ax in self.axes)])
        titles = _told(ax.get_title(loc) for ax in self.axes for loc in ("center", "left"))
        text = self.kind + f" of {up}" * bool(up) + f" over {across}" * bool(across)
        text += f", in panels: {titles}" * bool(titles)
        shown = _told(name for ax in self.axes for name in ax.get_legend_handles_labels()[1])
        return text + "." + f" It shows {shown}." * bool(shown) + f" {self.told}." * bool(self.told)

    def guide(self, *, x: Place | None = None, y: Place | None = None, label: str = "", **look) -> Picture:
        """A thin line across every panel; a pair of numbers is a band, a list has one line for each panel.

        Args:
            x: where a vertical line stands.
            y: where a horizontal line stands.
            label: what it is called in the legend.
            look: matplotlib's keywords, in place of the house's.
        """
        name, value = ("v", x) if x is not None else ("h", y)
        for ax, at in zip(self.axes, value if isinstance(value, list) else [value] * len(self.axes), strict=False):
            if isinstance(at, tuple):
                band = {"color": "0.88", "linewidth": 0, "zorder": 0, "label": label} | look
                getattr(ax, f"ax{name}span")(*at, **band)
            else:
                line = {"color": "0.35", "linewidth": 1.3, "linestyle": ":", "zorder": 1, "label": label} | look
                getattr(ax, f"ax{name}line")(at, **line)
        return self.key() if label else self

    def key(self, where: str = "") -> Picture:
        """The legend of all panels, each name once: at the "right", at the "bottom", in "each" panel, or "none"."""
        self.legend_at = where or self.legend_at
        if self.legend_at == "each":
            for ax in self.axes:
                alone = len({ax.get_position().x0 for ax in self.axes}) == 1  # one below the other: there is room
                beside = {"loc": "center left", "bbox_to_anchor": (1, 0.5)} if alone else {}
                ax.legend(fontsize=9, **beside) if ax.get_legend_handles_labels()[1] else None
            return self
        marks = {}
        for ax in self.axes:
            for handle, name in zip(*ax.get_legend_handles_labels(), strict=True):
                marks.setdefault(name, handle)
        self.legends.clear()
        if self.legend_at in SIDES and len(marks) > 1:
            self.legend(marks.values(), marks.keys(), **SIDES[self.legend_at])
        return self

    def png(self) -> bytes:
        """The figure as a PNG at its own resolution, in 256 colours: a notebook with photographs stays small."""
        self.draw_without_rendering()  # the layout settles, so that the same figure gives the same bytes
        drawn, small = io.BytesIO(), io.BytesIO()
        self.savefig(drawn, format="png", dpi=self.dpi)
        Image.open(drawn).convert("RGB").quantize(256).save(small, "png", optimize=True)
        return small.getvalue()

    def base64(self) -> str:
        """The PNG as text, as notebooks and pages hold it."""
        return base64.b64encode(self.png()).decode()

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> tuple[dict, dict]:
        """The PNG, and its alt text where Jupyter's pages look for it."""
        return {"image/png": self.base64()}, {"image/png": {"alt": self.alt}}


def _told(texts: Iterable[str]) -> str:
    """Each text once, on one line, with commas between them."""
    return ", ".join(dict.fromkeys(" ".join(text.split()) for text in texts if text.strip()))


def styles(names: Iterable[str]) -> dict[str, dict]:
    """For every name a colour, a marker and a line style: no two names share all, and none relies on colour alone."""
    looks = zip(dict.fromkeys(names), cycle(COLOURS), cycle(MARKERS), cycle(LINES), strict=False)
    return {name: {"color": colour, "marker": marker, "linestyle": line} for name, colour, marker, line in looks}


def every(points: int, marks: int = 8, log: bool = False) -> int | list[int]:
    """`markevery` for a line, whose markers are then evenly apart.

    Args:
        points: of the line.
        marks: about how many markers it gets.
        log: whether its axis is logarithmic.
    """
    if log and points > marks:
        return sorted({round(place) - 1 for place in np.geomspace(1, points, marks)})
    return max(1, points // marks)


def plain(ax: Axes) -> Axes:
    """An axes without frame, grid and ticks, for a drawing."""
    ax.grid(False)
    ax.set_axis_off()
    return ax


def ink(colour: object) -> str:
    """Black or white, whichever is read on that colour."""
    return "black" if float(np.dot(to_rgb(colour), (0.3, 0.59, 0.11))) > 0.5 else "white"
