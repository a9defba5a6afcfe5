"""Right and plausible wrong answers to the exercises of notebook 02, with the sentence that names the fault."""

from __future__ import annotations

import itertools
import math
from functools import partial

import numpy as np
import torch

from nasedu.course.checks.fbnet import check_cost, check_fit, check_paper, check_shuffle, check_task


def shuffle(x, groups):
    b, c, h, w = x.shape
    return x.view(b, groups, c // groups, h, w).transpose(1, 2).reshape(b, c, h, w)


def other_way(x, groups):
    b, c, h, w = x.shape
    return x.view(b, c // groups, groups, h, w).transpose(1, 2).reshape(b, c, h, w)


def no_transpose(x, groups):
    b, c, h, w = x.shape
    return x.view(b, groups, c // groups, h, w).reshape(b, c, h, w)


def keeps_five_axes(x, groups):
    b, c, h, w = x.shape
    return x.view(b, groups, c // groups, h, w).transpose(1, 2)


SHUFFLES = [
    (shuffle, None),
    (lambda x, groups: torch.nn.functional.channel_shuffle(x, groups), None),
    (lambda x, groups: x[:, torch.arange(x.shape[1]).view(groups, -1).T.flatten()], None),
    (lambda x, groups: x.view(-1, groups, 12 // groups, *x.shape[2:]).transpose(1, 2).reshape(x.shape), "8 channels"),
    (lambda x, groups: x.view(2, groups, -1, *x.shape[2:]).transpose(1, 2).reshape(x.shape), "8 channels"),
    (other_way, "one channel of each in turn"),
    (no_transpose, "nothing is mixed"),
    (keeps_five_axes, "keep the shape"),
    (lambda x, groups: x[:, torch.randperm(x.shape[1])], "random"),
    (lambda x, groups: x.flip(1), "nothing is mixed"),
    (lambda x, groups: x.flatten()[torch.randperm(x.numel())].view(x.shape), "whole and unchanged"),
    (lambda x, groups: (x + shuffle(x, groups)) / 2, "whole and unchanged"),
    (lambda x, groups: shuffle(x, 2), "3 groups"),
    (lambda x, groups: shuffle(x.view(2, groups, -1, 3, 4).flip(1).reshape(x.shape), groups), "0, 4, 8, 1, 5, 9"),
    (lambda x, groups: torch.cat([shuffle(x[:1], groups), x[1:]]), "shuffled alike"),
    (lambda x, groups: shuffle(x, groups).flip(0), "same image"),
    (lambda x, groups: x.unflatten(1, (groups, -1)).flip(2).flatten(1, 2), "different groups"),
    (lambda x, groups: x[:, torch.arange(0, x.shape[1], groups).repeat(groups)], "permutation"),
]


def pick(*channels):
    return lambda x: x[:, list(channels)]


def sums(x):
    """Four different sums of two channels of the other half, for either half."""
    mix = torch.randn(8, 2, generator=torch.Generator().manual_seed(1))
    crossed = torch.stack([x[:, 6:8], x[:, 1:3]], 1)
    halves = [torch.einsum("oc,bchw->bohw", mix[4 * i : 4 * i + 4], crossed[:, i]) for i in (0, 1)]
    return torch.cat(halves, 1)


def mixed(x):
    """The halves swapped, plus as much of each half itself."""
    return x.roll(4, 1) + x


def moved(x):
    x.add_(1)
    return pick(4, 4, 5, 5, 0, 0, 1, 1)(x)


TASKS = [
    (pick(4, 4, 5, 5, 0, 0, 1, 1), None),
    (pick(7, 7, 7, 7, 2, 3, 2, 3), None),
    (sums, None),
    (lambda x: 100 * sums(x), None),
    (lambda x: 1e-4 * sums(x), None),
    (lambda x: x.roll(4, 1), "50% of your task stay unlearnt"),
    (pick(4, 5, 6, 6, 0, 1, 2, 2), "stay unlearnt"),
    (lambda x: x, "without a shuffle 100%"),
    (mixed, "without a shuffle"),
    (lambda x: channels_of(x, 0), "always 0"),
    (lambda x: x.roll(4, 1).abs(), "no sums of channels"),
    (lambda x: pick(4, 4, 5, 5, 0, 0, 1, 1)(x) * x.roll(3, 1), "no sums of channels"),
    (lambda x: torch.randn_like(x), "same target"),
    (lambda x: x[:, :4], "the shape of x"),
    (lambda x: sums(x.roll(1, 2)), "no sums of channels"),
    (moved, "must stay as they are"),
]


def channels_of(x, value):
    y = pick(4, 4, 5, 5, 0, 0, 1, 1)(x).clone()
    y[:, 2] = value
    return y


def fitting(space, printed, costs, stated, kinds=("k5e6",), always=(), tables=None, same=list.__eq__):
    names = [list(decision.choices) for decision in space.decisions]
    suspects = [b for b, i in enumerate(printed) if names[b][i] in kinds]
    found = []
    for changed in itertools.product([False, True], repeat=len(suspects)):
        arch = list(printed)
        for b in [*itertools.compress(suspects, changed), *always]:
            arch[b] = names[b].index("k3e6sep")
        numbers = [table(tuple(arch)) for table in costs[:tables]]
        if same(numbers, list(stated)[:tables]):
            found.append(tuple(arch))
    return found


def one_change(space, printed, costs, stated):
    """Readings with a single misprint."""
    found = fitting(space, printed, costs, stated)
    return [arch for arch in found if sum(a != b for a, b in zip(arch, printed, strict=True)) == 1]


def at_most_one(space, printed, costs, stated):
    found = fitting(space, printed, costs, stated)
    return [arch for arch in found if sum(a != b for a, b in zip(arch, printed, strict=True)) <= 1]


def any_number(space, printed, costs, stated):
    found = set()
    for table, number in zip(costs, stated, strict=True):
        found |= set(fitting(space, printed, [table], [number]))
    return list(found)


def without_the_last(space, printed, costs, stated):
    return [arch for arch in fitting(space, printed, costs, stated) if arch[18] == printed[18]]


def both_ways(space, printed, costs, stated):
    """Readings that also take k3e6sep for a misprint of k5e6."""
    found, names = [], space.decisions[0].choices
    pair = [names.index("k5e6"), names.index("k3e6sep")]
    for arch in itertools.product(*(pair if i in pair else [i] for i in printed)):
        if [table(arch) for table in costs] == list(stated):
            found.append(arch)
    return found


FITS = [
    (both_ways, "nothing else"),
    (lambda *case: fitting(*case, same=lambda a, b: sum(a) == sum(b)), "each table must agree"),
    (lambda *case: fitting(*case, same=lambda a, b: np.allclose(a, b, rtol=1e-5)), "each table must agree"),
    (lambda *case: fitting(*case, tables=2), "use all tables"),
    (lambda space, printed, costs, stated: fitting(space, printed, costs[-1:], stated[-1:]), "use all tables"),
    (lambda *case: [list(arch) for arch in fitting(*case)], None),
    (fitting, None),
    (lambda *case: set(fitting(*case)), None),
    (one_change, "a printed network that has the stated numbers itself"),
    (at_most_one, "must be among the readings"),
    (without_the_last, "a single misprint must be found"),
    (lambda *case: fitting(*case)[:1], "cannot be told apart"),
    (lambda *case: fitting(*case) * 2, "listed once"),
    (lambda *case: fitting(*case, tables=1), "every stated number"),
    (any_number, "every stated number"),
    (lambda *case: fitting(*case, kinds=("k5e6", "k5e3"), tables=0), "nothing else"),
    (lambda *case: fitting(*case)[0], "ArchitectureError"),
    (lambda space, printed, costs, stated: {printed}, "a single misprint"),
]


def expected(fixed, costs, thetas):
    return fixed + sum(torch.softmax(theta, 0) @ c for theta, c in zip(thetas, costs, strict=True))


EXPECTED = [
    (expected, None),
    (lambda fixed, costs, thetas: expected(0, costs, thetas), "fixed part"),
    (lambda fixed, costs, thetas: fixed + sum(t @ c for t, c in zip(thetas, costs, strict=True)), "softmax first"),
    (lambda fixed, costs, thetas: fixed + sum(c[t.argmax()] for t, c in zip(thetas, costs, strict=True)), "mean"),
    (
        lambda fixed, costs, thetas: (
            fixed + sum((t / t.abs().sum().clamp_min(1e-9)) @ c for t, c in zip(thetas, costs, strict=True))
        ),
        "mean",
    ),
    (lambda fixed, costs, thetas: expected(fixed, costs, thetas).detach(), "differentiable"),
    (lambda fixed, costs, thetas: expected(fixed, costs, thetas).item(), "differentiable"),
    (lambda fixed, costs, thetas: expected(fixed, costs, [2 * t for t in thetas]), "its own sum"),
    (lambda fixed, costs, thetas: fixed + sum(c.mean() for c in costs), "decided"),
]


def on_paper(table, budget, least=0.51):
    low, _ = table.bounds()
    spans, n = [float(cost.max() - cost.min()) for cost in table.entries], len(table.entries)
    while (p := (budget - low) / sum(spans[:n])) < least:
        n -= 1
    logits = [torch.full((len(cost),), -20.0) for cost in table.entries]
    for b, cost in enumerate(table.entries):
        logits[b][cost.argmin()] = math.log(1 - p) if b < n else 0.0
        if b < n:
            logits[b][cost.argmax()] = math.log(p)
    return logits


def descended(table, budget):
    """Gradient descent to the budget alone."""
    logits = [torch.zeros(n, requires_grad=True) for n in table.space.choices]
    optimizer = torch.optim.SGD(logits, lr=5)
    for _ in range(300):
        loss = (table.expected([t.softmax(0) for t in logits]) / budget - 1) ** 2
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return [t.detach() for t in logits]


PAPERS = [
    (on_paper, None),
    (lambda table, budget: [5 + t for t in on_paper(table, 1.005 * budget)], None),
    (descended, "must cost at least 1.4"),
    (lambda table, budget: on_paper(table, 1.05 * budget), "within 1 %"),
    (partial(on_paper, least=0.85), "must cost at least 1.4"),
    (lambda table, budget: [t.where(t < -9, 0) for t in on_paper(table, budget)], "than any other"),
    (lambda table, budget: [t.exp() for t in on_paper(table, budget)], "within 1 %"),
    (lambda table, budget: [torch.zeros(n) for n in table.space.choices], "more probable than any other"),
    (lambda table, budget: on_paper(table, budget)[:-1], "one logit for each choice"),
    (lambda table, budget: [(t > t.max() - 1e-6).log() for t in on_paper(table, budget)], "within 1 %"),
]

ANSWERS = {
    check_shuffle: SHUFFLES,
    check_task: TASKS,
    check_fit: FITS,
    check_cost: EXPECTED,
    check_paper: PAPERS,
}
