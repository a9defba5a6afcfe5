"""Checkers for notebook 07: searches and their parts, splits that do not leak, and honest any-time curves.

Random answers are drawn many times from generators with fixed seeds, so that a verdict does not change by luck.
"""

from __future__ import annotations

import functools
import itertools
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
    twins = [[int(tournament(scores, 3, g)) for _ in range(30)] for g in map(np.random.default_rng, (7, 7))]
    require(twins[0] == twins[1], "two generators of the same seed must draw the same members: draw from rng only")
    always = {int(tournament(scores, n, rng)) for _ in range(200)}
    require(always == {order[0]}, "with k = n all take part, each once, so the best must win every time")
    for k in (1, 3):
        wins = np.bincount([tournament(scores, k, rng) for _ in range(DRAWS)], minlength=n)[order] / DRAWS
        chances = np.array([math.comb(n - 1 - rank, k - 1) / math.comb(n, k) for rank in range(n)])
        require(not wins[chances == 0].any(), f"with k = {k} the {k - 1} worst never win: the highest score does")
        for rank, (share, wanted) in enumerate(zip(wins, chances, strict=True), 1):
            odds = f"with k = {k} of {n}, rank {rank} must win with probability {wanted:.2f}, not {share:.2f}"
            require(abs(share - wanted) < NEAR, f"{odds}: draw k different members, each equally likely; the best wins")
    low = [-1.0] * 4 + [-2.0]
    worst = {int(tournament(list(low), 5, rng)) for _ in range(30)} == {4}
    require(not worst, "scores may be negative: -1 is higher than -2")
    shares = np.bincount([tournament(list(low), 1, rng) for _ in range(DRAWS)], minlength=5) / DRAWS
    _check_shares(
        shares, "with k = 1 each of 5 must win equally often: whoever was not drawn cannot, even with an equal score"
    )


@exercise("07.4", "a climb that starts anew")
def check_restarts(climbing: Callable[[Callable, Callable, Callable, int], dict]) -> None:
    """`climbing(draw, neighbours, evaluate, budget)`: {architecture: score} of a local search, in the order asked."""
    for seed, budget in enumerate((60, len(_Hills.EVERY), 1)):
        hills = _Hills(seed, budget)
        got = climbing(hills.draw, hills.neighbours, hills.evaluate, budget)
        spent = f"{len(hills.asked)} of {budget} evaluations were spent: start anew on every hilltop until none is left"
        require(len(hills.asked) == budget, spent)
        same = isinstance(got, dict) and list(got.items()) == list(hills.asked.items())
        require(same, "return a dict of every architecture that was evaluated and its score, in the order asked")


class _Hills:
    """Five decisions of three choices, scores at random in few steps: many hills, and a watch on who climbs."""

    EVERY = tuple(itertools.product(range(3), repeat=5))

    def __init__(self, seed: int, budget: int):
        self.rng, self.budget, self.draws = np.random.default_rng(seed), budget, 0
        self.scores = dict(zip(self.EVERY, self.rng.integers(0, 20, len(self.EVERY)).tolist(), strict=True))
        self.asked: dict[tuple, int] = {}
        self.drawn: set[tuple] = set()
        self.place: tuple | None = None

    def draw(self) -> tuple:
        self.draws += 1
        vain = f"draw was called {self.draws:,} times: an architecture that is known takes no evaluation, so draw again"
        require(self.draws < 50_000, f"{vain} until one is new, and stop when the budget is spent")
        self.drawn.add(arch := self.EVERY[self.rng.integers(len(self.EVERY))])
        return arch

    def neighbours(self, arch: tuple) -> list[tuple]:
        moves = [(*arch[:d], c, *arch[d + 1 :]) for d in range(5) for c in range(3) if c != arch[d]]
        return [moves[i] for i in self.rng.permutation(len(moves))]

    def evaluate(self, arch: tuple) -> int:
        """The score; fails the answer that may not ask for it now."""
        require(arch in self.scores, "evaluate takes one architecture, as draw and neighbours give them")
        require(arch not in self.asked, "no architecture may be evaluated twice: keep the scores, and look there first")
        require(len(self.asked) < self.budget, f"more than the budget of {self.budget} was spent: count every one")
        score, unknown = self.scores[arch], False
        if self.place:
            unknown = any(near not in self.asked for near in self.neighbours(self.place))
            self._allow(arch, unknown)
        if not unknown or score > self.asked[self.place]:
            self.place = arch
        self.asked[arch] = score
        return score

    def _allow(self, arch: tuple, unknown: bool) -> None:
        if not unknown:
            require(arch in self.drawn, "where all neighbours are known and none was better, start anew: at a draw")
        elif arch not in self.neighbours(self.place):
            early = "a fresh draw was evaluated while neighbours of the place where the climb stands were unknown"
            require(arch not in self.drawn, f"{early}; it stands on the last start, however low, or on what was better")
            stray = "a neighbour of another place was evaluated: go to the first neighbour that is better, at once"
            require(False, f"{stray}, and to none that is only as good")


@exercise("07.5", "a split that does not leak")
def check_split(split: Callable[[np.ndarray, float, Generator], tuple]) -> None:
    """`split(rows, share, rng)`: rows (n, seeds) of scores; the rows to learn from and to test on, as two lists."""
    rows, labels = _trainings(np.random.default_rng(0))
    rng, apart, sizes, tested = np.random.default_rng(1), np.zeros(2), [], np.zeros(40)
    for _ in range(300):
        parts = list(split(handed := rows.copy(), 0.25, rng))
        require(np.array_equal(handed, rows), "the scores that were handed in must stay as they were")
        require(len(parts) == 2, f"a split has two parts, to learn from and to test on; got {len(parts)}")
        train, test = (np.asarray(list(part), dtype=int).ravel() for part in parts)
        once = np.array_equal(np.sort([*train, *test]), np.arange(len(rows)))
        require(once, "every row must stand in exactly one of both parts, as its number; twins are kept, not dropped")
        twins = "a row to test on has a twin, equal with every seed, among those to learn from: that is the leak"
        require(not set(labels[train]) & set(labels[test]), twins)
        found = set(labels[test])
        sizes.append(len(found))
        tested[list(found)] += 1
        apart += [(a in found) != (b in found) for a, b in ((0, 1), (2, 3))]
    require((tested > 0).all(), "every training must have its chance to be tested on: draw them with rng")
    require(
        apart.all(), "equal means, or equal scores with some seeds, are no twins: compare the scores with every seed"
    )
    odd = max(sizes, key=lambda size: abs(size - 10))
    of = "of 40 different trainings a share of 0.25, so 10, must be tested on"
    require(odd == 10, f"{of}; got {odd}: count trainings, not rows")
    require(np.abs(tested / 300 - 0.25).max() < 0.13, "every training must be tested on with the same probability")
    half = set(labels[[int(row) for row in list(split(rows.copy(), 0.5, rng))[1]]])
    require(len(half) == 20, f"with a share of 0.5, 20 of the 40 trainings must be tested on; got {len(half)}")
    twice = [[sorted(map(int, part)) for part in split(rows.copy(), 0.25, np.random.default_rng(7))] for _ in range(2)]
    require(twice[0] == twice[1], "two generators of the same seed must give the same split: draw from rng only")


def _trainings(rng: Generator) -> tuple[np.ndarray, np.ndarray]:
    """40 trainings in up to five copies each, shuffled, and which one each is; 0 and 1, 2 and 3 are nearly twins."""
    scores = rng.integers(400, 800, (40, 3)) / 10
    scores[1] = scores[0, [0, 2, 1]]
    scores[3, :2] = scores[2, :2]
    labels = rng.permutation(np.repeat(np.arange(40), rng.integers(1, 6, 40)))
    return scores[labels], labels


@exercise("07.6", "a fair any-time curve")
def check_band(band: Callable[[np.ndarray], tuple]) -> None:
    """`band(scores)`: scores (seeds, evaluations); 25 %, 50 % and 75 % quantiles over seeds of the best so far."""
    scores = np.random.default_rng(3).random((21, 8)) - 0.8  # with 21 seeds all kinds of quantiles agree
    got = list(ask(band, scores.copy(), keep="the scores that were handed in must stay as they were"))
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


@exercise("07.7", "five faults in one picture")
def check_evidence(evidence: Callable[[], tuple]) -> None:
    """`evidence()`: scores seen and in truth of one search, on which five faulty curves differ from the honest one."""
    got = list(evidence())
    require(len(got) == 2, f"hand in two lists, the scores seen and the scores in truth; got {len(got)}")
    seen, true = (np.asarray(scores, dtype=float) for scores in got)
    sizes = f"both lists need one score per evaluation, 2 to 8 of them; got {seen.shape} and {true.shape}"
    require(seen.ndim == 1 and seen.shape == true.shape and 2 <= len(seen) <= 8, sizes)
    scores = np.concatenate([seen, true])
    require(np.all((scores >= 0) & (scores <= 100)), "accuracies lie between 0 and 100 %")
    right = true[_leaders(seen, strict=True)]
    for fault, curve in FAULTS.items():
        told = f"it would pass for honest on these scores: both draw {', '.join(f'{v:g}' for v in right)}"
        require(not np.array_equal(curve(seen, true), right), f"the curve that {fault} is not revealed: {told}")


def _leaders(seen: np.ndarray, strict: bool) -> list[int]:
    """After every evaluation, which one has the best score so far: the first of equals if `strict`, else the last."""
    better = np.greater if strict else np.greater_equal
    return list(itertools.accumulate(range(len(seen)), lambda i, j: j if better(seen[j], seen[i]) else i))


FAULTS: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    "chooses by the scores in truth": lambda seen, true: np.maximum.accumulate(true),
    "shows the scores seen": lambda seen, true: np.maximum.accumulate(seen),
    "keeps the best truth of all its picks": lambda seen, true: np.maximum.accumulate(true[_leaders(seen, True)]),
    "takes the last of equal scores": lambda seen, true: true[_leaders(seen, False)],
    "knows its last pick from the start": lambda seen, true: np.full(len(true), true[_leaders(seen, True)[-1]]),
}


@exercise("07.8", "when random search catches up")
def check_catch_up(catch_up: Callable[[Callable, float, Sequence[int]], int]) -> None:
    """`catch_up(search, target, seeds)`: after how many evaluations half of the searches have a regret of target."""
    regrets, seeds = np.random.default_rng(0).exponential(5, 1500), list(range(3, 54))
    regrets -= regrets.min()

    @functools.cache
    def curve(seed: int) -> np.ndarray:
        return np.minimum.accumulate(np.random.default_rng(seed).permutation(regrets))

    curves, late = np.array([curve(seed) for seed in seeds]), "the first evaluation is number 1, not 0"
    for target in (30.0, float(np.median(curves, axis=0)[25]), 0.04):  # the second is reached exactly
        right, mean = (int(np.argmax(f(curves, axis=0) <= target)) + 1 for f in (np.median, np.mean))
        asked: dict[int, int] = {}

        def search(seed: int, budget: int, asked: dict = asked) -> np.ndarray:
            asked[seed] = max(asked.get(seed, 0), int(budget))
            return curve(seed)[: int(budget)].copy()

        got = catch_up(search, target, seeds)
        require(set(asked) == set(seeds), "every one of the seeds must be searched with, and no other")
        hints = [(mean, "half of the searches: the median over seeds, not the mean"), (right - 1, late)]
        exact = f"after {right} evaluations the median regret is for the first time {target:g} or less"
        expect(got, right, exact, hints)
        waste = f"a search of {max(asked.values())} evaluations was run to find {right}"
        require(max(asked.values()) <= max(64, 4 * right), f"{waste}: start with few, and double until it suffices")
