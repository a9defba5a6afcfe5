"""Constraints: exact membership, uniform members however rare, and an immediate no where there are none."""

from __future__ import annotations

import itertools
import math
import sys
from collections import Counter

import numpy as np
import pytest
import torch

from nasedu import spaces
from nasedu.errors import BudgetError, ParameterError, TableError
from nasedu.identity import identity
from nasedu.search.random import random_search
from nasedu.search.settings import SearchConfig
from nasedu.tables import LookupTable
from nasedu.tables.within import at_most, within


@pytest.fixture(scope="module")
def yolo():
    return spaces.create("yolo", image_size=64)


@pytest.fixture(scope="module")
def macs(yolo):
    return LookupTable.build(yolo, "macs")


def test_bounds_are_inclusive_and_relative(toy, priced):
    table = priced(toy([3, 3]))  # 100 to 106
    assert [at_most(table, 103)(arch) for arch in [(1, 1), (2, 1)]] == [True, False]
    assert [within(table, 103, 0.005)(arch) for arch in [(0, 2), (0, 1), (1, 1), (2, 1)]] == [False, False, True, False]
    assert within(table, 103, 0.0)((1, 1))


@pytest.mark.parametrize("make", [lambda t: at_most(t, 108), lambda t: within(t, 113, 0.01), lambda t: at_most(t, 1e9)])
def test_samples_are_uniform_over_exactly_the_feasible(toy, priced, make):
    space = toy([3, 2, 4])
    constraint = make(priced(space))
    members = {arch for arch in itertools.product(*map(range, space.choices)) if constraint(arch)}
    rng, draws = np.random.default_rng(0), 400
    seen = Counter(constraint.sample(rng) for _ in range(draws * len(members)))
    assert seen.keys() == members
    chi_squared = sum((n - draws) ** 2 / draws for n in seen.values())
    assert chi_squared < 3 * len(members)


@pytest.mark.parametrize("where", ["cheapest", "dearest"])
def test_members_too_rare_for_rejection_are_found(yolo, macs, where):
    low, high = macs.bounds()
    constraint = at_most(macs, low * 1.02) if where == "cheapest" else within(macs, high, 0.02)
    rng = np.random.default_rng(0)
    assert not any(constraint(yolo.sample(rng)) for _ in range(1000))
    members = {constraint.sample(rng, tries=5) for _ in range(20)}
    assert all(map(constraint, members))
    assert len(members) > 1
    assert all(yolo.validate(arch) == arch for arch in members)


def test_groups_of_several_decisions_keep_their_axes_apart():
    """Every member of a space with two decisions a group is drawn; a transposed entry would draw others."""
    space = spaces.create("yolo:tiny", num_classes=3, image_size=64)
    table = LookupTable.build(space, "macs")
    low, high = table.bounds()
    constraint, rng = within(table, (low + high) / 2, 0.02), np.random.default_rng(1)
    members = {arch for arch in itertools.product(*map(range, space.choices)) if constraint(arch)}
    assert constraint.count == len(members) > 20
    assert {constraint.sample(rng) for _ in range(20 * len(members))} == members


def test_counts_are_exact_for_whole_figures(toy, priced):
    space = toy([3, 2, 4])
    table, every = priced(space), list(itertools.product(range(3), range(2), range(4)))
    for budget in (100, 103, 107.5, 111, 1e9):
        assert at_most(table, budget).count == sum(table(arch) <= budget for arch in every)
    for target in (100, 104, 109.5):
        assert within(table, target, 0.011).count == sum(abs(table(a) - target) <= 0.011 * target for a in every)
    huge = toy([9] * 30)  # 9^30 architectures: more than a float or 64 bits can count one by one
    depth = LookupTable(huge, "depth", "blocks", 0.0, [torch.tensor([0.0] * 8 + [1.0]).double()] * 30)
    assert at_most(depth, 20).count == sum(math.comb(30, k) * 8 ** (30 - k) for k in range(21))


def test_what_costs_as_much_as_the_bound_is_within_it(toy):
    space, every = toy([3] * 6), list(itertools.product(range(3), repeat=6))
    for seed in range(20):
        rng = np.random.default_rng(seed)
        entries = [torch.from_numpy(row) for row in rng.integers(0, 50, (6, 3)).astype(float)]
        table = LookupTable(space, "latency_ms", "ms", float(rng.random()), entries)
        bound = table(every[rng.integers(len(every))])
        assert at_most(table, bound).count == sum(table(arch) <= bound for arch in every)


def test_counts_are_close_for_other_figures(toy):
    space, generator = toy([4] * 7), torch.Generator().manual_seed(0)
    entries = [torch.rand(4, generator=generator).double() for _ in range(7)]
    table = LookupTable(space, "latency_ms", "ms", 0.5, entries)
    costs = [table(arch) for arch in itertools.product(range(4), repeat=7)]
    for budget in np.quantile(costs, [0.01, 0.5, 0.9]):
        assert at_most(table, budget).count == pytest.approx(sum(c <= budget for c in costs), abs=2)


def test_several_budgets_at_once(toy, priced):
    space = toy([3, 2, 4, 3])
    table = priced(space)
    gain = LookupTable(space, "depth", "blocks", 0.0, [e.flip(0) for e in table.entries])
    both = at_most(table, 110) & within(gain, 13, 0.2)
    members = {arch for arch in itertools.product(*map(range, space.choices)) if both(arch)}
    assert 5 < len(members) < 72
    assert members == {
        a for a in itertools.product(*map(range, space.choices)) if table(a) <= 110 and 10.4 <= gain(a) <= 15.6
    }
    rng = np.random.default_rng(0)
    seen = Counter(both.sample(rng) for _ in range(300 * len(members)))
    assert seen.keys() == members and sum((n - 300) ** 2 / 300 for n in seen.values()) < 3 * len(members)
    assert both.count == len(members)
    with pytest.raises(
        BudgetError, match=r"params of at most 100 parameters and depth of .* reachable range is 100 to"
    ):
        at_most(table, 100) & at_most(gain, 0)
    with pytest.raises(TableError, match="it is to price toy"):
        at_most(table, 110) & at_most(priced(toy([3, 3])), 103)


@pytest.mark.parametrize("budget", [1.0, 99.9])
def test_a_budget_below_the_cheapest_names_metric_bound_and_range(toy, priced, budget):
    with pytest.raises(BudgetError, match=f"params of at most {budget:.4g} parameters.*100 to 106"):
        at_most(priced(toy([3, 3])), budget)


@pytest.mark.parametrize("target", [50, 1000])
def test_a_target_out_of_reach_names_the_range(toy, priced, target):
    with pytest.raises(BudgetError, match="100 to 106"):
        within(priced(toy([3, 3])), target)


def test_a_gap_within_the_range_is_refused_without_looking_at_architectures(toy, monkeypatch):
    space = toy([2] * 30)
    entries = [torch.tensor([0.0, 1e6], dtype=torch.float64)] * 30
    table = LookupTable(space, "macs", "MACs", 0.0, entries)
    with monkeypatch.context() as patch:
        patch.setattr(LookupTable, "__call__", lambda *_: pytest.fail("there are 2^30 of them"))
        with pytest.raises(BudgetError, match="macs of 1,350,000 to 1,650,000 MACs"):
            within(table, 1.5e6, 0.1)
    assert within(table, 2e6, 0.0).sample(np.random.default_rng(0)).count(1) == 2


@pytest.mark.parametrize("bad", [float("nan"), -1.0, 0.0, float("inf"), True])
def test_nonsense_bounds_are_refused(toy, priced, bad):
    table = priced(toy([3, 3]))
    with pytest.raises(ParameterError):
        within(table, bad)
    with pytest.raises(ParameterError, match="nan"):
        at_most(table, float("nan"))


def test_a_table_of_another_space_is_refused(toy, priced):
    constraint = at_most(priced(toy([3, 3])), 103)
    with pytest.raises(TableError, match="it is to price toy"):
        random_search(toy([3, 4]), sum, SearchConfig(budget=2, feasible=constraint))
    assert (
        random_search(toy([3, 3]), sum, SearchConfig(budget=2, feasible=constraint)).score >= 0
    )  # an equal space will do


def test_the_identity_depends_on_bounds_and_entries(toy, priced):
    space, other = toy([3, 3]), toy([3, 3])
    table, changed = priced(space), priced(other)
    changed.entries[0][0] = 0.5
    constraints = [at_most(table, 103), at_most(table, 104), within(table, 103), at_most(changed, 103)]
    assert len({identity(constraint) for constraint in constraints}) == 4
    assert identity(at_most(priced(other), 103)) == identity(constraints[0])


def brute_force(constraint):
    return {arch for arch in itertools.product(*map(range, constraint.space.choices)) if constraint(arch)}


@pytest.mark.parametrize("scale", [1.0, 0.37])  # whole figures, and others
def test_several_budgets_are_counted_exactly_and_rare_ones_drawn_uniformly(toy, priced, scale):
    space = toy([3, 2, 4, 3, 4])
    table = priced(space)
    gain = LookupTable(space, "latency_ms", "ms", scale, [scale * (e.flip(0) ** 2) for e in table.entries])
    for seed in range(3):
        near = space.sample(np.random.default_rng(seed))
        both = at_most(table, table(near) + 3) & within(gain, gain(near), 0.4)
        assert both.count == len(brute_force(both)) > 0
        three = both & at_most(gain, gain(near) * 1.1)
        assert three.count == len(brute_force(three)) > 0
    members, rng = brute_force(three), np.random.default_rng(0)
    seen = Counter(three._arch(three._joint.draw(rng)) for _ in range(300 * len(members)))
    assert seen.keys() == members and sum((n - 300) ** 2 / 300 for n in seen.values()) < 3 * len(members)


def rare(toy):
    """Two tables that rise against one another: 1 of 2^16 architectures meets both."""
    space = toy([2] * 16)
    rise = [torch.tensor([0.0, 2.0**i]).double() for i in range(16)]
    macs = LookupTable(space, "macs", "MACs", 0.0, rise)
    fall = LookupTable(space, "params", "parameters", 0.0, [entry.flip(0) for entry in rise])
    return at_most(macs, 2**15) & at_most(fall, 2**15 - 1)


def test_what_meets_several_budgets_is_found_however_rare(toy):
    both = rare(toy)
    assert both.sample(np.random.default_rng(0)) == (0,) * 15 + (1,) and both.count == 1


def test_a_rare_draw_that_fails_says_so_and_not_that_there_is_none(toy, monkeypatch):
    monkeypatch.setattr("nasedu.tables.counting.MOST_TOTALS", 100)
    both = rare(toy)
    with pytest.raises(BudgetError, match=r"none of 300 draws of toy had macs of .* and params of .* are rare"):
        both.sample(np.random.default_rng(0), tries=300)
    with pytest.raises(ParameterError, match="too many to count"):
        both.count  # noqa: B018
    assert both.best([torch.zeros(2)] * 16) == (0,) * 15 + (1,)


def test_counts_of_several_budgets_beyond_a_floats_digits(toy):
    huge = toy([9] * 30)
    depth = LookupTable(huge, "depth", "blocks", 0.0, [torch.tensor([0.0] * 8 + [1.0]).double()] * 30)
    params = LookupTable(huge, "params", "parameters", 0.0, [torch.tensor([0.0, *[5.0] * 8]).double()] * 30)
    both = at_most(depth, 10) & at_most(params, 150)
    assert both.count == at_most(depth, 10).count == sum(math.comb(30, k) * 8 ** (30 - k) for k in range(11))


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (lambda t: at_most(t, "abc"), "a budget must be a number, got 'abc'"),
        (lambda t: at_most(t, None), "a budget must be a number, got None"),
        (lambda t: at_most("macs", 5), "must be a LookupTable, got 'macs'"),
        (lambda t: within("macs", 5), "must be a LookupTable, got 'macs'"),
        (lambda t: within(t, "5"), "a target must be a number above 0, got '5'"),
        (lambda t: within(t, 103, "1"), "a tolerance must be a number of at least 0, got '1'"),
        (
            lambda t: at_most(t, 103) & (lambda arch: True),
            "joined with must be made by at_most or within, got function",
        ),
        (lambda t: at_most(t, 103).best([torch.zeros(3)]), r"vectors of \[3, 3\] numbers.* got \[\(3\)\]"),
        (lambda t: at_most(t, 103).best([torch.zeros(3), torch.zeros(2)]), r"got \[\(3\), \(2\)\]"),
        (lambda t: at_most(t, 103).best(5), "got 5"),
        (lambda t: at_most(t, 103).best(["a", "b"]), r"got \['a', 'b'\]"),
        (lambda t: at_most(t, 103).best([torch.tensor([0, math.nan, 0])] * 2), "some are NaN"),
        (lambda t: at_most(t, 103).best([torch.tensor([0, math.inf, 0])] * 2), "some are NaN or .inf"),
    ],
)
def test_wrong_arguments_are_refused_in_one_sentence(toy, priced, wrong, words):
    with pytest.raises(ParameterError, match=words) as caught:
        wrong(priced(toy([3, 3])))
    assert len(str(caught.value)) < 300 and "\n" not in str(caught.value)


def test_a_choice_of_probability_0_is_never_taken(toy, priced):
    constraint = at_most(priced(toy([3, 3])), 103)  # (0, 0), (1, 0), (2, 0), (0, 1), (1, 1)
    scores = [torch.tensor([0.2, 0.3, 0.5]).log(), torch.tensor([0.0, 0.1, 0.9]).log()]
    assert constraint.best(scores) == (1, 1)
    with pytest.raises(BudgetError, match="at most 103 parameters without a choice whose score is -inf"):
        constraint.best([scores[0], torch.tensor([0.0, 0.0, 1.0]).log()])


@pytest.mark.parametrize("scale", [1e-9, 1.0, 1e9])
def test_the_best_does_not_depend_on_the_unit(yolo, macs, scale):
    """The solver's tolerances are absolute: with seconds for milliseconds it once stopped early."""
    generator = torch.Generator().manual_seed(0)
    tiny = [1e-3 * torch.rand(e.shape, generator=generator, dtype=torch.float64) for e in macs.entries]
    gains = LookupTable(yolo, "gain", "points", 0.0, tiny, own=True)
    constraint = within(macs, macs(yolo.hand_designed), 0.03)
    scaled = LookupTable(yolo, "gain", "points", 0.0, [scale * entry for entry in tiny], own=True)
    best = constraint.best(scaled)
    assert best == constraint.best(gains)
    draws = np.random.default_rng(0)
    assert gains(best) >= max(gains(constraint.sample(draws)) for _ in range(200))


@pytest.fixture(scope="module")
def shared_tables(sharing):
    """Two tables of whole figures on the space that shares decisions, and all of its architectures."""
    draws, tables = np.random.default_rng(3), []
    for metric, unit in (("macs", "MACs"), ("params", "parameters")):
        shapes = [[sharing.choices[d] for d in group] for group in sharing.groups]
        entries = [torch.tensor(draws.integers(1, 40, shape), dtype=torch.float64) for shape in shapes]
        entries[1][0, 1] = entries[1][0, 0]  # at depth 0 the inner choice changes nothing
        tables.append(LookupTable(sharing, metric, unit, 7.0, entries))
    every = {sharing.canonical(arch) for arch in itertools.product(*map(range, sharing.choices))}
    return tables, every


def test_slots_that_share_decisions_are_counted_drawn_and_searched_exactly(sharing, shared_tables):
    (macs, params), every = shared_tables
    assert len(every) == sharing.size == 30
    costs = sorted(map(macs, every))
    assert macs.bounds() == (costs[0], costs[-1])
    assert tuple(map(macs, macs.extremes())) == (costs[-1], costs[0])
    rng, draws = np.random.default_rng(0), 300
    middle = sorted(map(params, every))[18]
    for constraint in (at_most(macs, costs[11]), at_most(macs, costs[20]) & at_most(params, middle)):
        members = {arch for arch in every if constraint(arch)}
        assert constraint.count == len(members) > 5
        seen = Counter(constraint.sample(rng) for _ in range(draws * len(members)))
        assert seen.keys() == members
        assert sum((n - draws) ** 2 / draws for n in seen.values()) < 3 * len(members)
        assert params(constraint.best(params)) == max(map(params, members))


def test_several_tables_at_once_are_drawn_from_their_joint_totals(shared_tables, monkeypatch):
    (macs, params), every = shared_tables
    monkeypatch.setattr(sys.modules["nasedu.tables.within"], "PATIENCE", 0)
    constraint = at_most(macs, 90) & at_most(params, 95)
    members, rng = {arch for arch in every if constraint(arch)}, np.random.default_rng(0)
    assert {constraint.sample(rng, tries=1) for _ in range(60 * len(members))} == members


def test_scores_by_decision_count_once_and_only_where_there_is_something_to_decide(sharing, shared_tables):
    (macs, _), every = shared_tables
    scores = [torch.randn(n, generator=torch.Generator().manual_seed(d)) for d, n in enumerate(sharing.choices)]
    idle = {i for i, *_ in sharing.needs}

    def total(arch):
        there = [d for d in range(len(arch)) if d not in idle or arch[sharing.needs[0][1]] >= 1]
        return sum(float(scores[d][arch[d]]) for d in there)

    constraint = at_most(macs, sorted(map(macs, every))[14])
    best = constraint.best(scores)
    assert total(best) == pytest.approx(max(total(arch) for arch in every if constraint(arch)))


def test_a_shared_decision_is_written_once(sharing):
    for arch in itertools.product(*map(range, sharing.choices)):
        text = sharing.format(arch)
        assert text.count("wide:") == text.count("depth:") == 1
        assert sharing.parse(text) == sharing.canonical(arch)


def test_the_ranking_space_is_counted_exactly():
    """Every architecture is below the largest cost, so the programme over totals must find the space's own size."""
    space = spaces.create("resnet48:course", depth=0.5)
    depth = LookupTable.build(space, "depth")
    low, high = depth.bounds()
    assert (low, high) == (10, 15)  # blocks, stem and classifier
    assert at_most(depth, high).count == space.size
    assert at_most(depth, low).count == 7**4 * 7**8
