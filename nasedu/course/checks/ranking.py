"""Checkers for notebook 12: the pairwise loss, distances, a bounded sampler, what a prior explains, enough seeds."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from nasedu.course.checks import ask, exercise, expect, number, require


@exercise("12.1", "the pairwise loss")
def check_ranking_loss(ranking_loss: Callable[..., Tensor]) -> None:
    """`ranking_loss(first, second, z_first, z_second, margin, spare)`: of two losses, by a prior."""

    def asked(first: float, second: float, z: tuple[float, float], **options) -> tuple[float, list[float]]:
        """The answer's loss, and its slope by each of both losses."""
        a, b = (torch.tensor(loss, requires_grad=True) for loss in (first, second))
        value = ranking_loss(a, b, *z, **options)
        require(isinstance(value, Tensor) and value.shape == (), "the loss must be one number, a tensor")
        require(value.requires_grad, "the loss must keep its graph, where it is 0, too: it is back-propagated")
        slopes = torch.autograd.grad(value, (a, b), allow_unused=True)
        return float(value.detach()), [0.0 if s is None else float(s) for s in slopes]

    for z in ((0.0, 1.0), (5.0, -2.0)):
        good, bad = (1, 0) if z[1] > z[0] else (0, 1)
        losses = [1.2, 1.2]
        losses[good], losses[bad] = 1.0, 1.75
        value, slopes = asked(*losses, z)
        require(value == 0, "where the prior's better network has the lower loss there is nothing to pay")
        losses[good], losses[bad] = 1.75, 1.0
        value, slopes = asked(*losses, z)
        expect(value, 0.75, "a discordant pair costs the loss of the better network less that of the worse")
        require(slopes[good] == 1, "the better network must feel the loss: its own loss is to fall")
        require(slopes[bad] == -1, "without `spare` the worse network feels the loss, too: its slope is -1")
        _, slopes = asked(*losses, z, spare=True)
        require(slopes[good] == 1 and slopes[bad] == 0, "with `spare` only the worse network's loss gets no gradient")
        losses[good], losses[bad] = 1.0, 1.25
        value, _ = asked(*losses, z, margin=0.5)
        expect(value, 0.25, "the margin asks the better loss to be lower by so much, and is added before the maximum")
    value, slopes = asked(2.0, 1.0, (3.0, 3.0), margin=0.5)
    require(value == 0 and slopes == [0, 0], "where the prior ties, no network is better: the loss is 0")


@exercise("12.2", "the group distance")
def check_group_distance(group_distance: Callable[..., float]) -> None:
    """`group_distance(a, b, group)`: over the edges 0, 0.5 within a group of choices, 2 across."""
    group = (0, 0, 1, 1)

    def far(a: Sequence[int], b: Sequence[int]) -> float:
        return number(ask(group_distance, tuple(a), tuple(b), group))

    expect(far((0, 1, 2), (0, 1, 2)), 0.0, "an architecture is at no distance from itself")
    expect(far((0, 0), (1, 0)), 0.5, "two different choices of one group are 0.5 apart")
    hints = [(1.0, "that is the Hamming distance: it does not look at the groups")]
    expect(far((0, 0), (2, 0)), 2.0, "two choices of different groups are 2 apart", hints)
    expect(far((0, 1, 2, 3, 0, 2), (1, 2, 3, 0, 0, 2)), 5.0, "the distance is the sum over all edges, not their mean")


@exercise("12.3", "a pair that is far apart")
def check_far_pair(far_pair: Callable[..., tuple]) -> None:
    """`far_pair(draw, distance, above, tries)`: a pair further apart than `above`, or None as the second."""
    generator = torch.Generator().manual_seed(0)
    drawn: list[int] = []

    def draw() -> int:
        require(len(drawn) < 10_000, "draw the second architecture `tries` times at most: this goes on and on")
        drawn.append(int(torch.randint(4, (), generator=generator)))
        return drawn[-1]

    def distance(a: int, b: int) -> int:
        return abs(a - b)

    def asked(above: float, tries: int) -> tuple:
        """The answer's pair; `drawn` holds what it drew for it."""
        drawn.clear()
        found = far_pair(draw, distance, above, tries)
        require(isinstance(found, tuple | list) and len(found) == 2, "return two architectures, or the first and None")
        return tuple(found)

    first, second = asked(5, 20)
    require(second is None, "where no draw is far enough, the second is None")
    require(len(drawn) == 21, f"with 20 tries there are 21 draws, the first among them; here were {len(drawn)}")
    require(first == drawn[0], "the first architecture stays: only the second is drawn again")
    counts: Counter = Counter()
    for _ in range(4000):
        found = asked(1, 200)
        apart = found[1] is not None and distance(*found) > 1
        require(apart, "the pair must be more than `above` apart, not just so far")
        counts[found] += 1
    firsts = Counter(a for a, b in counts.elements())
    fair = all(abs(firsts[a] - 1000) < 130 for a in range(4))
    require(fair, "every first must be equally likely: who draws both again prefers those with many far neighbours")
    ends = [counts[0, b] / firsts[0] for b in (2, 3)]
    require(all(0.4 < share < 0.6 for share in ends), "among the seconds that are far enough each is equally likely")


@exercise("12.4", "what is known beside the prior")
def check_partial_tau(partial_tau: Callable[[float, float, float], float]) -> None:
    """`partial_tau(st, sg, tg)`: the correlation of scores and truth without what both share with the prior."""
    formula = "it is (st - sg tg) / sqrt((1 - sg²)(1 - tg²))"
    swaps = [(0.5 / 0.9, "1 - sg tg is no norm: each of both correlations with the prior has a factor of its own")]
    expect(number(partial_tau(0.6, 0.5, 0.2)), 0.5 / (0.75 * 0.96) ** 0.5, formula, swaps)
    expect(number(partial_tau(0.5, 0.5, 0.5)), 1 / 3, "with all three at 0.5 it is 1/3")
    expect(number(partial_tau(0.1, 0.2, 0.5)), 0.0, "where st is sg times tg, nothing is left beside the prior: 0")
    sharper = "a prior that the scores ignore still explains a part of the truth"
    expect(number(partial_tau(-0.3, 0.0, 0.9)), -0.3 / 0.19**0.5, sharper)
    for case in ((0.5, 1.0, 0.5), (0.5, 0.5, -1.0)):
        lost = "where a correlation with the prior is 1 or -1 it is not defined: nan"
        require(math.isnan(number(partial_tau(*case))), lost)


@exercise("12.5", "how many seeds?")
def check_seeds_needed(seeds_needed: Callable[[float, float], int]) -> None:
    """`seeds_needed(sd, difference)`: the least n whose Student's interval stays within the difference."""
    for sd, right, normal in ((0.04, 5, 3), (0.1, 18, 16), (0.02, 3, 2)):
        got = number(seeds_needed(sd, 0.05))
        require(got != normal, "1.96 belongs to many seeds: with n of them take Student's t, with n - 1 degrees")
        require(got != right - 1, "the interval must stay *within* the difference: this n is one too few")
        require(got == right, f"for sd {sd} and a difference of 0.05 it takes {right} seeds, got {got:g}")
    require(number(seeds_needed(1e-6, 0.05)) == 2, "two seeds are the least: one has no spread")
