"""How the learning rate falls in the course of a training: kinds of decay by name.

A kind maps how much of the training is done, and how many epochs, to a factor of the rate. Those of Zen-NAS's public
training are "cosine", "linear" and "step" (its `stagedecay`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from nasedu.registry import Registry


def cosine(done: float, final: float) -> float:
    """Half a cosine from 1 down to `final` (Loshchilov and Hutter 2017, eq. 5, without restarts)."""
    return (1 + math.cos(math.pi * done)) / 2 * (1 - final) + final


def linear(done: float, final: float) -> float:
    """A straight line from 1 down to `final`."""
    return 1 - done * (1 - final)


DECAYS: Registry = Registry("decay", {"cosine": cosine, "linear": linear, "step": None})


def decayed(kind: str, done: float, final: float, passed: Sequence[int], factor: float) -> float:
    """What remains of the learning rate.

    kind: one of `DECAYS`.
    done: the share of the training that is done, 0 to 1.
    final: what "cosine" and "linear" end at.
    passed: the milestones that lie behind.
    factor: of "step": what each of them leaves.
    """
    smooth: Callable[[float, float], float] | None = DECAYS[kind]
    return smooth(min(1.0, done), final) if smooth else factor ** len(passed)
