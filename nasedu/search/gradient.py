"""Gradient search: weights descend on one half of the training images, architecture parameters on the other.

DARTS (Liu et al., ICLR 2019) with any relaxation of the choice: its own softmax, FBNet's annealed Gumbel softmax, or
ProxylessNAS's binary gates. Weights and logits take turns, step by step, within the one training loop.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nasedu.classification import batches, recipe
from nasedu.data.classification import ImageSet
from nasedu.errors import ParameterError, check_name
from nasedu.sampling import annealed, binary_gates, gumbel_softmax, renormalise, softmax
from nasedu.search.evaluators import SupernetAccuracy
from nasedu.search.result import SearchResult
from nasedu.spaces.base import Arch, Network, SearchSpace
from nasedu.spaces.base import Path as SoftPath
from nasedu.storage import content_hash, tensors_hash
from nasedu.tables.budget import Budget
from nasedu.tables.table import LookupTable, same_space
from nasedu.training import TrainingConfig, train

Hook = Callable[[Tensor, SoftPath], Tensor]  # from a task loss and a path to the loss that the logits descend on
RELAXATIONS = ("softmax", "gumbel", "gates", "two_gates")


@dataclass(frozen=True)
class GradientConfig:
    """How weights and logits descend; the optimizer of the logits is DARTS's (Adam, betas .5 and .999).

    In the first `warmup_epochs` weights alone learn. `temperature` is FBNet's, from first to last epoch after that;
    only "gumbel" uses it. `second_order` differentiates through one step of the weights (DARTS, eq. 7), exactly.
    """

    relaxation: str = "softmax"
    epochs: int = 20
    warmup_epochs: int = 5
    batch_size: int = 64
    arch_lr: float = 0.02
    arch_weight_decay: float = 0.0
    temperature: tuple[float, float] = (5.0, 0.5)
    second_order: bool = False
    training: TrainingConfig | None = None  # of the weights, its epochs aside; None: `classification.recipe(epochs)`

    def __post_init__(self):
        check_name("relaxation", self.relaxation, RELAXATIONS)
        if not 0 <= self.warmup_epochs <= self.epochs or self.epochs < 1:
            raise ParameterError(
                f"a gradient search needs 1 epoch or more, and no more to warm up than in all, "
                f"got {self.epochs} and {self.warmup_epochs}"
            )
        if self.arch_lr <= 0 or min(self.temperature) <= 0:
            raise ParameterError(f"arch_lr and temperatures must be positive, got {self.arch_lr}, {self.temperature}")

    @property
    def of_weights(self) -> TrainingConfig:
        """The settings that the weights are trained with, for as many epochs as the search has."""
        return replace(self.training, epochs=self.epochs) if self.training else recipe(self.epochs)

    def temperature_at(self, epoch: int) -> float:
        """T of an epoch (from 0): exponential from the first to the last after the warm-up."""
        steps = max(1, self.epochs - self.warmup_epochs - 1)
        return annealed(*self.temperature, max(0, epoch - self.warmup_epochs) / steps)


@dataclass
class GradientResult(SearchResult):
    """A `SearchResult` with the final probabilities as a path, (n_choices,) per decision, and the trained supernet.

    `score` is the accuracy (0 to 1) of the most probable architecture with the supernet's weights, on the images that
    the logits learnt from. `history` has one record per epoch: losses ("total" of the weights, after the warm-up
    "arch_loss" of the logits, hardware included), temperature, probabilities, entropy (nats, mean over decisions), arch
    and "budget": what a `tables.Budget` had learnt, such as its multipliers, a dict per term.
    """

    path: list[Tensor] = field(default_factory=list)
    supernet: Network | None = None


def gradient_search(
    space: SearchSpace,
    images: ImageSet,
    *,
    config: GradientConfig = GradientConfig(),
    hardware: Budget | Hook | None = None,
    costs: Mapping[str, LookupTable] | None = None,
    seed: int = 0,
    device: torch.device | str = "cpu",
    state: str | Path | None = None,
    run: str = "",
    progress: Callable[[int, dict], None] = lambda epoch, losses: None,
) -> GradientResult:
    """Search by descent on `images`, one half for weights and one for logits.

    `hardware(task, path)` turns the task loss of the logits into the loss that they descend on: a `tables.Budget`, or
    a function of your own. `path` has the weights (n_choices,) per decision that the forward pass uses (for gates, the
    probabilities). Where its losses learn, they do so on a copy, from the most probable architecture after every step.
    `state` is a checkpoint from which a killed search goes on; `run` names what its settings cannot: a function of your
    own. `costs` are tables that price the result and every epoch's architecture.
    Raises `ParameterError`, `CheckpointError`, `TrainingDiverged`, and `TableError` for tables of another space.
    """
    same_space((costs or {}).values(), space)
    if isinstance(hardware, Budget):
        same_space(hardware.tables, space)
    start = time.perf_counter()
    for_weights, for_logits = images.to(device).halves(seed)
    supernet = space.supernet(seed=seed).to(device)
    logits = Logits(space, config, hardware, device)
    trained = train(
        supernet,
        _pairs(for_weights, for_logits, logits, config, seed),
        logits.step,
        config.of_weights,
        seed=seed,
        device=device,
        state=state,
        run=_identity(run, space, supernet, images, config, hardware, seed) if state else "",
        beside=logits,
        progress=progress,
    )
    supernet.load_state_dict(trained.ema.state_dict())
    tables = costs or {}
    history = [
        old | new | {name: table(new["arch"]) for name, table in tables.items()}
        for old, new in zip(trained.history, logits.history, strict=True)
    ]
    best = logits.architecture()
    score = SupernetAccuracy(space, supernet, for_weights, for_logits)(best)
    seconds = time.perf_counter() - start
    prices = {name: table(best) for name, table in tables.items()}
    return GradientResult(space, best, score, history, seconds, prices, logits.probabilities(), supernet)


def _identity(run, space, supernet, images, config, hardware, seed) -> str:
    """A content hash of all that a stored search must share with the one that goes on from it."""
    semantics = [str(getattr(part, name, "")) for part in supernet.modules() for name in ("semantics", "norm")]
    data = tensors_hash([images.images, images.labels])
    term = getattr(hardware, "identity", bool(hardware))
    return content_hash([run, asdict(config), seed, space.fingerprint, semantics, data, term])


def _pairs(for_weights: ImageSet, for_logits: ImageSet, logits: Logits, config: GradientConfig, seed: int):
    """What `train` asks for: from an epoch to pairs of a batch for the weights and one for the logits."""
    own, other = batches(for_weights, config.batch_size, seed), batches(for_logits, config.batch_size, seed + 1)

    def epoch_batches(epoch: int) -> Iterator[tuple]:
        logits.epoch = epoch
        yield from zip(own(epoch), other(epoch), strict=False)  # of an odd number, one half has an image more
        logits.record()  # before the loop stores what this epoch did

    return epoch_batches


class Logits:
    """Architecture parameters (n_choices,) per decision, their optimizer, and the step that both sides take in turn."""

    def __init__(self, space: SearchSpace, config: GradientConfig, hardware: Budget | Hook | None, device):
        self.config, self.epoch = config, 0
        self.hardware = hardware.fresh() if isinstance(hardware, Budget) else hardware
        self.values = [torch.zeros(n, device=device, requires_grad=True) for n in space.choices]
        self.optimizer = torch.optim.Adam(
            self.values, lr=config.arch_lr, betas=(0.5, 0.999), weight_decay=config.arch_weight_decay
        )
        self.history: list[dict] = []

    def step(self, model: nn.Module, batch: tuple, generator: torch.Generator) -> dict[str, Tensor]:
        """Move the logits by a step of their own, then return the loss of the weights."""
        (x, y), held_out = batch
        losses = {}
        if self.epoch >= self.config.warmup_epochs:
            losses["arch_loss"] = self._descend(model, (x, y), held_out, generator)
        return {"total": F.cross_entropy(model(x, self._path_for_weights(generator)), y)} | losses

    def _descend(self, model: nn.Module, batch, held_out, generator: torch.Generator) -> Tensor:
        path = self._relaxed(generator)
        if self.config.second_order:
            loss = _unrolled(model, path, batch, held_out, self.config.of_weights)
        else:
            loss = F.cross_entropy(model(held_out[0], path), held_out[1])
        total = self.hardware(loss, self._priced(path)) if self.hardware else loss
        before = [a.detach().clone() for a in self.values]
        gradients = torch.autograd.grad(total, self.values)  # of the logits alone: the weights' are not computed
        for value, gradient in zip(self.values, gradients, strict=True):
            value.grad = gradient
        self.optimizer.step()
        if self.config.relaxation == "two_gates":
            with torch.no_grad():
                renormalise(self.values, before, path)
        if isinstance(self.hardware, Budget):
            self.hardware.update(self.architecture())
        return total.detach()

    def _relaxed(self, generator: torch.Generator) -> SoftPath:
        """The path that the logits are trained on."""
        if self.config.relaxation == "softmax":
            return softmax(self.values)
        if self.config.relaxation == "gumbel":
            return gumbel_softmax(self.values, self.config.temperature_at(self.epoch), generator)
        return binary_gates(self.values, generator, "two" if self.config.relaxation == "two_gates" else "full")

    def _path_for_weights(self, generator: torch.Generator) -> SoftPath:
        """The path that the weights are trained on: the same relaxation, of gates the active operation alone."""
        with torch.no_grad():
            if "gates" in self.config.relaxation:
                return [int(gate.argmax()) for gate in binary_gates(self.values, generator)]
            return [weights.detach() for weights in self._relaxed(generator)]

    def _priced(self, path: SoftPath) -> list[Tensor]:
        return softmax(self.values) if "gates" in self.config.relaxation else list(path)

    def probabilities(self) -> list[Tensor]:
        """softmax(logits): (n_choices,) per decision, on the CPU."""
        return [p.detach().cpu() for p in softmax(self.values)]

    def architecture(self) -> Arch:
        """The most probable choice of every decision."""
        return tuple(int(p.argmax()) for p in self.probabilities())

    def record(self) -> None:
        """Write down where the logits stand after an epoch."""
        p = self.probabilities()
        entropy = sum(float(torch.special.entr(q).sum()) for q in p) / len(p)
        self.history.append(
            {
                "temperature": self.config.temperature_at(self.epoch),
                "probabilities": [q.tolist() for q in p],
                "entropy": entropy,
                "arch": self.architecture(),
            }
        )
        if isinstance(self.hardware, Budget):
            self.history[-1]["budget"] = self.hardware.learnt()

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


def _unrolled(model: nn.Module, path: SoftPath, batch, held_out, training: TrainingConfig) -> Tensor:
    """The held-out loss after one plain gradient step of the weights on `batch`, differentiable in the path.

    DARTS, eq. 7, with xi = lr; the second derivative is exact, where the public code takes a finite difference.
    """
    weights = {name: p for name, p in model.named_parameters() if p.requires_grad}

    def loss(values: dict[str, Tensor], images: Sequence[Tensor]) -> Tensor:
        return F.cross_entropy(torch.func.functional_call(model, values, (images[0], path)), images[1])

    gradients = torch.autograd.grad(loss(weights, batch), list(weights.values()), create_graph=True, allow_unused=True)
    stepped = {
        name: p if g is None else p - training.lr * g for (name, p), g in zip(weights.items(), gradients, strict=True)
    }
    return loss(stepped, held_out)
