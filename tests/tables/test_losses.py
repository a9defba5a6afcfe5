"""Hardware losses: the published numbers, which way they push, units, guards, learning, and several budgets at once."""

from __future__ import annotations

import math

import pytest
import torch

from nasedu import spaces
from nasedu.data import classification
from nasedu.errors import BudgetError, ParameterError, TableError, UnknownName
from nasedu.sampling import one_hot, softmax, uniform_logits
from nasedu.search import GradientConfig, gradient_search
from nasedu.supernet.mixed import Subset
from nasedu.tables import Budget, LookupTable, derive, losses
from nasedu.tables.losses import MnasNet, TuNAS, guarded_log
from nasedu.task import Classification

SMALL = {**spaces.COURSE, "input_size": 16, "depth": 0.25}
ARCH = (3, 2, 1, 0, 3, 2)


@pytest.fixture(scope="module")
def table():
    return LookupTable.build(spaces.create("nasbench201", width=0.25, depth=0.2, input_size=8), "macs")


def learnt(name, **options):
    """A loss that is not in its first state."""
    loss = losses.create(name, **options)
    for _ in range(3):
        loss.update(1.5, 1.0)
    return loss


log2 = math.log(2)
BY_HAND = [  # name, options, total at task 2 and cost 30 of a target of 20
    ("fbnet", {}, 2 * 0.2 * (math.log(2.5) / log2) ** 0.6),
    ("fbnet", {"literal": True}, 2 * 0.2 * math.log(30) ** 0.6),
    ("proxylessnas_multiply", {}, 2 * 0.2 * (math.log(2.5) / log2) ** 0.3),
    ("proxylessnas_multiply", {"literal": True}, 2 * 0.2 * (math.log(30) / math.log(20)) ** 0.3),
    ("proxylessnas_add", {}, 2 + 0.1 * 0.5),
    ("single_path", {}, 2 + 0.02 * math.log(1.5)),
    ("squared", {"weight": 3.0}, 2 + 3 * 0.25),
    ("hinge", {"weight": 3.0}, 2 + 3 * 0.5),
    ("linear", {"weight": 3.0}, 2 + 3 * 1.5),
    ("mnasnet", {}, -math.exp(-2) * 1.5**-0.07),
    ("mnasnet", {"below": 0.0, "above": -1.0}, -math.exp(-2) / 1.5),
    ("tunas", {}, -math.exp(-2) + 0.07 * 0.5),
    ("lagrange", {}, 2.0),
    ("log_barrier", {}, 2 + 5 * 0.5 + math.log(25) / 5 + 1 / 5),
]


@pytest.mark.parametrize(("name", "options", "total"), BY_HAND)
def test_the_published_numbers(name, options, total):
    loss = losses.create(name, **options)
    assert float(loss(2.0, 30.0, 20.0)) == pytest.approx(total, rel=1e-5)
    grid = loss(torch.full((3, 1), 2.0), torch.tensor([30.0, 10.0]), torch.full((4, 1, 1), 20.0))
    assert grid.shape == (4, 3, 2) and float(grid[2, 1, 0]) == pytest.approx(total, rel=1e-5)


def test_every_name_is_tried():
    assert {name for name, _, _ in BY_HAND} == set(losses.names())


def test_the_rewards_are_higher_for_better():
    cost = torch.tensor([10.0, 20.0, 40.0])
    soft = MnasNet().reward(0.7, cost, 20.0)
    assert soft.tolist() == pytest.approx([0.7 * 0.5**-0.07, 0.7, 0.7 * 2**-0.07])
    assert TuNAS().reward(0.7, cost, 20.0).tolist() == pytest.approx([0.7 - 0.035, 0.7, 0.63])
    assert float(MnasNet().reward(0.8, 20.0, 20.0)) > float(soft[1])
    assert float(losses.create("mnasnet")(1.0, 20.0, 20.0)) < float(losses.create("mnasnet")(1.1, 20.0, 20.0))


@pytest.mark.parametrize("name", losses.names())
def test_dearer_is_worse_beyond_the_budget_and_the_unit_does_not_matter(name):
    loss = learnt(name)

    def slope(cost, target):
        cost = torch.tensor(cost, dtype=torch.float64, requires_grad=True)
        total = loss(torch.tensor(1.0, dtype=torch.float64), cost, target)
        return float(total.detach()), float(torch.autograd.grad(total, cost)[0])

    (total, up), (in_thousands, up_in_thousands) = slope(1.3, 1.0), slope(1300.0, 1000.0)
    assert up > 0 and total == pytest.approx(in_thousands, rel=1e-6)
    assert up == pytest.approx(1000 * up_in_thousands, rel=1e-6)
    below = slope(0.7, 1.0)[1]
    two_sided = name in ("squared", "tunas")
    assert below == 0 if name == "hinge" else below < 0 if two_sided else below > 0
    if not two_sided:
        assert slope(0.7, 1.0)[0] <= total


@pytest.mark.parametrize("name", losses.names())
def test_targets_that_are_none(name):
    for target in (0, -1.0, math.nan, math.inf, torch.tensor([1.0, -2.0])):
        with pytest.raises(ParameterError, match="a target must be positive and finite"):
            losses.create(name)(1.0, 1.0, target)


@pytest.mark.parametrize("name", ["fbnet", "proxylessnas_multiply"])
def test_literal_logs_are_guarded(name):
    loss = losses.create(name, literal=True)
    with pytest.raises(ParameterError, match="choose a smaller unit"):
        loss(1.0, 0.4, 0.5)
    costs = torch.cat([torch.logspace(-9, -2, 200), torch.linspace(0.01, 3, 400)]).requires_grad_()
    totals = loss(1.0, costs, 20.0)
    (slopes,) = torch.autograd.grad(totals.sum(), costs)
    assert totals.isfinite().all() and slopes.isfinite().all() and (slopes >= 0).all()
    for beta in (0.01, 3.0):
        steep = losses.create(name, literal=True, beta=beta)(1.0, costs, 20.0)
        assert torch.autograd.grad(steep.sum(), costs)[0].isfinite().all()


def test_the_guarded_log_is_the_log_but_for_the_first_unit():
    at = torch.tensor([2.0, 50.0], dtype=torch.float64)
    torch.testing.assert_close(guarded_log(at), at.log())
    edge = torch.tensor([math.exp(0.1) - 1e-6, math.exp(0.1) + 1e-6], dtype=torch.float64, requires_grad=True)
    values = guarded_log(edge)
    (slopes,) = torch.autograd.grad(values.sum(), edge)
    assert float(values.detach().diff().abs()) < 1e-5 and float(slopes.diff().abs()) < 1e-4


@pytest.mark.parametrize("name", losses.names())
def test_nothing_explodes_at_no_cost(name):
    cost = torch.tensor([0.0, 1e-9, 1e9], requires_grad=True)
    total = learnt(name)(1.0, cost, 1.0)
    assert total.isfinite().all() and torch.autograd.grad(total.sum(), cost)[0].isfinite().all()


def test_the_multiplier_ascends_row_by_row_and_never_below_zero():
    loss, target = losses.create("lagrange", rho=0.5, penalty=0.0), torch.tensor([1.0, 1.0, 2.0])
    for _ in range(4):
        before = loss.multiplier
        loss.update(torch.tensor([1.2, 0.8, 2.0]), target)
    assert loss.multiplier.tolist() == pytest.approx([0.5 * 4 * 0.2, 0.0, 0.0], abs=1e-6)
    assert loss.multiplier[0] > before[0]
    assert float(loss(1.0, torch.tensor([1.5, 1, 1]), target)[0]) == pytest.approx(1 + 0.4 * 0.5)
    assert float(loss.fresh().multiplier) == 0


def test_the_stiffness_waits_until_the_cost_is_close():
    loss = losses.create("lagrange", penalty=2.0, band=0.02)
    costs = [(2.0, 0.0), (1.5, 0.0), (1.04, 0.04), (1.01, 0.04), (0.5, 0.04 + 2 * 0.1), (0.99, 0.24)]
    for cost, stiffness in costs:
        loss.update(cost, 1.0)
        assert float(loss.stiffness) == pytest.approx(stiffness, abs=1e-5)
    crossing = losses.create("lagrange")
    crossing.update(1.3, 1.0)
    crossing.update(0.8, 1.0)
    assert float(crossing.stiffness) > 0


def test_the_barrier_is_finite_and_increasing_beyond_the_budget_and_grows_steeper():
    loss, costs = losses.create("log_barrier"), torch.linspace(0.1, 3, 200)
    first = loss(0.0, costs, 1.0)
    assert first.isfinite().all() and (first.diff() > 0).all()
    edge = torch.tensor([0.96 - 1e-4, 0.96, 0.96 + 1e-4])  # 1 - 1/t^2: where the tangent takes over
    assert loss(0.0, edge, 1.0).diff().tolist() == pytest.approx([5e-4, 5e-4], rel=0.01)
    for _ in range(1000):
        loss.update(costs, 1.0)
    later = loss(0.0, costs, 1.0)
    assert float(loss.t) == 300 and later.isfinite().all() and later[0] < first[0] and later[-1] > first[-1]


@pytest.mark.parametrize("name", ["lagrange", "log_barrier"])
def test_what_was_learnt_is_stored(name):
    loss, again = learnt(name), losses.create(name)
    again.load_state_dict(loss.state_dict())
    assert float(again(1.0, 1.3, 1.0)) == float(loss(1.0, 1.3, 1.0)) != float(loss.fresh()(1.0, 1.3, 1.0))


def test_names_and_options_are_checked():
    with pytest.raises(UnknownName, match="did you mean 'lagrange'"):
        losses.create("lagrang")
    with pytest.raises(UnknownName, match="did you mean 'weight'"):
        losses.create("squared", wieght=2.0)


BAD = {
    "fbnet": {"alpha": -1, "beta": 0, "literal": "yes"},
    "proxylessnas_multiply": {"alpha": math.inf, "beta": -1},
    "proxylessnas_add": {"weight": -1},
    "single_path": {"weight": math.nan},
    "squared": {"weight": "1"},
    "hinge": {"weight": -1},
    "linear": {"weight": math.nan},
    "mnasnet": {"below": 0.5, "above": 0.5},
    "tunas": {"beta": 0.1},
    "lagrange": {"rho": "x", "penalty": math.nan, "band": -1},
    "log_barrier": {"start": 0, "growth": 0.5, "steepest": None},
}


@pytest.mark.parametrize(("name", "option"), [(name, option) for name in losses.names() for option in BAD[name]])
def test_options_that_make_no_loss(name, option):
    for bad in (BAD[name][option], math.nan):
        with pytest.raises(ParameterError, match=f"{option} of the {name} loss must be"):
            losses.create(name, **{option: bad})


@pytest.mark.parametrize("name", losses.names())
def test_costs_that_are_none(name):
    loss = losses.create(name)
    for cost in (math.nan, math.inf, torch.tensor([1.0, math.nan]), *([-1.0] if name != "linear" else [])):
        with pytest.raises(ParameterError, match=f"a cost of the {name} loss is finite"):
            loss(1.0, cost, 1.0)
    assert float(losses.create("linear", weight=-2.0)(1.0, -1.0, 1.0)) == 3  # a score may be below 0
    with pytest.raises(ParameterError, match="finite"):
        losses.create("lagrange").update(math.nan, 1.0)


@pytest.mark.parametrize("target", [None, "5", [1.0, 2.0], True])
def test_targets_that_are_no_numbers(target, table):
    for name in losses.names():
        with pytest.raises(ParameterError, match="a target must be a number or a tensor"):
            losses.create(name)(1.0, 1.0, target)
    with pytest.raises(ParameterError, match="a target must be a number or a tensor"):
        Budget([(table, target, "hinge")])


def test_a_class_is_no_loss(table):
    with pytest.raises(ParameterError, match=r"one that losses\.create made, or its name"):
        Budget([(table, 1.0, losses.Hinge)])


def test_a_budget_is_its_terms_in_order(table):
    path, cost = one_hot(ARCH, table.space.choices), table(ARCH)
    double = losses.create("fbnet", alpha=1.0, beta=1.0)
    budget = Budget([(table, cost / 2, "squared"), (table, cost, double), (table, cost / 3, "hinge")])
    assert float(budget(2.0, path)) == pytest.approx((2 + 1) * 1 + 2, rel=1e-5)
    assert budget(torch.tensor(2.0), path).shape == ()
    mixed = [ARCH[0], Subset((0, ARCH[1]), torch.tensor([0.0, 1.0])), *path[2:]]
    assert float(budget(2.0, mixed)) == pytest.approx(float(budget(2.0, path)), rel=1e-6)


def test_slopes_in_closed_form_are_those_of_autograd(table):
    """Of every loss that has one, on both sides of the target, with an objective, and a target for each row."""
    gain = LookupTable(table.space, "gain", "points", 0.0, [-e for e in table.entries], own=True)
    made = [losses.create(name) for name in losses.names()]
    closed = [loss for loss in made if loss.in_closed_form]
    assert {loss.name for loss in closed} >= {"linear", "squared", "hinge", "lagrange"}
    for loss in closed:
        loss.update(torch.tensor([900.0, 1200.0, 1040.0]), 1000.0)
        budget = Budget([(table, 1000.0, loss), (table, torch.tensor([1.0, 2.0, 3.0]), "squared")], gain)
        costs = torch.tensor([[0.0, 900.0, 2.0], [1.0, 1200.0, 1.0], [2.0, 1010.0, 9.0]], requires_grad=True)
        budget.value(costs).sum().backward()
        torch.testing.assert_close(budget.gradient(costs.detach()), costs.grad)


def test_a_budget_of_one_table_is_its_loss(table):
    cost, pull = table(ARCH), losses.create("hinge", weight=3.0)
    found = Budget([(table, cost / 2, pull)])(2.0, ARCH)
    assert found.shape == () and float(found) == pytest.approx(2 + 3 * 1.0, rel=1e-5)


def test_a_budget_learns_on_copies(table):
    budget = Budget([(table, table(ARCH) / 2, "lagrange"), (table, table(ARCH), "hinge")])
    fresh, identity = budget.fresh(), budget.identity
    budget.update(ARCH)
    assert budget.learnt()[0]["multiplier"] == pytest.approx(0.3, rel=1e-4) and budget.learnt()[1] == {}
    assert fresh.learnt()[0]["multiplier"] == budget.fresh().learnt()[0]["multiplier"] == 0
    fresh.load_state_dict(budget.state_dict())
    assert fresh.learnt() == budget.learnt() and budget.identity == identity
    others = [(table, 1.0, "lagrange")], [(table, table(ARCH) / 2, losses.create("lagrange", rho=1.0)), budget.terms[1]]
    assert all(Budget(terms).identity != identity for terms in others)


def test_budgets_that_are_none(table):
    other = LookupTable.build(spaces.create("nasbench201", width=0.5, depth=0.2, input_size=8), "macs")
    for target in (0, -1.0, math.nan, math.inf):
        with pytest.raises(ParameterError, match="a target must be positive"):
            Budget([(table, target, "squared")])
    with pytest.raises(ParameterError, match="at least one"):
        Budget([])
    with pytest.raises(TableError, match="it is to price nasbench201"):
        Budget([(table, 1.0, "squared"), (other, 1.0, "squared")])


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
        arch_lr=0.4,
    )
    pull = losses.create("squared", weight=30.0)
    for share in (0.2, 0.6):
        target = low + share * (high - low)
        task, budget = Classification(images, batch_size=25), Budget([(table, target, pull)])
        result = gradient_search(space, task, config, hardware=budget)
        found = derive(result.path, table, target)
        assert abs(found.cost / target - 1) <= 0.03 and found.cost == table(found.arch)
        assert abs(found.expected - target) < abs(uniform - target) or abs(uniform / target - 1) < 0.05
    with pytest.raises(BudgetError, match="reachable range"):
        derive(result.path, table, 1.5 * high)
