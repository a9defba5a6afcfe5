"""Right and plausible wrong answers to the exercises of notebook 11, with the sentence that names the fault."""

from __future__ import annotations

import itertools
import math

import numpy as np
import torch

from nasedu.course.checks.hardware_loss import (
    check_bound,
    check_dual_ascent,
    check_examine,
    check_hidden_network,
    check_log_loss,
    check_reachable,
    check_weight,
)


def totals(fixed, entries):
    costs = {fixed}
    for entry in entries:
        costs = {cost + price for cost in costs for price in entry}
    return costs


def by_sets(fixed, entries, target, tolerance, least=0.0, most=math.inf):
    shares = [cost / target for cost in totals(fixed, entries)]
    return any(abs(share - 1) <= tolerance for share in shares if least <= share <= most)


def sampled(fixed, entries, target, tolerance):
    rng = np.random.default_rng(0)
    costs = fixed + sum(rng.choice(entry, 10_000) for entry in entries)
    return bool((abs(costs - target) <= tolerance * target).any())


def by_bounds(fixed, entries, target, tolerance):
    low, high = fixed + sum(map(min, entries)), fixed + sum(map(max, entries))
    return low * (1 - tolerance) <= target <= high * (1 + tolerance)


def subsets(fixed, entries, target, tolerance):
    return by_sets(fixed, [[0.0, *entry] for entry in entries], target, tolerance)


REACH = [
    (by_sets, None),
    (by_bounds, "between the bounds"),
    (subsets, "must choose *something*"),
    (lambda f, e, t, tol: by_sets(0.0, e, t, tol), "can be reached"),
    (lambda f, e, t, tol: by_sets(f, e, t, 0.0), "the tolerance counts"),
    (lambda f, e, t, tol: any(abs(f + sum(c) - t) <= tol for c in itertools.product(*e[:9])), "the tolerance counts"),
    (lambda f, e, t, tol: "yes", "True or False"),
    (lambda f, e, t, tol: by_sets(f, e, t, tol, most=1.0), "may be above"),
    (lambda f, e, t, tol: by_sets(f, e, t, tol, least=1.0), "may be below"),
    (lambda f, e, t, tol: any(abs(c - t) <= tol * c for c in totals(f, e)), "not of the cost"),
    (lambda f, e, t, tol: (by_bounds if len(e) > 9 else by_sets)(f, e, t, tol), "neither bounds nor samples"),
    (sampled, "costs 6,560"),
    (lambda *case: np.bool_(by_sets(*case)), None),
]


LOGS = [
    (lambda task, c, t: task * torch.log1p(c / t) / math.log(2), None),
    (lambda task, c, t: task * torch.log2(1 + c / t), None),
    (lambda task, c, t: task * (torch.log1p(c / t) / math.log(2)) ** 0.3, None),
    (lambda task, c, t: task * (torch.log(c) / torch.log(t)), "guard the log"),
    (lambda task, c, t: task * torch.log1p(c) / torch.log1p(t), "in microseconds"),
    (lambda task, c, t: task * torch.log1p(c / t), "the factor must be 1"),
    (lambda task, c, t: task * (1 + (c / t).clamp_min(1e-3).log()), "turns the task round"),
    (lambda task, c, t: task * (1 + (c / t).clamp_min(1).log()), "must rise"),
    (lambda task, c, t: task * c / t, "ever more slowly"),
    (lambda task, c, t: task * torch.log2(1 + (c / t) ** 2), "ever more slowly"),
    (lambda task, c, t: task * torch.where(c < t, (c / t) ** 2, 1 + (c / t).clamp_min(1).log()), "ever more slowly"),
    (lambda task, c, t: task * torch.log2(1 + (c / t).clamp(max=5)), "must rise"),
    (lambda task, c, t: task * torch.log2(1 + c / (t + 1e-3)), "in microseconds"),
    (lambda task, c, t: task * torch.where(c < t, c / t, 1 + (c / t).clamp_min(1).log()), None),
    (lambda task, c, t: task + torch.log2(1 + c / t) - 1, "the factor multiplies"),
]


SCALE, RANGE = np.logspace(-2, 2, 500), np.linspace(0.2, 3, 561)


def by_trying(gain, term, weights=SCALE, r=RANGE, tolerance=0.03):
    """The first weight that ends on target."""
    ends = {w: abs(r[(1 - gain(r) + w * term(r)).argmin()] - 1) for w in weights}
    return next((w for w, miss in ends.items() if miss <= tolerance), 0.0)


def by_slopes(gain, term, step=1e-4):
    """Where the total is flat, which may be a hill."""
    rise = [f(1 + step) - f(1 - step) for f in (gain, term)]
    return rise[0] / rise[1] if rise[1] else 50.0


def nearest_end(gain, term):
    return min(np.logspace(-2, 2, 200), key=lambda w: by_end(gain, term, w))


def by_end(gain, term, weight):
    r = np.linspace(0.2, 3, 561)
    return abs(r[(1 - gain(r) + weight * term(r)).argmin()] - 1)


WEIGHTS = [
    (by_trying, None),
    (lambda gain, term: torch.tensor(by_trying(gain, term, weights=SCALE[::-1])), None),
    (by_slopes, "with every weight: return 0"),
    (nearest_end, "with every weight: return 0"),
    (lambda gain, term: 1.0, "the total is lowest at 27% of the target"),
    (lambda gain, term: 0, "some weight does meet"),
    (lambda gain, term: by_trying(gain, term, weights=(0.01, 0.1, 1.0, 10.0, 100.0)), "some weight does meet"),
    (lambda gain, term: by_trying(gain, term, r=np.linspace(0.9, 1.1, 41)), "with every weight: return 0"),
    (lambda gain, term: by_trying(gain, term, weights=(0.3347, 1.339, 1000.0)), "from 0.01 to 100"),
    (lambda gain, term: by_trying(gain, term, tolerance=0.2), "the total is lowest at"),
    (lambda gain, term: "heavy", "must be one number"),
]


def ascent(costs, gains, target, steps=3000, rho=0.3, floor=0.0, excess=lambda c, t: c / t - 1, last=False):
    """Dual ascent, and with other arguments what may go wrong in it."""
    costs, gains, rows = np.array(costs), np.array(gains), range(len(costs))
    price, best = 0.0, (-math.inf, costs.argmin(1))
    for _ in range(steps):
        chosen = (gains - price * costs / target).argmax(1)
        cost, gain = costs[rows, chosen].sum(), gains[rows, chosen].sum()
        if last or (cost <= target and gain > best[0]):
            best = gain, chosen
        price = max(floor, price + rho * excess(cost, target))
    return best[1].tolist()


ASCENTS = [
    (ascent, None),
    (lambda c, g, t: ascent(c, g, t, steps=20_000, rho=0.05), None),
    (lambda c, g, t: ascent(c, g, t, last=True), "keep the best choice so far"),
    (lambda c, g, t: [row.index(min(row)) for row in c], "97 % can be had"),
    (lambda c, g, t: [row.index(max(row)) for row in g], "of the budget"),
    (lambda c, g, t: ascent(c, g, t, steps=3), "97 % can be had"),
    (lambda c, g, t: ascent(c, g, t, excess=lambda cost, target: cost - target), "97 % can be had"),
    (lambda c, g, t: ascent(c, g, t)[:-1], "from every list"),
    (lambda c, g, t: [i + 1 for i in ascent(c, g, t)], "counted from 0"),
]


def dented():
    return [[1.0, 2.0, 3.0], [1.0, 1.5, 2.0]], [[0.0, 0.3, 1.0], [0.0, 0.0, 0.0]], 3.0


def supported():
    return [[1.0, 2.0, 3.0], [1.0, 1.5, 2.0]], [[0.0, 0.7, 1.0], [0.0, 0.0, 0.0]], 3.0


HIDDEN = [
    (dented, None),
    (lambda: ([[0.1, 0.2, 0.3], [0.1, 0.2, 0.4]], dented()[1], 0.3), None),
    (lambda: ([[2, 4, 6], [1, 7, 9]], [[0, 0.4, 1.2], [0, 0.1, 0.2]], 5.5), None),
    (supported, "finds the best network after all"),
    (lambda: (*dented()[:2], 9.0), "the budget must bind"),
    (lambda: (*dented()[:2], 1.0), "the budget must bind"),
    (lambda: ([[1, 2, 3]] * 2, [[0, 0.3, 1]] * 2, 3.0), "one network alone"),
    (lambda: ([[1, 2, 3], [1, 5, 9]], [[0.0, 1.0, 0.3], [0.2, 0.1, 0.0]], 3.5), "a better network"),
    (lambda: ([1.0, 2.0, 3.0], [0.0, 0.3, 1.0], 2.0), "two decisions with three options"),
    (lambda: ([[0, 1, 2], [0, 1, 2]], dented()[1], 1.0), "above 0"),
]


def proved(costs, gains, target, price):
    best = [max(g - price * c / target for c, g in zip(*pair, strict=True)) for pair in zip(costs, gains, strict=True)]
    return sum(best) + price


def greatest(costs, gains, target, price):
    """Of those within the target: exact, but of every network there is."""
    networks = list(itertools.product(*(range(len(row)) for row in costs[:9])))
    fit = [a for a in networks if sum(costs[d][i] for d, i in enumerate(a)) <= target]
    return max(sum(gains[d][i] for d, i in enumerate(a)) for a in fit)


def in_each(costs, gains, target, price):
    """The budget's rest is counted in every list."""
    pairs = zip(costs, gains, strict=True)
    return sum(max(g + price * (1 - c / target) for c, g in zip(*pair, strict=True)) for pair in pairs)


BOUNDS = [
    (proved, None),
    (greatest, "whatever they cost"),
    (in_each, "counts once"),
    (lambda c, g, t, price: proved(c, g, t, price) - price, "can be proved"),
    (lambda c, g, t, price: sum(map(max, g)), "can be proved"),
    (lambda c, g, t, price: proved(c, g, 1.0, price), "but a network that fits gains"),
    (lambda c, g, t, price: proved(c, g, t, -price), "can be proved"),
]


def examine(loss, shares=tuple(i / 10 for i in range(31)), targets=(0.5, 30.0), finite=math.isfinite):
    """Every rule at every cost, with two targets."""
    found = set()
    for target in targets:
        values = [loss(1.0, share * target, target) for share in shares]
        scaled = [loss(1.0, 1000 * share * target, 1000 * target) for share in shares]
        found |= {"infinite"} if not all(map(finite, values)) else set()
        found |= {"falls"} if any(b < a for a, b in itertools.pairwise(values)) else set()
        same = [a == b or math.isclose(a, b, rel_tol=1e-9) for a, b in zip(values, scaled, strict=True)]
        found |= set() if all(same) else {"units"}
    return found


def beyond(loss):
    return examine(loss, shares=tuple(1 + i / 10 for i in range(21)))


def inside(loss):
    return examine(loss, shares=tuple(i / 10 for i in range(11)))


EXAMINED = [
    (examine, None),
    (lambda loss: examine(loss, targets=(30.0,)), None),
    (lambda loss: sorted(examine(loss)), None),
    (beyond, "did not find: falls"),
    (inside, "did not find: units"),
    (lambda loss: examine(loss) - {"infinite"}, "did not find: infinite"),
    (lambda loss: {"units", "falls", "infinite"}, "a hinge is not guilty"),
    (lambda loss: {"two-sided"}, "the faults are called"),
    (lambda loss: examine(loss, shares=(0.5, 1.0)), "did not find: units"),
    (lambda loss: examine(loss, shares=(0.0, 0.5, 1.0, 2.0, 3.0)), "in waves has a fault"),
    (lambda loss: examine(loss, shares=tuple(i / 10 for i in range(30))), "a wall has a fault"),
    (lambda loss: examine(loss, finite=lambda total: not math.isinf(total)), "a log times 0"),
]

ANSWERS = {
    check_reachable: REACH,
    check_log_loss: LOGS,
    check_weight: WEIGHTS,
    check_dual_ascent: ASCENTS,
    check_hidden_network: HIDDEN,
    check_bound: BOUNDS,
    check_examine: EXAMINED,
}
