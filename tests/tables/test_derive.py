"""Derivation: the most probable architecture, repaired to meet its budget, and rivals that meet it too."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch

from nasedu import spaces
from nasedu.errors import BudgetError, ParameterError
from nasedu.sampling import one_hot, softmax, uniform_logits
from nasedu.tables import LookupTable, at_most, derive, nearest, within


@pytest.fixture(scope="module")
def tiny():
    return LookupTable.build(spaces.create("yolo", template="tiny", num_classes=3, image_size=64), "macs")


@pytest.fixture(scope="module")
def course():
    return LookupTable.build(spaces.create("yolo", num_classes=3), "macs")


@pytest.fixture(scope="module")
def every(tiny):
    """All 1,728 architectures."""
    return list(itertools.product(*map(range, tiny.space.choices)))


def test_repair_keeps_the_most_probability_of_all_architectures(tiny, every):
    space, rng = tiny.space, np.random.default_rng(0)
    low, high = tiny.bounds()
    for _ in range(5):
        path = [torch.softmax(torch.from_numpy(3 * rng.normal(size=n)), 0) for n in space.choices]
        target = low + rng.uniform(0.2, 0.8) * (high - low)
        found = derive(path, tiny, target)
        fitting = [a for a in every if abs(tiny(a) / target - 1) <= 0.03]
        regrets = [sum(float((p.max() / p[i]).log()) for p, i in zip(path, arch, strict=True)) for arch in fitting]
        assert found.arch in fitting and found.regret == pytest.approx(min(regrets), abs=1e-6)


def test_the_best_by_a_table_within_one_budget_and_two(tiny, every):
    params, gain = LookupTable.build(tiny.space, "params"), made_up(tiny.space, 0)
    (low, high), (few, many) = tiny.bounds(), params.bounds()
    for share in (0.05, 0.3, 0.7):
        one = within(tiny, low + share * (high - low))
        both = one & at_most(params, few + 0.9 * share * (many - few))
        assert gain(one.best(gain)) == pytest.approx(max(gain(a) for a in every if one(a)))
        assert gain(both.best(gain)) == pytest.approx(max(gain(a) for a in every if both(a)))
        assert gain(both.best(gain)) <= gain(one.best(gain))
    with pytest.raises(BudgetError, match=r"params of at most .* and macs of .* reachable range is .* and .* MACs"):
        at_most(params, few) & within(tiny, high)


def test_further_budgets_are_met_as_well(tiny, every):
    params = LookupTable.build(tiny.space, "params")
    path = one_hot(tiny.space.hand_designed, tiny.space.choices)
    path = [0.9 * p + 0.1 / len(p) for p in path]
    target = tiny(tiny.space.hand_designed)
    free = derive(path, tiny, target)
    limit = at_most(params, 0.95 * params(free.arch))
    kept = derive(path, tiny, target, also=limit)
    assert limit(kept.arch) and not limit(free.arch) and abs(kept.cost / target - 1) <= 0.03
    assert kept.repaired and kept.regret > free.regret == 0


def made_up(space, seed):
    """Scores, half of them negative."""
    generator = torch.Generator().manual_seed(seed)
    entries = [torch.randn([space.choices[d] for d in group], generator=generator).double() for group in space.groups]
    return LookupTable(space, "gain", "points", 0.0, entries, own=True)


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


def test_the_nearest_differs_by_the_fewest_steps(tiny, every):
    arch = tiny.space.hand_designed
    assert nearest(arch, tiny, tiny(arch)) == arch
    target = 1.5 * tiny(arch)
    steps = {a: sum(abs(i - j) for i, j in zip(a, arch, strict=True)) for a in every if within(tiny, target)(a)}
    assert steps[nearest(arch, tiny, target)] == min(steps.values())


def test_unreachable_targets_end_with_the_range(course):
    uniform = softmax(uniform_logits(course.space.choices))
    _, high = course.bounds()
    for attempt in (lambda t: derive(uniform, course, t), lambda t: within(course, t)):
        with pytest.raises(BudgetError, match=r"reachable range is .* MACs \(0\.\d+ to 0\.\d+ GFLOPs\)"):
            attempt(1.5 * high)
    with pytest.raises(ParameterError, match="a target must be a number above 0"):
        derive(uniform, course, math.nan)
