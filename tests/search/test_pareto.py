"""Sweeps over budgets: rows are single runs, what learns goes on after a kill, and one loss meets its budgets."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from nasedu import spaces
from nasedu.errors import ParameterError, TableError
from nasedu.search import DescentConfig, pareto_sweep
from nasedu.search.pareto import SWEEP
from nasedu.tables import Budget, LookupTable, losses

SHORT = DescentConfig(steps=200, every=20, gradient="sampled")


@pytest.fixture(scope="module")
def cost():
    return LookupTable.build(spaces.create("fbnet:course"), "macs")


@pytest.fixture(scope="module")
def objective(cost):
    """Dearer is better, but ever less so, with a little chance in it."""
    generator = torch.Generator().manual_seed(0)
    entries = [(e / e.max()).sqrt() * (1 + torch.rand(e.shape, generator=generator) / 5) for e in cost.entries]
    return LookupTable(cost.space, "gain", "points", 0.0, entries, own=True)


def targets(cost, *shares):
    low, high = cost.bounds()
    return [low + share * (high - low) for share in shares]


def test_a_sum_of_terms_and_its_gradient(objective, cost):
    (target,) = targets(cost, 0.4)
    loss = Budget([(cost, target, "squared"), (cost, torch.tensor([target, 2 * target]), "hinge")], objective)
    low, high = objective.bounds()
    costs = torch.tensor([[low, 1.5 * target, 1.5 * target], [high, target, 3 * target]])
    torch.testing.assert_close(loss.value(costs), torch.tensor([1 + 0.25 + 0.5, 0 + 0 + 0.5]), rtol=1e-4, atol=1e-5)
    slopes = loss.gradient(costs) * torch.tensor([high - low, target, target])
    wanted = torch.tensor([[-1, 2 * 0.5, 1.0], [-1, 0.0, 0.5]])
    torch.testing.assert_close(slopes, wanted, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("gradient", ["relaxed", "sampled"])
@pytest.mark.parametrize("name", ["lagrange", "log_barrier", "fbnet"])
def test_rows_are_single_runs(objective, cost, name, gradient):
    config = DescentConfig(steps=100, every=20, gradient=gradient)
    tight, loose = targets(cost, 0.2, 0.6)
    together = pareto_sweep(objective, cost, [tight, loose], [3, 4], loss=name, config=config)
    alone = pareto_sweep(objective, cost, [loose], [3], loss=name, config=config)
    torch.testing.assert_close(together.descent.theta[2], alone.descent.theta[0], rtol=1e-3, atol=1e-4)
    if name != "fbnet":  # it knows no target but as a unit
        assert not torch.allclose(together.descent.theta[2], together.descent.theta[0], atol=1e-2)


def test_a_multiplier_meets_what_a_slope_does_not(objective, cost):
    aims = targets(cost, 0.2, 0.35, 0.6)
    config = replace(SWEEP, steps=2000, every=10)
    hits = {
        name: pareto_sweep(objective, cost, aims, [0, 1], loss=name, config=config).frame()["hit"].mean()
        for name in ("lagrange", "linear")
    }
    assert hits["lagrange"] == 1 and hits["linear"] <= 0.35


class Killed(Exception):
    pass


def test_a_killed_sweep_goes_on_with_what_it_had_learnt(objective, cost, tmp_path, capsys):
    config = DescentConfig(steps=600, every=5, gradient="sampled")
    aims, state, done = targets(cost, 0.3, 0.6), tmp_path / "sweep.pt", []

    def kill(step, steps, note=""):
        done.append(step)
        if len(done) == 80:
            raise Killed

    loss = losses.create("lagrange")
    with pytest.raises(Killed):
        pareto_sweep(objective, cost, aims, [0], loss=loss, config=config, state=state, progress=kill)
    left, follow = [], lambda step, steps, note="": left.append(step)
    again = pareto_sweep(objective, cost, aims, [0], loss=loss, config=config, state=state, progress=follow)
    whole = pareto_sweep(objective, cost, aims, [0], loss=loss, config=config)
    assert left == list(range(255, 601, 5)) and torch.equal(again.descent.theta, whole.descent.theta)
    assert float(loss.multiplier) == 0
    other = losses.create("lagrange", rho=1.0)
    found = pareto_sweep(objective, cost, aims, [0], loss=other, config=config, state=state)
    alone = pareto_sweep(objective, cost, aims, [0], loss=other, config=config)
    assert torch.equal(found.descent.theta, alone.descent.theta)
    assert "sweep.pt was stored with other settings" in capsys.readouterr().out


def test_the_frame_and_its_front(objective, cost):
    low, high = cost.bounds()
    front = pareto_sweep(objective, cost, [*targets(cost, 0.2, 0.5), 2 * high], [0, 1], config=SHORT)
    frame, best = front.frame(), front.efficient()
    assert frame["seed"].tolist() == [0, 1] * 3 and frame["target"].is_monotonic_increasing
    for _, row in frame.iterrows():
        assert row["cost"] == cost(row["arch"]) and row["hit"] == (abs(row["cost"] / row["target"] - 1) <= 0.03)
        assert row["objective"] == objective(row["arch"]) and low <= row["expected_cost"] <= high * (1 + 1e-6)
    assert frame["derived"].isna().tolist() == [False] * 4 + [True] * 2 and math.isnan(frame["derived_cost"].iloc[-1])
    within = frame.iloc[:4]
    assert ((within["derived_cost"] / within["target"] - 1).abs() <= 0.03).all()
    pairs = within[["derived_cost", "derived_objective"]].to_numpy()
    beaten = [any((q != p).any() and q[0] <= p[0] and q[1] >= p[1] for q in pairs) for p in pairs]
    kept = {tuple(p) for p, worse in zip(pairs.tolist(), beaten, strict=True) if not worse}
    assert {tuple(p) for p in best[["derived_cost", "derived_objective"]].to_numpy().tolist()} == kept


def test_sweeps_that_are_none(objective, cost):
    for aims, seeds in (([], [0]), ([1e9], [])):
        with pytest.raises(ParameterError, match="a target and a seed"):
            pareto_sweep(objective, cost, aims, seeds)
    with pytest.raises(ParameterError, match="must be positive and finite, got -1"):
        pareto_sweep(objective, cost, [1e9, -1], [0])
    for aims, seeds in ((["abc"], [0]), ([None], [0]), ([1e9], ["x"])):
        with pytest.raises(ParameterError, match="targets are numbers and seeds whole ones"):
            pareto_sweep(objective, cost, aims, seeds)
    with pytest.raises(ParameterError, match="a hardware loss must be one that"):
        pareto_sweep(objective, cost, [1e9], loss=losses.Hinge)
    larger = spaces.create("fbnet:course", input_size=64)
    elsewhere = LookupTable(larger, "macs", "MACs", 0.0, cost.entries)
    with pytest.raises(TableError, match=r"of fbnet at \[3, 64, 64\] .* price fbnet at \[3, 32, 32\]"):
        pareto_sweep(objective, elsewhere, [1e9])
    flat = LookupTable(cost.space, "gain", "points", 0.0, [torch.ones_like(e) for e in cost.entries], own=True)
    with pytest.raises(ParameterError, match="nothing to search for"):
        pareto_sweep(flat, cost, [1e9])
