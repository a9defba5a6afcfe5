"""Descent over tables: the closed-form gradient, seeds side by side, and going on after a kill."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from nasedu import spaces
from nasedu.errors import CheckpointError, ParameterError, TableError, UnknownName
from nasedu.sampling import gumbel_noise
from nasedu.search import DescentConfig, descend
from nasedu.search.descent import slope
from nasedu.tables import Budget, LookupTable, TableStack
from nasedu.wzdnas import four_terms

CONFIG = DescentConfig(steps=400, every=50)


@pytest.fixture(scope="module")
def space():
    return spaces.create("yolo", num_classes=3)


@pytest.fixture(scope="module")
def tables(space):
    return {"flops": LookupTable.build(space, "macs"), "depth": LookupTable.build(space, "depth")}


def loss_at(tables, fraction):
    low, high = tables["flops"].bounds()
    return four_terms(tables, low + fraction * (high - low))


def test_closed_form_gradient_equals_autograd(space, tables):
    budget, draws = loss_at(tables, 0.3), torch.Generator().manual_seed(0)
    theta = torch.randn(2, 18, 4, generator=draws)
    there = torch.arange(4) < torch.tensor(space.choices)[:, None]  # beyond are choices that a decision does not have
    noise = torch.where(there, gumbel_noise(theta.shape, draws), -torch.inf)
    free = theta.clone().requires_grad_()
    budget.value(budget.stack.expected(torch.softmax((free + noise) / 2.0, -1))).sum().backward()
    got = slope(theta, noise, 2.0, budget)
    torch.testing.assert_close(got[:, there], free.grad[:, there], rtol=1e-4, atol=1e-6)
    assert got.abs().max() > 1e-3


def tiny():
    operations = ["none", "skip_connect", "nor_conv_3x3"]
    space = spaces.create("nasbench201", operations=operations, width=0.25, depth=0.2, input_size=8)
    return LookupTable.build(space, "macs")


def shared(sharing):
    draws = torch.Generator().manual_seed(5)
    shapes = [[sharing.choices[d] for d in group] for group in sharing.groups]
    entries = [9 * torch.rand(shape, generator=draws) for shape in shapes]
    entries[1][0, 1] = entries[1][0, 0]  # where there is nothing to decide, nothing changes
    return LookupTable(sharing, "macs", "MACs", 7.0, entries)


@pytest.mark.parametrize("kind", ["cells", "shared decisions"])
def test_the_sampled_gradient_is_that_of_the_expected_loss(kind, sharing):
    """In tiny spaces, where every architecture can be drawn and weighed by its probability."""
    table = tiny() if kind == "cells" else shared(sharing)
    space = table.space
    low, high = table.bounds()
    loss = four_terms({"flops": table}, (low + high) / 2.5)
    theta = torch.randn(1, len(space.choices), max(space.choices), generator=torch.Generator().manual_seed(1))
    archs = torch.cartesian_prod(*(torch.arange(n) for n in space.choices))
    noise = 1e3 * torch.nn.functional.one_hot(archs, max(space.choices)).float()  # so that every one is drawn, once
    beyond = torch.arange(max(space.choices)) >= torch.tensor(space.choices)[:, None]
    noise[:, beyond] = -torch.inf
    slopes = slope(theta.expand(len(archs), -1, -1), noise, 0.7, loss, gradient="sampled")
    free = theta.clone().requires_grad_()
    soft = torch.softmax((free[0] / 0.7).masked_fill(beyond, -torch.inf), -1)
    chances = torch.stack([soft[d, archs[:, d]] for d in range(len(space.choices))]).prod(0)
    got = torch.einsum("a,adi->di", chances.detach(), slopes)

    costs = torch.tensor([[table(tuple(arch))] for arch in archs.tolist()])
    exact = torch.autograd.grad((chances * loss.value(costs)).sum(), free)[0][0]
    torch.testing.assert_close(got, exact, rtol=1e-3, atol=1e-5)
    assert exact.abs().max() > 0.1
    with pytest.raises(UnknownName, match="did you mean 'sampled'"):
        DescentConfig(gradient="sample")


def test_rows_of_one_seed_share_their_noise(tables):
    theta = descend(loss_at(tables, 0.3), CONFIG, seeds=[3, 4, 3]).theta
    torch.testing.assert_close(theta[0], theta[2], rtol=1e-4, atol=1e-5)
    assert not torch.allclose(theta[0], theta[1])


@pytest.mark.parametrize("fraction", [0.1, 0.6])
def test_descent_reaches_a_tight_and_a_loose_target(tables, fraction):
    loss = loss_at(tables, fraction)
    descent, target = descend(loss, DescentConfig(steps=2000)), loss.terms[0][1]
    expected = float(tables["flops"].expected(descent.path()))
    uniform = float(descent.history[0]["costs"][0, 0])
    assert abs(expected / target - 1) < 0.05 < abs(uniform / target - 1)


def test_a_seed_gives_the_same_theta_alone_and_beside_others(tables):
    loss = loss_at(tables, 0.3)
    together = descend(loss, CONFIG, seeds=[5, 6, 7])
    alone = descend(loss, CONFIG, seeds=[6])
    torch.testing.assert_close(together.theta[1], alone.theta[0], rtol=1e-4, atol=1e-5)
    assert not torch.allclose(together.theta[0], together.theta[1])


class Killed(Exception):
    pass


def test_killed_descent_goes_on_to_the_same_end(tables, tmp_path):
    loss, state = loss_at(tables, 0.3), tmp_path / "search.pt"
    config = DescentConfig(steps=6000, every=50)
    done = []

    def kill(step, steps, note=""):
        done.append((step, steps))
        if len(done) == 80:
            raise Killed

    with pytest.raises(Killed):
        descend(loss, config, state=state, progress=kill)
    resumed = []
    again = descend(loss, config, state=state, progress=lambda *said: resumed.append(said))
    whole = descend(loss, config)
    assert resumed == [(step, 6000) for step in range(2550, 6001, 50)]  # from the last state on, not from the start
    assert torch.equal(again.theta, whole.theta) and len(again.history) == len(whole.history)


def test_a_state_cut_short_is_refused_and_another_descent_starts_afresh(tables, tmp_path, capsys):
    loss, state = loss_at(tables, 0.3), tmp_path / "search.pt"
    descend(loss, CONFIG, state=state)
    same = list(tables.values())
    changes = [
        {"seeds": [1]},
        {"budget": loss_at(tables, 0.4)},
        {"config": replace(CONFIG, lr=0.01)},
        {"refresh": lambda descent, temperature: same},
        {"refresh": lambda descent, temperature: list(same)},
    ]
    for change in changes:
        asked = {"budget": loss, "config": CONFIG} | change
        capsys.readouterr()
        found = descend(**asked, state=state)
        assert torch.equal(found.theta, descend(**asked).theta), change
        assert "search.pt was stored with other settings" in capsys.readouterr().out, change
    state.write_bytes(state.read_bytes()[:500])
    with pytest.raises(CheckpointError, match="cut short"):
        descend(loss, CONFIG, state=state)


def test_refresh_needs_one_seed(tables):
    with pytest.raises(ParameterError, match="one seed"):
        descend(loss_at(tables, 0.3), CONFIG, seeds=[0, 1], refresh=lambda d, t: [])


def test_tables_of_another_space_are_refused(space, tables):
    larger = spaces.create("yolo", num_classes=3, image_size=64)
    loss, elsewhere = loss_at(tables, 0.3), LookupTable(larger, "depth", "blocks", 0.0, tables["depth"].entries)
    with pytest.raises(TableError, match="it is to price yolo"):
        TableStack([tables["flops"], elsewhere])
    with pytest.raises(TableError, match="it is to price yolo"):
        descend(loss, CONFIG, refresh=lambda descent, t: [elsewhere, elsewhere])


def test_temperature_runs_from_start_to_end():
    config = DescentConfig(steps=115_200)
    temperatures = [config.temperature_at(step) for step in range(0, 115_200, 2880)]
    assert temperatures[0] == 5.0 and temperatures[-1] == pytest.approx(5.0 * 0.02 ** (39 / 40))
    ratios = {round(b / a, 6) for a, b in zip(temperatures[:-1], temperatures[1:], strict=True)}
    assert len(ratios) == 1 and len(temperatures) == 40


def test_refreshed_tables_price_like_new_ones(tables):
    """A stack that takes other tables over, one of them the same, is that of the other tables."""
    dearer = [
        tables["flops"],
        LookupTable(tables["depth"].space, "depth", "blocks", 1.0, [2 * e for e in tables["depth"].entries]),
    ]
    stack, p = TableStack(list(tables.values())), torch.rand(3, 18, 4)
    before = stack.expected(p)
    stack.refresh(dearer)
    assert torch.equal(stack.expected(p), TableStack(dearer).expected(p))
    assert torch.equal(stack.expected(p)[:, 0], before[:, 0]) and not torch.equal(stack.expected(p), before)


def test_every_refresh_is_asked_for_once(tables):
    budget, asked = loss_at(tables, 0.3), []

    def refresh(descent, temperature):
        asked.append(len(descent.history))
        return budget.tables

    config = DescentConfig(steps=100, every=20)
    again = descend(budget, config, refresh=refresh)
    assert asked == [0, 1, 2, 3, 4] and torch.equal(again.theta, descend(budget, config).theta)


def test_scores_of_a_loss_that_learns_are_comparable(tables):
    """A multiplier changes the loss on the way: an architecture has one score nevertheless, that of the end."""
    low, high = tables["flops"].bounds()
    budget = Budget([(tables["flops"], low + 0.3 * (high - low), "lagrange")], objective=tables["depth"])
    found = descend(budget, DescentConfig(steps=1000, every=50))
    scores = [(str(record["probabilities"].argmax(-1)), record["score"]) for record in found.history]
    assert len(set(scores)) == len(dict(scores)) < len(scores)
    assert found.anytime() == sorted(found.anytime())


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"temperature": (5.0, float("nan"))}, "temperature .* must be a number above 0, got nan"),
        ({"temperature": 5.0}, "must be a pair"),
        ({"temperature": (5.0,)}, "must be a pair"),
        ({"weight_decay": float("nan")}, "weight_decay .* got nan"),
        ({"lr": "0.1"}, "lr of a descent must be a number"),
    ],
)
def test_settings_are_checked(wrong, said):
    with pytest.raises(ParameterError, match=said):
        DescentConfig(**wrong)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"seeds": ()}, "a seed for every row of targets, got 0 seeds"),
        ({"seeds": 0}, "seeds of a descent must be a list"),
        ({"seeds": [0.5]}, "a seed of a descent must be a whole number"),
        ({"budget": 5}, "must be a tables.Budget, got 5"),
        ({"config": {"steps": 5}}, "must be a DescentConfig, got"),
    ],
)
def test_what_cannot_be_descended_on_is_refused(tables, wrong, said):
    with pytest.raises(ParameterError, match=said):
        descend(**{"budget": loss_at(tables, 0.3), "config": CONFIG} | wrong)
    rows = torch.tensor([1e6, 2e6])
    with pytest.raises(ParameterError, match="a seed for every row of targets, got 3 seeds"):
        descend(Budget([(tables["flops"], rows, "squared")]), CONFIG, seeds=[0, 1, 2])
