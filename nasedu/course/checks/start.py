"""Checkers for notebook 00: the size of a space, an any-time curve, and the regret of a search."""

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
    )
