"""Right and plausible wrong answers to the exercises of notebook 16, with the sentence that names the fault."""

from __future__ import annotations

import math

import numpy as np
import torch

from nasedu.course.checks.deployment import check_fold, check_letterbox, check_quantise, check_steady, check_training


def fold(conv, norm, eps=True, root=True, mean=True, own="scaled", gamma=True):
    variance = norm.running_var + (norm.eps if eps else 0)
    scale = (norm.weight if gamma else 1) / (variance.sqrt() if root else variance)
    true = norm.weight / (norm.running_var + norm.eps).sqrt()
    before = torch.zeros(len(scale)) if conv.bias is None or own == "lost" else conv.bias
    before = before / true if own == "plain" else before
    bias = norm.bias + (before - (norm.running_mean if mean else 0)) * true
    return conv.weight * scale.reshape(-1, 1, 1, 1), bias


def quantise(weight, most=127, step=np.round, per="channel", zero=1.0, cut=True):
    flat = np.abs(weight).reshape(len(weight), -1).max(1)
    if per == "tensor":
        flat = np.full(len(weight), flat.max())
    scale = np.where(flat > 0, flat / most, zero)
    whole = step(weight / scale.reshape(-1, *[1] * (weight.ndim - 1)))
    return np.clip(np.nan_to_num(whole), -127 if cut else -128, 127).astype(np.int8), scale


def no_zero(weight):
    with np.errstate(invalid="ignore"):
        return quantise(weight, zero=0.0)


def affine(weight):
    """From -128 to 127."""
    whole, scale = quantise(weight)
    return np.where(whole == -127, -128, whole).astype(np.int8), scale


def place(boxes, size, side, back, whole=True, middle=True, swap=False, cut=True, order=True):
    height, width = size[::-1] if swap else size
    longest = max(size)
    columns, rows = (max(1, round(n * side / longest)) if whole else n * side / longest for n in (width, height))
    scale = np.array([columns / width, rows / height] * 2)
    corner = np.array([(side - columns) // 2, (side - rows) // 2] * 2) * middle
    if not back:
        return boxes * scale + corner
    found = (boxes - corner) / scale if order else boxes / scale - corner
    return np.clip(found, 0, [width, height] * 2) if cut else found


def steady(ms, parts=20, apart=0.02, end=0.01):
    levels = np.median(ms.reshape(parts, -1), axis=1)
    last = np.median(levels[-parts // 4 :])
    alike = np.abs(levels / last - 1) < apart
    start = parts - int(np.argmin(alike[::-1])) if not alike.all() else 0
    if parts - start < parts // 5:
        return len(ms)
    half = (parts - start) // 2
    drift = np.median(levels[-half:]) / np.median(levels[start : start + half]) - 1
    return start * (len(ms) // parts) if abs(drift) < end else len(ms)


def by_means(ms):
    levels = ms.reshape(20, -1).mean(1)
    alike = np.abs(levels / levels[-1] - 1) < 0.005
    return 30 * (20 - int(np.argmin(alike[::-1])))


def neighbours(ms):
    """Where a window is like the one before it, for the first time."""
    levels = np.median(ms.reshape(60, -1), axis=1)
    return 10 * int(np.argmax(np.abs(np.diff(levels)) / levels[1:] < 0.03))


def faults(training, spare=True, summed=True, steps=True):
    reads, images = training["reads"], training["images"]
    found, processes = [], len(reads)
    twice = sum(map(len, reads)) - len(set().union(*map(set, reads)))
    if twice >= (processes if spare else 1):
        found.append("overlap")
    if steps and len({math.ceil(len(part) / training["batch"]) for part in reads}) > 1:
        found.append("uneven")
    if not steps and any(len(part) * processes != images for part in reads):
        found.append("uneven")
    if len(set(training["augmentation_seeds"])) < processes:
        found.append("noise")
    tuned, every = training["tuned"], training["batch"] * processes
    due = tuned["learning_rate"] * every / tuned["batch"]
    due /= processes if training["reduce"] == "sum" and summed else 1
    if not math.isclose(training["learning_rate"], due):
        found.append("rate")
    if len(training["writers"]) != 1:
        found.append("writers")
    return found


ANSWERS = {
    check_fold: [
        (fold, None),
        (lambda *given: fold(*given, eps=False), "eps belongs to the variance"),
        (lambda *given: fold(*given, root=False), "not by the variance"),
        (lambda *given: fold(*given, gamma=False), "γ is missing"),
        (lambda *given: fold(*given, mean=False), "the bias is β"),
        (lambda *given: fold(*given, own="lost"), "own bias is lost"),
        (lambda *given: fold(*given, own="plain"), "passes through the normalisation"),
        (lambda conv, norm: (conv.weight, fold(conv, norm)[1]), "the weight is not scaled"),
        (lambda conv, norm: (fold(conv, norm)[0][:1], fold(conv, norm)[1]), "keep their shapes"),
        (lambda conv, norm: fold(conv.requires_grad_(False), norm), "must stay as it was"),
    ],
    check_quantise: [
        (quantise, None),
        (lambda weight: quantise(weight, per="tensor"), "must not depend on another's"),
        (lambda weight: quantise(weight, step=np.trunc), "round to the nearest"),
        (lambda weight: quantise(weight, most=64), "too large"),
        (lambda weight: quantise(weight, most=256), "cut off"),
        (no_zero, "a channel of zeros needs a scale"),
        (affine, "symmetric"),
        (lambda weight: (quantise(weight)[0].astype(float), quantise(weight)[1]), "int8 of the shape"),
        (lambda weight: (quantise(weight)[0], 1.0), "a scale for each"),
    ],
    check_letterbox: [
        (place, None),
        (lambda *given: place(*given, whole=False), "both of whole pixels"),
        (lambda *given: place(*given, middle=False), "the middle"),
        (lambda *given: place(*given, swap=True), "the size is (height, width)"),
        (lambda *given: place(*given, cut=False), "cut at its edges"),
        (lambda *given: place(*given, order=False), "there and back again"),
        (lambda boxes, size, side, back: place(boxes, size, side, False), "there and back again"),
        (lambda boxes, size, side, back: place(boxes, size, side, back)[0], "got the shape"),
    ],
    check_steady: [
        (steady, None),
        (lambda ms: 5, "the next ones still differ"),
        (lambda ms: len(ms) // 2, "throw away"),
        (lambda ms: steady(ms, end=1.0, apart=1.0), "the next ones still differ"),
        (by_means, "throw away"),
        (neighbours, "grows warm"),
        (lambda ms: len(ms), "it is steady from run 0"),
        (lambda ms: -1, "a number of runs"),
        (lambda ms: min(steady(ms), len(ms) - 30), "no part of it is steady"),
    ],
    check_training: [
        (faults, None),
        (lambda training: [], "was not found"),
        (lambda training: faults(training, spare=False), "may be read twice"),
        (lambda training: faults(training, summed=False), "a sum of gradients has grown"),
        (lambda training: faults(training, steps=False), "all take as many steps"),
        (lambda training: [*faults(training), "slow"], "a fault is called"),
        (lambda training: [one for one in faults(training) if one != "noise"], "noise was not found"),
    ],
}
