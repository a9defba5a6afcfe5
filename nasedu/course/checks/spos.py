"""Checkers for notebook 03: rules that let channels meet, statistics over batches, an audit of a judge."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from functools import reduce

import numpy as np
import torch
from torch import Tensor, nn

from nasedu.course.checks import Violation, exercise, expect, number, require
from nasedu.supernet.batchnorm import recalibrate, recalibrated

Split = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]
ENDLESS = "a rule under which channels never meet needs an answer, too: when a table comes back, return infinity"


def _pair(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return np.delete(x, [0, 2], 0), x[[0, 2]]


RULES: tuple[tuple[str, Split, int, float, str], ...] = (
    ("works on all", lambda x: (x[:0], x), 8, 1, "where the main branch reads all channels, all have met after 1 unit"),
    ("odd ones pass", lambda x: (x[1::2], x[0::2]), 8, 7, "all must depend on all, channels that passed as well"),
    ("odd ones pass", lambda x: (x[1::2], x[0::2]), 16, 9, "the number must be that of your argument `channels`"),
    ("works on the ends", lambda x: (x[1:-1], x[[0, -1]]), 16, 29, "a slow rule takes more units than channels"),
    (
        "works on rows 0 and 2",
        _pair,
        32,
        257,
        "some rules take hundreds of units: only a table that returns proves inf",
    ),
    ("halves change places", lambda x: (x[4:], x[:4]), 8, math.inf, "all are worked on, but the halves never meet"),
    ("SPOS", lambda x: (x[0::2], x[1::2]), 8, math.inf, "channel 0 passes every unit: it meets no other one"),
)


@exercise("03.1", "units until all channels have met")
def check_meet(units_until_met: Callable[[Split, int], float]) -> None:
    """`units_until_met(split, channels)`: after how many units every channel depends on every input, or inf."""
    for name, split, channels, want, why in RULES:
        got = number(units_until_met(_at_most(500, split), channels))
        require(got == want, f'units under the rule "{name}" with {channels} channels: {want:g}, not {got:g}: {why}')


def _at_most(calls: int, split: Split) -> Split:
    """The rule for an answer that could ask it for ever."""
    left = iter(range(calls))

    def watched(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        require(next(left, None) is not None, ENDLESS)
        return split(x)

    return watched


@exercise("03.2", "a rule that leaves no channel behind")
def check_rule(split: Split) -> None:
    """`split(x)`: half of the rows pass, half are worked on, and all have met after 5 units at most."""
    for n in (8, 12, 16, 64, 320):
        rows = np.arange(n, 2 * n)[:, None]  # numbers that are no places, and the same in another order
        (passed, worked), again = split(rows.copy()), split(rows[::-1].copy())
        places = np.concatenate([passed, worked]).flatten() - n
        require(len(passed) == len(worked), f"half must pass: {len(passed)} of {n} do, and {len(worked)} are worked on")
        every = sorted(places.tolist()) == list(range(n))
        require(every, f"every one of {n} rows, not its place, must pass or be worked on, and none of them twice")
        require(
            (places == 2 * n - 1 - np.concatenate(again).flatten()).all(),
            "a rule is the same in every unit: it must draw nothing anew and look at no values",
        )
        depends = np.eye(n, dtype=bool)
        for _ in range(5):
            depends = depends[places]
            depends[n // 2 :] = depends[n // 2 :].any(0)
        met = int(depends.all(1).sum())
        require(met == n, f"after 5 units only {met} of {n} channels depend on all: which ones wait for long?")


@exercise("03.3", "statistics over batches")
def check_update(update: Callable[[Tensor, Tensor, int], Tensor]) -> None:
    """`update(running, batch, seen)`: the mean (C,) over `seen` earlier batches and this one (B, C, H, W)."""
    generator = torch.Generator().manual_seed(0)
    batches = torch.randn(5, 4, 3, 2, 2, generator=generator) + torch.arange(5.0)[:, None, None, None, None]
    first = update(torch.full((3,), 100.0), batches[0], 0)
    require(isinstance(first, Tensor) and first.shape == (3,), "a mean per channel is needed: average over B, H and W")
    replaced = "the first batch must replace what was there: nothing of the old statistics may be left"
    expect(first, batches[0].mean((0, 2, 3)), replaced)
    expect(update(first, batches[1], 1), batches[:2].mean((0, 1, 3, 4)), "after two batches the mean must be half-way")
    forth, back = (_run(update, order) for order in (batches, batches.flip(0)))
    expect(forth, back, "the order of the batches must not matter: the new one weighs 1 / (seen + 1), no momentum")
    expect(forth, batches.mean((0, 1, 3, 4)), "every batch must weigh the same: 1 / (seen + 1) for the new one")


def _run(update: Callable, batches: Tensor) -> Tensor:
    return reduce(lambda running, new: update(running, new[1], new[0]), enumerate(batches), torch.zeros(3))


SOUND = ("copies", "puts back")
FAULTS = {
    "stale": "tests with the statistics that the supernet came with",
    "momentum": "moves the old statistics a little and does not reset them",
    "first": "recalibrates for the first architecture that it saw, whichever it is asked about",
    "peek": "recalibrates on the test images as well",
    "some": "leaves out the last training batch",
    "batch": "tests in training mode, where BN uses the test batch's own statistics",
    "left": "leaves the tested network's statistics in the supernet",
    "spread": "leaves a running variance in the supernet",
    "weights": "leaves other weights in the supernet",
    "mode": "leaves the supernet in training mode",
    "part": "leaves the supernet's BN in training mode",
}


class _Net(nn.Module):
    """Two operations whose outputs differ in mean and spread, and one BN that both share."""

    def __init__(self) -> None:
        super().__init__()
        self.operations, self.norm = nn.ModuleList(nn.Conv2d(2, 3, 1) for _ in range(2)), nn.BatchNorm2d(3)
        generator = torch.Generator().manual_seed(0)
        for i, weights in enumerate(self.operations.parameters()):
            weights.data = torch.randn(weights.shape, generator=generator) + i
        self.norm.running_mean += 5

    def forward(self, images: Tensor, arch: int) -> Tensor:
        return self.norm(self.operations[arch](images)).square().mean((2, 3))


def _judge(kind: str) -> Callable:
    """A judge that is sound, or has the fault called `kind`."""
    asked: list[int] = []

    @torch.no_grad()
    def judge(net: nn.Module, arch: int, train: list[Tensor], val: Tensor) -> Tensor:
        """The outputs for `val`, judged with statistics of `train`."""
        asked.append(arch)
        if kind == "puts back":
            with recalibrated(net, train, lambda part, x: part(x, arch)):
                return net(val, arch)
        tested = net if kind == "left" else copy.deepcopy(net)
        if kind == "momentum":
            tested.train()
            for images in train:
                tested(images, arch)
        elif kind != "stale":
            path = asked[0] if kind == "first" else arch
            images = {"peek": [*train, val], "some": train[:-1]}.get(kind, train)
            recalibrate(tested, images, lambda part, x: part(x, path))
        net.train(kind == "mode").norm.train(kind in ("mode", "part"))
        for changed in {"spread": [net.norm.running_var], "weights": net.operations.parameters()}.get(kind, ()):
            changed.mul_(1.1)
        return tested.train(kind == "batch")(val, arch)

    return judge


@exercise("03.4", "an audit of a judge")
def check_audit(audit: Callable) -> None:
    """`audit(judge, net, archs, train, val)`: whether a judge of supernets recalibrates and leaves no trace."""
    generator = torch.Generator().manual_seed(1)
    train, val = [torch.randn(64, 2, 2, 2, generator=generator) for _ in range(3)], torch.ones(4, 2, 2, 2)
    for kind in SOUND:
        sound = audit(_judge(kind), _Net().eval(), (0, 1), train, val)
        require(bool(sound), f"a sound judge that {kind} was refused: allow for rounding, and ask it nothing else")
    for kind, does in FAULTS.items():
        if audit(_judge(kind), _Net().eval(), (0, 1), train, val):
            raise Violation(f"your audit accepts a judge that {does}")
