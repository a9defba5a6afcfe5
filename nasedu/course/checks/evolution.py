"""Checkers for notebook 07: mutation, single-point crossover, tournament selection, and quantiles over seeds.

Random answers are drawn many times from generators with fixed seeds, so that a verdict does not change by luck.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from nasedu.course.checks import ask, exercise, expect, require

DRAWS = 4000  # a frequency is then known to 0.008 at most, one standard deviation
NEAR = 0.035  # more than four of those

Generator = np.random.Generator


@exercise("07.1", "mutation")
def check_mutate(mutate: Callable[[tuple, Sequence[int], float, Generator], tuple]) -> None:
    """`mutate(arch, choices, p, rng)`: every gene redrawn with probability p, uniformly over its own choices."""
    choices, arch = [2, 3, 5, 3], (1, 2, 4, 0)
    rng = np.random.default_rng(0)
    require(tuple(mutate(arch, choices, 0.0, rng)) == arch, "with p = 0 the child must equal its parent")
    twins = [[tuple(mutate(arch, choices, 0.5, g)) for _ in range(20)] for g in map(np.random.default_rng, (7, 7))]
    require(twins[0] == twins[1], "two generators of the same seed must give the same children: draw from rng only")
    parent = list(arch)
    children = np.array([mutate(parent, choices, 0.3, rng) for _ in range(DRAWS)])
    require(children.shape == (DRAWS, 4), "a child needs as many genes as its parent")
    require(tuple(parent) == arch, "the parent must stay as it was: build a new tuple")
    inside = (children >= 0).all() and (children < choices).all()
    require(inside, "gene i must stay below choices[i]: every decision has its own number of choices")
    redrawn = np.array([mutate(arch, choices, 1.0, rng) for _ in range(DRAWS)])
    for i, n in enumerate(choices):
        always = f"with p = 1 each of the {n} choices of gene {i} must come equally often, the parent's own too"
        _check_shares(np.bincount(redrawn[:, i], minlength=n) / DRAWS, always)
    _check_rates(children != np.array(arch), choices)


def _check_shares(shares: np.ndarray, sentence: str) -> None:
    shown = ", ".join(f"{share:.2f}" for share in shares)
    require(np.abs(shares - 1 / len(shares)).max() < NEAR, f"{sentence}; got shares {shown}")


def _check_rates(changed: np.ndarray, choices: Sequence[int], p: float = 0.3) -> None:
    for i, n in enumerate(choices):
        rate, wanted = changed[:, i].mean(), p * (1 - 1 / n)
        sentence = f"with p = {p} gene {i}, of {n} choices, must change with probability p (1 - 1/{n}) = {wanted:.2f}"
        require(abs(rate - wanted) < NEAR, f"{sentence}: a redraw may give the old choice again; got {rate:.2f}")
    both, wanted = (changed[:, 1] & changed[:, 2]).mean(), p**2 * (1 - 1 / choices[1]) * (1 - 1 / choices[2])
    sentence = f"genes must be redrawn independently, one coin each: genes 1 and 2 changed together with {both:.2f}"
    require(abs(both - wanted) < NEAR, f"{sentence}, expected {wanted:.2f}")


@exercise("07.2", "single-point crossover")
def check_crossover(crossover: Callable[[tuple, tuple, Generator], tuple]) -> None:
    """`crossover(a, b, rng)`: the genes of a before a random cut, those of b from there on."""
    a, b, rng = (0,) * 6, (1,) * 6, np.random.default_rng(0)
    require(len(crossover(a, b, rng)) == 6, "a child needs as many genes as each parent")
    children = np.array([crossover(a, b, rng) for _ in range(DRAWS)])
    require(np.isin(children, (0, 1)).all(), "every gene must come from one of the parents")
    steps = np.diff(children, axis=1)
    require((steps >= 0).all() or (steps <= 0).all(), "one cut: all genes before it from one parent, the rest not")
    require((steps >= 0).all(), "the genes before the cut come from a, those after it from b")
    cuts = 6 - children.sum(1)
    require(cuts.min() > 0 and cuts.max() < 6, "both parents must give something: cut between 1 and n - 1")
    _check_shares(np.bincount(cuts, minlength=6)[1:] / DRAWS, "each of the 5 cuts must be equally likely")
    mother, father = (3, 1, 4, 1, 5, 9), (2, 7, 1, 8, 2, 8)
    kept = [gene in pair for gene, *pair in zip(crossover(mother, father, rng), mother, father, strict=True)]
    require(all(kept), "gene i of the child must be gene i of a parent: genes keep their places")


@exercise("07.3", "tournament selection")
def check_tournament(tournament: Callable[[Sequence[float], int, Generator], int]) -> None:
    """`tournament(scores, k, rng)`: the index of the best of k different members, drawn at random."""
    scores, rng = [0.2, 0.9, 0.5, 0.1, 0.7, 0.3], np.random.default_rng(0)
    n, order = len(scores), sorted(range(6), key=lambda i: -scores[i])
    first = tournament(scores, 3, rng)
    whole = isinstance(first, int | np.integer) and not isinstance(first, bool)
    require(whole and 0 <= first < n, f"a tournament returns the index of a member, 0 to {n - 1}, got {first!r}")
    always = {int(tournament(scores, n, rng)) for _ in range(200)}
    require(always == {order[0]}, "with k = n all take part, each once, so the best must win every time")
    for k in (1, 3):
        wins = np.bincount([tournament(scores, k, rng) for _ in range(DRAWS)], minlength=n)[order] / DRAWS
        chances = np.array([math.comb(n - 1 - rank, k - 1) / math.comb(n, k) for rank in range(n)])
        require(not wins[chances == 0].any(), f"with k = {k} the {k - 1} worst never win: the highest score does")
        for rank, (share, wanted) in enumerate(zip(wins, chances, strict=True), 1):
            odds = f"with k = {k} of {n}, rank {rank} must win with probability {wanted:.2f}, not {share:.2f}"
            require(abs(share - wanted) < NEAR, f"{odds}: draw k different members, each equally likely; the best wins")


@exercise("07.4", "a fair any-time curve")
def check_band(band: Callable[[np.ndarray], tuple]) -> None:
    """`band(scores)`: scores (seeds, evaluations); 25 %, 50 % and 75 % quantiles over seeds of the best so far."""
    scores = np.random.default_rng(3).random((21, 8))
    got = ask(band, scores.copy(), keep="the scores that were handed in must stay as they were")
    require(len(got) == 3, f"a band is three lines: low, median, high; got {len(got)}")
    low, middle, high = (np.asarray(line, dtype=float) for line in got)
    require(middle.shape == (8,), f"a line needs a value per evaluation, (8,), got {middle.shape}: over seeds")
    require((low <= middle).all() and (middle <= high).all(), "the order is low, median, high")
    require((np.diff(middle) >= 0).all(), "the best so far never falls, so neither does its median")
    best, late = np.maximum.accumulate(scores, axis=1), np.maximum.accumulate(np.median(scores, axis=0))
    first = "take the best so far of every seed first, quantiles after that: the other way round is no search's record"
    hints = [(late, first), (best.mean(0), "the middle line is the median over seeds, not the mean")]
    for line, q, name in ((middle, 0.5, "median"), (low, 0.25, "low"), (high, 0.75, "high")):
        expect(line, np.quantile(best, q, axis=0), f"the {name} line is the {q:.0%} quantile over seeds", hints)
