"""Pictures of searches: any-time curves, where a pick stands, how undecided a search is, and what met its budget."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.ticker import LogLocator

from nasedu.errors import ParameterError
from nasedu.plots.cells import SHORT
from nasedu.plots.forms import OPERATIONS, dots, lines, scatter, stacks
from nasedu.plots.picture import Picture
from nasedu.spaces.base import SearchSpace
from nasedu.tables.derive import TOLERANCE

COSTS = ("expected", "most probable", "derived")


def anytime(panels: Mapping[str, Mapping[str, np.ndarray]], *, first: int = 1, **dress) -> Picture:
    """How good is what a search has found after every evaluation: the median over seeds, in a band of quartiles.

    Args:
        panels: for every title named curves (seeds, evaluations), a line each.
        first: the evaluation from which on curves are drawn, so that the first few, which are luck, flatten nothing.
        dress: fields of `Dress`.

    Raises `ParameterError` for a curve of another shape.
    """
    curves = {title: {} for title in panels}
    for title, name in [(title, name) for title, named in panels.items() for name in named]:
        values = np.asarray(panels[title][name], dtype=float)
        if values.ndim != 2 or 0 in values.shape or not np.isfinite(values).all():
            raise ParameterError(f"the curve {name!r} needs finite values (seeds, evaluations), got {values.shape}")
        start = min(first, values.shape[1])
        curves[title][name] = range(start, values.shape[1] + 1), values[:, start - 1 :]
    look = {"xlabel": "evaluations", "ylabel": "regret (percentage points)", "log": "x", "share": "", "height": 3.7}
    picture = lines(curves, **look | dress)
    for ax in picture.axes:
        ax.xaxis.set_major_locator(LogLocator(10, subs=(1, 2, 5)))
        if 0 <= ax.dataLim.y0 < 0.5 * ax.dataLim.y1:  # a regret: zero is the goal
            ax.set_ylim(bottom=-0.02 * ax.dataLim.y1)
    for legend in picture.legends:
        legend.set_title("median, quartiles")
    return picture


def landscape(
    costs: Sequence[float],
    scores: Sequence[float],
    points: Mapping[str, tuple[float, float]] | None = None,
    *,
    budget: float | None = None,
    **dress,
) -> Picture:
    """Every architecture as a grey dot at (cost, score), and where the named ones stand.

    Args:
        costs: of all, (n,).
        scores: of all, (n,).
        points: cost and score of the named ones.
        budget: a limit on the cost, as a line.
        dress: fields of `Dress`.
    """
    named = {f"{name}: {y:.1f}": (x, y) for name, (x, y) in (points or {}).items()}
    crowd = f"all {len(scores):,}"
    picture = scatter({crowd: (costs, scores)} | named, crowd=crowd, **dress)
    return picture if budget is None else picture.guide(x=budget, linestyle="--", label=f"budget: {budget:,.0f}")


def agreement(seen: Sequence[float], truth: Sequence[float], xlabel: str, ylabel: str, title: str = "") -> Picture:
    """What a search saw of each architecture against the truth, one dot each; its pick, the largest seen, is marked.

    Args:
        seen: (n,).
        truth: (n,).
        xlabel: of what was seen.
        ylabel: of the truth.
        title: above both.
    """
    seen, truth = np.asarray(seen), np.asarray(truth)
    best = int(seen.argmax())
    points = {"seen by the search": (seen, truth), "the pick": (seen[best], truth[best])}
    picture = scatter({title: points}, xlabel=xlabel, ylabel=ylabel, width=7)
    return picture.guide(y=max(truth), label="the best of these")


def progress(histories: Mapping[str, Sequence[Mapping]], parts: Mapping[str, str], **dress) -> Picture:
    """What trainings recorded over their epochs: a panel for each part, a line for each training.

    Args:
        histories: for every training a record for each epoch.
        parts: what to draw of a record, and what it is called.
        dress: fields of `Dress`.
    """
    panels = {title: {n: [r[part] for r in h] for n, h in histories.items()} for part, title in parts.items()}
    return lines(panels, **{"names": "ylabel", "share": "", "xlabel": "epoch", "ylim": (0, None)} | dress)


def probabilities(
    space: SearchSpace,
    histories: Mapping[str, Sequence[Sequence]],
    steps: Sequence[int] | None = None,
    *,
    colours: Sequence = OPERATIONS,
    **dress,
) -> Picture:
    """Probabilities of choices over the steps: a column for every block, a row for every search and decision of it.

    Args:
        space: whose decisions they are.
        histories: for every search and step, for every decision its probabilities (n_choices or more,).
        steps: where they were recorded; 1 to n where None.
        colours: of the choices.
        dress: fields of `Dress`.
    """
    blocks = [(block, d) for block, group in zip(space.group_names, space.groups, strict=True) for d in group]
    panels: dict[tuple[str, str], pd.DataFrame] = {}
    for name, history in histories.items():
        for block, d in blocks:
            decision, count = space.decisions[d], len(space.decisions[d].choices)
            kind = decision.name.removeprefix(block).strip(".")
            table = np.array([[float(p) for p in list(record[d])[:count]] for record in history])
            columns = [SHORT.get(choice, choice) for choice in decision.choices]
            table = pd.DataFrame(table, steps or range(1, len(history) + 1), columns)
            panels[f"{name}\n{kind}".strip(), block] = table
    rows = list(dict.fromkeys(row for row, _ in panels))
    panels = {place: panels[place] for place in sorted(panels, key=lambda place: rows.index(place[0]))}
    look = {"columns": len(space.groups), "width": 11, "ylim": (0, 1)}
    picture = stacks(panels, colours=colours, joined=True, **look | dress)
    for i, (ax, (row, block)) in enumerate(zip(picture.axes, panels, strict=True)):
        ax.set_title(block if i < len(space.groups) else "", fontsize=10)
        ax.set_ylabel("" if i % len(space.groups) else row, fontsize=10)
    return picture


def budget_hits(frames: Mapping[str, pd.DataFrame], lost: str = "objective lost (% of range)") -> Picture:
    """A row of panels per target by name: left costs in % of it, right what was given up; a row in them per loss.

    Args:
        frames: one row per run, with the columns loss, expected, most probable and derived (costs as multiples of the
            target) and lost (what the derived network lacks).
        lost: the axis of what was given up.

    Raises `ParameterError`.
    """
    panels = {}
    for title, frame in frames.items():
        runs = {name: frame.groupby("loss", sort=False)[name].apply(list) for name in frame.columns.drop("loss")}
        costs = {name: runs[name].map(lambda values: [100 * v for v in values]) for name in COSTS}
        panels |= {title: costs, f"{title}: lost": {"derived": runs["lost"]}}
    picture = dots(panels, columns=2, width=11, legend="bottom")
    picture.guide(x=[(100 - 100 * TOLERANCE, 100 + 100 * TOLERANCE), 0] * len(frames))
    picture.axes[-2].set_xlabel("cost (% of the target)")
    picture.axes[-1].set_xlabel(lost)
    return picture
