"""Right and plausible wrong answers to the exercises of notebook 07, with the sentence that names the fault."""

from __future__ import annotations

from collections import OrderedDict

import numpy as np

from nasedu.course.checks.evolution import (
    check_band,
    check_catch_up,
    check_crossover,
    check_evidence,
    check_mutate,
    check_restarts,
    check_split,
    check_tournament,
)


def mutate(arch, choices, p, rng):
    return tuple(int(rng.integers(n)) if rng.random() < p else g for g, n in zip(arch, choices, strict=True))


def always_another(arch, choices, p, rng):
    return tuple(
        (g + int(rng.integers(1, n))) % n if rng.random() < p else g for g, n in zip(arch, choices, strict=True)
    )


def one_gene(arch, choices, p, rng):
    if rng.random() >= p:
        return arch
    i = int(rng.integers(len(arch)))
    return (*arch[:i], int(rng.integers(choices[i])), *arch[i + 1 :])


def one_coin(arch, choices, p, rng):
    return tuple(int(rng.integers(n)) for n in choices) if rng.random() < p else arch


def same_choices(arch, choices, p, rng):
    return tuple(int(rng.integers(max(choices))) if rng.random() < p else g for g in arch)


def few_choices(arch, choices, p, rng):
    return tuple(int(rng.integers(min(choices))) if rng.random() < p else g for g in arch)


def in_place(arch, choices, p, rng):
    child = mutate(arch, choices, p, rng)
    if isinstance(arch, list):
        arch[:] = child
    return child


def kept_instead(arch, choices, p, rng):
    return mutate(arch, choices, 1 - p, rng)


def unseeded(arch, choices, p, rng):
    return mutate(arch, choices, p, np.random.default_rng())


MUTATIONS = [
    (mutate, None),
    (lambda *args: list(mutate(*args)), None),
    (always_another, "the parent's own too"),
    (one_gene, "with p = 1"),
    (one_coin, "independently"),
    (same_choices, "below choices[i]"),
    (few_choices, "equally often"),
    (in_place, "stay as it was"),
    (kept_instead, "p = 0"),
    (unseeded, "rng only"),
    (lambda arch, choices, p, rng: mutate(arch, choices, p, rng)[:-1] or arch, "equal its parent"),
]


def crossover(a, b, rng):
    cut = int(rng.integers(1, len(a)))
    return a[:cut] + b[cut:]


def uniform(a, b, rng):
    return tuple(x if rng.random() < 0.5 else y for x, y in zip(a, b, strict=True))


def with_ends(a, b, rng):
    cut = int(rng.integers(0, len(a) + 1))
    return a[:cut] + b[cut:]


def short_of_the_end(a, b, rng):
    cut = int(rng.integers(1, len(a) - 1))
    return a[:cut] + b[cut:]


def two_points(a, b, rng):
    i, j = sorted(int(x) for x in rng.choice(np.arange(1, len(a)), 2, replace=False))
    return a[:i] + b[i:j] + a[j:]


def moved(a, b, rng):
    return tuple(sorted(crossover(a, b, rng)))


CROSSINGS = [
    (crossover, None),
    (uniform, "one cut"),
    (with_ends, "both parents"),
    (short_of_the_end, "equally likely"),
    (two_points, "one cut"),
    (moved, "keep their places"),
    (lambda a, b, rng: crossover(b, a, rng), "come from a"),
    (lambda a, b, rng: a[:3] + b[3:], "equally likely"),
    (lambda a, b, rng: a, "both parents"),
]


def tournament(scores, k, rng):
    return max(rng.choice(len(scores), k, replace=False).tolist(), key=lambda i: scores[i])


def with_replacement(scores, k, rng):
    return max(rng.choice(len(scores), k).tolist(), key=lambda i: scores[i])


def place_in_the_tournament(scores, k, rng):
    drawn = rng.choice(len(scores), k, replace=False)
    return int(np.argmax([scores[i] for i in drawn]))


def top_k(scores, k, rng):
    return int(rng.choice(np.argsort(scores)[::-1][:k]))


def among_all(scores, k, rng):
    """Finds the best score's place in the whole population, where an equal may stand that was not drawn."""
    return list(scores).index(max(scores[i] for i in rng.choice(len(scores), k, replace=False)))


def from_zero(scores, k, rng):
    best, highest = 0, 0.0
    for i in rng.choice(len(scores), k, replace=False).tolist():
        if scores[i] > highest:
            best, highest = i, scores[i]
    return best


def window(scores, k, rng):
    start = int(rng.integers(len(scores) - k + 1))
    return max(range(start, start + k), key=lambda i: scores[i])


def by_sets(scores, k, rng):
    drawn = set()
    while len(drawn) < k:
        drawn.add(int(rng.integers(len(scores))))
    return np.int64(max(drawn, key=scores.__getitem__))


def of_six(scores, k, rng):
    return max(rng.permutation(6)[:k].tolist(), key=lambda i: scores[i])


TOURNAMENTS = [
    (tournament, None),
    (by_sets, None),
    (lambda scores, k, rng: int(min(rng.permutation(len(scores))[:k], key=lambda i: -scores[i])), None),
    (lambda scores, k, rng: tournament(scores, k, np.random.default_rng()), "rng only"),
    (lambda scores, k, rng: tournament([abs(score) for score in scores], k, rng), "may be negative"),
    (among_all, "cannot, even with an equal score"),
    (from_zero, "cannot, even with an equal score"),
    (of_six, "your answer raised IndexError"),
    (window, "draw k different members"),
    (with_replacement, "each once"),
    (place_in_the_tournament, "best must win every time"),
    (top_k, "best must win every time"),
    (lambda scores, k, rng: int(np.argmax(scores)), "rank 1 must win with probability 0.17"),
    (lambda scores, k, rng: int(rng.integers(len(scores))), "best must win every time"),
    (lambda scores, k, rng: tournament([-s for s in scores], k, rng), "best must win every time"),
    (lambda scores, k, rng: scores[tournament(scores, k, rng)], "index of a member"),
    (lambda scores, k, rng: max(range(k), key=lambda i: scores[i]), "rank"),
]


def climbing(draw, neighbours, evaluate, budget):
    known, place = {}, None
    while len(known) < budget:
        ahead = next((near for near in neighbours(place) if near not in known), None) if place else None
        arch = ahead or draw()
        if arch not in known:
            known[arch] = evaluate(arch)
            if ahead is None or known[arch] > known[place]:
                place = arch
    return known


def in_two_loops(draw, neighbours, evaluate, budget):
    known = {}
    while len(known) < budget:
        place = draw()
        if place in known:
            continue
        known[place], climbs = evaluate(place), True
        while climbs:
            climbs = False
            for near in neighbours(place):
                if near not in known and len(known) < budget:
                    known[near] = evaluate(near)
                    if known[near] > known[place]:
                        place, climbs = near, True
                        break
    return known


def one_climb(draw, neighbours, evaluate, budget):
    place = draw()
    known, climbs = {place: evaluate(place)}, True
    while climbs:
        climbs = False
        for near in neighbours(place):
            if near not in known and len(known) < budget:
                known[near] = evaluate(near)
                if known[near] > known[place]:
                    place, climbs = near, True
                    break
    return known


def asks_again(draw, neighbours, evaluate, budget):
    place, spent = draw(), 1
    known = {place: evaluate(place)}
    while spent < budget:
        for near in neighbours(place):
            known[near] = evaluate(near)
            spent += 1
            if known[near] > known[place]:
                place = near
                break
        else:
            place = draw()
            known[place] = evaluate(place)
    return known


def blind(draw, neighbours, evaluate, budget):
    known = {}
    while len(known) < budget:
        arch = draw()
        if arch not in known:
            known[arch] = evaluate(arch)
    return known


def sideways(draw, neighbours, evaluate, budget):
    known, place = {}, None
    while len(known) < budget:
        ahead = next((near for near in neighbours(place) if near not in known), None) if place else None
        arch = ahead or draw()
        if arch not in known:
            known[arch] = evaluate(arch)
            if ahead is None or known[arch] >= known[place]:
                place = arch
    return known


def never_lower(draw, neighbours, evaluate, budget):
    known, place = {}, None
    while len(known) < budget:
        ahead = next((near for near in neighbours(place) if near not in known), None) if place else None
        arch = ahead or draw()
        if arch not in known:
            known[arch] = evaluate(arch)
            if place is None or known[arch] > known[place]:
                place = arch
    return known


def steepest(draw, neighbours, evaluate, budget):
    known, place = {}, None
    while len(known) < budget:
        if place is None:
            place = draw()
            if place in known:
                place = None
                continue
            known[place] = evaluate(place)
        fresh = [near for near in neighbours(place) if near not in known][: budget - len(known)]
        known |= {near: evaluate(near) for near in fresh}
        best = max(fresh, key=known.get, default=place)
        place = best if known[best] > known[place] else None
    return known


def goes_back(draw, neighbours, evaluate, budget):
    place = draw()
    known = {place: evaluate(place)}
    while len(known) < budget:
        ahead = next((near for near in neighbours(place) if near not in known), None)
        if ahead is None:
            place = max((a for a in known if any(near not in known for near in neighbours(a))), key=known.get)
            continue
        known[ahead] = evaluate(ahead)
        if known[ahead] > known[place]:
            place = ahead
    return known


RESTARTS = [
    (climbing, None),
    (in_two_loops, None),
    (lambda *given: OrderedDict(climbing(*given)), None),
    (lambda *given: dict(sorted(climbing(*given).items())), "in the order asked"),
    (lambda draw, near, evaluate, budget: climbing(draw, near, evaluate, max(budget, 2)), "more than the budget"),
    (lambda draw, near, evaluate, budget: climbing(draw, near, evaluate, 60), "were spent"),
    (one_climb, "start anew on every hilltop"),
    (asks_again, "evaluated twice"),
    (blind, "were unknown"),
    (sideways, "only as good"),
    (never_lower, "however low"),
    (steepest, "at once"),
    (goes_back, "start anew: at a draw"),
    (
        lambda draw, neighbours, evaluate, budget: climbing(draw, neighbours, evaluate, budget + 1),
        "more than the budget",
    ),
    (lambda *args: max(climbing(*args).items(), key=lambda pair: pair[1]), "return a dict"),
    (lambda draw, neighbours, evaluate, budget: climbing(draw, neighbours, evaluate, budget - 1), "were spent"),
]


def by_groups(groups, share, rng):
    names = rng.permutation(sorted(set(groups)))
    held = set(names[: round(share * len(names))].tolist())
    inside = [group in held for group in groups]
    numbers = np.arange(len(groups))
    return numbers[~np.array(inside)], numbers[inside]


def split(rows, share, rng):
    return by_groups(np.unique(rows, axis=0, return_inverse=True)[1].ravel().tolist(), share, rng)


def by_text(rows, share, rng):
    return tuple(part.tolist() for part in by_groups([str(row) for row in rows.tolist()], share, rng))


def leaky(rows, share, rng):
    order = rng.permutation(len(rows))
    cut = round(share * len(rows))
    return order[cut:], order[:cut]


def without_twins(rows, share, rng):
    first = np.unique(rows, axis=0, return_index=True)[1]
    order = rng.permutation(first)
    cut = round(share * len(first))
    return order[cut:], order[:cut]


def the_best_are_tested(rows, share, rng):
    groups = np.unique(rows, axis=0, return_inverse=True)[1].ravel()
    cut = round((1 - share) * (groups.max() + 1))
    return np.flatnonzero(groups < cut), np.flatnonzero(groups >= cut)


def share_of_rows(rows, share, rng):
    groups = np.unique(rows, axis=0, return_inverse=True)[1].ravel()
    held = []
    for group in rng.permutation(groups.max() + 1):
        if len(held) < share * len(rows) / 2:
            held += np.flatnonzero(groups == group).tolist()
    return np.setdiff1d(np.arange(len(rows)), held), np.array(held)


def one_more(rows, share, rng):
    return by_groups([row.tobytes() for row in rows], share + 1 / 40, rng)


def ten(rows, share, rng):
    return split(rows, 0.25, rng)


SPLITS = [
    (split, None),
    (lambda *given: (set(part.tolist()) for part in split(*given)), None),
    (lambda rows, share, rng: [rng.permutation(part) for part in split(rows, share, rng)], None),
    (one_more, "so 10, must be tested on"),
    (ten, "with a share of 0.5"),
    (lambda rows, share, rng: split(rows, share, np.random.default_rng()), "rng only"),
    (lambda rows, share, rng: by_groups([str(sorted(row)) for row in rows.tolist()], share, rng), "with every seed"),
    (lambda rows, share, rng: by_groups([str(row) for row in rows[:, :2].tolist()], share, rng), "with every seed"),
    (by_text, None),
    (leaky, "that is the leak"),
    (without_twins, "kept, not dropped"),
    (the_best_are_tested, "its chance"),
    (share_of_rows, "count trainings, not rows"),
    (
        lambda rows, share, rng: by_groups(rows.mean(1).round(9).tolist(), share, rng),
        "compare the scores with every seed",
    ),
    (lambda rows, share, rng: by_groups(rows[:, 0].tolist(), share, rng), "compare the scores with every seed"),
    (lambda rows, share, rng: split(rows, share, rng)[::-1], "so 10, must be tested on"),
    (lambda rows, share, rng: split(rows, share, rng)[1:], "two parts"),
    (lambda rows, share, rng: split(rows, share, np.random.default_rng(0)), "its chance"),
]


def band(scores):
    return tuple(np.quantile(np.maximum.accumulate(scores, axis=1), (0.25, 0.5, 0.75), axis=0))


def averaged(scores):
    best = np.maximum.accumulate(scores, axis=1)
    return best.mean(0) - best.std(0), best.mean(0), best.mean(0) + best.std(0)


def accumulated_over_seeds(scores):
    return tuple(np.quantile(np.maximum.accumulate(scores, axis=0), (0.25, 0.5, 0.75), axis=0))


BANDS = [
    (band, None),
    (lambda scores: list(band(scores)), None),
    (lambda scores: (line.tolist() for line in band(scores)), None),
    (lambda scores: band(np.maximum(scores, 0)), "quantile over seeds"),
    (lambda scores: np.quantile(np.maximum.accumulate(scores, axis=1), (0.24, 0.5, 0.76), axis=0), "low line"),
    (lambda scores: band(np.hstack([scores[:, :1], scores[:, :-1]])), "quantile over seeds"),
    (averaged, "not the mean"),
    (accumulated_over_seeds, "never falls"),
    (lambda scores: np.quantile(scores, (0.25, 0.5, 0.75), axis=0), "never falls"),
    (
        lambda scores: np.maximum.accumulate(np.quantile(scores, (0.25, 0.5, 0.75), axis=0), axis=1),
        "of every seed first",
    ),
    (lambda scores: np.quantile(np.maximum.accumulate(scores, axis=1), (0.25, 0.5, 0.75), axis=1), "(8,)"),
    (lambda scores: np.quantile(np.maximum.accumulate(scores, axis=1), (0, 0.5, 1), axis=0), "low line"),
    (lambda scores: band(scores)[::-1], "the order is"),
    (lambda scores: band(scores)[1], "three lines"),
    (lambda scores: (scores.sort(axis=1), band(scores))[1], "stay as they were"),
]


EVIDENCE = [
    (lambda: ([50, 60, 60, 55, 70], [60, 55, 58, 70, 50]), None),
    (lambda: (np.array([1.0, 2.0, 2.0]), np.array([30.0, 20.0, 10.0])), None),
    (lambda: iter(([50, 60, 60, 55, 70], (60, 55, 58, 70, 50))), None),
    (lambda: ([50, 60, 60, 55, 70], [60, 55, 58, float("nan"), 50]), "0 and 100"),
    (lambda: ([50, 60, 60], [60, 55, 55]), "takes the last of equal"),
    (lambda: ([50, 60, 70], [50, 60, 70]), "chooses by the scores in truth"),
    (lambda: ([50, 60, 70], [60, 55, 58]), "takes the last of equal scores"),
    (lambda: ([60, 60, 60], [60, 70, 60]), "shows the scores seen"),
    (lambda: ([60, 60, 55], [50, 40, 70]), "keeps the best truth"),
    (lambda: ([60, 70, 70, 50], [40, 50, 45, 60]), "keeps the best truth"),
    (lambda: ([60, 60], [50, 40, 70]), "one score per evaluation"),
    (lambda: ([60], [50]), "2 to 8"),
    (lambda: ([0.5, 160, 160], [60, 55, 58]), "0 and 100"),
    (lambda: [50, 60, 70], "two lists"),
]


def catch_up(search, target, seeds, budget=16, least=np.median, times=2):
    while True:
        curves = np.array([search(seed, budget) for seed in seeds])
        if (least(curves, axis=0) <= target)[-1]:
            return int(np.argmax(least(curves, axis=0) <= target)) + 1
        budget *= times


def by_hitting_times(search, target, seeds):
    budget, hits = 1, []
    while len(hits) <= len(seeds) / 2:
        budget *= 2
        curves = [search(seed, budget) for seed in seeds]
        hits = sorted(int(np.argmax(curve <= target)) + 1 for curve in curves if curve[-1] <= target)
    return hits[len(seeds) // 2]


def only_doublings(search, target, seeds):
    budget = 1
    while np.median([search(seed, budget)[-1] for seed in seeds]) > target:
        budget *= 2
    return budget


def upper(curves, axis):
    return np.quantile(curves, 0.54, axis=axis)


def below(search, target, seeds):
    return catch_up(search, np.nextafter(target, 0), seeds)


def by_halves(search, target, seeds):
    def reached(budget):
        return np.median([search(seed, budget)[-1] for seed in seeds]) <= target

    high = 1
    while not reached(high):
        high *= 2
    low = high // 2
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if reached(middle) else (middle, high)
    return high


CATCHING = [
    (catch_up, None),
    (by_hitting_times, None),
    (by_halves, None),
    (below, "for the first time"),
    (lambda search, target, seeds: catch_up(search, target, seeds, times=10), "double until it suffices"),
    (lambda search, target, seeds: catch_up(search, target, seeds, least=upper), "for the first time"),
    (lambda *args: np.int64(catch_up(*args)), None),
    (
        lambda search, target, seeds: catch_up(search, target, seeds, least=np.mean),
        "the median over seeds, not the mean",
    ),
    (lambda *args: catch_up(*args) - 1, "number 1, not 0"),
    (lambda search, target, seeds: catch_up(search, target, seeds[:1]), "every one of the seeds"),
    (lambda search, target, seeds: catch_up(search, target, range(len(seeds))), "and no other"),
    (lambda search, target, seeds: catch_up(search, target, seeds, budget=1500), "double until it suffices"),
    (only_doublings, "for the first time"),
]

ANSWERS = {
    check_mutate: MUTATIONS,
    check_crossover: CROSSINGS,
    check_tournament: TOURNAMENTS,
    check_restarts: RESTARTS,
    check_split: SPLITS,
    check_band: BANDS,
    check_evidence: EVIDENCE,
    check_catch_up: CATCHING,
}
