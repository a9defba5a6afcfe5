"""What a budget refuses before a search starts, and what it must not."""

from __future__ import annotations

import pickle
from types import SimpleNamespace

import numpy as np
import pytest

from nasedu import spaces
from nasedu.errors import BudgetError, CheckpointError
from nasedu.hardware.about import describe_device
from nasedu.search import ZenConfig, plain_budget, zero_shot
from nasedu.search.plain_budget import PlainBudget, PlainLatency
from nasedu.spaces.plainnet.published import MACS_SEED
from nasedu.storage import identity, save_state

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


@pytest.fixture
def clock(monkeypatch):
    """Every block that is measured takes a ms more or less than the one before, as no machine is ever the same."""
    told = []

    def measure(module, shape, **options):
        told.append(shape)
        return SimpleNamespace(median=1.0 + len(told) % 7)

    monkeypatch.setattr(plain_budget, "measure", measure)
    return told


def test_a_killed_search_goes_on_with_the_latencies_that_it_had(clock, tmp_path, capsys):
    def search(folder, keep="blocks.pt", **options):
        latency = PlainLatency(MOBILE, options={"batch": 2}, keep=keep and tmp_path / folder / keep)
        budget = PlainBudget(MOBILE, latency_ms=40.0, latency=latency)
        settings = ZenConfig(budget=30, children=4, population=8, founders=4, start=MACS_SEED, feasible=budget)
        found = zero_shot(MOBILE, params, settings, state=tmp_path / folder / "s.pt", **options)
        return [record["arch"] for record in found.history], latency

    def kill(done, total, note=""):
        if done == 18:  # in the middle of a generation
            raise KeyboardInterrupt

    whole, latency = search("whole")
    start = len(clock)
    del clock[:]
    with pytest.raises(KeyboardInterrupt):
        search("killed", progress=kill)
    resumed, again = search("killed")
    assert resumed == whole and again.table == latency.table and len(clock) == start
    assert capsys.readouterr().out == ""
    (tmp_path / "killed" / "blocks.pt").unlink()
    search("killed")
    assert "s.pt was stored with other settings, code or data" in capsys.readouterr().out
    for folder in ("none", "none"):
        search(folder, keep=None)
    assert "s.pt was stored with other settings, code or data" in capsys.readouterr().out


def test_kept_latencies_are_those_of_their_settings_and_undamaged(clock, tmp_path):
    keep = tmp_path / "blocks.pt"
    first = PlainLatency(MOBILE, keep=keep)
    assert first(START) == PlainLatency(MOBILE, keep=keep)(START) and identity(first) != identity(PlainLatency(MOBILE))
    assert identity(first) == identity(PlainLatency(MOBILE, keep=keep))
    assert PlainLatency(MOBILE, options={"batch": 2}, keep=keep).table == {}
    keep.write_bytes(keep.read_bytes()[:-1] + b"x")
    with pytest.raises(CheckpointError, match=r"blocks\.pt cannot be read"):
        PlainLatency(MOBILE, keep=keep)
    for other in ({}, {"mark": "a", "table": [1]}, {"mark": "a", "table": {"block": "fast"}}):
        save_state(keep, other, identity(MOBILE, {}, describe_device()))
        with pytest.raises(CheckpointError, match=r"blocks\.pt holds the state of something else"):
            PlainLatency(MOBILE, keep=keep)


def test_a_budget_knows_its_space_cheaply():
    budget = PlainBudget(MOBILE, params=1e6)
    other = PlainBudget(spaces.create("plainnet", blocks="idw", input_size=64, num_classes=1000), params=1e6)
    assert identity(budget) != identity(other) and budget.space.fingerprint != other.space.fingerprint
    assert identity(pickle.loads(pickle.dumps(budget))) == identity(budget)
