"""Right and plausible wrong answers to the exercises of notebook 08, with the sentence that names the fault."""

from __future__ import annotations

import copy
import math

import torch
from torch.nn import functional as F

from nasedu.course.checks.proxies import (
    check_copies,
    check_faults,
    check_flow,
    check_identify,
    check_snip,
    check_turned,
)


def weights(model):
    return [p for p in model.parameters() if p.ndim >= 2]


def pairs(model, images, labels, of=weights, **options):
    loss = F.cross_entropy(model(images), labels, **options)
    return [(w.detach(), g) for w, g in zip(of(model), torch.autograd.grad(loss, of(model)), strict=True)]


def snip(model, images, labels):
    return sum((w * g).abs().sum() for w, g in pairs(model, images, labels))


def piling_up(model, images, labels):
    F.cross_entropy(model(images), labels).backward()
    return float(sum((w.detach() * w.grad).abs().sum() for w in weights(model)))


def trained(model, images, labels):
    value = snip(model, images, labels)
    for w, g in pairs(model, images, labels):
        w.sub_(g)  # detached, but the same memory
    return value


SNIPS = [
    (snip, None),
    (lambda *args: float(snip(*args)), None),
    (lambda *args: sum((w * g).sum() for w, g in pairs(*args)), "every single w"),
    (lambda *args: sum((w * g).sum().abs() for w, g in pairs(*args)), "every single w"),
    (lambda *args: sum(g.abs().sum() for _, g in pairs(*args)), "not the gradient alone"),
    (lambda *args: sum((w * g).square().sum() for w, g in pairs(*args)), "not squares"),
    (
        lambda *args: sum((w * g).abs().sum() for w, g in pairs(*args, of=lambda m: list(m.parameters()))),
        "leave out biases",
    ),
    (lambda *args: sum((w * g).abs().sum() for w, g in pairs(*args, reduction="sum")), "mean over the images"),
    (lambda model, images, labels: snip(copy.deepcopy(model).eval(), images, labels), "the sum of |w · g| is"),
    (piling_up, "pile up"),
    (trained, "nothing is trained"),
    (lambda *args: [w * g for w, g in pairs(*args)], "one number"),
]


def flow(model, shape):
    linear = copy.deepcopy(model).double()
    with torch.no_grad():
        for w in linear.parameters():
            w.abs_()
        return float(linear(torch.ones(1, *shape, dtype=torch.float64)).sum())


@torch.no_grad()
def flow_in_place(model, shape):
    signs = [w.sign() for w in model.parameters()]
    for w in model.double().parameters():
        w.abs_()
    total = float(model(torch.ones(1, *shape).double()).sum())
    for w, sign in zip(model.float().parameters(), signs, strict=True):
        w.mul_(sign)
    return total


@torch.no_grad()
def signs_lost(model, shape):
    for w in model.double().parameters():
        w.abs_()
    total = float(model(torch.ones(1, *shape).double()).sum())
    model.float()
    return total


@torch.no_grad()
def signs_read_too_late(model, shape):
    for w in model.double().parameters():
        w.abs_()
    signs = [w.sign() for w in model.parameters()]
    total = float(model(torch.ones(1, *shape).double()).sum())
    for w, sign in zip(model.float().parameters(), signs, strict=True):
        w.mul_(sign)
    return total


@torch.no_grad()
def in_float32(model, shape):
    linear = copy.deepcopy(model)
    for w in linear.parameters():
        w.abs_()
    return float(linear(torch.ones(1, *shape)).sum())


@torch.no_grad()
def left_in_float64(model, shape):
    value = flow(model, shape)
    model.double()
    return value


@torch.no_grad()
def of_noise(model, shape):
    linear = copy.deepcopy(model).double()
    for w in linear.parameters():
        w.abs_()
    images = torch.rand(1, *shape, generator=torch.Generator().manual_seed(0)).double()
    return float(linear(images).sum())


FLOWS = [
    (flow, None),
    (flow_in_place, None),
    (signs_lost, "the signs are gone"),
    (signs_read_too_late, "the signs are gone"),
    (in_float32, "overflows float32"),
    (left_in_float64, "in its precision"),
    (of_noise, "an image of ones"),
    (lambda model, shape: copy.deepcopy(model)(torch.ones(1, *shape)).sum().item(), "positive first"),
]


def kernel(codes):
    return codes @ codes.T + (1 - codes) @ (1 - codes).T


def log_det(matrix):
    return float(torch.linalg.slogdet(matrix).logabsdet)


def per_unit(codes):
    return log_det(kernel(codes) / codes.shape[1])


def written_into(codes):
    value = per_unit(codes)
    codes.mul_(2).sub_(1)
    return value


def with_jitter(codes):
    return log_det(kernel(codes) / codes.shape[1] + 1e-3 * torch.eye(len(codes)))


def least_apart(codes):
    return float(torch.cdist(codes, codes, p=1).fill_diagonal_(math.inf).min()) / codes.shape[1]


def nan_for_twins(codes):
    return math.nan if len(codes.unique(dim=0)) < len(codes) else per_unit(codes)


COPIES = [
    (per_unit, None),
    (lambda codes: log_det(kernel(codes)) - len(codes) * math.log(codes.shape[1]), None),
    (lambda codes: log_det(kernel(codes) / kernel(codes).diagonal().max()) / len(codes), None),
    (lambda codes: log_det(kernel(codes)), "every unit 2 times over"),
    (lambda codes: log_det(kernel(codes)) / codes.shape[1], "every unit 2 times over"),
    (lambda codes: log_det(codes @ codes.T / codes.shape[1]), "on and off are two names"),
    (lambda codes: float((codes[1:] != codes[:-1]).double().mean(1).log().sum()), "order of the images"),
    (lambda codes: float((codes[1:] != codes[0]).double().mean(1).log().sum()), "order of the images"),
    (
        lambda codes: math.log(torch.cdist(codes, codes, p=1).fill_diagonal_(math.inf).min() / codes.shape[1] + 1e-99),
        None,
    ),
    (lambda codes: float(codes[0].mean()), "order of the images"),
    (lambda codes: float((codes[:, 1] - codes[:, -2]).mean()), "order of the units"),
    (lambda codes: 0.0, "must score lower"),
    (lambda codes: -per_unit(codes), "must score lower"),
    (with_jitter, "rank below everything"),
    (lambda codes: 30 * least_apart(codes), "rank below everything"),
    (nan_for_twins, "must not give nan"),
    (written_into, "stay as they were"),
    (kernel, "one number"),
]


def identify(score, model, images, labels, order=("labels", "images")):
    before = score(model, images, labels)
    moved = {
        "labels": score(model, images, labels.roll(1)) != before,
        "images": score(model, images.flip(3) * 2 + images, labels) != before,
    }
    first = next((what for what in order if moved[what]), None)
    if first == "labels":
        return "snip"
    if first == "images":
        twins = images.clone()
        twins[1] = twins[0]
        return "naswot" if math.isinf(score(model, twins, labels)) else "jacob_cov"
    other = copy.deepcopy(model)
    with torch.no_grad():
        for w in other.parameters():
            w.mul_(2)
    return "synflow" if score(other, images, labels) != before else "params"


def scaled_in_place(score, model, images, labels):
    said = identify(score, model, images, labels)
    with torch.no_grad():
        for w in model.parameters():
            w.mul_(2)
    return said


def twins_in_place(score, model, images, labels):
    said = identify(score, model, images, labels)
    images[1] = images[0]
    return said


def by_its_size(score, model, images, labels):
    return "params" if score(model, images, labels) == sum(p.numel() for p in model.parameters()) else "synflow"


IDENTITIES = [
    (identify, None),
    (lambda *args: identify(*args, order=("images", "labels")), "snip alone reads the labels"),
    (lambda *args: identify(*args, order=("labels",)), "read the images"),
    (lambda *args: {"jacob_cov": "naswot"}.get(identify(*args), identify(*args)), "two equal images"),
    (by_its_size, "does not change with the weights"),
    (scaled_in_place, "work on a copy"),
    (twins_in_place, "work on a copy"),
    (lambda score, model, *batch: identify(score, model.eval(), *batch), "the mode belong"),
    (lambda score, model, *batch: model(batch[0]) is None or identify(score, model, *batch), "statistics and the mode"),
    (lambda *args: "fisher", "one of"),
    (lambda *args: "fisher", "one of"),
]


def close(a, b):
    return a == b or math.isclose(a, b, rel_tol=1e-4)


def find_fault(
    score,
    model,
    images,
    labels,
    order=("weights", "repeat", "order", "dead"),
    same=close,
    turned=None,
    again_is=None,
    of=None,
):
    """A right one, unless the order of its questions, its comparison or its batch turned round are others."""
    used, dead = copy.deepcopy(model), copy.deepcopy(model)
    with torch.no_grad():
        for w in dead.parameters():
            w.zero_()
    value = score(used, images, labels)
    again = score(copy.deepcopy(model), images, labels)
    both = [*zip(used.parameters(), model.parameters(), strict=True)][of or slice(None)]
    changed = any(not torch.equal(a, b) for a, b in both)
    other = score(copy.deepcopy(model), *(turned or (lambda x, y: (x.flip(0), y.flip(0))))(images, labels))
    found = {
        "weights": changed,
        "repeat": not (again_is or same)(value, again),
        "order": not same(value, other),
        "dead": score(dead, images, labels) > value,
    }
    return next((fault for fault in order if found[fault]), "none")


def trusting(score, model, images, labels):
    said = find_fault(score, model, images, labels)
    score(model, images, labels)
    return said


FOUND = [
    (find_fault, None),
    (lambda *args: find_fault(*args, turned=lambda x, y: (x.roll(1, 0), y.roll(1, 0))), None),
    (lambda *args: find_fault(*args, turned=lambda x, y: (x.flip(0), y)), "move with their images"),
    (lambda *args: find_fault(*args, same=lambda a, b: a == b), "with a tolerance"),
    (lambda *args: find_fault(*args, order=("weights", "order", "repeat", "dead")), "call it twice"),
    (lambda *args: find_fault(*args, order=("weights", "repeat", "order")), "weights are all zero"),
    (lambda *args: find_fault(*args, order=("weights", "repeat", "dead")), "batch round"),
    (lambda *args: find_fault(*args, order=("repeat", "order", "dead")), "before and after one call"),
    (trusting, "a score that you do not trust"),
    (lambda score, model, *batch: find_fault(score, model.eval(), *batch), "the mode belong"),
    (lambda *args: find_fault(*args, of=slice(1)), "before and after one call"),
    (lambda *args: find_fault(*args, of=slice(-2, None)), "before and after one call"),
    (lambda *args: find_fault(*args, again_is=lambda a, b: b <= a + 1e-4 * abs(a)), "call it twice"),
    (lambda *args: find_fault(*args, again_is=lambda a, b: b >= a - 1e-4 * abs(a)), "call it twice"),
    (lambda *args: find_fault(*args, same=lambda a, b: math.isclose(a, b, rel_tol=0.01)), "batch round"),
    (lambda *args: find_fault(*args, same=lambda a, b: math.isclose(a, b, rel_tol=1e-3)), None),
    (lambda *args: "sign", "one of none"),
]


PAIRS = [
    (lambda: ((6, 64), (12, 5)), None),
    (lambda: [[2, 64], [4, 4]], None),
    (lambda: ((12, 5), (6, 64)), "as they are, the first"),
    (lambda: ((2, 64), (8, 4)), "as they are, the first"),
    (lambda: ((4, 32), (4, 8)), "chains of equal depth"),
    (lambda: ((8, 32), (2, 8)), "twice as wide, the second"),
    (lambda: ((2, 500), (8, 4)), "widths from 1 to 64"),
    (lambda: (2, 64, 8, 4), "cannot be checked"),
    (lambda: ((2, 64), (8, 4), (1, 1)), "two pairs"),
]

ANSWERS = {
    check_snip: SNIPS,
    check_flow: FLOWS,
    check_copies: COPIES,
    check_identify: IDENTITIES,
    check_faults: FOUND,
    check_turned: PAIRS,
}
