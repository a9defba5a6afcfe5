"""Right and plausible wrong answers to the exercises of notebook 04, with the sentence that names the fault."""

from __future__ import annotations

import copy
import itertools
import math

import numpy as np
import torch
from torch import nn

from nasedu.course.checks.single_path import check_count, check_dropout, check_indicator, check_kernel, check_leaks


def core(w):
    mask = torch.zeros_like(w)
    mask[:, :, 1:4, 1:4] = 1
    return w * mask


def solved(w, t5, t6, norm=torch.linalg.vector_norm):
    inner, half = core(w), len(w) // 2
    w_k = inner + (w - inner) * (norm(w - inner) >= t5)
    return torch.cat([w_k[:half], w_k[half:] * (norm(w_k[half:]) >= t6)])


def before_t5(w, t5, t6):
    inner, half = core(w), len(w) // 2
    w_k = inner + (w - inner) * ((w - inner).norm() >= t5)
    return torch.cat([w_k[:half], w_k[half:] * (w[half:].norm() >= t6)])


def cropped(w, t5, t6):
    return w[:, :, 1:4, 1:4] if (w - core(w)).norm() < t5 else w


def ring_of_lower_half(w, t5, t6):
    out, half = solved(w, t5, t6), len(w) // 2
    out[half:] = w[half:] * (out[half:].any())
    return out


def swapped_halves(w, t5, t6):
    half = len(w) // 2
    return solved(w.roll(half, 0), t5, t6).roll(half, 0)


def in_place(w, t5, t6):
    return w.copy_(solved(w, t5, t6))


def whole_norm(w, t5, t6):
    return solved(w, -math.inf if w.norm() >= t5 else math.inf, t6)


def halves_of_four(w, t5, t6):
    out = solved(w, t5, -math.inf)
    return torch.cat([out[:4], out[4:] * (out[4:].norm() >= t6)])


KERNELS = [
    (solved, None),
    (before_t5, "*after* t5"),
    (cropped, "keep its shape"),
    (ring_of_lower_half, "in every channel"),
    (swapped_halves, "lower half"),
    (in_place, "must not change"),
    (whole_norm, "whole ring"),
    (lambda w, t5, t6: w, "ring to zero"),
    (halves_of_four, "not always 4"),
    (lambda w, t5, t6: solved(w, t5, t6).numpy(), None),
    (lambda w, t5, t6: solved(w, t5, t6, lambda part: part.square().sum()), "L2 norm of the whole ring"),
    (lambda w, t5, t6: solved(w, t5, t6, lambda part: part.abs().sum()), "L2 norm of the whole ring"),
    (lambda w, t5, t6: solved(w, -t5, -t6), "must"),
]


def straight(x):
    s = torch.sigmoid(x)
    return s - s.detach() + (x >= 0).float()


def scaled(x):
    s = torch.sigmoid(5 * x)
    return s - s.detach() + (x >= 0).float()


def surrogate(x):
    s = torch.sigmoid(x)
    return ((x >= 0).float() - s).detach() + s  # 1e-7 off in value


INDICATORS = [
    (straight, None),
    (surrogate, None),
    (torch.sigmoid, "hard step"),
    (lambda x: straight(-x), "hard step"),
    (lambda x: x.sign().detach() + x - x.detach(), "hard step"),
    (lambda x: (x > 0).float() + x.sigmoid() - x.sigmoid().detach(), "at 0"),
    (lambda x: (x >= 0).float(), "passes no gradient"),
    (lambda x: x - x.detach() + (x >= 0).float(), "not the identity's"),
    (lambda x: (x >= 0).float() - x.sigmoid() + x.sigmoid().detach(), "positive"),
    (scaled, "sigmoid(x) (1 - sigmoid(x))"),
    (lambda x: straight(x).sum(), "per entry"),
]


def totals(costs, limit=math.inf, start=1):
    networks = {0: start}
    for layer in costs:
        longer = {}
        for (total, number), cost in itertools.product(networks.items(), layer):
            if total + cost <= limit:
                longer[total + cost] = longer.get(total + cost, 0) + number
        networks = longer
    return networks


def count(costs, budget):
    return sum(totals(costs, budget).values())


def polynomial(costs, budget):
    found = np.array([1], dtype=object)
    for layer in costs:
        powers = np.zeros(max(layer) + 1, dtype=object)
        np.add.at(powers, layer, 1)
        found = np.convolve(found, powers)
    return int(found[: budget + 1].sum())


def below(costs, budget):
    return sum(number for total, number in totals(costs).items() if total < budget)


def distinct(costs, budget):
    return count([sorted(set(layer)) for layer in costs], budget)


def different_totals(costs, budget):
    return sum(total <= budget for total in totals(costs))


def listed(costs, budget):
    return sum(sum(network) <= budget for network in itertools.product(*costs))


def each_layer(costs, budget):
    return math.prod(sum(cost <= budget / len(costs) for cost in layer) for layer in costs)


def everything(costs, budget):
    return math.prod(map(len, costs))


def sorting(costs, budget):
    found = count(costs, budget)
    costs.sort()
    return found


def used_up(costs, budget):
    found = count(costs, budget)
    costs.clear()
    return found


def overflowing(costs, budget):
    with np.errstate(over="ignore"):
        return sum(totals(costs, budget, np.int64(1)).values())


COUNTS = [
    (count, None),
    (polynomial, None),
    (below, "budget itself"),
    (distinct, "choices that cost the same"),
    (different_totals, "choices that cost the same"),
    (everything, "the budget itself"),
    (each_layer, "the same total"),
    (listed, "do not list networks"),
    (sorting, "must stay as it was"),
    (used_up, "must stay as it was"),
    (count, None),  # whatever the one before did to its lists
    (lambda costs, budget: float(count(costs, budget)), "beyond 64 bits"),
    (overflowing, "beyond 64 bits"),
]


def shares(wanted, atol=1e-8):
    _, k3e6, k5e3, k5e6, skip = wanted
    p3 = 1 - skip
    keep = p3, (k5e3 + k5e6) / p3, (k3e6 + k5e6) / p3
    drawn = [p3 * a * b for a in (1 - keep[1], keep[1]) for b in (1 - keep[2], keep[2])]
    return keep if np.allclose(drawn, wanted[:4], atol=atol) else ()


def strict(wanted):
    p3, p5, p6 = 1 - wanted[4], 1 - (wanted[0] + wanted[1]) / (1 - wanted[4]), wanted[1] / (wanted[0] + wanted[1])
    exact = [p3 * (1 - p5) * (1 - p6), p3 * (1 - p5) * p6, p3 * p5 * (1 - p6), p3 * p5 * p6] == list(wanted[:4])
    return (p3, p5, p6) if exact else ()


def of_the_small(wanted):
    """Reads p6 off the small kernel alone, which may never be drawn."""
    p6 = wanted[1] / (wanted[0] + wanted[1])
    return (shares(wanted)[0], shares(wanted)[1], p6) if shares(wanted) else ()


DROPOUTS = [
    (shares, None),
    (lambda wanted: np.array(shares(wanted)), None),
    (strict, "allow for rounding"),
    (lambda wanted: (), "allow for rounding"),
    (lambda wanted: (0.6, 0.6, 0.6), "skip is drawn"),
    (lambda wanted: (wanted[4], 0.5, 0.5), "skip is drawn"),
    (lambda wanted: tuple(1 / p for p in shares(wanted)), "probabilities, from 0 to 1"),
    (lambda wanted: (1 - wanted[4], wanted[2] + wanted[3], wanted[1] + wanted[3]), "*not* skipped"),
    (lambda wanted: (lambda p3, p5, p6: (p3, p6, p5))(*(shares(wanted) or (0.8, 0.5, 0.5))), "*not* skipped"),
    (lambda wanted: shares(wanted) or (0.8, 0.5, 0.5), "independently"),
    (lambda wanted: shares(wanted, atol=0.01), "independently"),
    (of_the_small, "ZeroDivisionError"),
    (lambda wanted: torch.tensor(shares(wanted)), None),
]

SKIP = torch.tensor([0.0, 0.0, 0.0, 0.0, 1.0])


def leaks(
    block, parts=nn.BatchNorm2d, modes=(True, False), weights=SKIP, same=torch.equal, images=torch.randn, mean=1.0
):
    twin, x = copy.deepcopy(block), images(4, 8, 6, 6)
    for norm in twin.modules():
        if isinstance(norm, parts):
            nn.init.normal_(norm.bias)
            nn.init.normal_(norm.running_mean, std=mean)
    return any(not same(twin.train(mode)(x, weights), x) for mode in modes)


def on_the_block(block):
    nn.init.normal_(block.depthwise.bn.bias)
    return leaks(block)


def one_shift(block):
    twin, x = copy.deepcopy(block).eval(), torch.randn(4, 8, 6, 6)
    nn.init.normal_(twin.depthwise.bn.bias)
    return not torch.equal(twin(x, SKIP), x)


def trained(block):
    """Lets a real training give the weights."""
    twin, optimizer = copy.deepcopy(block).train(), None
    optimizer = torch.optim.SGD(twin.parameters(), lr=0.5)
    for i in range(8):
        loss = (twin(torch.randn(4, 8, 6, 6) + 1, torch.eye(5)[i % 4]) - 1).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    x = torch.randn(4, 8, 6, 6)
    return any(not torch.allclose(twin.train(mode)(x, SKIP), x, atol=1e-6) for mode in (True, False))


LEAKS = [
    (leaks, None),
    (lambda block: leaks(block, same=lambda a, b: torch.allclose(a, b, atol=1e-6)), None),
    (lambda block: leaks(block, parts=()), "masks the kernel"),
    (one_shift, "masks the hidden channels"),
    (lambda block: leaks(block, modes=(False,)), "in training mode"),
    (lambda block: leaks(block, weights=SKIP.flip(0)), "called leaky"),
    (on_the_block, "work on a copy"),
    (lambda block: leaks(block.eval()), "the mode belong"),
    (lambda block: block.train()(torch.randn(4, 8, 6, 6), SKIP) is None or leaks(block), "statistics and the mode"),
    (lambda block: leaks(block, modes=(True,)), "leaks in eval mode"),
    (lambda block: leaks(block, mean=0.0), "by a running mean"),
    (lambda block: leaks(block, images=torch.zeros), "below 0"),
    (lambda block: leaks(block, images=torch.rand), "below 0"),
    (trained, None),
    (lambda block: False, "masks the kernel"),
    (lambda block: True, "called leaky"),
]

ANSWERS = {
    check_kernel: KERNELS,
    check_indicator: INDICATORS,
    check_count: COUNTS,
    check_dropout: DROPOUTS,
    check_leaks: LEAKS,
}
