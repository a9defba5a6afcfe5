"""Pictures of searches: any-time curves, where a pick stands, and how undecided a search is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.ticker import LogLocator

from nasedu.errors import ParameterError
from nasedu.plots.cells import SHORT
from nasedu.plots.forms import OPERATIONS, lines, scatter, stacks
from nasedu.plots.picture import Picture
from nasedu.spaces.base import SearchSpace


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
    costs: Sequence[float], scores: Sequence[float], points: Mapping | None = None, *, crowd: str = "", **dress
) -> Picture:
    """Many architectures as grey dots at (cost, score), and where the named ones stand.

    Args:
        costs: of all, (n,).
        scores: of all, (n,).
        points: cost and score of the named ones.
        crowd: what the grey ones are called; "all" and their number where empty.
        dress: fields of `Dress`.
    """
    named = {f"{name}: {y:.1f}": (x, y) for name, (x, y) in (points or {}).items()}
    crowd = crowd or f"all {len(scores):,}"
    return scatter({crowd: (costs, scores)} | named, crowd=crowd, **dress)


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
    histories: Mapping,
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
            table = np.array([[float(p) for p in list(record[d])[:count]] for record in history])
            columns = [SHORT.get(choice, choice) for choice in decision.choices]
            place = f"{name}\n{decision.name.removeprefix(block).strip('.')}".strip(), block
            panels[place] = pd.DataFrame(table, steps or range(1, len(history) + 1), columns)
    rows = list(dict.fromkeys(row for row, _ in panels))
    panels = {place: panels[place] for place in sorted(panels, key=lambda place: rows.index(place[0]))}
    look = {"columns": len(space.groups), "width": 11, "ylim": (0, 1)}
    picture = stacks(panels, colours=colours, joined=True, **look | dress)
    for i, (ax, (row, block)) in enumerate(zip(picture.axes, panels, strict=True)):
        ax.set_title(block if i < len(space.groups) else "", fontsize=10)
        ax.set_ylabel("" if i % len(space.groups) else row, fontsize=10)
    return picture
