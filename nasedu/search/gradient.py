"""Gradient search: weights descend on one half of the training data, architecture parameters on the other.

DARTS (Liu et al., ICLR 2019) with any relaxation of the choice, which are samplers: its own softmax, FBNet's annealed
Gumbel softmax, or ProxylessNAS's binary gates. Weights and logits take turns, step by step, within the one training
loop.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from torch import Tensor, nn

from nasedu import processes
from nasedu.classification import recipe
from nasedu.errors import (
    ParameterError,
    TrainingDiverged,
    brief,
    check_has,
    check_kind,
    check_name,
    check_number,
    check_whole,
)
from nasedu.modules import placed
from nasedu.progress import Progress, silent
from nasedu.sampling import Gates, Gumbel, Sampler, Softmax, renormalise, softmax
from nasedu.sampling.relax import check_pair
from nasedu.sampling.step import check_task
from nasedu.search.evaluators import SupernetScore
from nasedu.search.result import SearchResult
from nasedu.spaces.base import Arch, Network, SearchSpace, check_decided
from nasedu.spaces.base import Path as SoftPath
from nasedu.tables.budget import Budget
from nasedu.tables.table import same_space
from nasedu.task import Batch, Task, named
from nasedu.training import TrainingConfig, train

Hook = Callable[[Tensor, SoftPath], Tensor]  # from a task loss and a path to the loss that the logits descend on
RELAXATIONS = ("softmax", "gumbel", "gates", "two_gates")


@dataclass(frozen=True)
class GradientConfig:
    """How weights and logits descend; the optimizer of the logits is DARTS's (Adam, betas .5 and .999).

    In the first `warmup_epochs` weights alone learn. `temperature` is FBNet's, from first to last epoch after that;
    only "gumbel" uses it. `second_order` differentiates through one step of the weights; see `unrolled_loss`.
    Raises `ParameterError`, `UnknownName`.
    """

    relaxation: str = "softmax"
    epochs: int = 20
    warmup_epochs: int = 5
    arch_lr: float = 0.02
    arch_weight_decay: float = 0.0
    temperature: tuple[float, float] = (5.0, 0.5)
    second_order: bool = False
    training: TrainingConfig | None = None  # of the weights, its epochs aside; None: `classification.recipe(epochs)`
    weights: Mapping[str, Tensor] | None = field(default=None, repr=False, compare=False)  # of a supernet to go on from

    def __post_init__(self):
        check_name("relaxation", self.relaxation, RELAXATIONS)
        check_whole("epochs of a gradient search", self.epochs)
        check_whole("warmup_epochs", self.warmup_epochs, 0, self.epochs)
        check_number("arch_lr", self.arch_lr, above=True)
        check_number("arch_weight_decay", self.arch_weight_decay)
        check_pair("temperature", self.temperature)
        check_kind("second_order", self.second_order, bool, "true or false")
        if self.training is not None:
            check_kind("training", self.training, TrainingConfig, "a TrainingConfig, as classification.recipe makes")
            check_name("paths of a gradient search, whose logits all processes share,", self.of_weights.paths, ["same"])

    @property
    def of_weights(self) -> TrainingConfig:
        """The settings that the weights are trained with, for as many epochs as the search has."""
        return replace(self.training, epochs=self.epochs) if self.training else recipe(self.epochs)

    def sampler(self, logits: Sequence[Tensor], epoch: int) -> Sampler:
        """What draws the paths that the logits are trained on, in an epoch (from 0)."""
        if self.relaxation == "softmax":
            return Softmax(logits)
        if self.relaxation == "gumbel":
            steps = max(1, self.epochs - self.warmup_epochs - 1)
            return Gumbel(logits, *self.temperature, fraction=max(0, epoch - self.warmup_epochs) / steps)
        return Gates(logits, "two" if self.relaxation == "two_gates" else "full")


@dataclass
class GradientResult(SearchResult):
    """A `SearchResult` with the final probabilities as a path, (n_choices,) per decision, and the trained supernet.

    `score` is the task's, of the most probable architecture with the supernet's weights, on the half that the logits
    learnt from. `history` has one record per epoch: the losses of the weights, after the warm-up "arch_loss" of the
    logits (hardware included), probabilities, entropy (nats, mean over decisions), arch, for "gumbel" the temperature,
    for a `tables.Budget` "budget": what it had learnt, such as its multipliers, a dict per term; the last one the
    score. `costs` are what a `Budget`'s tables say.
    """

    path: list[Tensor] = field(default_factory=list)
    supernet: Network | None = None


def gradient_search(
    space: SearchSpace,
    task: Task,
    settings: GradientConfig = GradientConfig(),
    *,
    hardware: Budget | Hook | None = None,
    seed: int = 0,
    device: torch.device | str = "cpu",
    state: str | Path | None = None,
    progress: Progress = silent,
) -> GradientResult:
    """Search by descent on the training split of a task, one half for weights and one for logits.

    Raises `ParameterError`, `CheckpointError`, `TrainingDiverged`, and `TableError` for tables of another space.

        space: where to look.
        task: what for; its seed decides about the halves and the order of their batches.
        settings: how weights and logits descend.
        hardware: `hardware(loss, path)` turns the task loss of the logits into the loss that they descend on: a
            `tables.Budget`, or a function of your own. `path` has the weights (n_choices,) per decision that the
            forward pass uses (for gates, the probabilities). Where its losses learn, they do so on a copy, from the
            most probable architecture after every step.
        seed: of the supernet's weights and of the paths.
        device: where to train.
        state: a checkpoint from which a killed search goes on.
        progress: as in `train`.
    """
    _check(space, task, settings, hardware)
    check_whole("seed", seed, 0, 2**63 - 1)
    start = time.perf_counter()
    supernet = _begun(space.supernet(seed=seed), settings.weights).to(device, memory_format=torch.channels_last)
    descent = Bilevel(space, task, settings, hardware, device)
    options = {"seed": seed, "state": state, "progress": progress}
    batches = processes.Divided(descent.batches, descent.part)
    trained = train(supernet, batches, descent.step, settings.of_weights, beside=descent, **options)
    supernet.load_state_dict(trained.ema.state_dict())
    history = [old | new for old, new in zip(trained.history, descent.history, strict=True)]
    best = descent.architecture()
    score = SupernetScore(space, supernet, task, "logits", calibrate="weights")(best)
    history[-1]["score"] = score
    prices = {table.metric: table(best) for table, _, _ in hardware.terms} if isinstance(hardware, Budget) else {}
    seconds = time.perf_counter() - start
    return GradientResult(space, best, score, history, seconds, prices, descent.probabilities(), supernet)


def _check(space: SearchSpace, task: Task, settings: GradientConfig, hardware: Budget | Hook | None) -> None:
    """Raise `ParameterError` or `TableError` for what a search cannot use."""
    check_decided("gradient_search", space)
    check_task(task)
    check_kind("settings of gradient_search", settings, GradientConfig, "a GradientConfig")
    if hardware is not None:
        check_has("hardware", hardware, ["__call__"], "a tables.Budget or a function of a loss and a path")
    if isinstance(hardware, Budget):
        same_space(hardware.tables, space)


def _begun(supernet: Network, weights: Mapping[str, Tensor] | None) -> Network:
    """The supernet, with the weights that the search goes on from, if any. Raises `ParameterError` for another's."""
    if weights is not None:
        try:
            supernet.load_state_dict(weights)
        except (RuntimeError, TypeError, AttributeError) as error:
            told = " ".join(str(error).split())
            raise ParameterError(f"weights to go on from must be a supernet's of this space: {told}") from None
    return supernet


class Bilevel:
    """Architecture parameters (n_choices,) per decision, their optimizer, and the step that both sides take in turn.

    On several processes the logits' gradients are averaged as the weights' are; of second order, each process looks
    ahead along the gradient of its own part of a batch.

    space: where to look.
    task: what for.
    config: how both sides descend.
    hardware: as in `gradient_search`.
    device: of the parameters.
    """

    def __init__(self, space: SearchSpace, task: Task, config: GradientConfig, hardware: Budget | Hook | None, device):
        self.identity = space, task, config, hardware  # all that a stored search and one that goes on must share
        self.space, self.task, self.config, self.epoch = space, task, config, 0
        self.hardware = hardware.fresh() if isinstance(hardware, Budget) else hardware
        self.values = [torch.zeros(n, device=device, requires_grad=True) for n in space.choices]
        self.optimizer = torch.optim.Adam(
            self.values, lr=config.arch_lr, betas=(0.5, 0.999), weight_decay=config.arch_weight_decay
        )
        self.history: list[dict] = []

    def batches(self, epoch: int) -> Iterator[tuple[Batch, Batch]]:
        """Pairs of a batch for the weights and one for the logits."""
        self.epoch = epoch
        halves = (self.task.batches(split, epoch) for split in ("weights", "logits"))
        yield from zip(*halves, strict=False)  # of an odd number, one half has an image more
        self.record()  # before the loop stores what this epoch did

    def part(self, batch: tuple[Batch, Batch], rank: int, number: int) -> tuple[Batch, ...]:
        """What a process gets of both: see `Task.part`.

        batch: one of each half.
        rank: of the process.
        number: of all.
        """
        return tuple(self.task.part(half, rank, number) for half in batch)

    def step(self, model: nn.Module, batch: tuple[Batch, Batch], generator: torch.Generator) -> dict[str, Tensor]:
        """Move the logits by a step of their own, then return the losses of the weights.

        model: the supernet.
        batch: one of each half.
        generator: draws the paths.
        """
        own, held_out = (placed(model, *half) for half in batch)
        losses = {}
        if self.epoch >= self.config.warmup_epochs:
            losses["arch_loss"] = self._descend(model, own, held_out, generator)
        path = self._path_for_weights(generator)
        return named(self.task.loss(model(own[0], path), own[1])) | losses

    def _descend(self, model: nn.Module, own: Sequence[Tensor], held_out: Sequence[Tensor], generator) -> Tensor:
        (path,) = self.config.sampler(self.values, self.epoch).paths(self.space, generator)
        if self.config.second_order:
            loss = unrolled_loss(model, path, self.task, own, held_out, self.config.of_weights.lr)
        else:
            loss = named(self.task.loss(model(held_out[0], path), held_out[1]))["total"]
        total = self._total(loss, path)
        before = [a.detach().clone() for a in self.values]
        gradients = torch.autograd.grad(total, self.values)  # of the logits alone: the weights' are not computed
        processes.current().average(gradients)
        for value, gradient in zip(self.values, gradients, strict=True):
            value.grad = gradient
        self.optimizer.step()
        if self.config.relaxation == "two_gates":
            with torch.no_grad():
                renormalise(self.values, before, path)
        if isinstance(self.hardware, Budget):
            self.hardware.update(self.architecture())
        return total.detach()

    def _total(self, loss: Tensor, path: SoftPath) -> Tensor:
        """The loss that the logits descend on, hardware included. Raises `ParameterError`, `TrainingDiverged`."""
        priced = softmax(self.values) if "gates" in self.config.relaxation else list(path)
        total = loss if self.hardware is None else self.hardware(loss, priced)
        if not isinstance(total, Tensor) or total.numel() != 1 or not total.requires_grad:
            raise ParameterError(f"hardware must return a loss, one number with a gradient, got {brief(total)}")
        if not total.isfinite():
            which = "the task loss" if not loss.isfinite() else "what hardware makes of the task loss"
            raise TrainingDiverged(f"{which} of the logits is {total.item():g} in epoch {self.epoch + 1}")
        return total

    @torch.no_grad()
    def _path_for_weights(self, generator: torch.Generator) -> SoftPath:
        """The path that the weights are trained on: the same relaxation, of gates the active operation alone."""
        if "gates" in self.config.relaxation:
            (gates,) = Gates(self.values).paths(self.space, generator)
            return [int(gate.argmax()) for gate in gates]
        return self.config.sampler(self.values, self.epoch).paths(self.space, generator)[0]

    def probabilities(self) -> list[Tensor]:
        """softmax(logits): (n_choices,) per decision, on the CPU."""
        return [p.detach().cpu() for p in softmax(self.values)]

    def architecture(self) -> Arch:
        """The most probable choice of every decision."""
        return self.space.canonical([int(p.argmax()) for p in self.probabilities()])

    def record(self) -> None:
        """Write down where the logits stand after an epoch."""
        p = self.probabilities()
        entropy = sum(float(torch.special.entr(q).sum()) for q in p) / len(p)
        now = {"probabilities": [q.tolist() for q in p], "entropy": entropy, "arch": self.architecture()}
        if self.config.relaxation == "gumbel":
            now["temperature"] = self.config.sampler(self.values, self.epoch).temperature
        if isinstance(self.hardware, Budget):
            now["budget"] = self.hardware.learnt()
        self.history.append(now)

    def state_dict(self) -> dict:
        """What a checkpoint holds."""
        values = [a.detach().cpu() for a in self.values]
        state = {"values": values, "optimizer": self.optimizer.state_dict(), "history": self.history}
        return state | ({"budget": self.hardware.state_dict()} if isinstance(self.hardware, Budget) else {})

    @torch.no_grad()
    def load_state_dict(self, state: dict) -> None:
        """Go on from a checkpoint."""
        for value, stored in zip(self.values, state["values"], strict=True):
            value.copy_(stored)
        self.optimizer.load_state_dict(state["optimizer"])
        self.history = list(state["history"])
        if isinstance(self.hardware, Budget):
            self.hardware.load_state_dict(state["budget"])


def unrolled_loss(
    model: nn.Module, path: SoftPath, task: Task, own: Sequence[Tensor], held_out: Sequence[Tensor], lr: float
) -> Tensor:
    """The held-out loss after one plain gradient step of the weights, differentiable in the path.

    DARTS, eq. 7, with xi = lr; the second derivative is exact, where the public code takes a finite difference. The
    step that is unrolled is plain gradient descent whatever optimizer trains the weights, as the equation has it: it
    looks ahead along the gradient and leaves momentum, adaptive scales and weight decay out (the public code keeps
    SGD's momentum). AdamW's own step is nearly lr times the gradient's sign, whose derivative says nothing.

        model: the supernet.
        path: weights per decision, with a gradient.
        task: what both losses are.
        own: the batch that the weights step on.
        held_out: the batch that judges them afterwards.
        lr: of the step.
    """
    weights = {name: p for name, p in model.named_parameters() if p.requires_grad}

    def loss(values: dict[str, Tensor], batch: Sequence[Tensor]) -> Tensor:
        outputs = torch.func.functional_call(model, values, (batch[0], path))
        return named(task.loss(outputs, batch[1]))["total"]

    gradients = torch.autograd.grad(loss(weights, own), list(weights.values()), create_graph=True, allow_unused=True)
    stepped = {name: p if g is None else p - lr * g for (name, p), g in zip(weights.items(), gradients, strict=True)}
    return loss(stepped, held_out)
