"""Relaxations of the choice at every decision: from logits to weights, shape (..., n_choices)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from nasedu.errors import ParameterError, brief, check_number


def uniform_logits(choices: Sequence[int]) -> list[Tensor]:
    """Zero logits, one vector (n_choices,) per decision: every choice equally likely."""
    return [torch.zeros(n) for n in choices]


def check_pair(name: str, pair: object) -> None:
    """Raise `ParameterError` unless it is a pair of temperatures, the first and the last, both above 0.

    name: what the message calls it.
    pair: what was given.
    """
    if not isinstance(pair, tuple | list) or len(pair) != 2:
        raise ParameterError(f"{name} must be a pair, the first and the last, got {brief(pair)}")
    for value in pair:
        check_number(name, value, above=True)


def softmax(logits: Sequence[Tensor], temperature: float = 1.0) -> list[Tensor]:
    """softmax(logits / T) per decision (DARTS, eq. 2). Raises `ParameterError` for T <= 0."""
    check_number("the temperature", temperature, above=True)
    return [torch.softmax(a / temperature, -1) for a in logits]


def gumbel_noise(shape: Sequence[int], generator: torch.Generator) -> Tensor:
    """Standard Gumbel noise g = -log E with E ~ Exponential(1), on the CPU so that every device sees the same."""
    return -torch.empty(tuple(shape)).exponential_(generator=generator).clamp_min_(1e-20).log()


def gumbel_softmax(logits: Sequence[Tensor], temperature: float, generator: torch.Generator) -> list[Tensor]:
    """softmax((logits + Gumbel noise) / T) per decision (Jang et al. 2017, eq. 2; FBNet, eq. 8).

    logits: (..., n_choices) per decision.
    temperature: T; raises `ParameterError` for T <= 0.
    generator: draws the noise.
    """
    check_number("the temperature", temperature, above=True)
    return [torch.softmax((a + gumbel_noise(a.shape, generator).to(a)) / temperature, -1) for a in logits]


def one_hot(arch: Sequence[int], choices: Sequence[int]) -> list[Tensor]:
    """An architecture as weights: a one-hot vector (n_choices,) per decision."""
    return [torch.nn.functional.one_hot(torch.tensor(i), n).float() for i, n in zip(arch, choices, strict=True)]


def annealed(start: float, end: float, fraction: float) -> float:
    """Temperature start * (end / start)^fraction: an exponential.

    start: at fraction 0.
    end: at fraction 1.
    fraction: of the training or search.
    """
    return start * (end / start) ** fraction
