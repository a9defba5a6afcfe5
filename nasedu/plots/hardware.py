"""Where a network's cost lies: its layers' shares of MACs, parameters and memory."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from nasedu.errors import ParameterError
from nasedu.hardware import Count
from nasedu.plots.mobile import DEEP, SKY
from nasedu.plots.picture import Picture

# what a panel shows, its title, and the units that its total is written in: a factor and a name each, largest first
PANELS = {
    "macs": ("MACs", ((1e9, "G"), (1e6, "M"), (1e3, "k"), (1, ""))),
    "params": ("parameters", ((1e6, "M"), (1e3, "k"), (1, ""))),
    "activation_bytes": ("activation memory", ((2**20, "MiB"), (2**10, "KiB"), (1, "bytes"))),
}


def layer_costs(count: Count, depth: int | None = 1, top: int = 30) -> Picture:
    """Horizontal bars: every block's share of the MACs, of the parameters and of the memory of all results, in %.

    From top to bottom as the data flow. A block is what shares the first `depth` parts of its layers' names, after the
    parts that all share; None shows every layer. More than `top` rows: the cheapest become one, the last. The longest
    bar of a panel is the dark one. Raises `ParameterError`.
    """
    if top < 2 or (depth is not None and depth < 1):
        raise ParameterError(f"layer_costs needs top of 2 or more and depth of 1 or more, got {top} and {depth}")
    every = _shares(count, depth)
    shares = _largest(every, top)
    picture = Picture(11, 1.3 + 0.23 * len(shares))
    axes = picture.subplots(1, len(PANELS), sharey=True)
    columns = np.stack(list(shares.values())).T  # (panels, rows)
    for ax, values, (column, (title, units)) in zip(axes, columns, PANELS.items(), strict=True):
        _bars(ax, values, len(every) > top)
        ax.set_title(f"{title}: {_amount(getattr(count, column), units)}", fontsize=11)
    first = picture.axes[0]
    first.set_yticks(range(len(shares)), list(shares), fontsize=9)
    first.set_ylim(len(shares) - 0.4, -0.6)  # the input's end on top
    picture.supxlabel("share of the total (%)", fontsize=11)
    return picture


def _shares(count: Count, depth: int | None) -> dict[str, np.ndarray]:
    """Per block, in order, its share of every panel's total in % (panels,)."""
    totals = np.array([max(getattr(count, column), 1) for column in PANELS])
    shares: dict[str, np.ndarray] = {}
    for layer, name in zip(count.layers, _blocks(count, depth), strict=True):
        costs = np.array([getattr(layer, column) for column in PANELS])
        shares[name] = shares.get(name, 0) + 100 * costs / totals
    return shares


def _blocks(count: Count, depth: int | None) -> list[str]:
    """The block that each layer belongs to; the parts with which all names begin say nothing, and are left out."""
    names = [layer.name.split(".") for layer in count.layers]
    shared = 0
    while len({tuple(name[: shared + 1]) for name in names}) == 1 and min(map(len, names)) > shared + 1:
        shared += 1
    return [".".join(name[shared:][:depth]) for name in names]


def _largest(shares: Mapping[str, np.ndarray], top: int) -> dict[str, np.ndarray]:
    """At most `top` rows: those with the largest share of anything, in their order, and the sum of the others."""
    if len(shares) <= top:
        return dict(shares)
    kept = set(sorted(shares, key=lambda name: -shares[name].max())[: top - 1])
    others = [row for name, row in shares.items() if name not in kept]
    return {name: row for name, row in shares.items() if name in kept} | {f"{len(others)} others": sum(others)}


def _bars(ax: Axes, values: np.ndarray, others: bool) -> None:
    """Shares (rows,) in % as bars with their number; the longest is dark, and the last is pale where it is `others`."""
    blocks = values[:-1] if others else values
    colours = [DEEP if value == blocks.max() > 0 else SKY for value in blocks] + ["0.75"] * others
    ax.barh(range(len(values)), values, 0.74, color=colours)
    for row, value in enumerate(values):
        text = f"{value:.1f}" if value >= 0.05 else ("<0.1" if value > 0 else "–")
        ax.annotate(text, (value, row), (3, 0), textcoords="offset points", va="center", fontsize=8, color="0.25")
    ax.set_xlim(0, 1.16 * max(values.max(), 1e-9))
    ax.xaxis.set_major_locator(MaxNLocator(5))
    ax.grid(False, axis="y")
    ax.tick_params(axis="y", length=0)
    ax.spines[["top", "right"]].set_visible(False)


def _amount(total: int, units: tuple[tuple[float, str], ...]) -> str:
    factor, unit = next(((f, u) for f, u in units if total >= f), units[-1])
    return f"{total / factor:,.3g} {unit}".strip()
