"""The front that a sweep of budgets draws."""

from __future__ import annotations

from nasedu.plots.picture import Picture, styles
from nasedu.search.pareto import Front


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
