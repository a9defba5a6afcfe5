"""Right and plausible wrong answers to the exercises of notebook 00, with the sentence that names the fault."""

from __future__ import annotations

import itertools
import math

import numpy as np

from nasedu.course.checks.start import check_anytime, check_regret, check_size


def pick(scores):
    return max(scores, key=scores.get)


def looped(choices):
    total = 1
    for n in choices:
        total *= n
    return total


def from_zero(scores):
    return list(itertools.accumulate(scores, max, initial=0))[1:]


def shifted(scores):
    return [scores[0], *itertools.accumulate(scores, max)][:-1]


SIZES = [
    (math.prod, None),
    (looped, None),
    (sum, "each of 3 goes with each of 3"),
    (lambda choices: max(choices) ** len(choices), "decisions may differ"),
    (lambda choices: choices[0] ** len(choices), "decisions may differ"),
    (lambda choices: int(np.prod(choices)), "64 bits"),
    (lambda choices: math.prod(map(float, choices)), "64 bits"),
    (len, "9 networks"),
]

CURVES = [
    (lambda scores: list(itertools.accumulate(scores, max)), None),
    (np.maximum.accumulate, None),
    (lambda scores: list(itertools.accumulate(scores, min)), "never falls"),
    (list, "never falls"),
    (sorted, "first score"),
    (lambda scores: [max(scores)] * len(scores), "first score"),
    (lambda scores: max(scores), "cannot be checked"),
    (lambda scores: list(np.cumsum(scores) / np.arange(1, len(scores) + 1)), "never falls"),
    (lambda scores: list(itertools.accumulate(scores)), "worse score"),
    (from_zero, "negative"),
    (shifted, "a better one must"),
    (lambda scores: list(itertools.accumulate(scores, max))[1:], "one point per evaluation"),
    (lambda scores: (scores.sort(), scores)[1], "stay as they were"),
]

REGRETS = [
    (lambda scores, truth: max(truth.values()) - truth[pick(scores)], None),
    (lambda scores, truth: truth[pick(scores)] - max(truth.values()), "never negative"),
    (lambda scores, truth: abs(max(truth.values()) - max(scores.values())), "the regret is 10"),
    (lambda scores, truth: (max(truth.values()) - truth[pick(scores)]) / max(truth.values()), "the regret is 10"),
    (lambda scores, truth: max(truth[a] for a in scores) - truth[pick(scores)], "seen or not"),
    (lambda scores, truth: max(truth.values()) - max(truth[a] for a in scores), "the regret is 10"),
    (lambda scores, truth: max(truth.values()) - min(truth.values()), "sees the truth"),
    (lambda scores, truth: 0.0, "the regret is 10"),
]

ANSWERS = {
    check_size: SIZES,
    check_anytime: CURVES,
    check_regret: REGRETS,
}
