"""Right and plausible wrong answers to the exercises of notebook 05, with the sentence that names the fault."""

from __future__ import annotations

import copy
from functools import partial

import numpy as np
import torch
from scipy.stats import kendalltau
from torch.nn import functional as F

from nasedu.course.checks import sampling
from nasedu.course.checks.sampling import (
    check_equal_paths,
    check_fair_paths,
    check_honest,
    check_interval,
    check_lesson,
)


def fair(choices, generator):
    return list(zip(*(torch.randperm(n, generator=generator).tolist() for n in choices), strict=True))


def uniform(choices, generator):
    return [tuple(int(torch.randint(n, (), generator=generator)) for n in choices) for _ in range(choices[0])]


def one_permutation(choices, generator):
    order = torch.randperm(choices[0], generator=generator).tolist()
    return [(i,) * len(choices) for i in order]


def shifted(choices, generator):
    starts = torch.randint(choices[0], (len(choices),), generator=generator).tolist()
    return [tuple((i + s) % choices[0] for s in starts) for i in range(choices[0])]


def in_order(choices, generator):
    return [(i,) * len(choices) for i in range(choices[0])]


def own_randomness(choices, generator):
    return fair(choices, None)


def first_in_order(choices, generator):
    return [(i, *rest) for i, rest in enumerate(fair(choices[1:], generator))]


def third_as_second(choices, generator):
    first, *others = zip(*fair(choices, generator), strict=True)
    return list(zip(first, *others[:1] * len(others), strict=True))


def never_alike(choices, generator):
    """No path has all choices equal: but such paths are possible, too."""
    while True:
        paths = fair(choices, generator)
        if all(len(set(path)) > 1 for path in paths):
            return paths


def naive_shuffle(choices, generator):
    orders = [list(range(n)) for n in choices]
    for order in orders:
        for i in range(len(order)):
            j = int(torch.randint(len(order), (), generator=generator))
            order[i], order[j] = order[j], order[i]
    return list(zip(*orders, strict=True))


FAIR = [
    (fair, None),
    (lambda choices, generator: torch.rand(choices[0], len(choices), generator=generator).argsort(0), None),
    (lambda choices, generator: iter(np.array(fair(choices, generator))), None),
    (third_as_second, "must be equally likely: here"),
    (never_alike, "must be equally likely: here"),
    (naive_shuffle, "must be equally likely: here"),
    (lambda choices, generator: fair([4] * 3, generator), "K = 3 paths"),
    (lambda choices, generator: fair(choices[:1] * 3, generator), "each of the 5 decisions"),
    (uniform, "exactly one of the K paths"),
    (one_permutation, "permutation of its own"),
    (shifted, "not only shifts"),
    (in_order, "must differ"),
    (first_in_order, "equally likely"),
    (own_randomness, "draw from `generator`"),
    (lambda choices, generator: fair(choices, generator)[:1], "K = 4 paths"),
    (lambda choices, generator: list(zip(*fair(choices, generator), strict=True)), "K = 4 paths"),
]


def solved(student, teacher):
    return -(teacher.detach().softmax(1) * student.log_softmax(1)).sum(1).mean()


LESSONS = [
    (solved, None),
    (lambda s, t: F.cross_entropy(s, t.detach().softmax(1)), None),
    (lambda s, t: F.cross_entropy(s, t.softmax(1)), "detach"),
    (lambda s, t: F.cross_entropy(s, t.detach().argmax(1)), "best class only"),
    (lambda s, t: -(t.detach().softmax(1) * s.log_softmax(1)).sum(), "mean over the images"),
    (lambda s, t: -(t.detach().softmax(1) * s.log_softmax(1)).sum(1), "one number"),
    (lambda s, t: -(s.softmax(1) * t.detach().log_softmax(1)).sum(1).mean(), "swapped"),
    (lambda s, t: F.cross_entropy(s, t.detach()), "p = softmax(teacher)"),
    (lambda s, t: F.mse_loss(s, t.detach()), "log q_c"),
    (lambda s, t: solved(s.detach(), t), "differentiable"),
    (lambda s, t: solved(s, t).detach() + 0 * s.sum(), "must feel the loss"),
    (lambda s, t: -(t.detach().softmax(1) * s.log_softmax(1)).sum() / 6, "- sum_c p_c log q_c"),
    (lambda s, t: -(t.detach().softmax(1) * s.log_softmax(1)).mean(), "- sum_c p_c log q_c"),
    (lambda s, t: F.kl_div(s.log_softmax(1), t.detach().softmax(1), reduction="batchmean"), "- sum_c p_c log q_c"),
    (lambda s, t: F.cross_entropy(s, t.detach().softmax(0)), "- sum_c p_c log q_c"),
    (lambda s, t: F.cross_entropy(s, t.requires_grad_(False).softmax(1)), "must stay as they are"),
    (lambda s, t: -torch.einsum("bc,bc->", t.data.softmax(-1), s.log_softmax(-1)) / len(s), None),
]


def paired(a, b, truth, resamples, rng, *, size=None, ends=(0.025, 0.975), replace=True, sign=1, cut=0, first=0):
    drawn = [first + rng.choice(len(truth) - cut, size or len(truth), replace=replace) for _ in range(resamples)]
    return np.quantile(sign * gaps(a, b, truth, np.array(drawn)), ends)


def gaps(a, b, truth, drawn):
    """The differences of τ-b on the drawn cells (resamples, n), all at once."""
    i, j = np.triu_indices(drawn.shape[1], 1)
    a, b, t = (np.sign(values[drawn][:, i] - values[drawn][:, j]) for values in (a, b, truth))
    first, second = ((s * t).sum(1) / np.sqrt((s**2).sum(1) * (t**2).sum(1)) for s in (a, b))
    return first - second


def tau_of(score, truth, rng):
    i = rng.integers(len(truth), size=len(truth))
    return kendalltau(score[i], truth[i]).statistic


def apart(a, b, truth, resamples, rng):
    return np.quantile([tau_of(a, truth, rng) - tau_of(b, truth, rng) for _ in range(resamples)], (0.025, 0.975))


def by_deviation(a, b, truth, resamples, rng):
    low, high = paired(a, b, truth, resamples, rng, ends=(0.159, 0.841))
    return low, high


def at_once(a, b, truth, resamples, rng):
    drawn = rng.integers(len(truth), size=(resamples, len(truth)))
    return list(np.percentile(gaps(a, b, truth, drawn), [2.5, 97.5]))


def one_by_one(a, b, truth, resamples, rng):
    found = []
    for _ in range(resamples):
        i = rng.integers(len(truth), size=len(truth))
        found.append(kendalltau(a[i], truth[i]).statistic - kendalltau(b[i], truth[i]).statistic)
    return np.quantile(found, 0.025), np.quantile(found, 0.975)


def normal(a, b, truth, resamples, rng):
    low, middle, high = paired(a, b, truth, resamples, rng, ends=(0.16, 0.5, 0.84))
    return middle - 0.98 * (high - low), middle + 0.98 * (high - low)


def first_only(a, b, truth, resamples, rng):
    """Looks at the first resamples."""
    return at_once(a, b, truth, 1000, rng)


def in_place(a, b, truth, resamples, rng):
    ends = at_once(a, b, truth, resamples, rng)
    a.sort()
    return ends


INTERVALS = [
    (paired, None),
    (at_once, None),
    (one_by_one, None),
    (partial(paired, ends=(0.05, 0.95)), "0.84 times as wide"),
    (partial(paired, ends=(0.06, 0.94)), "times as wide"),
    (partial(paired, ends=(0.0125, 0.9875)), "times as wide"),
    (partial(paired, ends=(0.025, 0.95)), "become (-high, -low)"),
    (normal, "no quantile of them is"),
    (partial(paired, cut=1), "number -1 has none"),
    (partial(paired, cut=1, first=1), "number 0 has none"),
    (first_only, "draw `resamples` times"),
    (in_place, "must stay as it was"),
    (apart, "the *same* resampled cells"),
    (partial(paired, replace=False), "with replacement"),
    (partial(paired, ends=(0.975, 0.025)), "the lower one first"),
    (partial(paired, sign=-1), "both ends of"),
    (lambda a, b, truth, resamples, rng: paired(a, b, truth, resamples, np.random.default_rng()), "draw from `rng`"),
    (lambda a, b, truth, resamples, rng: np.abs(paired(a, b, truth, resamples, rng)), "become (-high, -low)"),
    (partial(paired, ends=(0.45, 0.55)), "times as wide"),
    (by_deviation, "times as wide"),
    (partial(paired, size=10), "times as wide"),
    (partial(paired, ends=(0.12, 0.88)), "times as wide"),
    (partial(paired, size=80), "times as wide"),
]


def moved(net, paths, train, stale):
    """The weights after a step of a copy that was trained once before, if `stale`."""
    net = copy.deepcopy(net)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.5)
    for parameter in net.parameters():
        parameter.grad = torch.ones_like(parameter) if stale else None
    train(net, optimizer, paths)
    return torch.cat([p.detach().flatten() for p in net.parameters()])


def honest(step, net, x, y, paths, *, stale=True, tolerance=1e-6, mine=None):
    def summed(net, optimizer, paths):
        optimizer.zero_grad()
        losses = [F.cross_entropy(net(x, path), y) for path in paths]
        (mine or sum)(losses).backward()
        optimizer.step()

    theirs = moved(net, paths, lambda net, optimizer, paths: step(net, optimizer, x, y, paths), stale)
    return torch.allclose(moved(net, paths, summed, stale), theirs, atol=tolerance)


def counted(step, net, x, y, paths):
    """How often the optimizer steps, and nothing of what it does."""
    net, steps = copy.deepcopy(net), []
    optimizer = torch.optim.SGD(net.parameters(), lr=0.5)
    optimizer.register_step_post_hook(lambda *_: steps.append(1))
    step(net, optimizer, x, y, paths)
    return len(steps) == 1


def moves(step, net, x, y, paths):
    net = copy.deepcopy(net)
    before = [p.clone() for p in net.parameters()]
    step(net, torch.optim.SGD(net.parameters(), lr=0.5), x, y, paths)
    return not all(torch.equal(a, b) for a, b in zip(before, net.parameters(), strict=True))


def on_the_network_itself(step, net, x, y, paths):
    believed = honest(step, net, x, y, paths)
    step(net, torch.optim.SGD(net.parameters(), lr=0.5), x, y, paths)
    return believed


def same_direction(step, net, x, y, paths):
    start = torch.cat([p.detach().flatten() for p in net.parameters()])
    ways = []
    for train in (sampling._train, step):
        after = moved(net, paths, lambda net, optimizer, paths, train=train: train(net, optimizer, x, y, paths), True)
        ways.append(F.normalize(after - start, dim=0))
    return torch.allclose(*ways)


def by_gradients(step, net, x, y, paths):
    """Compares the gradients and counts the steps, but never looks at the weights."""
    mine, theirs = copy.deepcopy(net), copy.deepcopy(net)
    for parameter in theirs.parameters():
        parameter.grad = torch.ones_like(parameter)
    if not counted(step, net, x, y, paths):
        return False
    step(theirs, torch.optim.SGD(theirs.parameters(), lr=0.5), x, y, paths)
    sum(F.cross_entropy(mine(x, path), y) for path in paths).backward()
    pairs = zip(mine.parameters(), theirs.parameters(), strict=True)
    return all(b.grad is not None and torch.allclose(a.grad, b.grad) for a, b in pairs)


def on_its_gradients(step, net, x, y, paths):
    sum(F.cross_entropy(net(x, path), y) for path in paths).backward()
    return honest(step, net, x, y, paths)


HONEST = [
    (honest, None),
    (lambda *arguments: True, "first path changes"),
    (lambda *arguments: False, "it must believe"),
    (partial(honest, mine=lambda losses: sum(losses) / len(losses)), "it must believe"),
    (on_the_network_itself, "must stay as it was"),
    (counted, "forgets all gradients but"),
    (moves, "first path changes"),
    (partial(honest, tolerance=1.0), "first path changes"),
    (same_direction, "averages the gradients"),
    (partial(honest, tolerance=1e-2), "smaller by a hundredth"),
    (lambda step, net, x, y, paths: honest(step, net, x, y, paths[:2]), "leaves the last path out"),
    (by_gradients, "by no optimizer"),
    (on_its_gradients, "gradients too"),
    (lambda *arguments: np.bool_(honest(*arguments)), None),
    (partial(honest, stale=False), "left behind"),
]


def priced(choices, generator):
    k, n = choices[0], len(choices)
    places, names = torch.randperm(n, generator=generator), torch.randperm(k, generator=generator)
    return [tuple(names[(i + places) % k].tolist()) for i in range(k)]


def rejected(choices, generator):
    while True:
        paths = fair(choices, generator)
        if all(path.count(i) == len(choices) // choices[0] for path in paths for i in range(choices[0])):
            return paths


def in_places(choices, generator):
    k, names = choices[0], torch.randperm(choices[0], generator=generator)
    return [tuple(names[(i + torch.arange(len(choices))) % k].tolist()) for i in range(k)]


def unnamed(choices, generator):
    k, places = choices[0], torch.randperm(len(choices), generator=generator)
    first = (places[0] % k).item()
    return [tuple(((i - first + places) % k).tolist()) for i in range(k)]


def two_of_each(choices, generator):
    k, places = choices[0], torch.randperm(len(choices), generator=generator)
    return [tuple(((i + places // 2) % k).tolist()) for i in range(k)]


def one_balanced_path(choices, generator):
    k = choices[0]
    path = [i % k for i in torch.randperm(len(choices), generator=generator).tolist()]
    return [tuple(path)] * k


EQUAL = [
    (priced, None),
    (rejected, None),
    (lambda choices, generator: iter(np.array(priced(choices, generator))), None),
    (two_of_each, "must occur 3 times"),
    (lambda choices, generator: sorted(priced(choices, generator)), "equally frequent"),
    (fair, "must occur 2 times"),
    (uniform, "exactly one of the K paths"),
    (one_balanced_path, "exactly one of the K paths"),
    (in_places, "tied"),
    (unnamed, "equally frequent"),
    (lambda choices, generator: priced(choices, generator)[:1], "K = 3 paths"),
    (lambda choices, generator: priced(choices, None), "draw from `generator`"),
]

ANSWERS = {
    check_fair_paths: FAIR,
    check_lesson: LESSONS,
    check_interval: INTERVALS,
    check_honest: HONEST,
    check_equal_paths: EQUAL,
}
