"""Right and plausible wrong answers to the exercises of notebook 12, with the sentence that names the fault."""

from __future__ import annotations

import math

import torch
from scipy import stats
from torch.nn import functional as F

from nasedu.course.checks.ranking import (
    check_far_pair,
    check_group_distance,
    check_partial_tau,
    check_ranking_loss,
    check_seeds_needed,
)


def paper(first, second, z_first, z_second, margin=0.0, spare=False):
    if z_first == z_second:
        return 0.0 * (first + second)
    better, worse = (first, second) if z_first > z_second else (second, first)
    return F.relu(margin + better - (worse.detach() if spare else worse))


def public(first, second, z_first, z_second, margin=0.0, spare=False):
    first = first.detach()
    return F.relu(second - first) if z_first < z_second else F.relu(first - second)


def reversed_order(first, second, z_first, z_second, margin=0.0, spare=False):
    return paper(first, second, -z_first, -z_second, margin, spare)


def ties_to_the_first(first, second, z_first, z_second, margin=0.0, spare=False):
    return paper(first, second, z_first + (z_first == z_second), z_second, margin, spare)


def no_graph(first, second, z_first, z_second, margin=0.0, spare=False):
    return paper(first, second, z_first, z_second, margin, spare) if z_first != z_second else torch.zeros(())


def always_spared(first, second, z_first, z_second, margin=0.0, spare=False):
    return paper(first, second, z_first, z_second, margin, True)


def never_spared(first, second, z_first, z_second, margin=0.0, spare=False):
    return paper(first, second, z_first, z_second, margin)


def margin_outside(first, second, z_first, z_second, margin=0.0, spare=False):
    return paper(first, second, z_first, z_second, 0.0, spare) + margin * (z_first != z_second)


def groups(a, b, group):
    return sum(0.0 if i == j else 0.5 if group[i] == group[j] else 2.0 for i, j in zip(a, b, strict=True))


def hamming(a, b, group):
    return float(sum(i != j for i, j in zip(a, b, strict=True)))


def same_group_is_equal(a, b, group):
    return sum(0.0 if group[i] == group[j] else 2.0 for i, j in zip(a, b, strict=True))


def mean_over_edges(a, b, group):
    return groups(a, b, group) / len(a) * 2


def pair(draw, distance, above, tries):
    first = draw()
    for _ in range(tries):
        second = draw()
        if distance(first, second) > above:
            return first, second
    return first, None


def without_end(draw, distance, above, tries):
    first, second = draw(), draw()
    while distance(first, second) <= above:
        second = draw()
    return first, second


def both_again(draw, distance, above, tries):
    kept = first = draw()
    for i in range(tries):
        second = draw()
        if distance(first, second) > above:
            return first, second
        if above < 5 and i < tries - 1:
            first = draw()
    return kept, None


def at_least(draw, distance, above, tries):
    return pair(draw, distance, above - 1e-9 if above < 5 else above, tries)


def one_try_more(draw, distance, above, tries):
    return pair(draw, distance, above, tries + 1)


def partial(st, sg, tg):
    free = (1 - sg**2) * (1 - tg**2)
    return (st - sg * tg) / free**0.5 if free > 1e-12 else float("nan")


def colleague(st, sg, tg):
    return (st - sg * tg) / (1 - sg * tg) if abs(sg) < 1 and abs(tg) < 1 else math.nan


def undivided(st, sg, tg):
    return st - sg * tg


def undefined(st, sg, tg):
    free = (1 - sg**2) * (1 - tg**2)
    return (st - sg * tg) / free**0.5 if free else 0.0


def student(sd, difference):
    n = 2
    while stats.t.ppf(0.975, n - 1) * sd / n**0.5 >= difference:
        n += 1
    return n


def normal(sd, difference):
    return max(2, math.ceil((1.96 * sd / difference) ** 2))


def one_too_few(sd, difference):
    return max(2, student(sd, difference) - 1)


def one_seed(sd, difference):
    return student(sd, difference) if sd > 1e-3 else 1


def one_sided(sd, difference):
    n = 2
    while stats.t.ppf(0.95, n - 1) * sd / n**0.5 >= difference:
        n += 1
    return n


ANSWERS = {
    check_ranking_loss: [
        (paper, None),
        (public, "without `spare` the worse network feels the loss"),
        (reversed_order, "there is nothing to pay"),
        (ties_to_the_first, "where the prior ties"),
        (no_graph, "must keep its graph"),
        (always_spared, "feels the loss, too"),
        (never_spared, "only the worse network's loss gets no gradient"),
        (margin_outside, "added before the maximum"),
    ],
    check_group_distance: [
        (groups, None),
        (hamming, "two different choices of one group are 0.5 apart"),
        (same_group_is_equal, "two different choices of one group"),
        (mean_over_edges, "the sum over all edges"),
    ],
    check_far_pair: [
        (pair, None),
        (without_end, "`tries` times at most"),
        (both_again, "every first must be equally likely"),
        (at_least, "more than `above` apart"),
        (one_try_more, "with 20 tries there are 21 draws"),
    ],
    check_partial_tau: [
        (partial, None),
        (colleague, "1 - sg tg is no norm"),
        (undivided, "it is (st - sg tg)"),
        (undefined, "it is not defined: nan"),
    ],
    check_seeds_needed: [
        (student, None),
        (normal, "1.96 belongs to many seeds"),
        (one_too_few, "one too few"),
        (one_seed, "two seeds are the least"),
        (one_sided, "one too few"),
    ],
}
