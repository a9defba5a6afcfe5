"""Derivation: the most probable architecture, repaired to meet its budget, and rivals that meet it too."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

from nasedu import spaces
from nasedu.errors import BudgetError
from nasedu.sampling import one_hot, softmax, uniform_logits
from nasedu.tables import LookupTable
from nasedu.tables.derive import derive, least_regret, nearest, random_within


@pytest.fixture(scope="module")
def tiny():
    return LookupTable.build(spaces.create("yolo", template="tiny", num_classes=3, image_size=64), "macs")


@pytest.fixture(scope="module")
def course():
    return LookupTable.build(spaces.create("yolo", num_classes=3), "macs")


def test_repair_is_the_least_regret_of_all_architectures(tiny):
    """Against brute force over all 1,728 architectures."""
    space, rng = tiny.space, np.random.default_rng(0)
    every = list(itertools.product(*map(range, space.choices)))
    low, high = tiny.bounds()
    for _ in range(5):
        regrets = [torch.from_numpy(rng.exponential(size=n)) for n in space.choices]
        target = low + rng.uniform(0.2, 0.8) * (high - low)
        found = least_regret(regrets, tiny, target)
        assert abs(tiny(found) / target - 1) <= 0.03

        def total(arch, regrets=regrets):
            return sum(float(r[i]) for r, i in zip(regrets, arch, strict=True))

        best = min(total(a) for a in every if abs(tiny(a) / target - 1) <= 0.0299)
        assert total(found) <= best + 1e-9


def test_derive_keeps_the_most_probable_where_it_fits_and_repairs_where_not(course):
    space = course.space
    path = one_hot(space.hand_designed, space.choices)
    kept = derive(path, course, course(space.hand_designed))
    assert kept.arch == kept.argmax == space.hand_designed and not kept.repaired and kept.regret == 0
    target = 1.3 * course(space.hand_designed)
    soft = [0.9 * p + 0.1 / len(p) for p in path]
    moved = derive(soft, course, target)
    assert moved.repaired and abs(moved.cost / target - 1) <= 0.03 and moved.regret > 0
    assert moved.argmax_cost == course(space.hand_designed) and moved.expected != moved.cost
    assert sum(a != b for a, b in zip(moved.arch, moved.argmax, strict=True)) < 9


def test_rivals_meet_the_budget(course):
    space, target = course.space, 0.8 * course(course.space.hand_designed)
    assert nearest(space.hand_designed, course, course(space.hand_designed)) == space.hand_designed
    for arch in (nearest(space.hand_designed, course, target), random_within(course, target, seed=0)):
        assert abs(course(arch) / target - 1) <= 0.03
    assert random_within(course, target, seed=0) == random_within(course, target, seed=0)
    assert random_within(course, target, seed=0) != random_within(course, target, seed=1)


def test_a_random_rival_is_found_near_the_ends_of_the_range(course):
    low, high = course.bounds()
    for target in (1.02 * low, 0.99 * high):
        found = [random_within(course, target, seed, tries=50) for seed in range(3)]
        assert all(abs(course(arch) / target - 1) <= 0.03 for arch in found)


def test_unreachable_targets_end_with_the_range(course):
    uniform = softmax(uniform_logits(course.space.choices))
    _, high = course.bounds()
    for attempt in (lambda t: derive(uniform, course, t), lambda t: random_within(course, t, 0, tries=100)):
        with pytest.raises(BudgetError, match="reachable range"):
            attempt(1.5 * high)
