"""Right and plausible wrong answers to the exercises of notebook 14, with the sentence that names the fault."""

from __future__ import annotations

from itertools import product

import numpy as np
import scipy

from nasedu.course.checks.wzdnas import check_anchors, check_derive, check_deviation, check_precision, check_stands


def variances(costs, p, q):
    ways = [a[:, None] * b for a, b in zip(p, q, strict=True)]
    return [(w * c**2).sum() - (w * c).sum() ** 2 for w, c in zip(ways, costs, strict=True)]


DEVIATIONS = [
    (lambda c, p, q: float(sum(v.clamp(min=0) for v in variances(c, p, q)) ** 0.5), None),
    (lambda c, p, q: sum(max(v, 0) for v in map(float, variances(c, p, q))) ** 0.5, None),
    (lambda c, p, q: float("nan"), "rounding"),
    (lambda c, p, q: sum(variances(c, p, q)) ** 0.5, "where all options cost the same"),
    (lambda c, p, q: sum(map(float, variances(c, p, q))) ** 0.5, "where all options cost the same"),
    (lambda c, p, q: sum(float(a @ (x - a @ x @ b) ** 2 @ b) for x, a, b in zip(c, p, q, strict=True)) ** 0.5, None),
    (lambda c, p, q: sum(v.clamp(min=0) ** 0.5 for v in variances(c, p, q)), "not their deviations"),
    (lambda c, p, q: sum(v.clamp(min=0) for v in variances(c, p, q)), "take the root"),
    (lambda c, p, q: max(v.clamp(min=0) ** 0.5 for v in variances(c, p, q)), "no block may be left out"),
    (lambda c, p, q: sum(x.var(correction=0) for x in c) ** 0.5, "must be 0"),
    (lambda c, p, q: 0.0, "as its own table does"),
    (lambda c, p, q: sum((w * x).var() for w, x in zip(p, (a.mean(1) for a in c), strict=True)) ** 0.5, "must be 0"),
]


def derive(logs, costs, low, high):
    def likely(arch):
        return sum(row[i] for row, i in zip(logs, arch, strict=True))

    archs = product(*(range(len(row)) for row in logs))
    return max((a for a in archs if low <= sum(c[i] for c, i in zip(costs, a, strict=True)) <= high), key=likely)


def likeliest(logs, costs, low, high):
    return [int(np.argmax(row)) for row in logs]


def cheapest_within(logs, costs, low, high):
    archs = product(*(range(len(row)) for row in logs))
    for arch in archs:
        if low <= sum(c[i] for c, i in zip(costs, arch, strict=True)) <= high:
            return arch
    raise ValueError


def at_most(logs, costs, low, high):
    return derive(logs, costs, 0, high)


def silent(logs, costs, low, high):
    try:
        return derive(logs, costs, low, high)
    except ValueError:
        return likeliest(logs, costs, low, high)


def greedy(logs, costs, low, high):
    """Change one block at a time, the cheapest change first, until it fits."""
    arch = likeliest(logs, costs, low, high)
    for block in range(4):
        paid = sum(c[i] for c, i in zip(costs, arch, strict=True))
        fits = [
            i for i in range(len(costs[block])) if low <= paid + costs[block][i] - costs[block][arch[block]] <= high
        ]
        if fits:
            arch[block] = max(fits, key=lambda i: logs[block][i])
            return arch
    return derive(logs, costs, low, high)


def eight_options(logs, costs, low, high):
    def total(rows, arch):
        return sum(row[i] for row, i in zip(rows, arch, strict=True))

    fitting = [arch for arch in product(range(8), repeat=4) if low <= total(costs, arch) <= high]
    return max(fitting, key=lambda arch: total(logs, arch))


DERIVED = [
    (derive, None),
    (lambda *given: list(derive(*given)), None),
    (likeliest, "at least"),
    (at_most, "two sides"),
    (cheapest_within, "more probable"),
    (greedy, "more probable"),
    (silent, "ValueError must be raised"),
    (lambda *given: derive(*given)[:3], "4 blocks"),
    (lambda *given: iter(derive(*given)), None),
    (lambda logs, costs, low, high: derive(logs, costs, low, high - 1), "more probable"),
    (eight_options, "your answer raised IndexError"),
]


def cover(sizes, n, ratio):
    """Take the box that reaches the most that are not reached yet, n times."""
    logs, left, chosen = np.log(sizes), np.ones(len(sizes), bool), []
    near = np.abs(logs[:, None] - logs[None]).max(-1) < np.log(ratio)
    for _ in range(n):
        chosen.append(int((near & left).sum(1).argmax()))
        left &= ~near[chosen[-1]]
    return sizes[chosen]


def farthest(sizes, n, ratio):
    logs, chosen = np.log(sizes), [0]
    while len(chosen) < n:
        chosen.append(int(np.abs(logs[:, None] - logs[chosen]).max(-1).min(1).argmax()))
    return sizes[chosen]


def nearer_side(sizes, n, ratio):
    logs, chosen = np.log(sizes), [0]
    while len(chosen) < n:
        chosen.append(int(np.abs(logs[:, None] - logs[chosen]).min(-1).min(1).argmax()))
    return sizes[chosen]


def kmeans(sizes, n, ratio):
    return scipy.cluster.vq.kmeans(np.asarray(sizes, float), n, seed=0)[0]


def by_area(sizes, n, ratio):
    parts = np.array_split(sizes[np.argsort(sizes.prod(1))], n)
    return np.array([part.mean(0) for part in parts])


def squares(sizes, n, ratio):
    return np.repeat(np.sqrt(cover(sizes, n, ratio).prod(1))[:, None], 2, 1)


def steps(sizes, n, ratio):
    return np.geomspace(sizes.min(0), sizes.max(0), n)


ANCHORS = [
    (cover, None),
    (farthest, None),
    (kmeans, "reach"),
    (by_area, "same area"),
    (squares, "same area"),
    (steps, "same area"),
    (lambda sizes, n, ratio: cover(sizes, n, ratio)[:1], "asked for"),
    (lambda *given: [tuple(anchor) for anchor in farthest(*given)], None),
    (lambda sizes, n, ratio: cover(sizes, n, 2.0), "a ratio of 1.5"),
    (nearer_side, "share a side"),
    (lambda sizes, n, ratio: np.zeros((n, 2)), "positive"),
]


def precision(scores, overlaps, threshold, *, double=False, order=True, found=False, first=False, envelope=True):
    free, right = np.ones(overlaps.shape[1], bool), []
    for i in np.argsort(-scores) if order else range(len(scores)):
        seen = np.where(free, overlaps[i], -1.0)
        place = int((seen >= threshold).argmax()) if first else int(seen.argmax())
        right.append(seen[place] >= threshold)
        if right[-1] and not double:
            free[place] = False
    hits = np.array(right)
    ahead = hits.cumsum() / np.arange(1, len(hits) + 1)
    ahead = np.maximum.accumulate(ahead[::-1])[::-1] if envelope else ahead
    return ahead[hits].sum() / (max(hits.sum(), 1) if found else overlaps.shape[1])


def with_fault(**fault):
    return lambda scores, overlaps, threshold: precision(scores, overlaps, threshold, **fault)


def of_all_objects(scores, overlaps, threshold):
    """As VOC's own code matches: a box whose best object is taken finds no other."""
    alone = np.where(overlaps == overlaps.max(1, keepdims=True), overlaps, 0.0)
    return precision(scores, alone, threshold)


PRECISIONS = [
    (precision, None),
    (with_fault(order=False), "falling score"),
    (with_fault(double=True), "already found"),
    (with_fault(found=True), "number of objects"),
    (with_fault(first=True), "overlaps most"),
    (with_fault(envelope=False), "at that recall or more"),
    (lambda *given: np.float32(precision(*given)), None),
    (lambda s, o, t: precision(s, np.where(o == t, 0, o), t), "equal to it"),
    (of_all_objects, "those still free"),
    (lambda s, o, t: precision(s, o, 0.5), "below the threshold"),
    (lambda s, o, t: 1.0, "already found"),
]


def stands(claim, *, margin=0.03, fewest=3, direction=True, paired=True, by_order=False, **fault):
    a, b = claim["a"], claim["b"]
    seeds = sorted(a.keys() & b.keys())
    apart = abs(np.subtract(*claim["gflops"])) / (1 if fault.get("absolute") else claim["gflops"][1])
    if min(len(a), len(b), *([] if fault.get("all_seeds") else [len(seeds)])) < fewest or apart > margin or not seeds:
        return False
    sign = -1 if direction and claim["better"] == "lower" else 1
    x, y = (np.array([values[s] for s in seeds]) for values in (a, b))
    if by_order:
        x, y = (np.array(list(values.values())) for values in (a, b))
    gaps, ddof, n = sign * (x - y), fault.get("ddof", 1), len(a) if fault.get("count_a") else len(seeds)
    width = gaps.std(ddof=ddof) if paired else np.hypot(x.std(ddof=1), y.std(ddof=1))
    width *= fault.get("factor") or scipy.stats.t.ppf(fault.get("share", 0.975), n - fault.get("less", 1))
    low = gaps.mean() - (width if fault.get("no_root") else width / n**0.5)
    return low >= 0 if fault.get("touching") else low > 0


def by_test(claim):
    """SciPy's paired test in place of the formula: a right answer."""
    seeds = sorted(claim["a"].keys() & claim["b"].keys())
    if len(seeds) < 3 or abs(claim["gflops"][0] / claim["gflops"][1] - 1) > 0.03:
        return False
    pairs = ([claim[name][seed] for seed in seeds] for name in "ab")
    side = "greater" if claim["better"] == "higher" else "less"
    return scipy.stats.ttest_rel(*pairs, alternative=side).pvalue < 0.025


def no_statistics(claim):
    seeds = claim["a"].keys() & claim["b"].keys()
    sign = 1 if claim["better"] == "higher" else -1
    ahead = min((sign * (claim["a"][seed] - claim["b"][seed]) for seed in seeds), default=0) > 0.02
    return ahead and len(seeds) > 2 and abs(claim["gflops"][0] / claim["gflops"][1] - 1) <= 0.03


def judged(**fault):
    return lambda claim: stands(claim, **fault)


CLAIMS = [
    (stands, None),
    (by_test, None),
    (lambda claim: int(stands(claim)), None),
    (judged(factor=1.96), "4.3"),
    (judged(factor=4.303), "2.57"),
    (judged(ddof=0), "n - 1 below"),
    (judged(share=0.95), "4.3 at 95 %"),
    (judged(share=0.99), "just above 0"),
    (judged(less=0), "4.3 at 95 %"),
    (judged(no_root=True), "just above 0"),
    (judged(count_a=True), "a fourth seed that b lacks"),
    (no_statistics, "4.3 at 95 %"),
    (judged(touching=True), "equal values are no better"),
    (judged(fewest=2), "two seeds"),
    (judged(fewest=4), "4.3 at 95 %"),
    (judged(all_seeds=True), "only two of their four seeds"),
    (judged(direction=False), "lower"),
    (judged(margin=9), "equal within 3 %"),
    (judged(margin=0.05), "3.3 %"),
    (judged(margin=0.025), "2.7 %"),
    (judged(absolute=True), "large or small"),
    (judged(paired=False), "pairs"),
    (judged(by_order=True), "do not count"),
    (lambda claim: stands(claim, by_order=claim["a"].keys() == claim["b"].keys()), "by seed"),
    (lambda claim: True, "direction"),
    (lambda claim: False, "must stand"),
    (lambda claim: len(claim["a"]) > 2 and stands(claim | {"gflops": (1, 1)}), "equal within 3 %"),
]

ANSWERS = {
    check_deviation: DEVIATIONS,
    check_derive: DERIVED,
    check_anchors: ANCHORS,
    check_precision: PRECISIONS,
    check_stands: CLAIMS,
}
