"""Descent on architecture parameters over the expectation of lookup tables.

theta holds one logit per choice of every decision. A step draws p = softmax((theta + Gumbel noise) / T), prices p with
all tables at once and moves theta down the gradient of a loss of those prices. Several seeds descend side by side: they
are the leading dimension of one tensor.

That is the published, *relaxed* gradient: of the loss of a mixture's cost. A mixture can sit on a budget that none of
its architectures meets. The *sampled* gradient is of the expected loss of architectures: a step draws one from
softmax(theta / T) and asks for every option what the loss would be, were that option in its place. Where a loss is
linear in the costs the two have the same expectation.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from nasedu.errors import ParameterError, check_name
from nasedu.hardware.latency import fixed_threads
from nasedu.progress import Progress, silent
from nasedu.sampling import annealed, gumbel_noise
from nasedu.spaces.base import Arch, SearchSpace
from nasedu.storage import content_hash, identity, load_state, save_state
from nasedu.tables.stack import same_space
from nasedu.tables.table import LookupTable, TableStack

GRADIENTS = ("relaxed", "sampled")


class CostLoss(Protocol):
    """A loss of expected costs (..., rows, tables): its value (..., rows) and its gradient (..., rows, tables)."""

    def value(self, costs: Tensor) -> Tensor:
        """The loss of costs (..., rows, tables): (..., rows)."""

    def gradient(self, costs: Tensor) -> Tensor:
        """d loss / d costs: (..., rows, tables)."""


@runtime_checkable
class LearningLoss(CostLoss, Protocol):
    """A `CostLoss` that learns: every `DescentConfig.every` steps it sees the most probable architectures' costs.

    `fresh()` is a copy that has learnt nothing; its state is part of a descent's, and `identity` tells it from others.
    """

    identity: list

    def update(self, costs: Tensor) -> None:
        """Learn from what the most probable architectures cost: (rows, tables)."""

    def fresh(self) -> LearningLoss:
        """A copy that has learnt nothing."""

    def state_dict(self) -> dict:
        """What was learnt."""

    def load_state_dict(self, state: dict) -> None:
        """Go on from `state_dict()`."""


@dataclass(frozen=True)
class DescentConfig:
    """How theta descends; the defaults are WZDNAS's. `every` is the number of steps between records and refreshes."""

    steps: int = 115_200
    every: int = 50
    temperature: tuple[float, float] = (5.0, 0.1)
    stages: int = 40  # the temperature is constant within each of so many equal stages
    lr: float = 0.005
    weight_decay: float = 5e-4
    gradient: str = "relaxed"  # or "sampled": see the module's docstring

    def __post_init__(self):
        check_name("gradient of a descent", self.gradient, GRADIENTS)
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
    progress: Progress = silent,
) -> Descent:
    """Minimise loss(expected costs of `tables`) over theta; see the module's docstring.

    `seeds` has one entry per row of theta. Rows of one seed see the same noise, and differ where `loss` does: it gets
    the costs (rows, tables) and may hold a target for each row. A `LearningLoss` learns on a copy.
    `refresh(descent, T)` returns the tables anew every `config.every` steps (zero-cost maps depend on theta); it needs
    a single seed. `state` is a file from which a killed descent goes on; for another one it starts afresh and says so.
    `progress(done, total)` hears of steps. A seed gives the same theta alone and beside others, up to rounding.
    Raises `ParameterError`, `CheckpointError`, and `TableError` for tables of several spaces.
    """
    if refresh and len(seeds) > 1:
        raise ParameterError("refreshed tables depend on theta: descend with one seed at a time")
    space = tables[0].space
    loss = loss.fresh() if isinstance(loss, LearningLoss) else loss
    learning = loss if isinstance(loss, LearningLoss) else None
    descent = Descent(space, torch.zeros(len(seeds), len(space.choices), max(space.choices)), [])
    optimizer = torch.optim.Adam([descent.theta], lr=config.lr, weight_decay=config.weight_decay, fused=True)
    owner = identity(tables, loss, config, [int(seed) for seed in seeds], refresh) if state else ""
    step = _resume(state, owner, descent, optimizer, learning) if state else 0
    while step < config.steps:
        temperature = config.temperature_at(step)
        if refresh:
            tables = refresh(descent, temperature)
            same_space(tables, space)
        stack = TableStack(tables)
        if step and learning:
            learning.update(_cost_of_argmax(descent, stack))
        descent.history.append(_record(descent, stack, loss, step, temperature))
        count = min(config.every, config.steps - step)
        with fixed_threads(1):  # on tensors this small a second one gains a tenth, and loses all beside a busy process
            _descend_chunk(descent.theta, optimizer, stack, loss, _noise(space, seeds, step, count), config, step)
        step += count
        if state and (refresh or step % (50 * config.every) == 0 or step == config.steps):
            saved = {"theta": descent.theta, "optimizer": optimizer.state_dict(), "history": descent.history}
            learnt = learning.state_dict() if learning else {}
            save_state(state, saved | {"step": step, "loss": learnt}, owner)
        progress(step, config.steps)
    return descent


@torch.no_grad()
def _descend_chunk(theta, optimizer, stack: TableStack, loss: CostLoss, noise: Tensor, config, first: int) -> None:
    """Descend for `len(noise)` steps of one temperature stage each, with the gradient in closed form.

    The expectation is bilinear in the weights of a group's decisions, and d softmax = (diag p - p p^T) / T; autograd
    gives the same numbers (tests) four times slower.
    """
    step = _sampled if config.gradient == "sampled" else _relaxed
    for i, g in enumerate(noise):
        temperature = config.temperature_at(first + i)
        p, by_weight = step(theta, g, temperature, stack, loss)
        theta.grad = p * (by_weight - (p * by_weight).sum(-1, keepdim=True)) / temperature
        optimizer.step()


def _relaxed(theta: Tensor, g: Tensor, temperature: float, stack: TableStack, loss: CostLoss) -> tuple[Tensor, Tensor]:
    """Weights p = softmax((theta + g) / T) and the gradient of their costs' loss: (rows, decisions, most choices)."""
    p = torch.softmax((theta + g) / temperature, -1)
    picked = _picked(p, stack)
    price = loss.gradient(stack.fixed + math.prod(picked) @ stack.values) @ stack.values.T
    return p, _by_weight(price, picked, stack).view_as(p)


def _sampled(theta: Tensor, g: Tensor, temperature: float, stack: TableStack, loss: CostLoss) -> tuple[Tensor, Tensor]:
    """Probabilities p = softmax(theta / T) and, per option, the loss of a drawn architecture that takes that option.

    Both (rows, decisions, most choices). A draw is the argmax of theta / T + g. An option is tried with the rest of
    the drawn architecture as it is, so p's slope of this is that of the expected loss over p, without bias.
    """
    logits = theta / temperature
    p = torch.where(g.isinf(), g, logits - logits.amax(-1, keepdim=True)).exp_()
    p /= p.sum(-1, keepdim=True)  # a softmax by hand: torch's takes four times as long over so few choices
    drawn = torch.zeros_like(p).scatter_(-1, (logits + g).argmax(-1, keepdim=True), 1.0)
    picked = _picked(drawn, stack)
    taken = math.prod(picked).nonzero()[:, 1].view(len(theta), -1)  # the entry drawn in every group
    own = stack.values[taken].transpose(0, 1)
    rest = stack.fixed + own.sum(0) - own
    price = loss.value(rest[_group_of_entry(stack)] + stack.values[:, None]).T
    return p, _by_weight(price, picked, stack).view_as(p)


def _picked(p: Tensor, stack: TableStack) -> list[Tensor]:
    """Per axis of the decision groups, the weight that each table entry gets from it: (rows, entries)."""
    flat = p.flatten(1)
    return [flat @ select + offset for select, offset in stack.select]


def _group_of_entry(stack: TableStack) -> Tensor:
    """The index of the decision group that every entry belongs to: (entries,)."""
    space = stack.space
    sizes = [math.prod(space.choices[d] for d in group) for group in space.groups]
    return torch.repeat_interleave(torch.arange(len(sizes)), torch.tensor(sizes))


def _by_weight(price: Tensor, picked: list[Tensor], stack: TableStack) -> Tensor:
    """From prices of entries (rows, entries) to prices of weights (rows, decisions * most choices)."""
    selects = [select for select, _ in stack.select]
    return sum(
        math.prod(picked[:axis] + picked[axis + 1 :], start=price) @ select.T for axis, select in enumerate(selects)
    )


def _noise(space: SearchSpace, seeds: Sequence[int], step: int, count: int) -> Tensor:
    """Gumbel noise (count, seeds, decisions, most choices) that depends on (seed, step) alone; -inf on padding.

    Every seed is drawn once, however often it is listed.
    """
    shape = (count, len(space.choices), max(space.choices))
    draws = {}
    for seed in dict.fromkeys(seeds):
        generator = torch.Generator().manual_seed(int(content_hash([int(seed), step]), 16) % 2**63)
        draws[seed] = gumbel_noise(shape, generator) + _closed(space)
    return torch.stack([draws[seed] for seed in seeds], 1)


def _closed(space: SearchSpace) -> Tensor:
    """0 for the choices that a decision has and -inf for the padding: (decisions, most choices)."""
    index = torch.arange(max(space.choices))
    return torch.where(index < torch.tensor(space.choices)[:, None], 0.0, -torch.inf)


@torch.no_grad()
def _record(descent: Descent, stack: TableStack, loss: CostLoss, step: int, temperature: float) -> dict:
    p = descent.probabilities(temperature)
    costs = stack.expected(p)
    return {"step": step, "temperature": temperature, "costs": costs, "probabilities": p, "loss": loss.value(costs)}


@torch.no_grad()
def _cost_of_argmax(descent: Descent, stack: TableStack) -> Tensor:
    """What every row's most probable architecture costs: (rows, tables)."""
    choices = max(descent.space.choices)
    return stack.expected(nn.functional.one_hot(torch.tensor(descent.architectures()), choices).float())


def _resume(state: str | Path, owner: str, descent: Descent, optimizer: torch.optim.Optimizer, learning) -> int:
    saved = load_state(state, owner)
    if saved is None:
        return 0
    descent.theta.copy_(saved["theta"])
    descent.history.extend(saved["history"])
    optimizer.load_state_dict(saved["optimizer"])
    if learning:
        learning.load_state_dict(saved["loss"])
    return saved["step"]
