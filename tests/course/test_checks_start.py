"""Every checker of notebook 00 accepts the solution and names what is wrong with plausible wrong answers."""

from __future__ import annotations

import itertools
import math
import re

import numpy as np
import pytest

from nasedu.course import places
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
    (lambda scores: max(scores), "raised TypeError"),
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

CASES = [
    *((check_size, answer, sentence) for answer, sentence in SIZES),
    *((check_anytime, answer, sentence) for answer, sentence in CURVES),
    *((check_regret, answer, sentence) for answer, sentence in REGRETS),
]


@pytest.mark.parametrize(("check", "answer", "sentence"), CASES)
def test_solutions_pass_and_wrong_answers_are_told_why(check, answer, sentence, told_why):
    told_why(check, answer, sentence)


@pytest.mark.parametrize("check", [check_size, check_anytime, check_regret])
def test_a_blank_is_not_an_attempt(check, blank):
    assert check(blank).passed is None


def test_the_map_of_the_course_links_to_every_notebook_that_exists_and_names_the_others():
    text = places.ROOT.joinpath("notebooks", "source", "00_start_here.py").read_text()
    linked = re.findall(r"\[(\d\d_\w+)\]\((\d\d_\w+)\.ipynb\)", text)
    assert all(name == target for name, target in linked)
    existing = {path.stem for path in places.ROOT.glob("notebooks/source/*.py")} - {"00_start_here"}
    assert {name for name, _ in linked} == existing
    named = re.findall(r"^# \| \[?(\d\d)_", text, re.M)
    assert named == [f"{n:02}" for n in range(17)]
