"""Checkers for notebook 14: the spread of a cost, a network within a budget, anchors, average precision, claims."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import product

import numpy as np
import torch
from torch import Tensor

from nasedu.course.checks import Violation, ask, exercise, expect, require
from nasedu.detection import best_possible_recall


@exercise("14.1", "how sure a price is")
def check_deviation(deviation: Callable[[list[Tensor], list[Tensor], list[Tensor]], float]) -> None:
    """`deviation(costs, p, q)`: per block costs (widths, depths), probabilities p (widths,) and q (depths,)."""
    draw = np.random.default_rng(0)
    costs = [torch.tensor(draw.uniform(1, 9, (3, 4))) for _ in range(4)]
    even = [torch.full((3,), 1 / 3).double()] * 4, [torch.full((4,), 0.25).double()] * 4
    for i, j in product(range(3), range(4)):
        decided = [torch.eye(3)[i].double()] * 4, [torch.eye(4)[j].double()] * 4
        got = float(deviation(costs, *decided))
        require(got == got, "where everything is decided the answer must be 0, not NaN: rounding made a variance < 0")
        require(abs(got) < 1e-4, "where every choice is decided there is one network, so the deviation must be 0")
    for i in range(12):  # rounding makes some of these variances negative, whichever way they are added up
        alike = [torch.full((3, 4), 0.1 + 0.7 * i).double()] * 4
        got = deviation(alike, *([torch.tensor(draw.dirichlet([1] * n)) for _ in alike] for n in (3, 4)))
        real = not isinstance(got, complex) and got == got
        require(real, "where all options cost the same the answer must be 0, not NaN: rounding made a variance < 0")
        require(abs(got) < 1e-4, "where all options cost the same, the deviation must be 0")
    one = float(costs[0].std(correction=0))
    got = deviation(costs[:1], *(x[:1] for x in even))
    expect(
        got, one, "one undecided block must deviate as its own table does", [(one**2, "take the root of a variance")]
    )
    p, q = ([torch.tensor(draw.dirichlet([1] * n)) for _ in costs] for n in (3, 4))
    ways = [p_b[:, None] * q_b for p_b, q_b in zip(p, q, strict=True)]
    apart = [float(((w * c**2).sum() - (w * c).sum() ** 2).sqrt()) for w, c in zip(ways, costs, strict=True)]
    uneven = "options must weigh what they are drawn with, p_i q_j"
    expect(deviation(costs[:1], p[:1], q[:1]), apart[0], uneven, [(one, f"{uneven}: not all alike")])
    whole, total = "blocks are drawn independently, so it is their variances that add up", float(np.hypot.reduce(apart))
    added = [(sum(apart), f"{whole}, not their deviations"), (max(apart), f"{whole}: no block may be left out")]
    expect(deviation(costs, p, q), total, whole, added)


def _best(logs: Sequence, costs: Sequence, low: float, high: float) -> tuple[float, bool]:
    """The highest log-probability within the bounds, by trying all; and whether there is any."""
    sums = [sum(np.ix_(*map(np.asarray, rows))) for rows in (logs, costs)]
    inside = (sums[1] >= low) & (sums[1] <= high)
    return float(sums[0][inside].max(initial=-np.inf)), bool(inside.any())


@exercise("14.2", "the likeliest network within a budget")
def check_derive(derive: Callable[[list[list[float]], list[list[int]], int, int], Sequence[int]]) -> None:
    """`derive(logs, costs, low, high)`: one option per block, the most probable of those that cost low to high."""
    for seed in range(6):
        draw = np.random.default_rng(seed)
        options = (8, 8, 8, 8) if seed else (8, 5, 7, 3)
        logs = [np.log(draw.dirichlet([0.6] * n)).tolist() for n in options]
        costs = [draw.integers(1, 40, n).tolist() for n in options]
        likeliest = [int(np.argmax(row)) for row in logs]
        paid = sum(row[i] for row, i in zip(costs, likeliest, strict=True))
        for low, high in ((paid - 1, paid + 1), (paid + 8, paid + 11), (max(paid - 25, 4), max(paid - 22, 9))):
            score, possible = _best(logs, costs, low, high)
            if possible:
                _judge(list(ask(derive, logs, costs, low, high)), logs, costs, low, high, score)
    for low, high in ((0, 3), (161, 900)):
        try:
            got = derive(logs, costs, low, high)
        except ValueError:
            continue
        raise Violation(f"no network costs {low} to {high}, so a ValueError must be raised; got {got!r:.60}")


def _judge(got: Sequence[int], logs: list, costs: list, low: int, high: int, score: float) -> None:
    require(len(got) == 4, "the answer needs one option for each of the 4 blocks")
    inside = all(0 <= i < len(row) for i, row in zip(got, logs, strict=True))
    require(inside, "an option must be an index into its block's lists")
    cost, mine = (sum(row[i] for row, i in zip(rows, got, strict=True)) for rows in (costs, logs))
    require(cost >= low, f"the network must cost at least {low}, this one costs {cost}: the budget has two sides")
    require(cost <= high, f"the network must cost at most {high}, this one costs {cost}")
    lost = "another network within the budget is more probable"
    require(mine > score - 1e-9, f"{lost}: yours has a log-probability of {mine:.2f}, the best has {score:.2f}")


@exercise("14.3", "anchors that reach every box")
def check_anchors(choose: Callable[[np.ndarray, int, float], np.ndarray]) -> None:
    """`choose(sizes, n, ratio)`: n anchors (n, 2), so that every box size (k, 2) is within `ratio` of one of them."""
    tasks = {
        "a set of a few shapes": ([(16, 16), (60, 60)], (80, 80), 2.0),
        "tall and wide boxes of the same area": ([(16, 96), (40, 40), (96, 16)], (60, 60, 60), 2.0),
        "a shape that only two boxes in a thousand have": ([(12, 12), (40, 40), (60, 200)], (700, 300, 2), 2.0),
        "small boxes beside large ones": ([(6, 6), (16, 16), (120, 120), (330, 330)], (30, 30, 300, 300), 2.0),
        "shapes that share a side, and a ratio of 1.5": ([(20, 20), (20, 40), (40, 20), (40, 40)], [40] * 4, 1.5),
    }
    for seed, (name, (centres, counts, ratio)) in enumerate(tasks.items()):
        draw, room = np.random.default_rng(seed), np.log(ratio) * 0.45
        parts = [np.exp(draw.uniform(-room, room, (k, 2))) * c for c, k in zip(centres, counts, strict=True)]
        sizes, n = draw.permutation(np.concatenate(parts)), len(centres)
        anchors = np.asarray(ask(choose, sizes, n, ratio), dtype=float)
        require(anchors.shape == (n, 2), f"asked for {n} anchors, the answer must have the shape ({n}, 2)")
        require((anchors > 0).all(), "an anchor's sides must be positive")
        reached = best_possible_recall(torch.tensor(sizes), torch.tensor(anchors), ratio)
        require(reached == 1, f"{name}: {n} anchors can reach all boxes, yours reach {100 * reached:.1f} %")


def _precision(scores: np.ndarray, overlaps: np.ndarray, threshold: float) -> float:
    """Average precision over every recall, as VOC has it since 2010."""
    free, right = np.ones(overlaps.shape[1], bool), []
    for i in np.argsort(-scores, kind="stable"):
        seen = np.where(free, overlaps[i], -1.0)
        right.append(bool(seen.max() >= threshold))
        free[seen.argmax()] &= not right[-1]
    hits = np.array(right)
    ahead = np.maximum.accumulate((hits.cumsum() / np.arange(1, len(hits) + 1))[::-1])[::-1]
    return float(ahead[hits].sum() / overlaps.shape[1])


@exercise("14.4", "three faults in an average precision")
def check_precision(precision: Callable[[np.ndarray, np.ndarray, float], float]) -> None:
    """`precision(scores, overlaps, threshold)`: scores (k,), IoU with every object (k, objects)."""
    cases = (
        ([0.2, 0.9], [[0.0], [0.9]], 0.5, "go through the detections by falling score"),
        ([0.9, 0.8, 0.7], [[0.9, 0], [0.8, 0], [0, 0.9]], 0.5, "a second box on an object already found is wrong"),
        ([0.9], [[0.9, 0.0]], 0.5, "an object that nobody found must cost recall: divide by the number of objects"),
        ([0.9, 0.8], [[0.6, 0.0], [0.0, 0.8]], 0.75, "a box below the threshold is wrong"),
        ([0.9], [[0.5]], 0.5, "a box reaches the threshold if its IoU is equal to it"),
        ([0.9, 0.8], [[0.6, 0.9], [0.7, 0.0]], 0.5, "a box takes the object that it overlaps most"),
        ([0.9, 0.8], [[0.9, 0.0], [0.8, 0.6]], 0.5, "a box takes the one that it overlaps most of those still free"),
        (
            [0.9, 0.8, 0.7],
            [[0, 0], [0.9, 0], [0, 0.9]],
            0.5,
            "precision at a recall is the best at that recall or more",
        ),
        ([0.9, 0.8], [[0.1, 0.2], [0.0, 0.3]], 0.5, "where no box is right the answer is 0"),
    )
    for scores, overlaps, threshold, sentence in cases:
        given = np.array(scores), np.array(overlaps, dtype=float)
        expect(ask(precision, *given, threshold), _precision(*given, threshold), sentence)
    draw = np.random.default_rng(0)
    for _ in range(20):
        given = draw.permutation(12) / 12.0, draw.uniform(0, 1, (12, 5)) ** 2
        expect(precision(*given, 0.5), _precision(*given, 0.5), "twelve random boxes and five objects must agree, too")


def _claim(better: str, mine: list[float], theirs: list[float], gflops: tuple = (0.2, 0.2), **more) -> dict:
    return {"better": better, "a": dict(enumerate(mine)), "b": dict(enumerate(theirs)), "gflops": gflops} | more


def _pairs(n: int, t: float) -> tuple[list[float], list[float]]:
    """Values of n seeds, and of a rival who is t standard errors lower; with three seeds each pair differs by much."""
    gaps = np.linspace(-1, 1, n)
    gaps = 0.5 + gaps / gaps.std(ddof=1) * n**0.5 * 0.5 / t
    theirs = np.linspace(0.4, 0.6, n)
    return (theirs + gaps).tolist(), theirs.tolist()


@exercise("14.5", "which claims stand")
def check_stands(stands: Callable[[dict], bool]) -> None:
    """`stands(claim)`: whether "a is better than b at equal FLOPs" follows from values by seed; see the notebook."""
    base, lead = [0.45, 0.50, 0.55, 0.48], [0.030, 0.032, 0.028, 0.031]
    ahead = [x + y for x, y in zip(base, lead, strict=True)]
    shifted = {"b": {seed + 9: value for seed, value in enumerate(base)}}
    mixed = {"b": dict(reversed(list(enumerate(base))))}
    two = [0.50, 0.5001], [0.45, 0.45]
    some = {"a": {1: 0.50, 2: 0.5001, 3: 0.9, 4: 0.9}, "b": {1: 0.45, 2: 0.45, 5: 0.1, 6: 0.1}}
    more = {"a": dict(enumerate(ahead)) | {7: 0.1, 8: 0.1}, "b": dict(enumerate(base)) | {6: 0.9, 9: 0.9}}
    three, six = (f"with {n} pairs the factor is Student's {t} at 95 %" for n, t in ((3, 4.3), (6, 2.57)))
    fourth = {"a": dict(enumerate([*_pairs(3, 4.1)[0], 0.9]))}
    below = "and the deviation has n - 1 below: here the lower end is just"
    cases = (
        (_claim("higher", ahead, base), True, "pairs: the same seed moves both, and each pair differs by 0.03"),
        (_claim("lower", base, ahead), True, "a latency is better where it is lower"),
        (_claim("lower", ahead, base), False, "it must be better in the direction that the claim names"),
        (_claim("higher", base, ahead), False, "it must be better in the direction that the claim names"),
        (_claim("higher", [0.6], [0.4]), False, "one seed is an anecdote: at least 3 shared seeds are needed"),
        (_claim("higher", *two), False, "two seeds are no spread: at least 3 shared seeds are needed"),
        (_claim("higher", ahead, base, (0.25, 0.2)), False, "FLOPs must be equal within 3 %, these differ by 25 %"),
        (_claim("higher", ahead, base, (0.2, 0.25)), False, "FLOPs must be equal within 3 %, these differ by 20 %"),
        (_claim("higher", ahead, base, (0.2, 0.204)), True, "FLOPs that differ by 2 % count as equal"),
        (_claim("higher", ahead, base, (7.19, 7.0)), True, "FLOPs that differ by 2.7 % count as equal, large or small"),
        (_claim("higher", ahead, base, (0.2066, 0.2)), False, "FLOPs must be equal within 3 %, these differ by 3.3 %"),
        (_claim("higher", base, base), False, "equal values are no better: the interval must lie beyond 0"),
        (
            _claim("higher", ahead, base, **some),
            False,
            "only two of their four seeds are shared: at least 3 are needed",
        ),
        (_claim("higher", ahead, base, **more), True, "seeds that only one of both has do not count"),
        (_claim("higher", ahead, base, **shifted), False, "no seed is shared, so there are no pairs"),
        (_claim("higher", ahead, base, **mixed), True, "pair by seed, not by the order in which values stand"),
        (_claim("higher", *_pairs(3, 4.1)), False, f"{three}, {below} below 0"),
        (_claim("higher", *_pairs(3, 4.1)) | fourth, False, f"{three}, and a fourth seed that b lacks is none"),
        (_claim("higher", *_pairs(3, 4.5)), True, f"{three}, {below} above 0"),
        (_claim("lower", *_pairs(6, 2.4)[::-1]), False, f"{six}, {below} below 0"),
        (_claim("lower", *_pairs(6, 2.7)[::-1]), True, f"{six}, {below} above 0"),
    )
    for claim, right, sentence in cases:
        require(bool(ask(stands, claim)) is right, f"this claim must {'stand' if right else 'not stand'}: {sentence}")
