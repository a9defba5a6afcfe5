"""Right and plausible wrong answers to the exercises of notebook 09, with the sentence that names the fault."""

from __future__ import annotations

import itertools
import math

import numpy as np
from scipy.stats import rankdata

from nasedu.blocks import Conv, Residual
from nasedu.course.checks.zero_shot import (
    check_cheap,
    check_fault,
    check_formula,
    check_log_rank,
    check_rising,
    check_taken_off,
)


def taken_off(variance, passes, momentum=0.1):
    running = 1.0
    for _ in range(passes):
        running += momentum * (variance - running)
    return 0.5 * math.log(variance / running)


def from_zero(variance, passes, momentum=0.1):
    left = (1 - momentum) ** passes
    return (
        -math.log(1 - left) / 2 if passes and variance != 1 and momentum < 1 else taken_off(variance, passes, momentum)
    )


def the_other_share(variance, passes, momentum=0.1):
    return taken_off(variance, passes, 1 - momentum) if 0 < momentum < 1 else taken_off(variance, passes, momentum)


AVERAGES = [
    (taken_off, None),
    (lambda *a: np.float64(taken_off(*a)), None),
    (lambda *a: -taken_off(*a), "before any pass"),
    (lambda *a: abs(taken_off(*a)), "negative where it is above"),
    (lambda *a: 2 * taken_off(*a), "before any pass"),
    (lambda v, n, m=0.1: taken_off(v, n, m) * (2 if n else 1), "half a logarithm"),
    (from_zero, "starts at 1"),
    (the_other_share, "1 - momentum of what was there"),
    (lambda v, n, m=0.1: taken_off(v, 2 if n else 0, m), "6, 1 passes"),
    (lambda v, n, m=0.1: math.log(v / (1 + min(1, m * n) * (v - 1))) / 2, "shrinks with every pass"),
]


def products(conv):
    return conv.kernel**2 * conv.c_in / conv.groups


def formula(convolutions):
    return sum(0.5 * math.log(products(conv) / 2) for conv in convolutions)


FORMULAS = [
    (formula, None),
    (lambda c: np.float64(formula(c) + 3), None),
    (len, "equally deep"),
    (lambda c: formula(c) / len(c), "equally wide"),
    (lambda c: sum(0.5 * math.log(conv.c_in / conv.groups) for conv in c), "kernel"),
    (lambda c: sum(0.5 * math.log(conv.kernel**2 * conv.c_in) for conv in c), "grouped"),
    (lambda c: sum(map(products, c)), "networks"),
    (lambda c: sum(0.5 * math.log(products(conv)) for conv in c), "half"),
    (lambda c: sum(math.sqrt(products(conv)) for conv in c), "half"),
    (lambda c: np.log2([products(conv) / 2 for conv in c]).sum(), None),
    (lambda c: math.log(sum(conv.c_out * products(conv) for conv in c)), "networks"),
    (lambda c: math.inf, "finite"),
    (lambda c: [0.0], "one number"),
]


def text_of(width, layers, last=64):
    block = f"SuperResK1K3K1({width},{width},2,{width // 2},{layers})"
    return f"SuperConvK3BNRELU(3,{width},1,1){block}SuperConvK1BNRELU({width},{last},1,1)"


def rising():
    return [text_of(96, 1), text_of(71, 2), text_of(52, 4), text_of(38, 8)]


SERIES = [
    (rising, None),
    (lambda: tuple(rising()), None),
    (lambda: rising()[::-1], "higher than the one before"),
    (lambda: rising()[:3], "four structure strings"),
    (lambda: [text_of(32, n) for n in (1, 2, 3, 4)], "at most a tenth"),
    (lambda: [text_of(160, n) for n in (1, 2, 3, 4)], "100,000 parameters"),
    (lambda: [*rising()[:3], text_of(26, 16)], "10 layers"),
    (lambda: [rising()[0]] * 3 + [text_of(96, 1, 66)], "by 3 or more"),
    (lambda: [*rising()[:3], "SuperResK3K4(3,8,1,8,1)"], "a structure string"),
    (lambda: "abcd", "four structure strings"),
]


def broken(child):
    return any(a.c_out != b.c_in for a, b in itertools.pairwise(child)) or child[0].c_in != 3


def total(arch):
    return math.prod(block.stride for block in arch)


def fault(parent, child):
    return "channels" if broken(child) else "stride" * (total(child) != total(parent))


def one_by_one(parent, child):
    differ = [a.stride for a in parent] != [b.stride for b in child]
    return "channels" if broken(child) else "stride" * differ


def summed(parent, child):
    same = sum(b.stride for b in child) - len(child) == sum(b.stride for b in parent) - len(parent)
    return "channels" if broken(child) else "stride" * (not same)


def any_image(parent, child):
    gaps = any(a.c_out != b.c_in for a, b in itertools.pairwise(child))
    return "channels" if gaps else "stride" * (total(child) != total(parent))


def as_many_blocks(parent, child):
    return "stride" if len(child) != len(parent) else fault(parent, child)


FAULTS = [
    (fault, None),
    (one_by_one, "is sound"),
    (summed, "sound"),
    (any_image, "1 channel"),
    (as_many_blocks, "one block more"),
    (lambda p, c: "channels" * broken(c), "'stride', not ''"),
    (lambda p, c: "stride" * (total(p) != total(c)), "is 'channels', not"),
    (lambda p, c: fault(p, c) == "", "got bool"),
    (lambda p, c: fault(p, c) or "sound", "no change at all"),
]


def log_rank(scores):
    scores = np.where(np.isnan(scores), -np.inf, scores)
    return np.log(rankdata(scores, axis=0) / len(scores)).sum(1)


def ordinal(scores):
    scores = np.where(np.isnan(scores), -np.inf, scores)
    return np.log((scores.argsort(0, kind="stable").argsort(0) + 1) / len(scores)).sum(1)


def in_their_place(scores):
    scores[np.isnan(scores)] = -np.inf
    return log_rank(scores)


def nan_best(scores):
    return np.log(rankdata(np.where(np.isnan(scores), np.inf, scores), axis=0) / len(scores)).sum(1)


RANKS = [
    (log_rank, None),
    (lambda s: list(log_rank(s)), None),
    (ordinal, "share the mean"),
    (in_their_place, "stay as they were"),
    (nan_best, "one tie below all"),
    (lambda s: log_rank(np.where(np.isfinite(s), s, -np.inf)), "one tie below all"),
    (lambda s: log_rank(np.nan_to_num(s, nan=-1e9, neginf=-1e9, posinf=1e9)), "one tie below all"),
    (lambda s: np.log(rankdata(s, axis=0) / len(s)).sum(1), "nan or infinite"),
    (lambda s: np.log(rankdata(-s, axis=0) / len(s)).sum(1), "sum of ln(n/n) is 0"),
    (lambda s: (rankdata(s, axis=0) / len(s)).sum(1), "sum of ln(n/n) is 0"),
    (lambda s: np.log(rankdata(s, axis=0)).sum(1), "sum of ln(n/n) is 0"),
    (lambda s: np.log(rankdata(s, axis=0) / len(s)).mean(1), "sums of ln(rank/n)"),
    (lambda s: log_rank(s)[:2], "4 sums"),
]


def cheap(c_in, c_out, stride, layers):
    for _ in range(layers):
        thin = [Conv(c_in, 8), Conv(8, 8, 3, stride), *[Conv(8, 8, 3)] * 3]
        yield Residual((*thin, Conv(8, c_out, act=None)))
        c_in, stride = c_out, 1


def basic(c_in, c_out, stride, layers, narrow=32, kernel=3, more=0, kept=False):
    for _ in range(layers):
        middle = [Conv(narrow, narrow, kernel)] * more
        yield Residual((Conv(c_in, narrow, kernel, stride), *middle, Conv(narrow, c_out, kernel, act=None)))
        c_in, stride = (c_in, stride) if kept else (c_out, 1)


def without_shortcut(c_in, c_out, stride, layers):
    return [conv for part in cheap(c_in, c_out, stride, layers) for conv in part.convs]


def one_layer(c_in, c_out, stride, layers):
    return list(cheap(c_in, c_out, stride, layers))[:1]


def halves_at_most(c_in, c_out, stride, layers):
    return cheap(c_in, c_out, 2 if stride > 1 else 1, layers)


BLOCKS = [
    (cheap, None),
    (lambda c_in, c_out, stride, layers: list(cheap(c_in, c_out, stride, layers)), None),
    (lambda c_in, c_out, stride, layers: basic(c_in, c_out, stride, layers), "at most a quarter"),
    (lambda c_in, c_out, stride, layers: basic(c_in, c_out, stride, layers, 8), "above SuperResK3K3"),
    (lambda c_in, c_out, stride, layers: basic(c_in, c_out, stride, layers, 8, 1, 9), "neighbouring pixels"),
    (lambda c_in, c_out, stride, layers: basic(c_in, c_out, stride, layers, 8, 3, 4, True), "channels"),
    (without_shortcut, "a shortcut"),
    (one_layer, "every layer is a Residual"),
    (halves_at_most, "stride 4"),
    (lambda a, b, s, n: tuple(cheap(a, b, s, n)), None),
    (lambda c_in, c_out, stride, layers: 3, "yields its parts"),
    (lambda c_in, c_out, stride, layers: ["Conv"], "made of Conv and Residual"),
]

ANSWERS = {
    check_taken_off: AVERAGES,
    check_formula: FORMULAS,
    check_rising: SERIES,
    check_fault: FAULTS,
    check_log_rank: RANKS,
    check_cheap: BLOCKS,
}
