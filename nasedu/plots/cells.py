"""Cells of NAS-Bench-201's space as graphs: four nodes, and on each edge the operation that it carries."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.patches import FancyArrowPatch
from torch import Tensor

from nasedu.errors import ArchitectureError
from nasedu.plots.diagram import above, panes
from nasedu.plots.forms import heat
from nasedu.plots.picture import COLOURS, Picture
from nasedu.spaces.base import Arch, Path, SearchSpace
from nasedu.spaces.nasbench201 import EDGES, NasBench201Space
from nasedu.supernet.mixed import Subset

LOOKS = {  # colour, line style and width of an edge: none of them is told by its colour alone
    "none": ("0.75", ":", 1.2),
    "skip_connect": ("0.35", "--", 1.6),
    "nor_conv_1x1": (COLOURS[1], "-", 2.2),
    "nor_conv_3x3": (COLOURS[0], "-", 3.4),
    "avg_pool_3x3": (COLOURS[4], "-.", 2.2),
}
SHORT = dict(zip(LOOKS, ("none", "skip", "conv 1×1", "conv 3×3", "pool 3×3"), strict=True))
UNDECIDED = ("0.35", "-", 1.6)
ORIGINS = ("#e3eef7", "#f4b860", "#a63d40")  # first parent, second, redrawn: light to dark
NODES = ("in", "1", "2", "out")
BEND = {(1, 0): 0.0, (2, 1): 0.0, (3, 2): 0.0, (2, 0): -0.62, (3, 1): 0.62, (3, 0): -0.8}  # of an edge's arc


def cells(space: SearchSpace, paths: Mapping[str, Path] | None = None, columns: int = 3) -> Picture:
    """A panel for every path by name, or one of the space itself: the cell as a graph, from the input to the output.

    A decided edge carries its operation; "none" is dotted and has no label. An undecided one, with weights
    (n_choices,), lists all of them. Of the space, every edge lists its choices.

    Args:
        space: of cells as NAS-Bench-201's.
        paths: by name.
        columns: panels in a row, at most.

    Raises `ArchitectureError` for a space without such cells.
    """
    if not isinstance(space, NasBench201Space):
        raise ArchitectureError(f"only a cell of nasbench201 is drawn as a graph, {space.name} has none")
    panels = dict(paths) if paths is not None else {"": None}
    tall = any(path is None or any(not isinstance(e, int) for e in path) for path in panels.values())
    wide = 5.0 if tall else 3.9
    alt = "Cells as graphs, from in to out over two nodes."
    picture, axes = panes(len(panels), columns, (wide, 0.68 * wide + 0.2), alt, margin=0.2)
    for ax, (name, path) in zip(axes, panels.items(), strict=True):
        picture.alt += f" {name or space.name}: {_cell(ax, space, path)}."
        ax.set_title(name, fontsize=11, fontweight="bold", pad=2)
    return picture


def _cell(ax: Axes, space: NasBench201Space, path: Path | None) -> str:
    """One cell: edges first, then their labels, then the nodes on top. Returns it in words."""
    told = []
    entries = [None] * len(EDGES) if path is None else list(path)
    if len(entries) != len(EDGES):
        raise ArchitectureError(f"a cell has {len(EDGES)} edges, the path decides {len(entries)}")
    for edge, entry in zip(EDGES, entries, strict=True):
        (colour, line, width), label = _look(space.operations, entry)
        (node, source), bend = edge, BEND[edge]
        told.append(f"{NODES[source]} to {NODES[node]} {label.replace(chr(10), ', ') or 'none'}")
        style = f"arc3,rad={bend}"
        arrow = {"arrowstyle": "-|>", "mutation_scale": 13, "shrinkA": 13, "shrinkB": 13, "connectionstyle": style}
        arrow |= {"color": colour, "linestyle": line, "linewidth": width, "zorder": 1}
        ax.add_patch(FancyArrowPatch((source, 0), (node, 0), **arrow))
        middle = (source + node) / 2, -bend * (node - source) / 2  # of the arc, a quadratic curve
        if label:
            ground = {"facecolor": "white", "edgecolor": "none", "pad": 1.8}
            upright = "center" if bend else "bottom"  # on its arc, or above its line, which is short
            above(ax, *middle, label, 0 if bend else 5, va=upright, linespacing=1.15, bbox=ground, zorder=2)
    for node, name in enumerate(NODES):
        ax.plot(node, 0, "o", markersize=24, color="white", markeredgecolor="0.2", markeredgewidth=1.5, zorder=3)
        ax.text(node, 0, name, ha="center", va="center", fontsize=9, zorder=4)
    ax.set(xlim=(-0.3, 3.3), ylim=(-0.95, 1.5), aspect="equal")
    return "; ".join(told) if path else f"each edge one of {', '.join(SHORT[name] for name in space.operations)}"


def _look(operations: Sequence[str], entry: object) -> tuple[tuple[str, str, float], str]:
    """An edge's colour, line style and width, and its label."""
    if entry is None:
        return UNDECIDED, "\n".join(SHORT[name] for name in operations)
    if isinstance(entry, Tensor | Subset):
        chosen, weights = (entry.indices, entry.weights) if isinstance(entry, Subset) else (range(len(entry)), entry)
        told = zip(weights.tolist(), (SHORT[operations[i]] for i in chosen), strict=True)
        return UNDECIDED, "\n".join(f"{weight:.2f} {name}" for weight, name in told)
    name = operations[int(entry)]
    return LOOKS[name], "" if name == "none" else SHORT[name]


def genes(
    space: SearchSpace, archs: Mapping[str, Arch], origins: Mapping[str, Sequence[int]], kinds: Sequence[str]
) -> Picture:
    """A row of boxes for every architecture: one for each decision, with the choice in it.

    Args:
        space: whose architectures they are.
        archs: by name.
        origins: for every name a number for each decision, 0, 1 or 2: a colour, the larger the darker.
        kinds: what these numbers are, in the legend; "" for one that does not occur.
    """
    names = [decision.name for decision in space.decisions]
    rows: dict[str, list[list[str]]] = {"kinds": [], "texts": []}
    for name, arch in archs.items():
        chosen = [d.choices[i] for d, i in zip(space.decisions, space.validate(arch), strict=True)]
        rows["texts"].append([SHORT.get(c, c).removeprefix("conv ").removesuffix(" 3×3") for c in chosen])
        rows["kinds"].append([kinds[origin] for origin in origins[name]])
    tables = {what: pd.DataFrame(table, list(archs), names) for what, table in rows.items()}
    colours = {kind: colour for kind, colour in zip(kinds, ORIGINS, strict=False) if kind}
    told = (f"{name}: {', '.join(texts)}" for name, texts in zip(archs, rows["texts"], strict=True))
    alt = f"Genes, a box each; colours tell what is {', '.join(colours)}. {'; '.join(told)}."
    size = {"width": 1.05 * len(names) + 1.4, "height": 0.5 * len(archs) + 0.9}
    return heat(tables["kinds"], texts=tables["texts"], colours=colours, alt=alt, **size)
