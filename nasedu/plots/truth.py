"""A table of trained architectures as a landscape: what everything costs, how good it is, and where a pick stands."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from nasedu.plots.picture import COLOURS, MARKERS, Picture


def landscape(
    costs: Sequence[float],
    scores: Sequence[float],
    points: Mapping[str, tuple[float, float]] | None = None,
    *,
    xlabel: str,
    ylabel: str,
    budget: float | None = None,
) -> Picture:
    """Every architecture as a grey dot at (cost, score); `points` are named ones, `budget` a limit on the cost."""
    picture = Picture(7.5, 4)
    ax = picture.subplots()
    ax.plot(costs, scores, ".", color="0.6", markersize=4, alpha=0.7, label=f"all {len(scores):,}", zorder=1)
    for i, (name, (x, y)) in enumerate((points or {}).items()):
        look = {"color": COLOURS[i % len(COLOURS)], "marker": MARKERS[i % len(MARKERS)], "markeredgecolor": "black"}
        ax.plot(x, y, linestyle="", markersize=11, label=f"{name}: {y:.1f}", zorder=3, **look)
    if budget is not None:
        ax.axvline(budget, color="0.2", linestyle="--", linewidth=1.3, label=f"budget: {budget:,.0f}")
    ax.set(xlabel=xlabel, ylabel=ylabel)
    ax.legend(loc="center left", bbox_to_anchor=(1, 0.5))
    return picture


def agreement(seen: Sequence[float], truth: Sequence[float], xlabel: str, ylabel: str, title: str = "") -> Picture:
    """What a search saw of each architecture against the truth, one dot each; its pick, the largest seen, is marked."""
    picture = Picture(5.4, 3.8)
    ax = picture.subplots()
    seen, truth = np.asarray(seen), np.asarray(truth)
    ax.plot(seen, truth, "o", color=COLOURS[0], markersize=4.5, alpha=0.7)
    best = int(seen.argmax())
    ax.plot(seen[best], truth[best], "*", color=COLOURS[1], markersize=16, markeredgecolor="black", label="the pick")
    ax.axhline(truth.max(), color="0.3", linestyle=":", linewidth=1.3, label="the best of these")
    ax.set(xlabel=xlabel, ylabel=ylabel, title=title)
    ax.title.set(fontsize=11)
    ax.legend(loc="lower right")
    return picture


def images(image_set, count: int = 20, columns: int = 10) -> Picture:
    """The first `count` images of an `ImageSet` in grey, with their classes."""
    rows = -(-count // columns)
    picture = Picture(columns * 0.95, rows * 1.2)
    for ax, image, label in zip(
        picture.subplots(rows, columns, squeeze=False).flatten(), image_set.images, image_set.labels, strict=False
    ):
        ax.imshow(image.mean(0).numpy(), cmap="gray", interpolation="nearest")
        ax.set_title(image_set.classes[int(label)], fontsize=9, pad=2)
        ax.set_axis_off()
    return picture


def progress(histories: Mapping[str, Sequence[Mapping]], key: str = "total", ylabel: str = "loss") -> Picture:
    """One figure of every epoch's record, a line for each training."""
    picture = Picture(6.4, 2.9)
    ax = picture.subplots()
    for i, (name, history) in enumerate(histories.items()):
        look = {"color": COLOURS[i], "linestyle": ("-", "--", "-.", ":")[i % 4]}
        ax.plot([r["epoch"] for r in history], [r[key] for r in history], label=name, **look)
    ax.set(xlabel="epoch", ylabel=ylabel, ylim=(0, None))
    ax.legend(loc="upper right")
    return picture
