"""Right and plausible wrong answers to the exercises of notebook 09, with the sentence that names the fault."""

from __future__ import annotations

import re

import numpy as np
from scipy.stats import rankdata

from nasedu.course.checks.zero_shot import check_canonical, check_log_rank, check_params, check_widen, check_within


def canonical(text):
    text = re.sub(r"\s+", "", text)
    text = re.sub(r"\([\w.-]+\|", "(", text)
    return re.sub(r"(?<=[(,])\+?\d+", lambda m: str(int(m[0])), text)


def keeps_zeros(text):
    return re.sub(r"\([\w.-]+\|", "(", re.sub(r"\s+", "", text)).replace("+", "")


def no_zeros_at_all(text):
    return canonical(text).replace("0", "")


STRINGS = [
    (canonical, None),
    (lambda text: re.sub(r"\s+", "", text), "a label"),
    (lambda text: text.strip(), "no blank left"),
    (lambda text: re.sub(r"\s+", "", text).replace("|", ""), "values of the numbers must stay"),
    (keeps_zeros, "without zeros in front"),
    (no_zeros_at_all, "without zeros in front"),
    (lambda text: canonical(text).lower(), "names, order and values"),
    (lambda text: canonical(text).encode(), "is text"),
]


def params(c_in, c_out, k, narrow, layers):
    total = c_in * c_out + 3 * c_out
    for _ in range(layers):
        total += k * k * (c_in * narrow + narrow * c_out) + 2 * (narrow + c_out)
        c_in = c_out
    return total


def one_vector(c_in, c_out, k, narrow, layers):
    return params(c_in, c_out, k, narrow, layers) - layers * (narrow + c_out) - c_out


def no_projection(c_in, c_out, k, narrow, layers):
    return params(c_in, c_out, k, narrow, layers) - c_in * c_out - 3 * c_out


def projection_where_needed(c_in, c_out, k, narrow, layers):
    return params(c_in, c_out, k, narrow, layers) - (c_in * c_out + 3 * c_out) * (c_in == c_out)


def projection_everywhere(c_in, c_out, k, narrow, layers):
    return params(c_in, c_out, k, narrow, layers) + (layers - 1) * (c_in * c_out + 3 * c_out)


def same_input(c_in, c_out, k, narrow, layers):
    one = k * k * (c_in * narrow + narrow * c_out) + 2 * (narrow + c_out)
    return c_in * c_out + 3 * c_out + layers * one


COUNTS = [
    (params, None),
    (one_vector, "2C parameters"),
    (lambda *a: params(*a) - a[1], "has a bias"),
    (no_projection, "always has a projection"),
    (projection_where_needed, "always has a projection"),
    (projection_everywhere, "only the first unit"),
    (same_input, "c_out channels"),
    (lambda *a: params(*a) + 1, "parameters, not"),
    (lambda *a: float(params(*a)), "whole number"),
]


def widen(blocks, i, ratio):
    blocks = list(blocks)
    width = max(8, 8 * round(blocks[i].c_out * ratio / 8))
    blocks[i] = blocks[i]._replace(c_out=width)
    if i + 1 < len(blocks):
        blocks[i + 1] = blocks[i + 1]._replace(c_in=width)
    return blocks


def in_place(blocks, i, ratio):
    blocks[:] = widen(blocks, i, ratio)
    return blocks


def unchained(blocks, i, ratio):
    return [b._replace(c_out=widen(blocks, i, ratio)[i].c_out) if j == i else b for j, b in enumerate(blocks)]


def any_width(blocks, i, ratio):
    return [
        b._replace(c_out=round(b.c_out * ratio))
        if j == i
        else b._replace(c_in=round(blocks[i].c_out * ratio))
        if j == i + 1
        else b
        for j, b in enumerate(blocks)
    ]


def down_to_nothing(blocks, i, ratio):
    width = 8 * round(blocks[i].c_out * ratio / 8 - 0.501)
    out = [*blocks]
    out[i] = out[i]._replace(c_out=width)
    if i + 1 < len(out):
        out[i + 1] = out[i + 1]._replace(c_in=width)
    return out


def bottleneck_too(blocks, i, ratio):
    out = widen(blocks, i, ratio)
    out[i] = out[i]._replace(bottleneck=8)
    return [b._replace(layers=b.layers + 1) for b in out]


WIDENINGS = [
    (widen, None),
    (lambda *a: tuple(tuple(b) for b in widen(*a)), None),
    (in_place, "stay as they were"),
    (unchained, "chain is broken"),
    (any_width, "multiples of 8"),
    (down_to_nothing, "nearest multiple"),
    (bottleneck_too, "nothing may change but"),
    (lambda *a: widen(*a)[:-1], "4 blocks went in"),
]


def within(space, arch, params=None, macs=None, layers=None):
    cost = space.cost(arch)
    values = (cost.params, params), (cost.macs, macs), (space.depth(arch), layers)
    return all(limit is None or value <= limit for value, limit in values)


def strictly(space, arch, params=None, macs=None, layers=None):
    cost = space.cost(arch)
    values = (cost.params, params), (cost.macs, macs), (space.depth(arch), layers)
    return all(limit is None or value < limit for value, limit in values)


def any_of_them(space, arch, params=None, macs=None, layers=None):
    cost = space.cost(arch)
    values = (cost.params, params), (cost.macs, macs), (space.depth(arch), layers)
    given = [value <= limit for value, limit in values if limit is not None]
    return not given or any(given)


def number_of_blocks(space, arch, params=None, macs=None, layers=None):
    return within(space, arch, params, macs) and (layers is None or len(arch) <= layers)


def zero_is_none(space, arch, params=None, macs=None, layers=None):
    return within(space, arch, params or None, macs or None, layers or None)


def params_only(space, arch, params=None, macs=None, layers=None):
    return within(space, arch, params)


BUDGETS = [
    (within, None),
    (strictly, "exactly at the limit"),
    (any_of_them, "one limit that is broken"),
    (number_of_blocks, "not the number of blocks"),
    (zero_is_none, "limit of 0"),
    (params_only, "limit of macs"),
    (lambda *a, **k: "yes", "the answer is True"),
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
    (lambda s: np.log(rankdata(s, axis=0) / len(s)).sum(1), "nan or infinite"),
    (lambda s: np.log(rankdata(-s, axis=0) / len(s)).sum(1), "sum of ln(n/n) is 0"),
    (lambda s: (rankdata(s, axis=0) / len(s)).sum(1), "sum of ln(n/n) is 0"),
    (lambda s: np.log(rankdata(s, axis=0)).sum(1), "sum of ln(n/n) is 0"),
    (lambda s: np.log(rankdata(s, axis=0) / len(s)).mean(1), "sums of ln(rank/n)"),
    (lambda s: log_rank(s)[:2], "4 sums"),
]

ANSWERS = {
    check_canonical: STRINGS,
    check_params: COUNTS,
    check_widen: WIDENINGS,
    check_within: BUDGETS,
    check_log_rank: RANKS,
}
