"""Pictures of a search: scores, probabilities, losses, budgets, and what came of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from matplotlib.axes import Axes

from nasedu.plots.picture import Picture, every, styles
from nasedu.search.descent import Descent
from nasedu.spaces.base import Slot
from nasedu.tables.derive import TOLERANCE, Derived
from nasedu.tables.table import LookupTable

TITLES = {"zero_cost": "zero-cost score", "flops": "FLOPs", "depth": "depth", "latency": "latency"}
BANDS = ((0.95, 0.9, 0.25), (0.37, 0.78, 0.4), (0.2, 0.45, 0.6), (0.27, 0.0, 0.33))  # light to dark


def score_map(table: LookupTable) -> Picture:
    """A block-wise table as a heat map: a row per block, a column per option (width, depth).

    Blocks differ in size, so colour and number show each option's lead over the lowest of its own block.
    """
    kinds = {}
    for slot, entry in zip(table.space.slots, table.entries, strict=True):
        kinds.setdefault(tuple(d.choices for d in slot.decisions), []).append((slot, entry - entry.min()))
    picture = Picture(11, 1.6 + 0.42 * len(table.entries))
    heights = [len(rows) for rows in kinds.values()]
    axes = picture.subplots(len(kinds), 1, squeeze=False, height_ratios=heights).flatten()
    top = max(float(entry.max()) for rows in kinds.values() for _, entry in rows)
    for ax, rows in zip(axes, kinds.values(), strict=True):
        image = _heat(ax, [slot for slot, _ in rows], torch.stack([entry for _, entry in rows]), top)
    picture.colorbar(image, ax=list(axes), label=f"lead within the block ({table.unit})", pad=0.01)
    return picture


def score_by_depth(scores: Mapping[str, torch.Tensor], slot: Slot, unit: str = "log |det K| per image") -> Picture:
    """The scores (widths, depths) of one block over its depth, one panel per name, one line per width ratio."""
    width, depth = slot.decisions
    picture = Picture(9, 3.2)
    for ax, (name, score) in zip(picture.subplots(1, len(scores), sharey=True), scores.items(), strict=True):
        for i, look in enumerate(styles(width.choices).values()):
            ax.plot(range(len(depth.choices)), score[i].tolist(), label=f"γ = {width.choices[i]}", **look)
        ax.set(title=name, xlabel=f"bottlenecks in {slot.name}")
        ax.set_xticks(range(len(depth.choices)), depth.choices)
    picture.axes[0].set_ylabel(unit)
    picture.axes[-1].legend(loc="center left", bbox_to_anchor=(1, 0.5))
    return picture


def samples(draws: Mapping[float, torch.Tensor]) -> Picture:
    """Samples (samples, choices) by temperature: a panel each, a bar per sample, its weights stacked."""
    picture = Picture(10, 2.8)
    for ax, (temperature, weights) in zip(picture.subplots(1, len(draws), sharey=True), draws.items(), strict=True):
        bottoms = weights.cumsum(1) - weights
        for i in range(weights.shape[1]):
            bars = {"bottom": bottoms[:, i].tolist(), "color": BANDS[i % len(BANDS)], "edgecolor": "white"}
            ax.bar(range(1, len(weights) + 1), weights[:, i].tolist(), **bars)
        ax.set(title=f"T = {temperature:g}", xlabel="sample", ylim=(0, 1), xticks=range(1, len(weights) + 1))
        ax.tick_params(axis="x", labelsize=8)
        ax.grid(False)
    picture.axes[0].set_ylabel("weight of each choice")
    return picture


def probabilities(descent: Descent, seed: int = 0) -> Picture:
    """softmax(theta / T) over the steps: a column per slot, a row per decision of a slot, choices stacked in order."""
    space = descent.space
    steps = [record["step"] for record in descent.history]
    p = torch.stack([record["probabilities"][seed] for record in descent.history])
    rows = max(map(len, space.groups))
    picture = Picture(11, 0.8 + 1.6 * rows)
    axes = picture.subplots(rows, len(space.slots), sharex=True, sharey=True, squeeze=False)
    for column, (slot, group) in enumerate(zip(space.slots, space.groups, strict=True)):
        for row, d in enumerate(group):
            choices = space.decisions[d].choices
            areas = p[:, d, : len(choices)].T.numpy()
            axes[row, column].stackplot(steps, areas, colors=BANDS[-len(choices) :], edgecolor="white", linewidth=0.6)
            _name_bands(axes[row, column], steps, areas[:, -1], choices)
        axes[0, column].set_title(slot.name, fontsize=10)
    for row, decision in enumerate(space.slots[0].decisions):
        axes[row, 0].set_ylabel(f"probability\nof each {decision.name.split('.')[-1]}")
    for ax in picture.axes:
        ax.set(xlim=(steps[0], max(steps[-1], 1)), ylim=(0, 1))
        ax.tick_params(labelsize=8)
        ax.grid(False)
    picture.supxlabel("step", fontsize=11)
    return picture


def loss_terms(steps: Sequence[int], terms: Mapping[str, Sequence[float]]) -> Picture:
    """The weighted terms of the loss over the steps: a panel each, for they differ in size."""
    picture = Picture(11, 2.9)
    for ax, (name, look) in zip(picture.subplots(1, len(terms)), styles(terms).items(), strict=True):
        ax.plot(steps, terms[name], markevery=every(len(steps)), markersize=5, **look)
        ax.set(title=TITLES.get(name, name), xlabel="step")
        ax.ticklabel_format(useOffset=False)
    picture.axes[0].set_ylabel("weighted term of the loss")
    return picture


def budget(steps: Sequence[int], flops: Sequence[float], derived: Derived) -> Picture:
    """Expected FLOPs over the steps, the target with its tolerance, and what the derived architecture costs.

    `flops` is in the unit of `derived`, MACs; the axis shows GFLOPs.
    """
    target, last = 2e-9 * derived.target, steps[-1]
    picture = Picture(8, 3.6)
    ax = picture.subplots()
    look = styles(["expected", "argmax", "derived"])
    ax.axhspan(target * (1 - TOLERANCE), target * (1 + TOLERANCE), color="0.9", label=f"target ± {TOLERANCE:.0%}")
    ax.axhline(target, color="0.4", linestyle=":", label=f"target, {target:.4g} GFLOPs")
    line = {"markevery": every(len(steps)), "markersize": 5, "label": "expected, softmax(θ / T)"}
    ax.plot(steps, [2e-9 * value for value in flops], **line, **look["expected"])
    points = {"argmax": ("most probable", derived.argmax_cost), "derived": ("derived", derived.cost)}
    for name, (label, cost) in points.items():
        if name == "derived" or derived.repaired:
            mark = look[name] | {"linestyle": "", "markersize": 11, "label": f"{label}, {2e-9 * cost:.4g} GFLOPs"}
            ax.plot([last * 1.02], [2e-9 * cost], **mark)
    ax.set(xlabel="step", ylabel="GFLOPs per image")
    ax.legend(loc="center left", bbox_to_anchor=(1, 0.5))
    return picture


def trade_off(frame, cost: str = "latency_ms", score: str = "AP", unit: str = "latency (ms, batch 1)") -> Picture:
    """Score against cost, one labelled marker for each row of a DataFrame such as `wzdnas.report` returns."""
    picture = Picture(6, 4)
    ax = picture.subplots()
    for name, look in styles(frame.index).items():
        x, y = float(frame.loc[name, cost]), float(frame.loc[name, score])
        ax.plot([x], [y], **look | {"linestyle": "", "markersize": 11})
        ax.annotate(name, (x, y), xytext=(9, 7), textcoords="offset points")
    ax.margins(0.45, 0.35)
    ax.set(xlabel=unit, ylabel=score)
    return picture


def _heat(ax: Axes, slots: Sequence[Slot], leads: torch.Tensor, top: float):
    """Rows of one kind of block: leads (slots, widths, depths)."""
    widths, depths = (d.choices for d in slots[0].decisions)
    flat = leads.flatten(1).numpy()
    image = ax.imshow(flat, cmap="cividis", vmin=0, vmax=top, aspect="auto")
    for (row, column), value in np.ndenumerate(flat):
        shade = "white" if value < 0.6 * top else "black"
        ax.text(column, row, f"{value:.2f}", ha="center", va="center", fontsize=8, color=shade)
    ax.set_yticks(range(len(slots)), [slot.name for slot in slots])
    ax.set_xticks(range(flat.shape[1]), [f"n {n}" for _ in widths for n in depths], fontsize=8)
    for i, width in enumerate(widths):
        middle = (i + 0.5) * len(depths) - 0.5
        ax.text(middle, -0.6, f"γ = {width}", ha="center", va="bottom", fontsize=10)
        ax.axvline((i + 1) * len(depths) - 0.5, color="white", linewidth=3, linestyle="-")
    ax.grid(False)
    ax.spines[:].set_visible(False)
    return image


def _name_bands(ax: Axes, steps: Sequence[int], last: np.ndarray, choices: Sequence[str]) -> None:
    """Write each choice into its band at the end, where the band is wide enough."""
    edges = np.concatenate([[0], np.cumsum(last)])
    for i, choice in enumerate(choices):
        if last[i] > 0.12:
            dark = i >= len(choices) - 2
            place = steps[0] + 0.95 * (steps[-1] - steps[0]), (edges[i] + edges[i + 1]) / 2
            ax.text(*place, choice, ha="right", va="center", fontsize=8, color="white" if dark else "black")
