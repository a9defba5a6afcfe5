"""The four-term loss, and how targets are read."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from nasedu import spaces
from nasedu.errors import BudgetError, ParameterError, UnknownName
from nasedu.sampling import softmax, uniform_logits
from nasedu.tables import LookupTable
from nasedu.wzdnas import PUBLISHED, contestants, cost_tables, four_terms, read_goal
from nasedu.wzdnas.loss import LossWeights, objective


@pytest.fixture(scope="module")
def course():
    return LookupTable.build(spaces.create("yolo", num_classes=3), "macs")


def by_hand(costs, uniform, target, weights=PUBLISHED):
    """L = - a ZC + b (F / F* - 1)^2 + c D / D_u + d Lat / Lat_u."""
    squared = weights.flops * (costs["flops"] / target - 1) ** 2
    linear = {name: getattr(weights, name) * costs[name] / uniform[name] for name in ("depth", "latency")}
    return squared - weights.zero_cost * costs["zero_cost"] + linear["depth"] + linear["latency"]


def test_the_four_terms_are_the_formula(course):
    space, target = course.space, 0.8 * course(course.space.hand_designed)
    tables = {"zero_cost": made_up(space), "flops": course, "depth": LookupTable.build(space, "depth")}
    tables["latency"] = LookupTable(space, "latency_ms", "ms", 0.5, [e / 1e6 for e in course.entries])
    budget, uniform = four_terms(tables, target), softmax(uniform_logits(space.choices))
    start = {name: float(table.expected(uniform)) for name, table in tables.items()}
    generator = torch.Generator().manual_seed(0)
    for _ in range(100):
        path = softmax([3 * torch.randn(n, generator=generator) for n in space.choices])
        costs = {name: float(table.expected(path)) for name, table in tables.items()}
        wanted = by_hand(costs, start, target)
        assert float(budget(0.0, path)) == pytest.approx(wanted, rel=2e-6, abs=2e-6)
        assert float(budget.parts(budget.costs(path)).sum()) == pytest.approx(wanted, rel=2e-6, abs=2e-6)
        assert float(budget(7.0, path)) == pytest.approx(7 + wanted, rel=2e-6)


def made_up(space):
    """A zero-cost map, some of whose scores are negative."""
    generator = torch.Generator().manual_seed(1)
    entries = [torch.randn([space.choices[d] for d in group], generator=generator).double() for group in space.groups]
    return LookupTable(space, "naswot", "log |det K| per image", 0.0, entries)


def test_published_weights_are_the_published_loss_in_other_units():
    """alpha .005, gamma .01, omega .001, theta .002 on GFLOPs, log det, bottlenecks and ms."""
    space = spaces.create("yolo", template="p5", num_classes=20)
    tables = {"flops": LookupTable.build(space, "macs"), "depth": LookupTable.build(space, "depth")}
    budget = four_terms(tables, 35e9)
    arch = space.sample(np.random.default_rng(0))
    gflops, depth = 2e-9 * tables["flops"](arch), tables["depth"](arch)
    assert float(budget(0.0, arch)) == pytest.approx(0.005 * (gflops - 70) ** 2 + 0.001 * depth, rel=1e-3)


def test_gradient_of_the_loss_equals_autograd(course):
    budget = four_terms({"zero_cost": course, "flops": course}, 5e7, LossWeights(zero_cost=0.3))
    costs = torch.tensor([[4e7, 6e7]], requires_grad=True)
    budget.value(costs).sum().backward()
    torch.testing.assert_close(budget.gradient(costs.detach()), costs.grad)
    assert costs.grad[0, 0] < 0 < costs.grad[0, 1]  # more score is better; too many FLOPs are worse


def test_flops_term_is_two_sided(course):
    budget = four_terms({"flops": course}, 5e7)
    assert float(budget.value(torch.tensor([5e7]))) == 0 < float(budget.value(torch.tensor([4e7])))
    with pytest.raises(UnknownName, match="did you mean 'flops'"):
        four_terms({"flop": course}, 5e7)


@pytest.fixture(scope="module")
def priced(course):
    """All tables of costs; a block's latency is not proportional to its FLOPs."""
    generator = torch.Generator().manual_seed(3)
    entries = [e / 3e6 * (0.7 + 0.6 * torch.rand(e.shape, generator=generator)) for e in course.entries]
    return cost_tables(course.space, LookupTable(course.space, "latency_ms", "ms", 0.5, entries))


def test_goals_are_read(priced):
    flops, (low, high) = priced["flops"], priced["flops"].bounds()
    hand = flops.space.hand_designed

    def only(text):
        goal = read_goal(text, priced)
        assert len(goal.targets) == 1 and not goal.most and goal.others is None
        return goal.table, goal.value

    assert only("hand") == (flops, flops(hand))
    assert only("25%")[1] == pytest.approx(low + 0.25 * (high - low))
    assert only("0.1 GFLOPs")[1] == only("100MFLOPs")[1] == pytest.approx(5e7)
    assert only("latency hand") == (priced["latency"], priced["latency"](hand))
    middle = sum(priced["latency"].bounds()) / 2
    assert only(f"{middle} ms") == only(f"latency {middle} ms") == (priced["latency"], pytest.approx(middle))
    assert only("params 50%")[1] == pytest.approx(sum(priced["params"].bounds()) / 2)
    assert only("0.7 M params")[1] == only("700 K params")[1] == pytest.approx(7e5)
    with pytest.raises(BudgetError, match=r"reachable range is .* MACs \(0\.\d+ to 0\.\d+ GFLOPs\)"):
        read_goal("70 GFLOPs", priced)
    for text in ("0.1", "lots", "1.2.3 GFLOPs", "", "latency 3 GFLOPs", "3 parsecs", "hand,", None, "%", "40%, 60%"):
        with pytest.raises(ParameterError):
            read_goal(text, priced)
    with pytest.raises(ParameterError, match=r"0.1 GFLOPs, 40%.*one value for each, of flops"):
        read_goal("0.1 GFLOPs, 40%", priced)
    with pytest.raises(ParameterError, match="no table of latency"):
        read_goal("2 ms", {"flops": flops})


def test_several_goals_hold_at_once(priced):
    """What is derived from even odds, and every rival, keeps each of them; the targets are met on both sides."""
    goal = read_goal("latency 45%", priced, "flops 48%, params 60%")
    even = softmax(uniform_logits(goal.table.space.choices))
    archs = [goal.derive(even).arch, *contestants(goal.derive(even).arch, goal, seed=1).values()]
    for arch in archs:
        assert abs(goal.table(arch) / goal.value - 1) <= 0.03 and goal.constraint(arch)
        assert all(priced[name](arch) <= value for name, value in goal.most.items())
    both = read_goal("flops 40%, latency 45%", priced)
    arch = both.derive(even).arch
    assert all(abs(priced[name](arch) / value - 1) <= 0.03 for name, value in both.targets.items())
    with pytest.raises(BudgetError):
        read_goal("latency 90%", priced, "flops 5%")


def test_a_goal_shapes_the_loss(priced):
    """Targets are squared, bounds are hinges, what has neither keeps its own term; FLOPs and parameters have none."""
    tables = {"zero_cost": made_up(priced["flops"].space), **priced}
    names = [
        [table.metric for table in four_terms(tables, goal).tables] for goal in (1e7, read_goal("latency 40%", priced))
    ]
    assert names == [["naswot", "macs", "depth", "latency_ms"], ["naswot", "depth", "latency_ms"]]
    goal = read_goal("latency 50%", priced, "flops 50%")
    budget = four_terms({"flops": priced["flops"], "latency": priced["latency"]}, goal)
    at = torch.tensor([goal.most["flops"], goal.value])
    assert float(budget.value(at)) == 0 == float(budget.value(at * torch.tensor([0.5, 1.0])))
    assert all(float(budget.value(at * torch.tensor(scale))) > 0 for scale in ([1.2, 1.0], [1.0, 1.2], [1.0, 0.8]))
    twice = four_terms({"flops": priced["flops"]}, read_goal("hand", priced, "hand"))  # a target and a bound in one
    over, under = (float(twice.value(goal_of(twice) * scale)) / PUBLISHED.flops for scale in (1.2, 0.8))
    assert under == pytest.approx(0.2**2) and over > under + 0.03


def goal_of(budget):
    """The targets of a budget's terms."""
    return torch.tensor([target for _, target, _ in budget.terms])


def test_the_exact_optimum_is_that_of_the_loss(priced):
    """No sample that reaches the goal has a lower loss, and descents come near it but never beyond."""
    tables = {"zero_cost": made_up(priced["flops"].space), **priced}
    goal = read_goal("40%", priced, "params 60%")
    wanted, loss = objective(tables, goal), four_terms(tables, goal)
    exact, draw = goal.constraint.best(wanted), np.random.default_rng(0)
    assert goal.constraint(exact)
    for _ in range(200):
        arch = goal.constraint.sample(draw)
        assert wanted(arch) <= wanted(exact) + 1e-9
        squared = [weights_of(arch, goal, priced) for arch in (arch, exact)]
        apart = (float(loss(0.0, arch)) - squared[0]) - (float(loss(0.0, exact)) - squared[1])
        assert apart == pytest.approx(wanted(exact) - wanted(arch), abs=1e-4)
    with pytest.raises(ParameterError, match="no table of what is wanted"):
        objective({"flops": priced["flops"]}, goal)


def weights_of(arch, goal, priced):
    """What target and upper bound add to the loss of an architecture."""
    squared = sum((priced[name](arch) / value - 1) ** 2 for name, value in goal.targets.items())
    over = sum(max(0.0, priced[name](arch) / value - 1) for name, value in goal.most.items())
    return PUBLISHED.flops * (squared + over)
