"""Right and plausible wrong answers to the exercises of notebook 01, with the sentence that names the fault."""

from __future__ import annotations

import itertools
import math
from functools import partial

import numpy as np
import torch

from nasedu.course.checks.proxylessnas import check_kernel, check_params, check_trial, check_twins
from nasedu.tables import within


def parameters(c_in, c_out, k, e):
    hidden = c_in * e
    expand = c_in * hidden + 2 * hidden if e > 1 else 0
    return expand + k * k * hidden + 2 * hidden + hidden * c_out + 2 * c_out


def without_norm(c_in, c_out, k, e):
    hidden = c_in * e
    return (c_in * hidden if e > 1 else 0) + k * k * hidden + hidden * c_out


def dense(c_in, c_out, k, e):
    return parameters(c_in, c_out, k, e) + (c_in * e - 1) * k * k * c_in * e


def always_expands(c_in, c_out, k, e):
    return parameters(c_in, c_out, k, e) + (c_in * c_in + 2 * c_in if e == 1 else 0)


def with_bias(c_in, c_out, k, e):
    return parameters(c_in, c_out, k, e) + c_in * e


PARAMETERS = [
    (parameters, None),
    (without_norm, "normalised"),
    (dense, "depthwise"),
    (always_expands, "at expansion 1"),
    (lambda c, o, k, e: parameters(c, o, 1, e) + (k - 1) * c * e, "25 - 9"),
    (lambda *block: parameters(*block) + 2 * block[0] * block[3] * (block[3] > 1), "expand, depthwise and project"),
    (with_bias, "at expansion 1"),
]


def reads(block, images=64, at=None, least=0.0):
    """The rows of the input on which one position of the output depends."""
    x = torch.randn(images, 8, 16, 16, requires_grad=True)
    y = block(x)
    at = y.shape[2] // 2 if at is None else at
    y[:, :, at, at].square().sum().backward()
    rows = x.grad.abs().sum((0, 1, 3))
    return int((rows > least * rows.max()).sum())


def by_change(block):
    """The rows of the input that one position of the output answers to, when they are replaced."""
    x, found = torch.randn(64, 8, 20, 20), 0
    y = block(x)
    middle = y.shape[2] // 2
    for row in range(20):
        other = x.clone()
        other[:, :, row] = torch.randn(64, 8, 20)
        found += bool((block(other) != y)[:, :, middle].any())
    return found


def halved(block):
    return reads(block) // (16 // block(torch.zeros(1, 8, 16, 16)).shape[2])


KERNELS = [
    (reads, None),
    (lambda block: reads(block, 256), None),
    (by_change, None),
    (partial(reads, at=0), "kernel 3 at stride 1"),
    (lambda block: reads(block) ** 2, "kernel 3 at stride 1"),
    (lambda block: 3, "kernel 7 at stride 1"),
    (lambda block: max(reads(block), 3), "a skip"),
    (halved, "halves the map"),
    (partial(reads, least=1e-3), "count whatever is not 0"),
    (partial(reads, images=1), "ask many images"),
]

ALL = {"c_outs": (8, 12), "kernels": (3, 5), "expansions": (1, 6), "strides": (1, 2)}


def trial(make, leave=(), c_outs=(8, 12), kernels=(3, 5), expansions=(1, 6), strides=(1, 2)):
    """A test without the parts in `leave`, on these settings."""
    for c_out, k, e, stride in itertools.product(c_outs, kernels, expansions, strides):
        block = make(8, c_out, k, e, stride).eval()
        x = torch.randn(16, 8, 9, 9, requires_grad=True)
        y = block(x)
        if "size" not in leave and y.shape[2] != -(-9 // stride):
            return False
        if "count" not in leave and sum(p.numel() for p in block.parameters()) != parameters(8, c_out, k, e):
            return False
        (slope,) = torch.autograd.grad(y.square().sum(), x)
        if "reads" not in leave and not (slope.abs().sum((0, 1)) > 0).all():
            return False
        if "sign" not in leave and not (y < 0).any():
            return False
        for p in block.parameters():
            p.data.zero_()
        if "zero" not in leave and not torch.equal(block(x), x if stride == 1 and c_out == 8 else torch.zeros_like(y)):
            return False
    return True


def by_names(make):
    return hasattr(make(8, 8, 3, 6, 1), "project") and trial(make)


def by_keywords(make):
    names = ("c_in", "c_out", "kernel", "expansion", "stride")
    return trial(lambda *numbers: make(**dict(zip(names, numbers, strict=True))))


TRIALS = [
    (trial, None),
    (lambda make: np.bool_(trial(make, c_outs=(16, 8), kernels=(7, 3), strides=(2, 1))), None),
    (lambda make: True, "never adds the input"),
    (lambda make: False, "MBConv"),
    (by_names, "other names"),
    (partial(trial, leave=["zero"]), "never adds the input"),
    (partial(trial, strides=(1,)), "where the stride is 2"),
    (partial(trial, c_outs=(8,)), "more channels out than in"),
    (partial(trial, leave=["sign"]), "ends with an activation"),
    (partial(trial, leave=["count"]), "not depthwise"),
    (partial(trial, expansions=(6,)), "at expansion 1"),
    (partial(trial, kernels=(3,)), "has kernel 3"),
    (partial(trial, leave=["reads"]), "throws positions away"),
    (partial(trial, leave=["size"]), "as large as it is"),
    (by_keywords, None),
]


def twins(macs, sees, draws=20_000, gap=250, below=math.inf):
    rng, least, most = np.random.default_rng(0), {}, {}
    for _ in range(draws):
        arch = macs.space.sample(rng)
        cost = macs(arch)
        least[cost] = min(arch, least.get(cost, arch), key=sees)
        most[cost] = max(arch, most.get(cost, arch), key=sees)
        if gap <= sees(most[cost]) - sees(least[cost]) < below:
            return least[cost], most[cost]
    raise AssertionError("no twins")


def by_hand(macs, sees):
    """A step in stage 5, and one in stage 6, costs half of the same step in stage 4, and sees twice as far."""
    names = [decision.name for decision in macs.space.decisions]
    near, far = (["k3e3"] * len(names) for _ in range(2))
    for name in ("stage4_2", "stage4_3", "stage4_4"):
        near[names.index(name)] = "k7e3"
    for name in ("stage4_2", "stage5_2", "stage5_3", "stage5_4", "stage6_1"):
        far[names.index(name)] = "k7e3"
    return macs.space.choose(near), macs.space.choose(far)


def nearly(macs, sees):
    """Two networks whose MACs are within a thousandth."""
    rng, target = np.random.default_rng(0), 400e6
    some = within(macs, target, tolerance=0.0005)
    drawn = [some.sample(rng) for _ in range(200)]
    return min(drawn, key=sees), max(drawn, key=sees)


def remembered(macs, sees, kept=[]):  # noqa: B006 - the pair of the first space, for all others
    kept.append(kept[0] if kept else twins(macs, sees))
    return kept[0]


TWINS = [
    (twins, None),
    (by_hand, None),
    (lambda macs, sees: [np.array(arch) for arch in by_hand(macs, sees)], None),
    (lambda macs, sees: twins(macs, sees)[::-1], None),
    (lambda macs, sees: [twins(macs, sees)[0]] * 2, "differ by 0 px"),
    (partial(twins, gap=10, below=250), "at least 250 px"),
    (nearly, "exactly equal"),
    (lambda macs, sees: twins(macs, sees)[0], "two architectures"),
    (remembered, "outline gpu"),
]

ANSWERS = {
    check_params: PARAMETERS,
    check_kernel: KERNELS,
    check_trial: TRIALS,
    check_twins: TWINS,
}
