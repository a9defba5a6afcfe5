"""Checkers for notebook 11: reach, weights and faults of losses, dual ascent, what a price proves and cannot find."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from nasedu.course.checks import close, exercise, expect, number, require

Lists = Sequence[Sequence[float]]  # a number for every option of every decision

TARGETS = (  # (target, tolerance), whether 10 + (1, 2 or 4) + (10 or 30), thus 21, 22, 24, 41, 42 or 44, reaches it
    (22.0, 0.03, True, "10 + 2 + 10 = 22 can be reached"),
    (44.0, 0.03, True, "the dearest network, 10 + 4 + 30 = 44, can be reached"),
    (60.0, 0.03, False, "60 is dearer than every network: at most 44"),
    (12.0, 0.03, False, "12 is less than the cheapest network, 10 + 1 + 10: every decision must choose *something*"),
    (34.0, 0.03, False, "34 lies between the bounds, but costs go from 24 straight to 41: bounds alone do not tell"),
    (11.0, 0.03, False, "the fixed part and one entry are no network"),
    (43.0, 0.03, True, "43 ± 3 % holds 42 and 44: the tolerance counts"),
    (43.0, 0.001, False, "43 ± 0.1 % holds nothing: the tolerance is relative to the target"),
    (43.5, 0.015, True, "43.5 ± 1.5 % holds 44: a cost may be above the target"),
    (42.5, 0.015, True, "42.5 ± 1.5 % holds 42: a cost may be below the target"),
    (40.0, 0.0247, False, "40 ± 2.47 % does not hold 41: the tolerance is a share of the target, not of the cost"),
)


@exercise("11.1", "can it be reached?")
def check_reachable(reachable: Callable[[float, Lists, float, float], bool]) -> None:
    """`reachable(fixed, entries, target, tolerance)`: whether some network costs within `tolerance` of the target."""
    for target, tolerance, wanted, sentence in TARGETS:
        got = reachable(10.0, [[1.0, 2.0, 4.0], [10.0, 30.0]], target, tolerance)
        require(isinstance(got, bool) or got in (0, 1), "answer with True or False")
        require(bool(got) == wanted, sentence)
    large = [[float(i * j) for i in range(9)] for j in range(1, 41)]
    require(reachable(0.0, large, 6560.0, 1e-4), "forty decisions have 9^40 networks, and one of them costs 6,560")
    tens = [[10 * cost for cost in costs] for costs in large]
    holes = "where all costs are tens, none of 9^40 networks costs 3,005 ± 0.1 %: neither bounds nor samples tell"
    require(not reachable(0.0, tens, 3005.0, 0.001), holes)


@exercise("11.2", "a log loss without units")
def check_log_loss(log_loss: Callable[[Tensor, Tensor, Tensor], Tensor]) -> None:
    """`log_loss(task, cost, target)`: task times a factor of r = cost / target that is 1 at r = 1."""

    def loss(*numbers: float) -> float:
        """The answer on floats as tensors, for it may use either torch or a tensor's methods."""
        return number(log_loss(*(torch.tensor(x, dtype=torch.float64) for x in numbers)))

    _check_finite(loss)
    for cost in (12.0, 45.0, 90.0):
        ms, us = loss(2.0, cost, 30.0), loss(2.0, 1000 * cost, 30_000.0)
        told = f"{cost:g} of 30 ms give {ms:.6g}, the same in microseconds {us:.6g}: log cost / target"
        require(close(ms, us, 1e-6), told)
    expect(loss(2.0, 30.0, 30.0), 2.0, "at the target the factor must be 1: a task loss of 2 must stay 2")
    grid = [loss(2.0, 0.05 * i * 30.0, 30.0) for i in range(160)]
    rises = all(b > a for a, b in zip(grid, grid[1:], strict=False))
    require(rises, "a dearer network must always pay more: the factor must rise with the cost, below the target, too")
    twice = "the factor multiplies: twice the task loss is twice the total"
    expect(loss(4.0, 50.0, 30.0), 2 * loss(2.0, 50.0, 30.0), twice)
    slopes = np.diff(grid)
    slower = (np.diff(slopes) <= 1e-9).all() and slopes[-1] < 0.9 * slopes[0]
    require(slower, "a log grows ever more slowly, from no cost on: no step may cost more than the one before")


def _check_finite(loss: Callable[[float, float, float], float]) -> None:
    for r in (0.0, 1e-9, 0.3, 0.9):
        value, at = loss(2.0, 30.0 * r, 30.0), f"at {r:g} times the target the total is"
        require(math.isfinite(value), f"{at} {value}: guard the log for small costs")
        require(value >= 0, f"{at} {value:.3g}: a factor below 0 turns the task round")
    for value in (loss(2.0, 0.2, 0.5), loss(2.0, 1.0, 0.5)):
        positive = math.isfinite(value) and value >= 0
        require(positive, "a target of half a unit must work, too: log(target) is below 0 there")


GAINS: dict[str, Callable] = {  # the share of the objective that r times the target buys
    "a gain that bends": lambda r: 1 - np.exp(-1.5 * r),
    "a steep gain": lambda r: 4 - 4 * np.exp(-1.5 * r),
    "a gain that is highest at 0.7": lambda r: 1 - (r - 0.7) ** 2,
    "a gain that grows ever faster": lambda r: r**2 / 9,
}
TERMS: dict[str, Callable] = {
    "a line": lambda r: r - 1,
    "a log": np.log,
    "a square": lambda r: (r - 1) ** 2,
    "a hinge": lambda r: np.maximum(r - 1, 0),
}
BARGAINS = (  # which gain, which term, and whether some weight meets the target
    ("a gain that bends", "a line", True),
    ("a steep gain", "a line", True),
    ("a gain that bends", "a log", False),
    ("a gain that bends", "a square", True),
    ("a gain that bends", "a hinge", True),
    ("a gain that is highest at 0.7", "a square", True),
    ("a gain that is highest at 0.7", "a hinge", False),
    ("a gain that grows ever faster", "a hinge", True),
    ("a gain that grows ever faster", "a line", False),
)


@exercise("11.3", "a weight that meets the target")
def check_weight(weight_for: Callable[[Callable, Callable], float]) -> None:
    """`weight_for(gain, term)`: a weight at which 1 - gain(r) + weight * term(r) is lowest at r = 1, or 0."""
    r = np.linspace(0.2, 3, 2801)
    for gain, term, possible in BARGAINS:
        weight, name = number(weight_for(GAINS[gain], TERMS[term])), f"{gain}, {term}"
        if weight == 0:
            require(not possible, f"{name}: some weight does meet this target")
            continue
        require(0.01 <= weight <= 100, f"{name}: a weight must be from 0.01 to 100, got {weight:.3g}")
        end = r[(1 - GAINS[gain](r) + weight * TERMS[term](r)).argmin()]
        none = "" if possible else ", and so it is with every weight: return 0"
        missed = f"{name}: with a weight of {weight:.3g} the total is lowest at {end:.0%} of the target{none}"
        require(abs(end - 1) <= 0.0305, missed)


@exercise("11.4", "the whole dual ascent")
def check_dual_ascent(dual_ascent: Callable[[Lists, Lists, float], Sequence[int]]) -> None:
    """`dual_ascent(costs, gains, target)`: an option for every list, at most `target` in all, gains nearly the best."""
    for name, costs, gains, target in _problems():
        got = [int(i) for i in dual_ascent(costs.tolist(), gains.tolist(), float(target))]
        require(len(got) == len(costs), "choose one option from every list")
        require(all(0 <= i < costs.shape[1] for i in got), "options are counted from 0 to their number less 1")
        rows = range(len(costs))
        cost, gain = costs[rows, got].sum(), gains[rows, got].sum()
        over = "costs swing about the target, so keep the best choice so far that fits"
        require(cost <= target * (1 + 1e-9), f"{name}: your choice costs {cost / target:.1%} of the budget; {over}")
        share = gain / _best(costs, gains, target)
        require(share >= 0.97, f"{name}: your choice gains {share:.1%} of what the budget allows; 97 % can be had")


def _problems() -> list[tuple[str, np.ndarray, np.ndarray, float]]:
    """Forty lists of six options each. Gains sum to 1 at most."""
    rng, found = np.random.default_rng(11), []
    for name, share, unit in (
        ("a tight budget", 0.25, 1.0),
        ("a loose budget", 0.6, 1.0),
        ("the same in another unit", 0.6, 1e4),
        ("a budget that does not bind", 1.0, 1.0),
    ):
        costs = np.sort(rng.integers(1, 60, (40, 6)), 1).astype(float)
        gains = rng.random((40, 6)) * costs**0.5  # what is dearer is better as a rule, but not always
        low, high = costs.min(1).sum(), costs.max(1).sum()
        found.append((name, unit * costs, gains / gains.max(1).sum(), unit * (low + share * (high - low))))
    return found


def _best(costs: np.ndarray, gains: np.ndarray, target: float) -> float:
    """The highest sum of gains within a budget, by dynamic programming over whole costs."""
    unit = 1e4 if costs.min() > 100 else 1.0
    best = np.zeros(int(target / unit + 1e-9) + 1)
    for prices, worth in zip((costs / unit).astype(int), gains, strict=True):
        best = np.max([np.r_[[-np.inf] * c, best][: len(best)] + g for c, g in zip(prices, worth, strict=True)], 0)
    return float(best.max())


@exercise("11.5", "a network that no price finds")
def check_hidden_network(problem: Callable[[], tuple[Lists, Lists, float]]) -> None:
    """`problem()`: costs and gains of two decisions with three options each, and a target."""
    costs, gains, target = problem()
    shapes = np.shape(costs), np.shape(gains)
    require(shapes == ((2, 3), (2, 3)), "hand in costs and gains of two decisions with three options each")
    costs, gains, target = np.asarray(costs, float), np.asarray(gains, float), number(target)
    require((costs > 0).all() and target > 0, "costs and the target must be above 0")
    cost, gain = ((t[0][:, None] + t[1]).flatten() for t in (costs, gains))
    fits = cost <= target * (1 + 1e-9)  # 0.1 + 0.2 is within 0.3
    require(fits.any() and not fits.all(), "the budget must bind: some networks within it, and some beyond")
    best = np.flatnonzero(fits & (gain >= gain[fits].max() - 1e-9))
    require(len(best) == 1, "one network alone must be the best within the budget")
    require(gain.max() > gain[best[0]], "beyond the budget there must be a better network, or the budget costs nothing")
    # between two prices at which networks tie nothing changes, so all there is to try are these and the gaps
    pairs = [(gain[i] - gain[j]) / (cost[i] - cost[j]) for i, j in np.argwhere(cost[:, None] > cost)]
    ties = np.unique([0.0, *(price for price in pairs if price > 0)])
    prices = [*ties, *(ties[1:] + ties[:-1]) / 2, ties[-1] + 1]
    finds = [price for price in prices if (gain - price * cost)[best[0]] >= (gain - price * cost).max() - 1e-9]
    told = f"at a price of {finds[0] if finds else 0:.3g} per unit of cost a search finds the best network after all"
    require(not finds, f"{told}: another one that is cheaper or dearer must be the better bargain at every price")


@exercise("11.6", "what a price proves")
def check_bound(bound: Callable[[Lists, Lists, float, float], float]) -> None:
    """`bound(costs, gains, target, price)`: no network within the target gains more than this, whatever the price."""
    costs, gains = [[1.0, 3.0, 7.0], [2.0, 4.0, 9.0]], [[0.1, 0.5, 0.6], [0.2, 0.3, 0.9]]
    networks = list(itertools.product(range(3), repeat=2))
    cost, gain = ([sum(t[d][i] for d, i in enumerate(a)) for a in networks] for t in (costs, gains))
    free = number(bound(costs, gains, 8.0, 0.0))
    expect(free, max(gain), "at a price of 0 the bound is the best gain of all networks, whatever they cost")
    for target, price in itertools.product((4.0, 8.0, 13.0), (0.2, 1.0, 3.0)):
        got = number(bound(costs, gains, target, price))
        best = max(g for c, g in zip(cost, gain, strict=True) if c <= target)
        told = f"with a target of {target:g} and a price of {price:g}"
        require(got >= best - 1e-9, f"{told} your bound is {got:.3g}, but a network that fits gains {best:.3g}")
        want = max(g + price * (1 - c / target) for c, g in zip(cost, gain, strict=True))
        loose = f"{told} {want:.3g} can be proved: what is left of the budget counts once, price * (1 - cost / target)"
        expect(got, want, loose)
    many = bound([[1.0, 2.0]] * 60, [[0.0, 1.0]] * 60, 90.0, 30.0)
    expect(many, 60.0 + 30.0 * (1 - 120 / 90), "sixty lists have 2^60 networks: choose in every list for itself")


SUSPECTS = (  # a loss of (task, cost, target), its faults, and what it is called
    (lambda task, cost, target: task + max(0.0, cost / target - 1), set(), "a hinge"),
    (lambda task, cost, target: task + 0.1 * (cost / target - 1), set(), "ProxylessNAS's line"),
    (lambda task, cost, target: task * math.log1p(cost / target), set(), "a product with log(1 + r)"),
    (lambda task, cost, target: task + (cost / target - 1) ** 2, {"falls"}, "a square about the target"),
    (lambda task, cost, target: task + max(0.0, cost - target), {"units"}, "a hinge of the plain difference"),
    (lambda task, cost, target: task + math.exp(-cost / target), {"falls"}, "a reward for dear networks"),
    (lambda task, cost, target: task - math.log(max(1e-300, 2 - cost / target)), set(), "a guarded barrier"),
    (lambda task, cost, target: task + (math.inf if cost > 2.9 * target else 0.0), {"infinite"}, "a wall"),
    (lambda task, cost, target: task + 1e-3 * (cost - target) ** 2, {"units", "falls"}, "a square in ms"),
    (lambda task, cost, target: task + math.log(cost) if cost else -math.inf, {"infinite", "units"}, "a bare log"),
    (lambda task, cost, target: task + (math.log(cost) if cost else math.nan), {"infinite", "units"}, "a log times 0"),
    (lambda task, cost, target: task + cost / target + math.sin(12 * cost / target) / 2, {"falls"}, "a rise in waves"),
    (lambda task, cost, target: task + (cost < target / 2), {"falls"}, "a step that only the cheapest networks pay"),
)
FAULTS = {"units", "falls", "infinite"}


@exercise("11.7", "which rule does this loss break?")
def check_examine(examine: Callable[[Callable], set[str]]) -> None:
    """`examine(loss)`: which of `FAULTS` a loss of floats (task, cost, target) has."""
    for loss, faults, name in SUSPECTS:
        got = set(examine(loss))
        require(got <= FAULTS, f"the faults are called {', '.join(sorted(FAULTS))}; got {', '.join(map(str, got))}")
        missed, blamed = " and ".join(sorted(faults - got)), " and ".join(sorted(got - faults))
        require(not missed, f"{name} has a fault that you did not find: {missed}")
        require(not blamed, f"{name} is not guilty of this: {blamed}")
