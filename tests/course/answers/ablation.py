"""Right and plausible wrong answers to the exercises of notebook 15, with the sentence that names the fault."""

from __future__ import annotations

import numpy as np
from scipy import stats

from nasedu.course.checks.ablation import (
    check_difference,
    check_effects,
    check_leaks,
    check_resolution,
    check_variances,
)


def resolution(sd, n, degrees=None, share=0.975, both=2):
    return stats.t.ppf(share, (2 * n - 2) if degrees is None else degrees(n)) * sd * (both / n) ** 0.5


def difference(a, b, shared=True, half=lambda gaps: stats.t.ppf(0.975, len(gaps) - 1)):
    seeds = a.keys() & b.keys()
    gaps = np.array([a[s] - b[s] for s in seeds]) if shared else np.subtract(*map(list, (a.values(), b.values())))
    reach = half(gaps) * gaps.std(ddof=1) / len(gaps) ** 0.5
    return gaps.mean(), gaps.mean() - reach, gaps.mean() + reach


def unpaired(a, b):
    seeds = sorted(a.keys() & b.keys())
    mine, theirs = (np.array([x[s] for s in seeds]) for x in (a, b))
    n, gap = len(seeds), mine.mean() - theirs.mean()
    reach = stats.t.ppf(0.975, 2 * n - 2) * np.hypot(mine.std(ddof=1), theirs.std(ddof=1)) / n**0.5
    return gap, gap - reach, gap + reach


def effects(cells, alone=False, half=False):
    n, s, f, b = (cells[key] for key in ((False, False), (False, True), (True, False), (True, True)))
    crossed = b - f - s + n
    mains = (f - n, s - n) if alone else ((f + b - n - s) / 2, (s + b - n - f) / 2)
    return *mains, crossed / 2 if half else crossed


def leaks(protocol, kinds=("learns", "chooses"), named=None, before=False):
    reported = {named} if named else {split for _, kind, split in protocol if kind == "reports"}
    last = max(i for i, (_, kind, _) in enumerate(protocol) if kind == "reports")
    return [
        i
        for i, (_, kind, split) in enumerate(protocol)
        if kind in kinds and split in reported and (i < last or not before)
    ]


def last_report(protocol):
    reported = [split for _, kind, split in protocol if kind == "reports"][-1]
    return [i for i, (_, kind, split) in enumerate(protocol) if kind != "reports" and split == reported]


def variances(values, whole=False, naive=False, floor=True, trainings=None):
    within = values.var(ddof=1) if whole else values.var(axis=1, ddof=1).mean()
    between = values.mean(axis=1).var(ddof=1) - (0 if naive else within / (trainings or values.shape[1]))
    return (max(0.0, between) if floor else between), within


ANSWERS = {
    check_resolution: [
        (resolution, None),
        (lambda sd, n: resolution(sd, n, both=1), "both means vary"),
        (lambda sd, n: 1.96 * sd * (2 / n) ** 0.5, "1.96 belongs to many"),
        (lambda sd, n: resolution(sd, n, degrees=lambda n: n - 1), "2n - 2 degrees"),
        (lambda sd, n: resolution(sd, n, share=0.95), "two sides"),
        (lambda sd, n: 2 * resolution(sd, n), "half the width"),
    ],
    check_difference: [
        (difference, None),
        (lambda a, b: difference(a, b, shared=False), "paired by seed"),
        (lambda a, b: difference(a, b, half=lambda gaps: 1.96), "1.96 belongs to many"),
        (unpaired, "spread of their differences"),
        (lambda a, b: difference(a, b)[:2], "a low end and a high end"),
        (lambda a, b: difference(b, a), "the mean of the differences"),
    ],
    check_effects: [
        (effects, None),
        (lambda cells: effects(cells, alone=True), "not where it is off"),
        (lambda cells: effects(cells, half=True), "not its half"),
        (lambda cells: effects(cells)[:2], "two main effects and an interaction"),
    ],
    check_leaks: [
        (leaks, None),
        (lambda protocol: [], "however small the choice"),
        (lambda protocol: leaks(protocol, kinds=("chooses",)), "learning from what is reported"),
        (lambda protocol: leaks(protocol, named="test"), "whatever its name"),
        (lambda protocol: leaks(protocol, before=True), "stands first"),
        (lambda protocol: [i for i, step in enumerate(protocol) if step[1] == "chooses"], "however small the choice"),
        (last_report, "not the last one alone"),
    ],
    check_variances: [
        (variances, None),
        (lambda values: variances(values, whole=True), "not over all values"),
        (lambda values: variances(values, naive=True), "take the training's share"),
        (lambda values: variances(values, floor=False), "at least 0"),
        (lambda values: variances(values)[::-1], "mean, over searches"),
        (lambda values: variances(values, trainings=4), "what is left of the means"),
    ],
}
