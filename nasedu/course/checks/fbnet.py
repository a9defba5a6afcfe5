"""Checkers for notebook 02: a channel shuffle and a task that needs one, the readings of a printed network that fit a
count, the expected cost of a network, and logits whose most probable network costs more than they expect."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn.functional import channel_shuffle

from nasedu.course.checks import ask, close, exercise, expect, number, priced, require
from nasedu.randomness import seeded, stream
from nasedu.spaces.base import Arch, SearchSpace
from nasedu.tables import LookupTable

OVER = 1.4  # what the most probable network costs at least, as a multiple of the budget


@exercise("02.1", "a channel shuffle")
def check_shuffle(shuffle: Callable[[Tensor, int], Tensor]) -> None:
    """`shuffle(x, groups)`: x (B, C, H, W) with its channels in the order that takes from every group in turn."""
    x = torch.arange(2 * 12 * 3 * 4.0).view(2, 12, 3, 4)
    y = shuffle(x.clone(), 3)
    require(isinstance(y, Tensor) and y.shape == x.shape, "a shuffle must keep the shape (B, C, H, W)")
    places = [(x[0] == channel).flatten(1).all(1).nonzero().flatten().tolist() for channel in y[0]]
    require(all(places), "every output channel must be one of the same image's channels, whole and unchanged")
    order = [place[0] for place in places]
    require(sorted(order) == list(range(12)), "a shuffle must be a permutation: no channel lost, none twice")
    require(torch.equal(y, x[:, order]), "every image must be shuffled alike")
    require(torch.equal(shuffle(x.clone(), 3), y), "a shuffle is a fixed order, not a random one")
    group = [channel // 4 for channel in order]
    apart = "neighbours in the output must come from different groups"
    require(len(set(group[:4])) > 1, f"nothing is mixed yet, but {apart}: after the reshape, swap the two axes")
    fixed = torch.equal(shuffle(x.clone(), 2), y)
    require(not fixed, "2 and 3 groups must give different orders: it must hold for any number of groups")
    require(len(set(group[:3])) == 3, f"{apart}, one channel of each in turn: the first 3 from 3 groups")
    for groups, given in ((3, x), (2, x), (4, x), (1, x), (2, x[:1, :8, :, :2])):
        n = given.shape[1]
        first = ", ".join(str(c) for c in torch.arange(n).view(groups, -1).T.flatten().tolist())
        same = torch.equal(shuffle(given.clone(), groups), channel_shuffle(given, groups))
        require(same, f"{n} channels in {groups} groups are dealt out one channel of each in turn: {first}")


@exercise("02.2", "a task for the shuffle")
def check_task(target: Callable[[Tensor], Tensor]) -> None:
    """`target(x)`: what two convolutions in two groups of 4 channels should make of x (B, 8, H, W), where every best
    possible fit is found by linear algebra: with a shuffle, each half passes two sums of its channels to either."""
    x = torch.randn(512, 8, 2, 2, generator=stream(0, "task"))
    with seeded(0):
        y = ask(target, x.clone(), keep="the maps that are handed in must stay as they are")
        shape = f"the target must have the shape of x, {tuple(x.shape)}"
        require(isinstance(y, Tensor) and y.shape == x.shape, shape)
        require(torch.equal(target(x.clone()), y), "the same x must always have the same target")
    given, wanted = (maps.double().permute(0, 2, 3, 1).reshape(-1, 8) for maps in (x, y))
    require(bool(wanted.isfinite().all()), "the target must be finite")
    sizes = wanted.square().mean(0)
    require(bool((sizes > 1e-6 * sizes.mean()).all()), "no channel of the target may be always 0")
    total = wanted.square().sum()
    halves = [_left(given[:, half], wanted[:, half]) for half in (slice(0, 4), slice(4, 8))]
    alone = float(sum(halves) / total)
    own = "an output channel must not depend on channels of its own half, 0 to 3 or 4 to 7"
    require(alone > 0.9, f"without a shuffle {1 - alone:.0%} of your task can be learnt: {own}")
    weights = torch.linalg.lstsq(given, wanted).solution
    nonlinear = float(_left(given, wanted) / total)
    sums = f"{nonlinear:.0%} of your task are no sums of channels at one place, and nothing else can be learnt"
    require(nonlinear < 0.01, sums)
    blocks = [weights[i : i + 4, j : j + 4] for i in (0, 4) for j in (0, 4)]
    lost = sum(torch.linalg.svdvals(block)[2:].square().sum() for block in blocks) * len(given)
    left = float(lost / total)
    narrow = "the shuffle hands each half two channels of the other, and your task asks for more different sums of them"
    require(left < 0.01, f"with the shuffle {left:.0%} of your task stay unlearnt: {narrow}")


def _left(given: Tensor, wanted: Tensor) -> Tensor:
    """What the best linear map of `given` (n, in) leaves of `wanted` (n, out): a sum of squares."""
    return (given @ torch.linalg.lstsq(given, wanted).solution - wanted).square().sum()


@exercise("02.3", "all readings that fit")
def check_fit(fitting: Callable[[SearchSpace, Arch, list[LookupTable], list[float]], list[Arch]]) -> None:
    """`fitting(space, printed, costs, stated)`: the architectures that `printed` can stand for, k5e6 being k3e6sep."""
    costs = priced("fbnet", "macs", "params", candidates="mobile-vision", input_size=64)
    space = costs[0].space
    names = list(space.decisions[0].choices)
    k5, sep = names.index("k5e6"), names.index("k3e6sep")
    rest = [names.index(name) for name in ("k3e6sep", "skip", "k3e3", "k5e3")]
    printed = tuple(k5 if b in (5, 6, 10, 11, 13, 18) else rest[b % 4] for b in range(22))

    def changed(*blocks: int) -> Arch:
        return tuple(sep if b in blocks else i for b, i in enumerate(printed))

    def found(true: Arch, tables: list[LookupTable], off: Sequence[int] = (0,) * 4) -> set[Arch]:
        """The architectures that the answer finds for the costs of `true`, each off by so much."""
        stated = [table(true) + more for table, more in zip(tables, off, strict=False)]
        got = ask(fitting, space, printed, tables, stated)
        require(isinstance(got, list | tuple | set), "return a list of architectures")
        archs = [space.validate(arch) for arch in got]
        require(len(set(archs)) == len(archs), "every reading must be listed once")
        return set(archs)

    itself = found(printed, costs)
    require(printed in itself, "a printed network that has the stated numbers itself is a reading, too")
    last = found(changed(18), costs)
    require(changed(18) in last, "a single misprint must be found, wherever it stands")
    for true in (changed(6), changed(5, 11, 13), changed(5, 6, 10, 11, 13, 18)):
        some = found(true, costs)
        blocks = ", ".join(space.decisions[b].name for b in range(22) if true[b] != printed[b])
        require(true in some, f"the true network, with k3e6sep at {blocks}, must be among the readings")
        kept = all(a == i or (i == k5 and a == sep) for arch in some for a, i in zip(arch, printed, strict=True))
        require(kept, "a reading may change k5e6 to k3e6sep, and nothing else")
        fits = all(table(arch) == table(true) for arch in some for table in costs)
        require(fits, "a reading must have every stated number exactly: MACs and parameters")
    twins = {changed(10), changed(11)}
    require(twins <= found(changed(11), costs), "equal blocks of a stage cannot be told apart: list both readings")
    alone, both = found(changed(6), costs[:1]), found(changed(6), costs)
    require(alone > both, "with MACs alone more readings fit: use all tables")
    among = found(changed(6), [costs[0], *costs, costs[0]])
    require(among == both, "four tables are four numbers to fit, also where the third alone tells: use all tables")
    require(
        not found(changed(6), costs, (1, -1)), "no reading has numbers that are off by 1: each table must agree, by =="
    )


@exercise("02.4", "the expected cost of a network")
def check_cost(expected: Callable[[float, Sequence[Tensor], Sequence[Tensor]], Tensor]) -> None:
    """`expected(fixed, costs, thetas)`: per block the costs (n,) of its choices and its logits (n,)."""
    costs = [torch.tensor([10.0, 20.0, 90.0]), torch.tensor([5.0, 45.0])]
    certain = expected(100.0, costs, [torch.tensor([0.0, 60.0, 0.0]), torch.tensor([60.0, 0.0])])
    hints = [
        (20.0 + 5.0, "the fixed part of the network must be paid, too: stem, head, classifier"),
        (100.0 + 60 * 20 + 60 * 5, "logits are no probabilities: they need a softmax first"),
    ]
    expect(certain, 125.0, "where every block is decided the cost is that network's own: 125", hints)
    uniform = expected(100.0, costs, [torch.zeros(3), torch.zeros(2)])
    expect(uniform, 165.0, "equal logits must cost the mean of every block: 100 + 40 + 25")
    _check_soft(expected, costs)


def _check_soft(expected: Callable, costs: list[Tensor]) -> None:
    thetas = [torch.tensor([-1.0, 0.5, -2.0], requires_grad=True), torch.tensor([-3.0, -1.0], requires_grad=True)]
    cost = expected(100.0, costs, thetas)
    require(isinstance(cost, Tensor) and cost.requires_grad, "the cost must stay differentiable in the logits")
    shifted = number(expected(100.0, costs, [theta + 2 for theta in thetas]))
    expect(cost, shifted, "adding a constant to all logits of a block must change nothing: softmax, not the logits")
    parts = [theta.softmax(0) @ c for theta, c in zip(thetas, costs, strict=True)]
    expect(cost, number(100 + sum(parts)), "every block must add its own sum of p_i c_i, p = softmax(theta)")
    for slope, true in zip(torch.autograd.grad(cost, thetas), torch.autograd.grad(sum(parts), thetas), strict=True):
        require(close(slope, true), "the derivative must pass through the softmax: keep it in the graph")


@exercise("02.5", "a budget met on paper")
def check_paper(on_paper: Callable[[LookupTable, float], Sequence[Tensor]]) -> None:
    """`on_paper(table, budget)`: logits that expect the budget while the most probable network costs far more."""
    for name, budget in (("fbnet", 150e6), ("fbnet", 190e6), ("proxylessnas", 400e6)):
        (table,) = priced(name, "macs")
        where = f"{name} with a budget of {budget / 1e6:.0f} M"
        thetas = [torch.as_tensor(theta).detach().float() for theta in ask(on_paper, table, budget)]
        shapes = [tuple(theta.shape) for theta in thetas]
        require(shapes == [(n,) for n in table.space.choices], f"{where}: return one logit for each choice of a block")
        path = [theta.softmax(0) for theta in thetas]
        require(all(bool(p.isfinite().all()) for p in path), f"{where}: logits must be finite")
        best = [p.topk(2).values.tolist() for p in path]
        unique = "in every block one choice must be more probable than any other"
        require(all(first > second for first, second in best), f"{where}: {unique}")
        expected = float(table.expected(path)) / budget
        met = f"{where}: the expected cost must be within 1 % of it, it is {expected:.3f} times the budget"
        require(abs(expected - 1) <= 0.01, met)
        cost = table(tuple(int(p.argmax()) for p in path)) / budget
        dear = f"{where}: the most probable network must cost at least {OVER} budgets, it costs {cost:.2f}"
        require(cost >= OVER, dear)
