"""Pictures of hardware losses: their curves over cost, and the front that a sweep of budgets draws."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from nasedu.hardware import losses
from nasedu.hardware.losses import HardwareLoss
from nasedu.plots.picture import LINES, MARKERS, Picture, every, styles
from nasedu.search.pareto import Front


def loss_curves(
    which: Sequence[str] | Mapping[str, HardwareLoss],
    task: float = 1.0,
    largest: float = 2.0,
    updates: int = 0,
    symlog: bool = False,
) -> Picture:
    """Value and slope of losses over r = cost / target, at one task loss; the value is shown against that at r = 1.

    `which` are names, or losses by label. With `updates`, losses that learn have seen r = 1.2 so many times. The
    slope is what a search feels: how much a bit more cost hurts. `symlog` stretches what is below a tenth, for losses
    that differ much in size. Raises `UnknownName`.
    """
    chosen = dict(which) if isinstance(which, Mapping) else {name: losses.create(name) for name in which}
    picture = Picture(11, 4.2)
    left, right = picture.subplots(1, 2, sharex=True)
    for i, ((label, loss), look) in enumerate(zip(chosen.items(), styles(chosen).values(), strict=True)):
        r, value, slope = _curve(loss.fresh(), task, largest, updates)
        again = i // 8  # how often the colours have come again
        look = look | {"linestyle": LINES[(i + again) % 4], "marker": MARKERS[(i + 3 * again) % 8]}
        line = {"markevery": (2 * i, every(len(r), 5)), "markersize": 5, **look}
        left.plot(r, value, label=label, **line)
        right.plot(r, slope, **line)
    for ax, name in ((left, "loss, less that at the target"), (right, "slope of the loss")):
        ax.axvline(1, color="0.4", linestyle=":")
        ax.axhline(0, color="0.8", linewidth=1, zorder=0)
        ax.set(xlabel="cost / target", ylabel=name)
        if symlog:
            ax.set_yscale("symlog", linthresh=0.1)
    picture.legend(*left.get_legend_handles_labels(), loc="outside right center")
    return picture


def _curve(loss: HardwareLoss, task: float, largest: float, updates: int) -> tuple[Tensor, Tensor, Tensor]:
    """r, the loss less that at r = 1, and its slope: (points,) each."""
    for _ in range(updates):
        loss.update(1.2, 1.0)
    r = torch.linspace(0.1, largest, 191, dtype=torch.float64, requires_grad=True)
    value = loss(task, r, 1.0)
    (slope,) = torch.autograd.grad(value.sum(), r)
    return r.detach(), (value - loss(task, 1.0, 1.0)).detach(), slope


def pareto_front(front: Front, scale: float = 1.0, cost: str = "", objective: str = "") -> Picture:
    """Every architecture that a sweep derived, the front of those that none beats, and the most probable that missed.

    Costs are multiplied by `scale` (1e-6 shows MACs in millions); `cost` and `objective` name the axes.
    """
    frame, best = front.frame(), front.efficient()
    missed = frame[~frame["hit"]]
    picture = Picture(8.5, 4.6)
    ax = picture.subplots()
    look = styles(["front", "derived", "missed"])
    points = {"linestyle": "", "markersize": 5}
    derived = {**look["derived"], **points, "alpha": 0.5, "label": "derived, one for each target and seed"}
    ax.plot(frame["derived_cost"] * scale, frame["derived_objective"], **derived)
    if len(missed):
        label = "most probable, off its target by over 3 %"
        ax.plot(missed["cost"] * scale, missed["objective"], **{**look["missed"], **points, "label": label})
    steps = {**look["front"], "drawstyle": "steps-post", "marker": "", "label": "front: none is cheaper and better"}
    ax.plot(best["derived_cost"] * scale, best["derived_objective"], **steps)
    ax.plot([t * scale for t in front.targets], [0.02] * len(front.targets), "|", color="0.4", markersize=9,
            transform=ax.get_xaxis_transform(), label="targets")  # fmt: skip
    unit = front.cost.unit if scale == 1 else f"{scale:g} {front.cost.unit}"
    ax.margins(y=0.12)
    ax.set(xlabel=cost or f"{front.cost.metric} ({unit})", ylabel=objective or front.objective.metric)
    ax.legend(loc="upper left")
    return picture
