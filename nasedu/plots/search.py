"""Pictures of searches: any-time curves, where a pick stands, how undecided a search is, and what met its budget."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from nasedu.errors import ParameterError
from nasedu.plots.cells import SHORT
from nasedu.plots.forms import OPERATIONS, areas, dots, lines, scatter
from nasedu.plots.picture import Picture, styles
from nasedu.spaces.base import SearchSpace
from nasedu.tables.derive import TOLERANCE

MARKED = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000)  # evaluations at which a line carries its marker


def anytime(
    panels: Mapping[str, Mapping[str, np.ndarray]],
    *,
    ylabel: str = "regret (percentage points)",
    quantiles: tuple[float, float] = (0.25, 0.75),
    first: int = 1,
    alt: str = "",
) -> Picture:
    """The median over seeds after every evaluation, in a band of two quantiles; evaluations on a logarithmic axis.

    Args:
        panels: for every title named curves (seeds, evaluations), a line each.
        ylabel: what is drawn, with its unit.
        quantiles: the ends of the band.
        first: the evaluation from which on curves are drawn, so that the first few, which are luck, flatten nothing.
        alt: what is seen.

    Raises `ParameterError` for a curve of another shape, or quantiles that are not in order.
    """
    low, high = quantiles
    if not 0 <= low < high <= 1:
        raise ParameterError(f"a band needs two quantiles 0 <= low < high <= 1, got {low} and {high}")
    looks = styles(name for curves in panels.values() for name in curves)
    picture = Picture(5.2 * len(panels) + 1.6, 3.7, alt, f"Any-time curves (median, {low:.0%} to {high:.0%})")
    for ax, (title, curves) in zip(picture.subplots(1, len(panels), squeeze=False)[0], panels.items(), strict=True):
        for name, values in curves.items():
            values = np.asarray(values, dtype=float)
            if values.ndim != 2 or 0 in values.shape or not np.isfinite(values).all():
                raise ParameterError(
                    f"the curve {name!r} needs finite values (seeds, evaluations), got shape {values.shape}"
                )
            _curve(ax, name, values, quantiles, first, looks[name])
        _dress(ax, title)
    picture.axes[0].set_ylabel(ylabel)
    picture.key()
    if picture.legends and any(len(values) > 1 for curves in panels.values() for values in curves.values()):
        picture.legends[0].set_title(f"median,\n{low:.0%} to {high:.0%}")
    return picture


def _curve(ax: Axes, name: str, values: np.ndarray, quantiles: tuple[float, float], first: int, look: dict) -> None:
    """One band and its median: steps, for nothing is known of a search between two evaluations."""
    counts = np.arange(1, values.shape[1] + 1)
    shown = counts >= min(first, counts[-1])
    low, middle, high = np.quantile(values[:, shown], (quantiles[0], 0.5, quantiles[1]), axis=0)
    marks = [i for i, count in enumerate(counts[shown]) if count in MARKED or count == counts[-1]]
    ax.fill_between(counts[shown], low, high, step="post", color=look["color"], alpha=0.18, linewidth=0)
    ax.plot(counts[shown], middle, drawstyle="steps-post", label=name, markevery=marks, markersize=6, **look)


def _dress(ax: Axes, title: str) -> None:
    ax.set(title=title, xlabel="evaluations", xscale="log")
    if 0 <= ax.dataLim.y0 < 0.5 * ax.dataLim.y1:  # a regret: zero is the goal
        ax.set_ylim(bottom=-0.02 * ax.dataLim.y1)
    ax.title.set(fontsize=11)
    ax.xaxis.set_major_locator(LogLocator(10, subs=(1, 2, 5)))
    ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    ax.xaxis.set_minor_formatter(NullFormatter())


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
    best = int(np.argmax(seen))
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
    rows: dict[str, dict] = {}
    for name, history in histories.items():
        for group_name, group in zip(space.group_names, space.groups, strict=True):
            for d in group:
                choices = space.decisions[d].choices
                kind = space.decisions[d].name.rpartition(".")[2] if len(group) > 1 else ""
                index = steps or range(1, len(history) + 1)
                table = [[float(p) for p in list(record[d])[: len(choices)]] for record in history]
                table = pd.DataFrame(table, index=index, columns=[SHORT.get(choice, choice) for choice in choices])
                rows.setdefault(f"{name}\n{kind}".strip(), {})[group_name] = table
    return areas(rows, colours=colours, **dress)


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
        runs = frame.groupby("loss", sort=False)
        costs = ("expected", "most probable", "derived")
        panels[title] = {name: (100 * frame[name]).groupby(frame["loss"], sort=False).apply(list) for name in costs}
        panels[f"{title}: lost"] = {"derived": runs["lost"].apply(list)}
    picture = dots(panels, columns=2, share="y", width=11, legend="bottom")
    picture.guide(x=[(100 - 100 * TOLERANCE, 100 + 100 * TOLERANCE), 0] * len(frames))
    picture.axes[-2].set_xlabel("cost (% of the target)")
    picture.axes[-1].set_xlabel(lost)
    return picture
