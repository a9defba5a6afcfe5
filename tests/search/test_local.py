"""Local search: it climbs one decision at a time, and starts anew at the top."""

from __future__ import annotations

import numpy as np
import pytest

from nasedu.errors import BudgetError
from nasedu.search import SearchConfig, local_search

CHOICES = [4] * 8


def gains(seed):
    table = np.random.default_rng(seed).normal(size=(len(CHOICES), max(CHOICES)))
    return table, lambda arch: table[range(len(arch)), arch].sum()


@pytest.mark.parametrize("seed", range(3))
def test_it_finds_the_optimum_of_a_separable_score(toy, seed):
    table, evaluate = gains(seed)
    result = local_search(toy(CHOICES), evaluate, SearchConfig(budget=200), seed=seed)
    assert result.best == tuple(table.argmax(1).tolist())  # of 65,536: no other point is a local optimum


def test_every_neighbour_differs_from_where_it_stood_in_one_decision(toy):
    _, evaluate = gains(5)
    result, here = local_search(toy(CHOICES), evaluate, SearchConfig(budget=300), seed=1), None
    archs = [record["arch"] for record in result.history]
    assert len(set(archs)) == 300 and sum(r["origin"] == "random" for r in result.history) > 1
    for record in result.history:
        if record["origin"] == "random":
            assert here is None or all(near in archs for near in around(here["arch"]))  # the climb was at its top
            here = record
        else:
            assert sum(x != y for x, y in zip(record["arch"], here["arch"], strict=True)) == 1
            here = record if record["score"] > here["score"] else here


def around(arch):
    return [(*arch[:d], c, *arch[d + 1 :]) for d, n in enumerate(CHOICES) for c in range(n) if c != arch[d]]


def test_failures_are_no_place_to_stand_and_budgets_hold(toy):
    _, good = gains(2)
    evaluate = lambda arch: good(arch) if arch[0] % 2 else float("nan")  # noqa: E731
    feasible = lambda arch: sum(arch) < 14  # noqa: E731
    result = local_search(toy(CHOICES), evaluate, SearchConfig(budget=150, feasible=feasible), seed=3)
    assert result.best[0] % 2 and all(feasible(r["arch"]) for r in result.history)
    assert result.anytime() == sorted(result.anytime()) and len(result.anytime()) == 150
    with pytest.raises(BudgetError):
        local_search(toy(CHOICES), good, SearchConfig(budget=5, feasible=lambda arch: False))


def test_a_shorter_search_is_the_longer_ones_beginning(toy, facts, tmp_path):
    space, (_, evaluate), state = toy(CHOICES), gains(4), tmp_path / "local.pt"
    whole = local_search(space, evaluate, SearchConfig(budget=120), seed=2)
    local_search(space, evaluate, SearchConfig(budget=47), seed=2, state=state)
    assert facts(local_search(space, evaluate, SearchConfig(budget=120), seed=2, state=state)) == facts(whole)
