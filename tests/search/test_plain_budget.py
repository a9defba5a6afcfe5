"""What a budget refuses before a search starts, and what it must not."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

from nasedu import spaces
from nasedu.errors import BudgetError
from nasedu.search.plain_budget import PlainBudget
from nasedu.spaces.plainnet.published import MACS_SEED
from nasedu.storage import identity

MOBILE = spaces.create("plainnet", blocks="idw", input_size=64, num_classes=10)
START = MOBILE.parse(MACS_SEED)  # its head of 2048 channels is fixed by all rules but shared_ratio


def params(arch) -> int:
    return MOBILE.cost(arch).params


def least(rule: str) -> int:
    return params(MOBILE.smallest(START, "params", rule))


def test_a_rule_that_reaches_smaller_networks_is_not_refused():
    rng, arch = np.random.default_rng(0), START
    for _ in range(60):  # the fork's rule shrinks the head as well
        arch = min((MOBILE.mutate(arch, rng, rule="shared_ratio") for _ in range(20)), key=params)
    budget = PlainBudget(MOBILE, params=params(arch))
    assert budget(arch)
    budget.check(START, "shared_ratio")
    budget.check(START)  # without a rule nothing is refused that any rule reaches
    with pytest.raises(BudgetError, match="reachable range"):
        budget.check(START, "uniform")


def test_what_no_rule_reaches_is_refused():
    PlainBudget(MOBILE, params=least("shared_ratio")).check(START)
    with pytest.raises(BudgetError, match=f"the reachable range is {least('shared_ratio'):,} parameters upwards"):
        PlainBudget(MOBILE, params=least("shared_ratio") - 1).check(START)


def test_the_network_of_the_fewest_parameters_may_be_slow():
    slowest = MOBILE.smallest(START)

    def latency(arch) -> float:
        return 9.0 if arch == slowest else 1.0

    budget = PlainBudget(MOBILE, latency_ms=2.0, latency=latency)
    budget.check(START)
    assert budget(START) and not budget(slowest)
    assert "tried have 9 to 9 ms" in str(budget.unmet([slowest]))


def test_a_budget_knows_its_space_cheaply():
    budget = PlainBudget(MOBILE, params=1e6)
    other = PlainBudget(spaces.create("plainnet", blocks="idw", input_size=64, num_classes=1000), params=1e6)
    assert identity(budget) != identity(other) and budget.space.fingerprint != other.space.fingerprint
    assert identity(pickle.loads(pickle.dumps(budget))) == identity(budget)
