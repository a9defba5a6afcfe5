"""Checkers for notebook 00: the size of a space, an any-time curve, a regret, and whether a report may be believed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from nasedu.course.checks import ask, exercise, expect, expect_each, number, require


@exercise("00.1", "how many networks?")
def check_size(size: Callable[[Sequence[int]], int]) -> None:
    """`size(choices)`: the number of architectures of a space whose decisions have so many choices."""
    nine = "two decisions of 3 choices give 9 networks"
    expect(size([3, 3]), 9, nine, [(6, f"{nine}, not 6: each of 3 goes with each of 3")])
    exact = f"22 decisions of 9 choices give exactly {9**22}: numbers of 64 bits and floats are too small for that"
    expect_each(
        size,
        ([[2, 3, 4]], 24, "decisions may differ: 2, 3 and 4 choices give 24 networks"),
        ([[5]], 5, "one decision of 5 choices gives 5 networks"),
        ([[9] * 22], 9**22, f"{exact}, Python's own integers are not"),
    )


@exercise("00.2", "the best so far")
def check_anytime(anytime: Callable[[Sequence[float]], Sequence[float]]) -> None:
    """`anytime(scores)`: after every evaluation the best score up to and including it."""
    scores, right = [0.3, 0.5, 0.4, 0.5, 0.9, 0.1], [0.3, 0.5, 0.5, 0.5, 0.9, 0.9]
    got = [float(v) for v in ask(anytime, list(scores), keep="the scores that were handed in must stay as they were")]
    require(len(got) == len(scores), f"the curve needs one point per evaluation: {len(scores)}, got {len(got)}")
    require(got[0] == scores[0], "after the first evaluation the best so far is the first score")
    require(all(a <= b for a, b in zip(got, got[1:], strict=False)), "the best so far never falls")
    require(got[1] == 0.5 and got[2] == 0.5, "a worse score must not change the best so far; a better one must")
    require(set(got) <= set(scores), "the best so far is one of the scores, not an average of some")
    require(got == right, f"the scores {scores} have the best so far {right}: it knows nothing of later scores")
    below = list(anytime([-3.0, -5.0, -2.0]))
    require(below == [-3, -3, -2], "scores may be negative: start from the first score, not from 0")


@exercise("00.3", "the regret of a search")
def check_regret(regret: Callable[[Mapping[str, float], Mapping[str, float]], float]) -> None:
    """`regret(scores, truth)`: how much better the best is in truth than what has the highest score."""
    truth, seen = {"a": 70.0, "b": 90.0, "c": 80.0, "d": 60.0}, {"a": 1.0, "b": 0.5, "c": 2.0, "d": 0.1}
    expect(regret(truth, truth), 0.0, "a search that sees the truth has no regret")
    require(number(regret(seen, truth)) >= 0, "regret is never negative: the best in truth less the truth of the pick")
    unseen = "regret is measured against the best of all, seen or not: of a and d seen, d picked, it is 90 - 60 = 30"
    expect_each(
        regret,
        ((seen, truth), 10.0, "the pick is c, with 80; the best is b, with 90: the regret is 10"),
        (({"a": 0.2, "d": 0.4}, truth), 30.0, unseen),
        (({"c": 99.0, "a": 1.0}, truth), 10.0, "the pick's own score does not count, only its truth"),
        (({"d": -9.0, "a": -3.0}, truth), 20.0, "scores may be negative: a, with -3, has the highest of two"),
        (({"a": 0.5}, {"a": 70.5, "b": 71.25}), 0.75, "a regret need not be a whole number: 71.25 - 70.5 = 0.75"),
    )


FAULTS = (  # changes of an honest report and of its rival's, and what an answer that believes them has overlooked
    ({}, {"asked": ["d", "a"], "seen": [58.0, 77.0]}, "one search got more evaluations than the other"),
    ({"pick": "e", "regret": 5.0}, {}, "the pick is the best in truth, not the best seen: that is no search"),
    ({"pick": "b", "regret": 0.0}, {}, "the pick was never asked about"),
    ({"regret": 5.0}, {}, "the regret is told against the best that was asked about, not against the best of all"),
    ({"regret": 6.0}, {}, "the regret is told with the pick's score where its truth belongs"),
    ({"regret": 25.0}, {}, "a regret of 10 is told as 25"),
    ({"regret": 10.000005}, {}, "a claim is wrong by 0.000005: a millionth is 0.000001, however large the regret is"),
    ({}, {"pick": "d", "regret": 30.0}, "another network than the best seen is handed in"),
)


@exercise("00.4", "which report may be believed?")
def check_believed(believed: Callable[[Mapping, Mapping, Mapping[str, float]], bool]) -> None:
    """`believed(report, rival, truth)`: whether two searches were compared fairly; see the notebook for a report."""
    truth = {"a": 70.0, "b": 90.0, "c": 80.0, "d": 60.0, "e": 85.0}
    report = {"asked": ["a", "c", "e"], "seen": [71.0, 84.0, 79.0], "pick": "c", "regret": 10.0}
    rival = {"asked": ["d", "a", "b"], "seen": [58.0, 77.0, 75.0], "pick": "a", "regret": 20.0}
    require(ask(believed, report, rival, truth), "it must believe two honest reports on equally many evaluations")
    require(believed(rival, report, truth), "an honest report is honest, too, where the rival is better")
    even = report | {"seen": [71.0, 84.0, 84.0], "pick": "e", "regret": 5.0}
    require(believed(even, rival, truth), "where two have the highest score, either may be the pick")
    found = rival | {"seen": [58.0, 77.0, 78.0], "pick": "b", "regret": 0.0}
    require(believed(report, found, truth), "a search that finds the best has a regret of 0, and is honest")
    missed = [r | {"regret": r["regret"] + 5} for r in (report, rival)]
    require(believed(*missed, truth | {"f": 95.0}), "the best of all may be one that neither search asked about")
    thirds = {name: value / 300 for name, value in truth.items()}
    rounded = [r | {"regret": round(r["regret"] / 300, 6)} for r in (report, rival)]
    require(believed(*rounded, thirds), "rounding is no lie: compare regrets up to a millionth")
    for mine, theirs, sentence in FAULTS:
        told, pair = f"it believes a comparison in which {sentence}", (report | mine, rival | theirs)
        require(not believed(*pair, truth), told)
        require(not believed(*pair[::-1], truth), f"{told}, if the two are handed in the other way round: look at both")
