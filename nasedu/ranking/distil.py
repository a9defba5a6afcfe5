"""Ranking distillation: a supernet's losses learn the order that a prior gives to its networks (RD-NAS).

Two networks train on one batch. Where the prior thinks better of the one whose loss is higher, the pair is discordant,
and a penalty pulls the losses into the prior's order. It teaches the supernet the prior, whatever that is worth: judge
it by the truth *given* the prior (`ranking.partial`), or MACs will seem to know accuracy.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field, replace
from typing import Self

import torch
from torch import Tensor
from torch.nn import functional as F

from nasedu.errors import check_has, check_name, check_number
from nasedu.registry import Registry
from nasedu.spaces.base import Arch

DETACH = ("none", "worse", "first")
TIES = ("skip", "first")

# Of d, the loss of the network that should be better less the other's, and w > 0, by how much the prior prefers it.
# Every one but `tanh_product` is 0, or nearly, where d is far below 0 (LandmarkReg's and RD-NAS's public code). Those
# that weigh by w need a prior of about the losses' size: a gap of a million MACs makes "weighted_hinge" a million times
# as steep, and "sigmoid" flat.
LOSSES: Registry = Registry(
    "ranking loss",
    {
        "hinge": lambda d, w: F.relu(d),
        "tanh": lambda d, w: F.relu(torch.tanh(d)),
        "logistic": lambda d, w: F.softplus(d),
        "softplus": lambda d, w: F.softplus(d, beta=5.0),
        "focal": lambda d, w: torch.sigmoid(d) ** 5 * F.softplus(d),
        "weighted_hinge": lambda d, w: F.relu(d * w),
        "weighted_tanh": lambda d, w: F.relu(torch.tanh(d) * torch.tanh(w)),
        "tanh_product": lambda d, w: torch.tanh(d) * torch.tanh(w),
        "sigmoid": lambda d, w: F.relu(0.5 - torch.sigmoid(-d / w.clamp_min(1e-30))),
    },
)


def _stages(fraction: float) -> float:
    """0 until 5 of 70 epochs, then up to 20, full until 50, and down to 0 at the end."""
    epoch = 70 * fraction
    return min(max((epoch - 5) / 15, 0.0), 1.0, max((70 - epoch) / 20, 0.0))


# How the weight follows the training, at most 1; those of the public code, whose trainings have 70 epochs
SCHEDULES: Registry = Registry(
    "schedule",
    {
        "constant": lambda fraction: 1.0,
        "linear": lambda fraction: min(1.0, 3.5 * fraction),  # 2 from epoch 20 on
        "sine": lambda fraction: float(torch.sin(torch.tensor(0.8 * torch.pi * fraction))),
        "stages": _stages,
    },
)


@dataclass(frozen=True)
class Cached:
    """An evaluator that scores each architecture once: a prior is asked at every step.

    It is known by the evaluator alone: what it has kept changes no result.
    """

    evaluate: Callable[[Arch], float]
    known: dict[Hashable, float] = field(default_factory=dict, compare=False, repr=False)

    @property
    def identity(self) -> list:
        """What a stored state compares."""
        return [type(self), self.evaluate]

    def __call__(self, arch: Arch) -> float:
        if (score := self.known.get(arch)) is None:
            score = self.known[arch] = float(self.evaluate(arch))
        return score


@dataclass(frozen=True)
class RankingLoss:
    """What a pair of networks adds to a step: the weight times a penalty of losses that disagree with the prior.

    Args:
        prior: an evaluator, higher is better, such as a table of MACs or a `search.ZeroCost`; asked once per network.
        loss: of `LOSSES`; "hinge" is the paper's, max(0, margin + L_better - L_worse).
        weight: lambda, the most that the penalty is multiplied by.
        schedule: of `SCHEDULES`, from the share of the training to that of the weight.
        margin: by how much the better network's loss should be below the other's.
        detach: whose loss gets no gradient: "none"; that of the "worse" network, which then never learns to be bad; or
            that of the "first" of the pair, as in the public code, where the second network's loss is *raised* if it is
            the worse one.
        ties: "skip" pairs that the prior does not tell apart, or let the "first" win, as in the public code. Pairs for
            which the prior failed are always skipped.
        labels: whether both networks' own losses are minimised, too; in the public ResNet48 step they are not.

    Raises `UnknownName`, `ParameterError`.
    """

    prior: Callable[[Arch], float]
    loss: str = "hinge"
    weight: float = 2.0
    schedule: str = "constant"
    margin: float = 0.0
    detach: str = "none"
    ties: str = "skip"
    labels: bool = True
    fraction: float = field(default=0.0, kw_only=True)

    def __post_init__(self):
        check_name("ranking loss", self.loss, LOSSES)
        check_name("schedule", self.schedule, SCHEDULES)
        check_name("detach", self.detach, DETACH)
        check_name("ties", self.ties, TIES)
        check_number("weight", self.weight)
        check_number("margin", self.margin)
        check_number("fraction, of the training,", self.fraction, most=1)
        check_has("the prior of a ranking loss", self.prior, ["__call__"], "an evaluator, such as a lookup table")
        if not isinstance(self.prior, Cached):
            object.__setattr__(self, "prior", Cached(self.prior))

    def at(self, fraction: float) -> Self:
        """The loss for a share of a training, from 0 to 1."""
        return replace(self, fraction=fraction)

    def __call__(self, first: Tensor, second: Tensor, archs: tuple[Arch, Arch]) -> Tensor:
        """The penalty of the losses of two networks, times the weight of now: a scalar, 0 where they agree.

        first: the loss of one.
        second: the loss of the other, on the same batch.
        archs: both architectures.
        """
        gap = self.prior(archs[0]) - self.prior(archs[1])
        if (gap == 0 and self.ties == "skip") or not math.isfinite(gap):  # the prior may have failed with -inf
            return 0.0 * (first + second)
        better, worse = (first, second) if gap >= 0 else (second, first)
        if self.detach == "worse":
            worse = worse.detach()
        elif self.detach == "first":
            better, worse = (better.detach(), worse) if gap >= 0 else (better, worse.detach())
        penalty = LOSSES[self.loss](better - worse + self.margin, abs(torch.tensor(gap, dtype=first.dtype)))
        return self.weight * SCHEDULES[self.schedule](self.fraction) * penalty
