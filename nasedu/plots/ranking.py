"""Pictures of scores that rank architectures, of what was trained how often, and of probabilities over epochs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes

from nasedu.plots.picture import Picture, every, styles
from nasedu.ranking import Correlation
from nasedu.spaces.base import SearchSpace

OPERATION_BANDS = ("0.82", "#e76f00", "#1d5fa2", "#5fa55a", "#8b5fbf")  # grey first: it is where nothing happens


def score_scatter(
    scores: Mapping[str, Sequence[float]],
    truth: Sequence[float],
    correlations: Mapping[str, Correlation] | None = None,
    *,
    x: str = "score",
    y: str = "true accuracy (%)",
) -> Picture:
    """Truth over score, a panel for every name; the title has the correlation with its interval."""
    picture = Picture(3.6 * len(scores), 3.6)
    axes = picture.subplots(1, len(scores), sharey=True, squeeze=False).flatten()
    for ax, (name, look) in zip(axes, styles(scores).items(), strict=True):
        ax.plot(list(scores[name]), list(truth), alpha=0.6, markersize=5, **look | {"linestyle": ""})
        title = name
        if correlations:
            c = correlations[name]
            title += f"\nτ = {c.value:.2f} [{c.low:.2f}, {c.high:.2f}]"
        ax.set(title=title, xlabel=x)
    axes[0].set_ylabel(y)
    return picture


def correlation_bars(correlations: Mapping[str, Correlation], xlabel: str = "Kendall τ with the truth") -> Picture:
    """One row per name: the correlation as a marker, its interval as a bar; 0, where nothing is known, as a line."""
    picture = Picture(8, 0.9 + 0.42 * len(correlations))
    ax = picture.subplots()
    for i, (name, look) in enumerate(styles(correlations).items()):
        c = correlations[name]
        ax.plot([c.low, c.high], [i, i], color=look["color"], linewidth=3, linestyle="-", alpha=0.5)
        ax.plot([c.value], [i], **look | {"linestyle": "", "markersize": 9})
        ax.annotate(f"{c.value:.2f}", (c.value, i), (0, 7), textcoords="offset points", ha="center", fontsize=9)
    ax.axvline(0, color="0.5", linewidth=1, linestyle="-")
    ax.set_yticks(range(len(correlations)), list(correlations))
    ax.set(xlabel=xlabel, ylim=(len(correlations) - 0.4, -0.7), xlim=(None, 1.02))
    return picture


def choice_counts(counts: Mapping[str, np.ndarray], choices: Sequence[str], decision: str) -> Picture:
    """How often each choice of one decision was trained: counts (steps, choices) by name, added up over the steps."""
    picture = Picture(9, 3.2)
    axes = picture.subplots(1, len(counts), sharey=True, squeeze=False).flatten()
    for ax, (name, count) in zip(axes, counts.items(), strict=True):
        total = np.cumsum(count, axis=0)
        lead = total - total.mean(1, keepdims=True)
        for i, (choice, look) in enumerate(styles(choices).items()):
            steps = range(1, len(lead) + 1)
            ax.plot(steps, lead[:, i], label=choice, markevery=every(len(lead)), markersize=5, **look)
        ax.set(title=name, xlabel="optimizer step")
    axes[0].set_ylabel(f"lead of a choice of {decision}\n(times trained, less the mean)")
    axes[-1].legend(loc="center left", bbox_to_anchor=(1, 0.5))
    return picture


def before_after(before: Mapping[str, float], after: Mapping[str, float], unit: str = "accuracy (%)") -> Picture:
    """A value of every architecture before and after something, joined by a line: hollow before, solid after."""
    picture = Picture(8, 3.2)
    ax = picture.subplots()
    look = styles(["before", "after"])
    for i, name in enumerate(before):
        ax.plot([i, i], [before[name], after[name]], color="0.7", linewidth=1.5, linestyle="-", zorder=1)
    for name, values in (("before", before), ("after", after)):
        fill = {"markerfacecolor": "white"} if name == "before" else {}
        points = look[name] | {"linestyle": "", "markersize": 9, "label": name} | fill
        ax.plot(range(len(values)), list(values.values()), **points)
    ax.set_xticks(range(len(before)), list(before), fontsize=9)
    ax.set(ylabel=unit, xlim=(-0.5, len(before) - 0.5), ylim=(0, None))
    ax.legend(loc="center left", bbox_to_anchor=(1, 0.5))
    return picture


def weight_bars(draws: Mapping[str, np.ndarray], choices: Sequence[str]) -> Picture:
    """Weights (steps, choices) by name: a panel each, a bar per step, in it the weights of the choices stacked."""
    picture = Picture(3.3 * len(draws) + 1.4, 2.8)
    axes = picture.subplots(1, len(draws), sharey=True, squeeze=False).flatten()
    for ax, (name, weights) in zip(axes, draws.items(), strict=True):
        weights = np.asarray(weights)
        steps, bottom = range(1, len(weights) + 1), np.zeros(len(weights))
        for choice, part, colour in zip(choices, weights.T, OPERATION_BANDS, strict=False):
            ax.bar(steps, part, bottom=bottom, color=colour, edgecolor="white", label=choice)
            bottom = bottom + part
        ax.set(title=name, xlabel="step", ylim=(0, 1))
        ax.locator_params(axis="x", integer=True)
        ax.grid(False)
    axes[0].set_ylabel("weight of each choice")
    axes[-1].legend(loc="center left", bbox_to_anchor=(1, 0.5))
    return picture


def choice_probabilities(
    space: SearchSpace, histories: Mapping[str, Sequence[Mapping]], colours: Sequence[str] = OPERATION_BANDS
) -> Picture:
    """Probabilities over the epochs, stacked: a row for every search by name, a column for every decision.

    A history has one record per epoch with `probabilities`, (n_choices,) per decision; `colours` go to the choices.
    """
    picture = Picture(11, 0.9 + 1.35 * len(histories))
    axes = picture.subplots(len(histories), len(space.decisions), sharex=True, sharey=True, squeeze=False)
    for row, (name, history) in zip(axes, histories.items(), strict=True):
        epochs = [1 + i for i in range(len(history))]
        for d, (ax, decision) in enumerate(zip(row, space.decisions, strict=True)):
            areas = np.array([record["probabilities"][d] for record in history]).T
            _bands(ax, epochs, areas, colours)
            if ax in axes[0]:
                ax.set_title(decision.name, fontsize=10)
        row[0].set_ylabel(name, fontsize=10)
    names = [part.replace("nor_", "") for part in space.decisions[0].choices]
    marks = axes[0, 0].collections[: len(names)]
    picture.legend(marks, names, loc="outside right upper", fontsize=9)
    picture.supxlabel("epoch", fontsize=11)
    return picture


def _bands(ax: Axes, epochs: Sequence[int], areas: np.ndarray, colours: Sequence[str]) -> None:
    ax.stackplot(epochs, areas, colors=colours[: len(areas)], edgecolor="white", linewidth=0.5)
    ax.set(xlim=(epochs[0], max(epochs[-1], 2)), ylim=(0, 1), yticks=(0, 0.5, 1))
    ax.tick_params(labelsize=8)
    ax.grid(False)


def over_epochs(panels: Mapping[str, Mapping[str, Sequence[float]]]) -> Picture:
    """Curves over the epochs: a panel for every quantity, in it one line per search by name."""
    picture = Picture(4.6 * len(panels) + 1, 3.2)
    axes = picture.subplots(1, len(panels), squeeze=False).flatten()
    for ax, (quantity, lines) in zip(axes, panels.items(), strict=True):
        for name, look in styles(lines).items():
            epochs = range(1, len(lines[name]) + 1)
            ax.plot(epochs, lines[name], label=name, markevery=every(len(epochs)), markersize=5, **look)
        ax.set(xlabel="epoch", ylabel=quantity)
    axes[-1].legend(loc="center left", bbox_to_anchor=(1, 0.5))
    return picture


def gradient_spread(samples: Mapping[str, np.ndarray], truth: Sequence[float], choices: Sequence[str]) -> Picture:
    """Gradients by estimator (draws, choices): a panel per choice, for every estimator mean and spread.

    The thick bar is one standard deviation to either side of the mean; the line is the `truth` (choices,), the slope of
    the expected loss.
    """
    picture = Picture(3.4 * len(choices), 0.9 + 0.45 * len(samples))
    for k, (ax, choice) in enumerate(zip(picture.subplots(1, len(choices), sharey=True), choices, strict=True)):
        for i, (name, look) in enumerate(styles(samples).items()):
            mean, deviation = samples[name][:, k].mean(), samples[name][:, k].std()
            bar = {"color": look["color"], "linewidth": 5, "linestyle": "-", "alpha": 0.4}
            ax.plot([mean - deviation, mean + deviation], [i, i], **bar)
            ax.plot([mean], [i], **look | {"linestyle": "", "markersize": 8})
        ax.axvline(truth[k], color="0.3", linewidth=1.5, linestyle="--")
        ax.set(title=choice, xlabel="dL / dlogit", ylim=(len(samples) - 0.5, -0.5))
        ax.locator_params(axis="x", nbins=4)
    picture.axes[0].set_yticks(range(len(samples)), list(samples))
    return picture
