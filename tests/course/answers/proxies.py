"""Right and plausible wrong answers to the exercises of notebook 08, with the sentence that names the fault."""

from __future__ import annotations

import copy
import math

import numpy as np
import torch
from scipy.stats import rankdata
from torch.nn import functional as F

from nasedu.course.checks.proxies import check_agreement, check_flow, check_identify, check_ranks, check_snip


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


def agreement(x):
    codes = (x.flatten(1) > 0).double()
    return codes @ codes.T + (1 - codes) @ (1 - codes).T


def only_on(x):
    codes = (x.flatten(1) > 0).float()
    return codes @ codes.T


def of_signs(x):
    codes = (x.flatten(1) > 0).float() * 2 - 1
    return codes @ codes.T


def with_zeros_on(x):
    codes = (x.flatten(1) >= 0).double()
    return codes @ codes.T + (1 - codes) @ (1 - codes).T


def in_place(x):
    x.clamp_(min=0)
    return agreement(x)


def between_units(x):
    codes = (x.flatten(1) > 0).float()
    return codes.T @ codes + (1 - codes).T @ (1 - codes)


KERNELS = [
    (agreement, None),
    (lambda x: ((x.flatten(1) > 0)[:, None] == (x.flatten(1) > 0)[None]).sum(-1), None),
    (only_on, "off agree, too"),
    (of_signs, "agreements less disagreements"),
    (with_zeros_on, "exactly 0 is off"),
    (in_place, "stay as it was"),
    (between_units, "(5, 5)"),
    (lambda x: x.flatten(1).shape[1] - agreement(x), "Hamming"),
    (lambda x: agreement(x) / x.flatten(1).shape[1], "all 12 units"),
    (lambda x: x.flatten(1) @ x.flatten(1).T, "all 12 units"),
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
    (lambda *args: "fisher", "one of"),
    (lambda *args: "fisher", "one of"),
]


def ranks(scores):
    return rankdata(np.where(np.isnan(scores), -np.inf, scores))


RANKS = [
    (ranks, None),
    (lambda scores: ranks(scores).tolist(), None),
    (lambda scores: len(scores) + 1 - ranks(scores), "best has rank n"),
    (lambda scores: ranks(scores) - 1, "not from 0"),
    (lambda scores: np.argsort(scores), "turned round"),
    (lambda scores: np.argsort(scores) + 1, "turned round"),
    (lambda scores: np.argsort(np.argsort(scores)) + 1, "mean of their ranks"),
    (lambda scores: rankdata(np.where(np.isnan(scores), -np.inf, scores), method="min"), "mean of their ranks"),
    (lambda scores: rankdata(np.where(np.isnan(scores), np.inf, scores)), "below every number"),
    (lambda scores: rankdata(scores), "leave none out"),
    (lambda scores: rankdata([s for s in scores if np.isfinite(s)]), "leave none out"),
    (lambda scores: rankdata(np.nan_to_num(scores, nan=-1e9, neginf=-1e12)), "one tie"),
    (lambda scores: rankdata(np.nan_to_num(scores, nan=0.0)), "below every number"),
]

ANSWERS = {
    check_snip: SNIPS,
    check_flow: FLOWS,
    check_agreement: KERNELS,
    check_identify: IDENTITIES,
    check_ranks: RANKS,
}
