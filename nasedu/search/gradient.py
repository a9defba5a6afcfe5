"""Descent on architecture parameters over the expectation of lookup tables.

theta holds one logit per choice of every decision. A step draws p = softmax((theta + Gumbel noise) / T), prices p with
all tables at once and moves theta down the gradient of a loss of those prices. Several seeds descend side by side: they
are the leading dimension of one tensor.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor

from nasedu.errors import ParameterError
from nasedu.hardware.table import LookupTable, TableStack
from nasedu.sampling import annealed, gumbel_noise
from nasedu.spaces.base import Arch, SearchSpace
from nasedu.storage import content_hash, load_state, save_state


class CostLoss(Protocol):
    """A loss of expected costs (..., tables): its value (...) and its gradient (..., tables)."""

    def value(self, costs: Tensor) -> Tensor: ...

    def gradient(self, costs: Tensor) -> Tensor: ...


@dataclass(frozen=True)
class DescentConfig:
    """How theta descends; the defaults are WZDNAS's. `every` is the number of steps between records and refreshes."""

    steps: int = 115_200
    every: int = 50
    temperature: tuple[float, float] = (5.0, 0.1)
    stages: int = 40  # the temperature is constant within each of so many equal stages
    lr: float = 0.005
    weight_decay: float = 5e-4

    def __post_init__(self):
        if min(self.steps, self.every, self.stages) < 1:
            raise ParameterError(
                f"a descent needs at least 1 step, 1 stage and 1 step between refreshes, "
                f"got {self.steps}, {self.stages} and {self.every}"
            )
        if self.lr <= 0 or min(self.temperature) <= 0:
            raise ParameterError(f"lr and temperatures must be positive, got {self.lr} and {self.temperature}")

    def temperature_at(self, step: int) -> float:
        """The annealed temperature of a step: start * (end / start)^(stage / stages), as published."""
        return annealed(*self.temperature, step * self.stages // self.steps / self.stages)


@dataclass
class Descent:
    """The state of a descent: theta (seeds, decisions, most choices) and the record of what happened.

    `history` has one record per `every` steps: step, temperature, expected costs (seeds, tables) under
    softmax(theta / T), probabilities (seeds, decisions, most choices) and loss (seeds,).
    """

    space: SearchSpace
    theta: Tensor
    history: list[dict]

    def probabilities(self, temperature: float = 1.0) -> Tensor:
        """softmax(theta / T), zero where a decision has fewer choices: (seeds, decisions, most choices)."""
        return torch.softmax(self.theta / temperature + _closed(self.space), -1)

    def path(self, temperature: float = 1.0, seed: int = 0) -> list[Tensor]:
        """The probabilities of one seed as a path: one vector (n_choices,) per decision."""
        rows = self.probabilities(temperature)[seed]
        return [row[:n] for row, n in zip(rows, self.space.choices, strict=True)]

    def architectures(self) -> list[Arch]:
        """The most probable choice of every decision, for every seed."""
        return [tuple(row) for row in (self.theta + _closed(self.space)).argmax(-1).tolist()]


Refresh = Callable[[Descent, float], Sequence[LookupTable]]


def descend(
    tables: Sequence[LookupTable],
    loss: CostLoss,
    config: DescentConfig = DescentConfig(),
    *,
    seeds: Sequence[int] = (0,),
    refresh: Refresh | None = None,
    state: str | Path | None = None,
    run: str = "",
    progress: Callable[[int], None] = lambda step: None,
) -> Descent:
    """Minimise loss(expected costs of `tables`) over theta; see the module's docstring.

    `refresh(descent, T)` returns the tables anew every `config.every` steps (zero-cost maps depend on theta); it needs
    a single seed. `state` is a file from which a killed descent goes on; `run` names what it belongs to. A seed gives
    the same theta alone and beside others. Raises `ParameterError`, `CheckpointError`.
    """
    if refresh and len(seeds) > 1:
        raise ParameterError("refreshed tables depend on theta: descend with one seed at a time")
    space = tables[0].space
    descent = Descent(space, torch.zeros(len(seeds), len(space.choices), max(space.choices)), [])
    optimizer = torch.optim.Adam([descent.theta], lr=config.lr, weight_decay=config.weight_decay, fused=True)
    run = content_hash([run, space.fingerprint, vars(config), list(seeds)])
    step = _resume(state, run, descent, optimizer) if state else 0
    while step < config.steps:
        temperature = config.temperature_at(step)
        if refresh:
            tables = refresh(descent, temperature)
        stack = TableStack(tables)
        descent.history.append(_record(descent, stack, loss, step, temperature))
        count = min(config.every, config.steps - step)
        _descend_chunk(descent.theta, optimizer, stack, loss, _noise(space, seeds, step, count), config, step)
        step += count
        if state and (refresh or step % (50 * config.every) == 0 or step == config.steps):
            saved = {"theta": descent.theta, "optimizer": optimizer.state_dict(), "history": descent.history}
            save_state(state, saved | {"step": step}, run)
        progress(count)
    return descent


@torch.no_grad()
def _descend_chunk(theta, optimizer, stack: TableStack, loss: CostLoss, noise: Tensor, config, first: int) -> None:
    """Descend for `len(noise)` steps of one temperature stage each, with the gradient in closed form.

    The expectation is bilinear in the weights of a group's decisions, and d softmax = (diag p - p p^T) / T; autograd
    gives the same numbers (tests) four times slower.
    """
    selects = [select for select, _ in stack.select]
    for i, g in enumerate(noise):
        temperature = config.temperature_at(first + i)
        p = torch.softmax((theta + g) / temperature, -1)
        flat = p.flatten(1)
        picked = [flat @ select + offset for select, offset in stack.select]
        price = loss.gradient(stack.fixed + math.prod(picked) @ stack.values) @ stack.values.T
        by_weight = sum(
            math.prod(picked[:axis] + picked[axis + 1 :], start=price) @ select.T for axis, select in enumerate(selects)
        )
        by_weight = by_weight.view_as(p)
        theta.grad = p * (by_weight - (p * by_weight).sum(-1, keepdim=True)) / temperature
        optimizer.step()


def _noise(space: SearchSpace, seeds: Sequence[int], step: int, count: int) -> Tensor:
    """Gumbel noise (count, seeds, decisions, most choices) that depends on (seed, step) alone; -inf on padding."""
    shape = (count, len(space.choices), max(space.choices))
    draws = []
    for seed in seeds:
        generator = torch.Generator().manual_seed(int(content_hash([int(seed), step]), 16) % 2**63)
        draws.append(gumbel_noise(shape, generator))
    return torch.stack(draws, 1) + _closed(space)


def _closed(space: SearchSpace) -> Tensor:
    """0 for the choices that a decision has and -inf for the padding: (decisions, most choices)."""
    index = torch.arange(max(space.choices))
    return torch.where(index < torch.tensor(space.choices)[:, None], 0.0, -torch.inf)


@torch.no_grad()
def _record(descent: Descent, stack: TableStack, loss: CostLoss, step: int, temperature: float) -> dict:
    p = descent.probabilities(temperature)
    costs = stack.expected(p)
    return {"step": step, "temperature": temperature, "costs": costs, "probabilities": p, "loss": loss.value(costs)}


def _resume(state: str | Path, run: str, descent: Descent, optimizer: torch.optim.Optimizer) -> int:
    saved = load_state(state, run)
    if saved is None:
        return 0
    descent.theta.copy_(saved["theta"])
    descent.history.extend(saved["history"])
    optimizer.load_state_dict(saved["optimizer"])
    return saved["step"]
