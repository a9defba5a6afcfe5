"""Right and plausible wrong answers to the exercises of notebook 07, with the sentence that names the fault."""

from __future__ import annotations

import numpy as np

from nasedu.course.checks.evolution import check_band, check_crossover, check_mutate, check_tournament


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


TOURNAMENTS = [
    (tournament, None),
    (with_replacement, "each once"),
    (place_in_the_tournament, "best must win every time"),
    (top_k, "best must win every time"),
    (lambda scores, k, rng: int(np.argmax(scores)), "rank 1 must win with probability 0.17"),
    (lambda scores, k, rng: int(rng.integers(len(scores))), "best must win every time"),
    (lambda scores, k, rng: tournament([-s for s in scores], k, rng), "best must win every time"),
    (lambda scores, k, rng: scores[tournament(scores, k, rng)], "index of a member"),
    (lambda scores, k, rng: max(range(k), key=lambda i: scores[i]), "rank"),
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

ANSWERS = {
    check_mutate: MUTATIONS,
    check_crossover: CROSSINGS,
    check_tournament: TOURNAMENTS,
    check_band: BANDS,
}
