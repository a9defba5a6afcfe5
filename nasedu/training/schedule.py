"""The learning rate and the momentum in the course of a training: kinds of decay by name, after a warm-up.

A kind maps how much of the training is done, and how many epochs, to a factor of the rate. Those of Zen-NAS's public
training are "cosine", "linear" and "step" (its `stagedecay`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Protocol

from nasedu.errors import ParameterError, brief, check_kind, check_name, check_whole
from nasedu.registry import Registry


def cosine(done: float, final: float) -> float:
    """Half a cosine from 1 down to `final` (Loshchilov and Hutter 2017, eq. 5, without restarts)."""
    return (1 + math.cos(math.pi * done)) / 2 * (1 - final) + final


def linear(done: float, final: float) -> float:
    """A straight line from 1 down to `final`."""
    return 1 - done * (1 - final)


DECAYS: Registry = Registry("decay", {"cosine": cosine, "linear": linear, "step": None})


class Falling(Protocol):
    """What the rates are told of a training's settings."""

    epochs: int
    lr: float
    decay: str
    final_lr: float
    milestones: Sequence[int]
    factor: float
    decay_steps: int
    momentum: float
    warmup_steps: int
    warmup_bias_lr: float
    warmup_momentum: float


def check_milestones(decay: str, milestones: Sequence[int]) -> None:
    """Raise `UnknownName`, `ParameterError` unless there is such a decay, and milestones where it needs them."""
    check_name("decay", decay, DECAYS)
    check_kind("milestones", milestones, (tuple, list), "a list of epochs")
    if (decay == "step") != bool(milestones):
        raise ParameterError(f"decay {decay!r} with milestones {brief(milestones)}: these are for 'step'")
    if list(milestones) != sorted(check_whole("a milestone", epoch) for epoch in milestones):
        raise ParameterError(f"milestones must be epochs in rising order, got {brief(milestones)}")


def schedule(config: Falling, step: int, epoch: int) -> tuple[float, float, float]:
    """(learning rate, learning rate of biases, momentum) at a step.

    What the decay leaves of lr, times a linear warm-up from 0 over `warmup_steps`; biases come down from
    `warmup_bias_lr` instead, and momentum up from `warmup_momentum`. The decay starts with the first epoch and moves
    once an epoch (Scaled-YOLOv4's public training), or with each batch from the end of the warm-up until `decay_steps`
    (Zen-NAS's).

    config: the settings.
    step: from 0, over the batches of all epochs.
    epoch: from 0.
    """
    done = epoch / max(config.epochs, 1)
    if config.decay_steps:
        done = max(0, step - config.warmup_steps) / max(1, config.decay_steps - config.warmup_steps)
    passed = sum(milestone <= epoch for milestone in config.milestones)
    smooth: Callable[[float, float], float] | None = DECAYS[config.decay]
    left = smooth(min(1.0, done), config.final_lr) if smooth else config.factor**passed
    lr = config.lr * left
    ramp = min(1.0, step / config.warmup_steps) if config.warmup_steps else 1.0
    bias = config.warmup_bias_lr + ramp * (lr - config.warmup_bias_lr)
    return ramp * lr, bias, config.warmup_momentum + ramp * (config.momentum - config.warmup_momentum)
