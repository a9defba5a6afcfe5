"""Checkers for notebook 15: what seeds can resolve, paired differences, effects of a design, leaks, two variances."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from scipy import stats

from nasedu.course.checks import ask, exercise, expect, number, require


@exercise("15.1", "what n seeds can resolve")
def check_resolution(resolution: Callable[[float, int], float]) -> None:
    """`resolution(sd, n)`: half the width of the 95 % interval of a difference of two means of n seeds each."""
    for sd, n in ((0.02, 3), (0.02, 10), (0.5, 2)):
        half = float(stats.t.ppf(0.975, 2 * n - 2))
        right = half * sd * (2 / n) ** 0.5
        wrong = (
            (half * sd / n**0.5, "both means vary: a difference has the variance of both"),
            (1.96 * sd * (2 / n) ** 0.5, "1.96 belongs to many seeds: take Student's t"),
            (float(stats.t.ppf(0.975, n - 1)) * sd * (2 / n) ** 0.5, "2n values less two means are 2n - 2 degrees"),
            (float(stats.t.ppf(0.95, 2 * n - 2)) * sd * (2 / n) ** 0.5, "the interval has two sides: 97.5 % below"),
            (2 * right, "half the width is asked for"),
        )
        expect(number(ask(resolution, sd, n)), right, f"sd {sd} and {n} seeds each resolve {right:.3g}", wrong)


@exercise("15.2", "a paired difference")
def check_difference(difference: Callable[[dict[int, float], dict[int, float]], Sequence[float]]) -> None:
    """`difference(a, b)`: values by seed; mean, low and high end of a - b over the seeds that both have."""
    draw = np.random.default_rng(0)
    for size in (3, 8):
        base = draw.normal(0.5, 0.05, size)
        a = {seed: float(v) for seed, v in enumerate(base + 0.02 + draw.normal(0, 0.004, size))}
        b = dict(reversed([(seed, float(v)) for seed, v in enumerate(base)]))
        a[90], b[91] = 5.0, -5.0
        got = [number(v) for v in ask(difference, a, b)]
        require(len(got) == 3, "the answer is a mean, a low end and a high end")
        gaps = np.array([a[seed] - b[seed] for seed in range(size)])
        half = stats.t.ppf(0.975, size - 1) * gaps.std(ddof=1) / size**0.5
        expect(got[0], gaps.mean(), "the mean of the differences, over the seeds that both have, paired by seed")
        normal = 1.96 * gaps.std(ddof=1) / size**0.5
        apart = stats.t.ppf(0.975, 2 * size - 2) * np.hypot(
            base.std(ddof=1), np.std([a[s] for s in range(size)], ddof=1)
        )
        told = (
            (gaps.mean() - half * (1 - 1 / size) ** 0.5, "NumPy divides by n unless told: std(ddof=1)"),
            (gaps.mean() - normal, "1.96 belongs to many seeds: take Student's t with n - 1 degrees"),
            (gaps.mean() - apart / size**0.5, "pairs have the spread of their differences, which is far smaller"),
        )
        expect(got[1], gaps.mean() - half, "the low end lies t standard errors below the mean", told)
        expect(got[2], gaps.mean() + half, "the high end lies as far above")


@exercise("15.4", "effects of a two by two design")
def check_effects(effects: Callable[[dict[tuple[bool, bool], float]], Sequence[float]]) -> None:
    """`effects(cells)`: means by (first, second) part; both main effects and their interaction."""
    cases = (
        ((0.4, 0.5, 0.5, 0.6), "parts that add up do not interact"),
        ((0.4, 0.48, 0.47, 0.48), "either part alone brings nearly all: what both bring beyond is the interaction"),
        ((0.3, 0.2, 0.4, 0.7), "a main effect is the mean over both states of the other part"),
    )
    for (neither, second, first, both), sentence in cases:
        cells = {(False, False): neither, (False, True): second, (True, False): first, (True, True): both}
        got = [number(v) for v in ask(effects, cells)]
        require(len(got) == 3, "the answer is two main effects and an interaction")
        mains = ((first + both - neither - second) / 2, (second + both - neither - first) / 2)
        crossed = both - first - second + neither
        alone = ((first - neither, "a main effect is taken over both states of the other part, not where it is off"),)
        expect(got[0], mains[0], f"the first part's main effect: {sentence}", alone)
        expect(got[1], mains[1], f"the second part's main effect: {sentence}")
        halved = ((crossed / 2, "here the interaction is the whole difference of differences, not its half"),)
        expect(got[2], crossed, f"the interaction, a difference of differences: {sentence}", halved)


PROTOCOL = (
    ("train the supernet", "learns", "train"),
    ("stop at its best epoch", "chooses", "val"),
    ("compare learning rates", "chooses", "test"),
    ("search", "chooses", "val"),
    ("train the found network", "learns", "train"),
    ("its average precision", "reports", "test"),
)


@exercise("15.5", "a leak")
def check_leaks(leaks: Callable[[list[tuple[str, str, str]]], Sequence[int]]) -> None:
    """`leaks(protocol)`: steps as (what, learns or chooses or reports, split); the places of those that leak."""
    swapped = [(*step[:2], {"val": "test", "test": "val"}.get(step[2], step[2])) for step in PROTOCOL]
    clean = [step for step in PROTOCOL if step[1] != "chooses" or step[2] != "test"]
    cases = (
        (list(PROTOCOL), [2], "what chooses on the split that is reported leaks, however small the choice"),
        (clean, [], "validation images may be chosen on as often as one likes, if they are not reported"),
        (swapped, [2], "the split that counts is the one that is reported, whatever its name"),
        (
            [*clean, ("and on training images", "reports", "train")],
            [0, 3],
            "learning from what is reported leaks as well",
        ),
        (list(reversed(PROTOCOL)), [3], "a leak stays one where the report stands first"),
        (
            [("search", "chooses", "val"), ("AP", "reports", "val"), ("AP", "reports", "test")],
            [0],
            "every split that is reported counts, not the last one alone",
        ),
    )
    for protocol, want, sentence in cases:
        got = sorted(int(place) for place in ask(leaks, protocol))
        require(got == want, f"{sentence} (expected {want}, got {got})")


@exercise("15.3", "two variances")
def check_variances(variances: Callable[[np.ndarray], Sequence[float]]) -> None:
    """`variances(values)`: (searches, trainings); the variance of the search, and that of the training."""
    draw = np.random.default_rng(0)
    tables = [
        0.5 + spread * draw.standard_normal((12, 1)) + noise * draw.standard_normal((12, trainings))
        for spread, noise, trainings in ((0.02, 0.01, 4), (0.0, 0.02, 2), (0.05, 0.02, 3))
    ]
    for values in (*tables, np.tile([0.4, 0.6, 0.5, 0.5], (12, 1))):
        got = [number(v) for v in ask(variances, values)]
        require(len(got) == 2, "the answer is the variance of the search and that of the training")
        within = values.var(axis=1, ddof=1).mean()
        between = values.mean(axis=1).var(ddof=1)
        all_at_once = ((values.var(ddof=1), "within a search, not over all values at once"),)
        expect(
            got[1],
            within,
            "the training's is the mean, over searches, of the variance among their trainings",
            all_at_once,
        )
        naive = ((between, "means of few trainings vary by themselves: take the training's share of that off"),)
        expect(
            got[0],
            max(0.0, between - within / values.shape[1]),
            "the search's is what is left of the means', at least 0",
            naive,
        )
