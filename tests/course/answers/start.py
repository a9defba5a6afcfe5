"""Right and plausible wrong answers to the exercises of notebook 00, with the sentence that names the fault."""

from __future__ import annotations

import itertools
import math

import numpy as np

from nasedu.course.checks.start import check_anytime, check_believed, check_regret, check_size


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
    (lambda scores, truth: np.float64(max(truth.values()) - truth[pick(scores)]), None),
    (lambda scores, truth: int(max(truth.values()) - truth[pick(scores)]), "whole number"),
    (lambda scores, truth: max(truth.values()) - truth[max(scores, key=lambda a: abs(scores[a]))], "may be negative"),
]


def sound(report, truth):
    best = report["pick"] in report["asked"] and seen(report)[report["pick"]] == max(report["seen"])
    return best and math.isclose(report["regret"], max(truth.values()) - truth[report["pick"]], abs_tol=1e-6)


def seen(report):
    return dict(zip(report["asked"], report["seen"], strict=True))


def as_many(report, rival):
    return len(report["asked"]) == len(rival["asked"])


def judged(tolerance=1e-6, best=None, cost=as_many, wrong=abs, both=True, agree=None):
    """As the solution judges, with options that plant faults."""

    def judge(report, rival, truth):
        def right(r):
            least = max(truth[a] for a in [*report["asked"], *rival["asked"]]) if best else max(truth.values())
            true = least - truth[r["pick"]]
            told = agree(r["regret"], true) if agree else wrong(r["regret"] - true) < tolerance
            return seen(r).get(r["pick"]) == max(r["seen"]) and told

        kept = seen(rival).get(rival["pick"]) == max(rival["seen"])
        return cost(report, rival) and right(report) and (right(rival) if both else kept)

    return judge


def exact(report, rival, truth):
    def right(r):
        return r["pick"] in seen(r) and r["regret"] == max(truth.values()) - truth[r["pick"]]

    return right(report) and right(rival)


def leads(report, rival, truth):
    return sound(report, truth) and sound(rival, truth) and report["regret"] < rival["regret"]


def first_of_the_best(report, rival, truth):
    return all(r["pick"] == pick(seen(r)) for r in (report, rival))


def asked_about(report, rival, truth):
    return as_many(report, rival) and all(seen(r).get(r["pick"]) == max(r["seen"]) for r in (report, rival))


def best_asked(report, rival, truth):
    def right(r):
        least = min(max(truth.values()), max(truth[a] for a in r["asked"])) - truth[r["pick"]]
        return seen(r).get(r["pick"]) == max(r["seen"]) and least - 1e-6 <= r["regret"]

    return as_many(report, rival) and right(report) and right(rival)


def regret_alone(report, rival, truth):
    return as_many(report, rival) and all(
        abs(r["regret"] - max(truth.values()) + truth[r["pick"]]) < 1e-6 for r in (report, rival)
    )


def told_from_what_was_asked(report, rival, truth):
    kept = {name: value for name, value in truth.items() if name in report["asked"]}
    return as_many(report, rival) and sound(report, kept)


BELIEVED = [
    (lambda report, rival, truth: as_many(report, rival) and sound(report, truth) and sound(rival, truth), None),
    (judged(), None),
    (lambda *given: np.bool_(judged()(*given)), None),
    (judged(both=False), "look at both"),
    (judged(tolerance=0.9), "a millionth is"),
    (judged(tolerance=1e-4), "a millionth is"),
    (judged(tolerance=1e-9), "rounding"),
    (judged(agree=np.isclose), "a millionth is"),
    (judged(agree=math.isclose), "rounding"),
    (judged(best="asked"), "neither search asked"),
    (judged(wrong=lambda error: -error), "told as 25"),
    (judged(cost=lambda a, b: len(a["asked"]) <= len(b["asked"])), "the other way round"),
    (lambda r, v, truth: r["regret"] * v["regret"] > 0 and judged()(r, v, truth), "is honest"),
    (lambda report, rival, truth: True, "more evaluations"),
    (lambda report, rival, truth: False, "two honest reports"),
    (lambda report, rival, truth: sound(report, truth) and sound(rival, truth), "more evaluations"),
    (lambda report, rival, truth: as_many(report, rival) and sound(report, truth), "look at both"),
    (told_from_what_was_asked, "two honest reports"),
    (regret_alone, "not the best seen"),
    (asked_about, "against the best that was asked about"),
    (best_asked, "against the best that was asked about"),
    (exact, "rounding"),
    (leads, "where the rival is better"),
    (first_of_the_best, "either may be the pick"),
]

ANSWERS = {
    check_size: SIZES,
    check_anytime: CURVES,
    check_regret: REGRETS,
    check_believed: BELIEVED,
}
