"""Pictures of what proxies look at: matrices side by side, and a value followed from layer to layer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from nasedu.errors import ParameterError
from nasedu.plots.picture import Picture, every, styles


def matrices(
    panels: Mapping[str, np.ndarray],
    *,
    limits: tuple[float, float] | None = None,
    colours: str = "cividis",
    xlabel: str = "",
    ylabel: str = "",
    width: float = 3.1,
    bar: str = "",
) -> Picture:
    """Matrices (rows, columns) as heat maps, a panel for every name, stretched to squares.

    With `limits` all panels share one scale, and `bar` is the label of its colour bar; without, every panel has a scale
    of its own. Raises `ParameterError` where there is nothing to draw or a panel is not a matrix.
    """
    if not panels:
        raise ParameterError("there is nothing to draw: no matrix")
    picture = Picture(width * len(panels) + 0.4 + 0.6 * bool(bar), width + 0.5)
    axes = picture.subplots(1, len(panels), squeeze=False).flatten()
    low, high = limits or (None, None)
    for ax, (name, values) in zip(axes, panels.items(), strict=True):
        values = np.asarray(values, dtype=float)
        if values.ndim != 2:
            raise ParameterError(f"{name!r} must be a matrix (rows, columns), got the shape {values.shape}")
        image = ax.imshow(values, cmap=colours, vmin=low, vmax=high, aspect="auto", interpolation="nearest")
        ax.set_title(name, fontsize=11)
        ax.set_xlabel(xlabel)
        ax.set_box_aspect(1)
        ax.grid(False)
        ax.tick_params(labelsize=8)
        ax.locator_params(integer=True, nbins=6)
    axes[0].set_ylabel(ylabel)
    if bar:
        picture.colorbar(image, ax=axes, label=bar, shrink=0.8, pad=0.02)
    return picture


def profile(
    lines: Mapping[str, Sequence[float]],
    x: Sequence[float] | Sequence[str],
    *,
    xlabel: str = "",
    ylabel: str = "",
    logy: bool = False,
    logx: bool = False,
    joined: bool = True,
    width: float = 8,
) -> Picture:
    """Several values at the same places `x` (n,): a line with markers for every name, or markers alone.

    `x` are numbers, or names, which are written slanted where they are long. A linear axis of
    values without sign begins at 0. Raises `ParameterError` for no line, or one of another length.
    """
    if not lines or not len(x):
        raise ParameterError("there is nothing to draw: no line")
    named = isinstance(x[0], str)
    picture = Picture(width, 3.4)
    ax = picture.subplots()
    places = range(len(x)) if named else x
    for name, look in styles(lines).items():
        if len(lines[name]) != len(x):
            raise ParameterError(f"{name!r} has {len(lines[name])} values at {len(x)} places")
        look = look if joined else look | {"linestyle": ""}
        ax.plot(places, lines[name], label=name, markevery=every(len(x), 24), markersize=6, **look)
    ax.set(xlabel=xlabel, ylabel=ylabel, yscale="log" if logy else "linear", xscale="log" if logx else "linear")
    for axis, log in ((ax.xaxis, logx), (ax.yaxis, logy)):
        if log:
            axis.set_major_formatter("{x:g}")  # 100 instead of a power of ten
            axis.set_minor_formatter("")
    if not logy and min(min(line) for line in lines.values()) >= 0:
        ax.set_ylim(0, None)
    if named:
        slanted = {"rotation": 45, "ha": "right", "rotation_mode": "anchor"} if max(map(len, x)) > 3 else {}
        ax.set_xticks(places, x, fontsize=9, **slanted)
    if len(lines) > 1:
        ax.legend(loc="center left", bbox_to_anchor=(1, 0.5))
    return picture
