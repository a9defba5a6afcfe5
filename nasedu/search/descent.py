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
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from torch import Tensor, nn

from nasedu.errors import ParameterError, check_has, check_kind, check_name, check_number, check_whole
from nasedu.hardware.latency import fixed_threads
from nasedu.progress import Progress, silent
from nasedu.randomness import stream
from nasedu.sampling.relax import annealed, check_pair, gumbel_noise
from nasedu.search.result import SearchResult
from nasedu.spaces.base import Arch, SearchSpace
from nasedu.storage import identity, load_state, restoring, save_state
from nasedu.tables.budget import Budget
from nasedu.tables.table import LookupTable, TableStack, padded

GRADIENTS = ("relaxed", "sampled")


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
        for name in ("steps", "every", "stages"):
            check_whole(f"{name} of a descent", getattr(self, name))
        check_number("lr of a descent", self.lr, above=True)
        check_number("weight_decay of a descent", self.weight_decay)
        check_pair("temperature of a descent", self.temperature)

    def temperature_at(self, step: int) -> float:
        """The annealed temperature of a step: start * (end / start)^(stage / stages), as published."""
        return annealed(*self.temperature, step * self.stages // self.steps / self.stages)


@dataclass
class Descent(SearchResult):
    """A `SearchResult` with theta (seeds, decisions, most choices), where the descent stands.

    `best` is the most probable architecture of the seed that loses least, and `score` minus that loss. `history` has
    one record per `every` steps: step, temperature, expected costs (seeds, tables) under softmax(theta / T),
    probabilities (seeds, decisions, most choices), their loss (seeds,), and the score that its architecture has under
    the loss of the end. `costs` are by metric.
    """

    theta: Tensor = field(kw_only=True)

    def probabilities(self, temperature: float = 1.0) -> Tensor:
        """softmax(theta / T), zero where a decision has fewer choices: (seeds, decisions, most choices)."""
        return torch.softmax(self.theta / temperature + _closed(self.space), -1)

    def path(self, temperature: float = 1.0, seed: int = 0) -> list[Tensor]:
        """The probabilities of one seed as a path: one vector (n_choices,) per decision."""
        rows = self.probabilities(temperature)[seed]
        return [row[:n] for row, n in zip(rows, self.space.choices, strict=True)]

    def architectures(self) -> list[Arch]:
        """The most probable choice of every decision, for every seed."""
        return [self.space.canonical(row) for row in (self.theta + _closed(self.space)).argmax(-1).tolist()]


Refresh = Callable[[Descent, float], Sequence[LookupTable]]


def descend(
    budget: Budget,
    config: DescentConfig = DescentConfig(),
    *,
    seeds: Sequence[int] = (0,),
    refresh: Refresh | None = None,
    start: Sequence[Tensor] | None = None,
    state: str | Path | None = None,
    progress: Progress = silent,
) -> Descent:
    """Minimise a budget's loss of expected costs over theta; see the module's docstring.

        budget: its tables price theta; it may hold a target for each row.
        config: how theta descends.
        seeds: one for each row of theta. Rows of one seed see the same noise; a row is the same alone, up to rounding.
        refresh: `refresh(descent, T)` returns the tables anew every `config.every` steps; it needs a single seed.
        start: probabilities (n_choices,) of every decision, at the first temperature; None: all choices alike.
        state: a file from which a killed descent goes on; one of another descent starts afresh and says so.
        progress: told of the steps done, and of how many.

    Raises `ParameterError`, `CheckpointError`.
    """
    seeds = _checked(budget, config, seeds, refresh)
    owner = identity(budget, config, seeds, refresh, start) if state else ""
    space, budget, began = budget.space, budget.fresh(), time.perf_counter()
    theta = _logits(space, len(seeds), start, config.temperature[0])
    descent = Descent(space, (0,) * len(space.choices), -math.inf, theta=theta)
    optimizer = torch.optim.Adam([theta], lr=config.lr, weight_decay=config.weight_decay, fused=True)
    step = _resume(state, owner, descent, optimizer, budget) if state else 0
    while step < config.steps:
        temperature = config.temperature_at(step)
        if refresh:
            budget.stack.refresh(refresh(descent, temperature))
        if step:
            budget.learn(_cost_of_argmax(descent.probabilities(), budget.stack))
        descent.history.append(_record(descent, budget, step, temperature))
        noise = _noise(space, seeds, step, min(config.every, config.steps - step))
        _descend_chunk(theta, optimizer, budget, noise, config, step)
        step += len(noise)
        if state and (step == config.steps or not step % (config.every * _between(descent, refresh))):
            save_state(state, _parts(descent, optimizer, budget, step), owner)
        progress(step, config.steps)
    return _judged(descent, budget, time.perf_counter() - began)


def _judged(descent: Descent, budget: Budget, seconds: float) -> Descent:
    """The descent with its best architecture, and all scores."""
    for record in descent.history:  # under the loss as it is now: it may have learnt multipliers meanwhile
        record["score"] = _best(record["probabilities"], budget)[1]
    best, score = _best(descent.probabilities(), budget)
    costs = {table.metric: table(best) for table in budget.stack.tables}
    return replace(descent, best=best, score=score, costs=costs, seconds=seconds)


def _logits(space: SearchSpace, rows: int, start: Sequence[Tensor] | None, temperature: float) -> Tensor:
    """The first theta (rows, decisions, choices): zeros, or that of some probabilities."""
    theta = torch.zeros(rows, len(space.choices), max(space.choices))
    return theta if start is None else theta + temperature * padded(start, space).clamp_min(1e-9).log()


def _between(descent: Descent, refresh: Refresh | None) -> int:
    """How many records lie between two states: storing takes as long as the history is."""
    return 1 + len(descent.history) // 100 if refresh else 50


def _checked(budget: Budget, config: DescentConfig, seeds: Sequence[int], refresh: Refresh | None) -> list[int]:
    """The seeds. Raises `ParameterError` for what a descent cannot use."""
    check_kind("the budget of a descent", budget, Budget, "a tables.Budget")
    check_kind("config of a descent", config, DescentConfig, "a DescentConfig")
    check_has("seeds of a descent", seeds, ["__len__"], "a list of whole numbers")
    seeds = [check_whole("a seed of a descent", seed, 0) for seed in seeds]
    rows = {len(target) for _, target, _ in budget.terms if isinstance(target, Tensor) and target.ndim}
    if not seeds or rows - {1, len(seeds)}:
        raise ParameterError(f"a descent needs a seed for every row of targets, got {len(seeds)} seeds")
    if refresh and len(seeds) > 1:
        raise ParameterError("refreshed tables depend on theta: descend with one seed at a time")
    return seeds


def _descend_chunk(theta, optimizer, budget: Budget, noise: Tensor, config: DescentConfig, first: int) -> None:
    """Descend for `len(noise)` steps, the first of which is step `first`."""
    with fixed_threads(1):  # on tensors this small a second one gains a tenth, and loses all beside a busy process
        for i, draw in enumerate(noise, first):
            theta.grad = slope(theta, draw, config.temperature_at(i), budget, config.gradient)
            optimizer.step()


@torch.no_grad()
def slope(theta: Tensor, noise: Tensor, temperature: float, budget: Budget, gradient: str = "relaxed") -> Tensor:
    """The gradient of one step over theta, in closed form: (rows, decisions, most choices).

        theta: logits, (rows, decisions, most choices).
        noise: added to them, of theta's shape; -inf where a decision has fewer choices.
        temperature: divides the logits.
        budget: its loss is minimised.
        gradient: one of `GRADIENTS`; see the module's docstring.

    The expectation is bilinear in the weights of a group's decisions, and d softmax = (diag p - p p^T) / T; autograd
    gives the same numbers (tests) four times slower.
    """
    p, by_weight = (_sampled if gradient == "sampled" else _relaxed)(theta, noise, temperature, budget)
    return p * (by_weight - (p * by_weight).sum(-1, keepdim=True)) / temperature


def _relaxed(theta: Tensor, g: Tensor, temperature: float, budget: Budget) -> tuple[Tensor, Tensor]:
    """Weights p = softmax((theta + g) / T) and the gradient of their costs' loss: (rows, decisions, most choices)."""
    p = torch.softmax((theta + g) / temperature, -1)
    stack = budget.stack
    picked = _picked(p, stack)
    price = budget.gradient(stack.fixed + _product(picked) @ stack.values) @ stack.values.T
    return p, _by_weight(price, picked, stack).view_as(p)


def _sampled(theta: Tensor, g: Tensor, temperature: float, budget: Budget) -> tuple[Tensor, Tensor]:
    """Probabilities p = softmax(theta / T) and, per option, the loss of a drawn architecture that takes that option.

    Both (rows, decisions, most choices). A draw is the argmax of theta / T + g. An option is tried with the rest of
    the drawn architecture as it is, so p's slope of this is that of the expected loss over p, without bias.
    """
    stack, logits = budget.stack, theta / temperature
    logits = torch.where(g.isinf(), g, logits)
    p = (logits - logits.amax(-1, keepdim=True)).exp_()
    p /= p.sum(-1, keepdim=True)  # a softmax by hand: torch's takes four times as long over so few choices
    drawn = torch.zeros_like(p).scatter_(-1, (logits + g).argmax(-1, keepdim=True), 1.0)
    picked = _picked(drawn, stack)
    total = stack.fixed + _product(picked) @ stack.values
    # what every option's groups would cost with it: (decisions, most choices, rows, tables)
    tables = [_by_weight(values.expand(len(theta), -1), picked, stack) for values in stack.values.T]
    costs = torch.stack(tables, -1).view(*p.shape, -1)
    taken = (costs * drawn[..., None]).sum(-2, keepdim=True)
    return p, budget.value((total[:, None, None] - taken + costs).movedim(0, -2)).movedim(-1, 0)


def _picked(p: Tensor, stack: TableStack) -> list[Tensor]:
    """Per axis of the decision groups, the weight that each table entry gets from it: (rows, entries)."""
    flat = p.flatten(1)
    return [torch.addmm(offset, flat, select) for select, offset in stack.select]


def _product(factors: list[Tensor]) -> Tensor:
    """Without the multiplication by 1 that `math.prod` starts with: a step of phase 2 consists of 30 such calls."""
    return math.prod(factors[1:], start=factors[0])


def _by_weight(price: Tensor, picked: list[Tensor], stack: TableStack) -> Tensor:
    """From prices of entries (rows, entries) to prices of weights (rows, decisions * most choices)."""
    parts = [
        math.prod(picked[:axis] + picked[axis + 1 :], start=price) @ select.T
        for axis, (select, _) in enumerate(stack.select)
    ]
    return sum(parts[1:], start=parts[0])


def _noise(space: SearchSpace, seeds: Sequence[int], step: int, count: int) -> Tensor:
    """Gumbel noise (count, seeds, decisions, most choices) that depends on (seed, step) alone; -inf on padding.

    Every seed is drawn once, however often it is listed.
    """
    shape = (count, len(space.choices), max(space.choices))
    draws = {}
    for seed in dict.fromkeys(seeds):
        draws[seed] = gumbel_noise(shape, stream(seed, "theta", step)) + _closed(space)
    return torch.stack([draws[seed] for seed in seeds], 1)


def _closed(space: SearchSpace) -> Tensor:
    """0 for the choices that a decision has and -inf for the padding: (decisions, most choices)."""
    index = torch.arange(max(space.choices))
    return torch.where(index < torch.tensor(space.choices)[:, None], 0.0, -torch.inf)


@torch.no_grad()
def _record(descent: Descent, budget: Budget, step: int, temperature: float) -> dict:
    p = descent.probabilities(temperature)
    costs = budget.stack.expected(p)
    return {"step": step, "temperature": temperature, "costs": costs, "probabilities": p, "loss": budget.value(costs)}


@torch.no_grad()
def _best(probabilities: Tensor, budget: Budget) -> tuple[Arch, float]:
    """Of the rows' most probable architectures the one of the least loss, and minus that loss."""
    losses = budget.value(_cost_of_argmax(probabilities, budget.stack))
    row = int(losses.argmin())
    return budget.space.canonical(probabilities[row].argmax(-1).tolist()), -float(losses[row])


@torch.no_grad()
def _cost_of_argmax(probabilities: Tensor, stack: TableStack) -> Tensor:
    """What every row's most probable architecture costs: (rows, tables)."""
    return stack.expected(nn.functional.one_hot(probabilities.argmax(-1), probabilities.shape[-1]).float())


def _parts(descent: Descent, optimizer: torch.optim.Optimizer, budget: Budget, step: int) -> dict:
    """What a checkpoint holds; `_resume` reads it."""
    parts = {"optimizer": optimizer.state_dict(), "loss": budget.state_dict()}
    return parts | {"theta": descent.theta, "history": descent.history, "step": step}


def _resume(state: str | Path, owner: str, descent: Descent, optimizer: torch.optim.Optimizer, budget) -> int:
    saved = load_state(state, owner)
    if saved is None:
        return 0
    with restoring(state):
        descent.theta.copy_(saved["theta"])
        descent.history.extend(saved["history"])
        optimizer.load_state_dict(saved["optimizer"])
        budget.load_state_dict(saved["loss"])
        return check_whole("step", saved["step"], 0)
