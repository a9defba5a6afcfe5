"""Right and plausible wrong answers to the exercises of notebook 03, with the sentence that names the fault."""

from __future__ import annotations

import copy
import math

import numpy as np
import torch

from nasedu.course.checks.spos import check_audit, check_meet, check_rule, check_update
from nasedu.supernet.batchnorm import recalibrate


def unit(split, depends):
    passed, worked = split(depends)
    return np.concatenate([passed, np.tile(worked.any(0), (len(worked), 1))])


def until(split, channels, done=np.all, limit=None, never=math.inf):
    depends, before = np.eye(channels, dtype=bool), set()
    while not done(depends):
        if depends.tobytes() in before or len(before) == limit:
            return never
        before.add(depends.tobytes())
        depends = unit(split, depends)
    return len(before)


def endless(split, channels):
    depends, units = np.eye(channels, dtype=bool), 0
    while not depends.all():
        depends, units = unit(split, depends), units + 1
    return units


def worked_on(split, channels):
    return until(split, channels, lambda depends: (depends.sum(1) > 1).all())


MEET = [
    (until, None),
    (lambda split, channels: until(split, channels, limit=400), None),
    (endless, "comes back"),
    (worked_on, "channels that passed"),
    (lambda split, channels: until(split, channels, lambda depends: depends.all(1).any()), "channels that passed"),
    (lambda split, channels: until(split, channels) + 1, "after 1 unit"),
    (lambda split, channels: until(split, 8), "`channels`"),
    (lambda split, channels: until(split, channels, limit=channels), "more units than channels"),
    (lambda split, channels: until(split, channels, never=0), "never meet"),
    (lambda split, channels: until(split, channels, limit=4 * channels), "hundreds of units"),
    (lambda split, channels: until(split, channels, limit=200), "hundreds of units"),
]


def quarters(*order):
    def split(x):
        blocks = np.split(x, 4)
        return np.concatenate([blocks[i] for i in order[:2]]), np.concatenate([blocks[i] for i in order[2:]])

    return split


def shuffled(x):
    order = np.random.default_rng().permutation(len(x))
    return x[order[::2]], x[order[1::2]]


RULES = [
    (quarters(1, 2, 0, 3), None),
    (quarters(3, 0, 1, 2), None),
    (quarters(0, 1, 2, 3), "depend on all"),
    (quarters(2, 3, 0, 1), "depend on all"),
    (lambda x: (x[0::2], x[1::2]), "depend on all"),
    (lambda x: (x[1::2], x[0::2]), "which ones wait"),
    (lambda x: (x[:0], x), "half must pass"),
    (lambda x: (x[1::2], x[1::2]), "none of them twice"),
    (shuffled, "draw nothing anew"),
    (lambda x: quarters(1, 2, 0, 3)(np.arange(len(x))), "not its place"),
    (lambda x: quarters(1, 2, 0, 3)(x[np.argsort(x[:, 0])]), "look at no values"),
    (lambda x: [part.tolist() for part in quarters(1, 2, 0, 3)(x)], None),
]


def update(running, batch, seen):
    return running + (batch.mean((0, 2, 3)) - running) / (seen + 1)


def off_by_one(running, batch, seen):
    return running + (batch.mean((0, 2, 3)) - running) / (seen + 2)


def fixed(running, batch, seen):
    mean = batch.mean((0, 2, 3))
    return mean if seen == 0 else 0.5 * running + 0.5 * mean


def exponential(running, batch, seen):
    return 0.9 * running + 0.1 * batch.mean((0, 2, 3))


def swapped(running, batch, seen):
    return running / (seen + 1) + batch.mean((0, 2, 3)) * seen / (seen + 1) if seen else batch.mean((0, 2, 3))


UPDATES = [
    (update, None),
    (off_by_one, "nothing of the old"),
    (fixed, "order of the batches"),
    (exponential, "nothing of the old"),
    (swapped, "order of the batches"),
    (lambda running, batch, seen: batch.mean((0, 2, 3)), "half-way"),
    (lambda running, batch, seen: batch.mean() + 0 * running, "first batch"),
    (lambda running, batch, seen: batch.mean(0), "per channel"),
]


def right(net, arch, train, val):
    twin = copy.deepcopy(net)
    recalibrate(twin, train, lambda part, x: part(x, arch))
    with torch.no_grad():
        return twin.eval()(val, arch)


def looks(net):
    return {name: value.clone() for name, value in net.state_dict().items()}, [m.training for m in net.modules()]


def audit(judge, net, archs, train, val, same=lambda a, b: torch.allclose(a, b, atol=1e-4), state=("",), mode=True):
    for arch in archs:
        want, (before, modes) = right(net, arch, train, val), looks(net)
        if not same(judge(net, arch, train, val), want):
            return False
        after, then = looks(net)
        if any(not torch.equal(after[name], before[name]) for name in after if name.endswith(tuple(state))):
            return False
        if mode and then != modes:
            return False
    return True


def order_only(judge, net, archs, train, val):
    first = judge(net, archs[0], train, val)
    judge(net, archs[1], train, val)
    return torch.equal(first, judge(net, archs[0], train, val))


def other_images(judge, net, archs, train, val):
    return audit(lambda net, arch, _, val: judge(net, arch, train, val), net, archs, [*train, val], val)


def of_the_net_alone(judge, net, archs, train, val):
    """Asks for the mode of the whole network, not of its parts."""
    return audit(judge, net, archs, train, val, mode=False) and not net.training


AUDITS = [
    (audit, None),
    (lambda judge, net, archs, train, val: audit(judge, net, archs[:1], train, val), "first architecture"),
    (lambda judge, net, archs, train, val: audit(judge, net, archs, train, val, state=()), "statistics in the"),
    (lambda judge, net, archs, train, val: audit(judge, net, archs, train, val, mode=False), "in training mode"),
    (lambda judge, net, archs, train, val: audit(judge, net, archs, train, val, lambda a, b: True), "came with"),
    (lambda *args: audit(*args, state=("mean", "var")), "other weights"),
    (lambda *args: audit(*args, state=("mean", "weight", "bias")), "a running variance"),
    (lambda *args: audit(*args, same=lambda a, b: torch.allclose(a, b, atol=0.1)), "leaves out the last"),
    (of_the_net_alone, "BN in training mode"),
    (lambda judge, net, archs, train, val: audit(judge, net, archs[::-1] * 2, train, val), None),
    (other_images, "was refused"),
    (order_only, "came with"),
    (lambda *args: True, "came with"),
    (lambda *args: False, "was refused"),
]

ANSWERS = {check_meet: MEET, check_rule: RULES, check_update: UPDATES, check_audit: AUDITS}
