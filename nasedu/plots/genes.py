"""Architectures as strips of genes, so that one sees which gene of a child comes from where."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator

from nasedu.plots.picture import COLOURS, Picture
from nasedu.spaces.base import Arch, SearchSpace

ORIGINS = (("#cfe2f3", ""), ("#fbe3c0", "///"), ("#f4c7c3", "xxx"))  # colour and hatch: first parent, second, redrawn
SHORTER = {"none": "none", "skip_connect": "skip", "nor_conv_1x1": "1×1", "nor_conv_3x3": "3×3", "avg_pool_3x3": "pool"}


def genes(
    space: SearchSpace, archs: Mapping[str, Arch], origins: Mapping[str, Sequence[int]], kinds: Sequence[str]
) -> Picture:
    """A row of boxes for every architecture by name: one for each decision, with the choice in it.

    `origins` has per row a number for every decision: 0, 1 or 2, a colour and a hatch each. `kinds` says what they are,
    in the legend; "" for one that does not occur.
    """
    picture = Picture(1.05 * len(space.decisions) + 3.6, 0.62 * len(archs) + 0.55)
    ax = picture.subplots()
    for row, (name, arch) in enumerate(archs.items()):
        chosen = [d.choices[i] for d, i in zip(space.decisions, space.validate(arch), strict=True)]
        for i, (choice, origin) in enumerate(zip(chosen, origins[name], strict=True)):
            _gene(ax, (i, -row), SHORTER.get(choice, choice), origin)
        ax.text(-0.62, -row, name, ha="right", va="center", fontsize=10)
    for i, decision in enumerate(space.decisions):
        ax.text(i, 0.52, decision.name, ha="center", va="bottom", fontsize=8.5, color="0.35")
    ax.set(xlim=(-2.6, len(space.decisions) - 0.4), ylim=(-len(archs) + 0.4, 0.85))
    ax.set_axis_off()
    named = [(kind, colour, hatch) for kind, (colour, hatch) in zip(kinds, ORIGINS, strict=False) if kind]
    marks = [Rectangle((0, 0), 1, 1, facecolor=c, hatch=h, edgecolor="0.5") for _, c, h in named]
    ax.legend(marks, [kind for kind, _, _ in named], loc="center left", bbox_to_anchor=(1, 0.5), fontsize=9)
    return picture


def _gene(ax: Axes, place: tuple[float, float], text: str, origin: int) -> None:
    x, y = place
    colour, hatch = ORIGINS[origin]
    box = {"facecolor": colour, "hatch": hatch, "edgecolor": "0.55", "linewidth": 0.8}
    ax.add_patch(Rectangle((x - 0.46, y - 0.36), 0.92, 0.72, **box))
    ground = {"facecolor": colour, "edgecolor": "none", "pad": 1.5}
    ax.text(x, y, text, ha="center", va="center", fontsize=9, bbox=ground)


def selection(chances: Mapping[str, Sequence[float]]) -> Picture:
    """How likely a member of the population becomes a parent, by its rank (1 is the best): a line for each rule."""
    picture = Picture(7, 3)
    ax = picture.subplots()
    for i, (name, values) in enumerate(chances.items()):
        look = {"color": COLOURS[i], "marker": "osD^vP"[i % 6], "linestyle": ("-", "--", "-.", ":")[i % 4]}
        ax.plot(range(1, len(values) + 1), values, label=name, markersize=5, **look)
    ax.set(xlabel="rank in the population", ylabel="probability to be a parent", ylim=(0, None))
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.legend(loc="center left", bbox_to_anchor=(1, 0.5))
    return picture
