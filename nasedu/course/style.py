"""How the course's figures look: readable in print, on a projector and to colour-blind eyes."""

from __future__ import annotations

SETTINGS = {
    "figure.figsize": (7, 4),
    "figure.dpi": 90,
    "savefig.dpi": 150,
    "savefig.bbox": "tight",
    "font.size": 11,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.alpha": 0.25,
    "lines.linewidth": 2,
    "legend.frameon": False,
    "image.cmap": "viridis",
}


def use() -> None:
    """Set matplotlib's style: a colour-blind-safe cycle whose colours also differ in line style."""
    import matplotlib  # here, since the command line checks parameters without it

    colours = matplotlib.color_sequences["petroff8"]
    lines = ["-", "--", "-.", ":"] * 2
    matplotlib.rcParams.update(SETTINGS)
    matplotlib.rcParams["axes.prop_cycle"] = matplotlib.cycler(color=colours, linestyle=lines)
