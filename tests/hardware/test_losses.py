"""A target for a cost: zero at it, two-sided, without units; a search with it ends in an architecture that fits."""

from __future__ import annotations

import pytest
import torch

from nasedu import spaces
from nasedu.data import classification
from nasedu.errors import BudgetError, ParameterError
from nasedu.hardware import LookupTable, target_loss
from nasedu.sampling import one_hot, softmax, uniform_logits
from nasedu.search import GradientConfig, derive, gradient_search
from nasedu.supernet.mixed import Subset

SMALL = {**spaces.COURSE, "input_size": 16, "depth": 0.25}


@pytest.fixture(scope="module")
def table():
    return LookupTable.build(spaces.create("nasbench201", width=0.25, depth=0.2, input_size=8), "macs")


def test_it_is_zero_at_the_target_and_two_sided(table):
    arch = (3, 2, 1, 0, 3, 2)
    path, cost = one_hot(arch, table.space.choices), table(arch)
    assert float(target_loss(table, cost)(path)) == pytest.approx(0, abs=1e-10)
    above, below = (float(target_loss(table, factor * cost)(path)) for factor in (1 / 1.5, 1 / 0.5))
    assert above == pytest.approx(0.25, rel=1e-4) and below == pytest.approx(0.25, rel=1e-4)
    assert float(target_loss(table, 2 * cost, weight=3.0)(path)) == pytest.approx(0.75, rel=1e-4)
    assert target_loss(table, cost)(path).shape == ()


def test_it_is_free_of_units(table):
    millions = LookupTable(table.space, "macs", "MMACs", table.fixed / 1e6, [e / 1e6 for e in table.entries])
    path, (low, high) = softmax(uniform_logits(table.space.choices)), table.bounds()
    target = (low + high) / 3
    ours, theirs = target_loss(table, target)(path), target_loss(millions, target / 1e6)(path)
    assert float(ours) == pytest.approx(float(theirs), rel=1e-4) and float(ours) > 1e-3


@pytest.mark.parametrize("side", ["above", "below"])
def test_its_gradient_leads_towards_the_target(table, side):
    logits = [torch.zeros(n, requires_grad=True) for n in table.space.choices]
    uniform = float(table.expected(softmax(uniform_logits(table.space.choices))))
    target = uniform * (0.7 if side == "above" else 1.4)
    target_loss(table, target)(softmax(logits)).backward()
    cheapest, dearest = table.entries[0].argmin(), table.entries[0].argmax()
    difference = float(logits[0].grad[dearest] - logits[0].grad[cheapest])
    assert difference > 0 if side == "above" else difference < 0
    for alpha in logits:
        assert float(alpha.grad.sum()) == pytest.approx(0, abs=1e-6)


def test_it_takes_every_kind_of_entry(table):
    arch = (3, 2, 1, 0, 3, 2)
    loss, path = target_loss(table, 2 * table(arch)), one_hot(arch, table.space.choices)
    mixed = [arch[0], Subset((0, arch[1]), torch.tensor([0.0, 1.0])), *path[2:]]
    assert float(loss(mixed)) == pytest.approx(float(loss(path)), rel=1e-6) == pytest.approx(0.25, rel=1e-4)


@pytest.mark.parametrize("target", [0, -1.0, float("nan")])
def test_a_target_must_be_positive(table, target):
    with pytest.raises(ParameterError, match="a target must be positive"):
        target_loss(table, target)
    with pytest.raises(BudgetError, match="reachable range"):
        derive(softmax(uniform_logits(table.space.choices)), table, target)


@pytest.mark.parametrize("name", ["fbnet", "spos", "proxylessnas"])
def test_a_search_lands_within_3_percent_of_a_tight_and_of_a_loose_budget(name):
    space = spaces.create(name, **SMALL)
    table, images = LookupTable.build(space, "macs"), classification("digits", "train", image_size=16, size=100)
    low, high = table.bounds()
    uniform = float(table.expected(softmax(uniform_logits(space.choices))))
    config = GradientConfig(
        relaxation="gates" if name == "spos" else "softmax",
        epochs=2,
        warmup_epochs=0,
        batch_size=25,
        arch_lr=0.4,
    )
    for share in (0.2, 0.6):
        target = low + share * (high - low)
        result = gradient_search(space, images, config=config, hardware=target_loss(table, target, weight=30.0))
        found = derive(result.path, table, target)
        assert abs(found.cost / target - 1) <= 0.03 and found.cost == table(found.arch)
        assert abs(found.expected - target) < abs(uniform - target) or abs(uniform / target - 1) < 0.05
    with pytest.raises(BudgetError, match="reachable range"):
        derive(result.path, table, 1.5 * high)
