"""One training loop for everything that learns weights: schedule, averaged weights, checkpoints, resume.

What a step does with the model is the caller's: `step(model, batch, generator)` returns named losses, of which "total"
is minimised, or yields several such in turn (one per path through a supernet). Each is back-propagated as it comes, so
that one graph is in memory at a time; their gradients add up, and the optimizer steps once. A batch, and every draw of
`generator`, depends on (seed, epoch) alone, so a training that was killed goes on at its last epoch and ends where it
would have ended. What layers draw (dropout, say) depends on (seed, epoch, batch), on CPU and CUDA.
"""

from __future__ import annotations

import copy
import itertools
import math
import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from nasedu.errors import (
    ParameterError,
    TrainingDiverged,
    TrainingStopped,
    check_kind,
    check_name,
    check_number,
    check_whole,
)
from nasedu.forward import checkpointed, compiled
from nasedu.progress import Progress, silent
from nasedu.randomness import seeded, stream
from nasedu.storage import identity, load_state, restoring, save_state

Losses = dict[str, Tensor]
Step = Callable[[nn.Module, object, torch.Generator], Losses | Iterable[Losses]]


class Stateful(Protocol):
    """What a checkpoint can hold: a module, an optimizer, or anything with these two methods."""

    def state_dict(self) -> dict: ...

    def load_state_dict(self, state: dict) -> object: ...


@dataclass(frozen=True)
class TrainingConfig:
    """The defaults are Scaled-YOLOv4's, SGD with Nesterov momentum; see `schedule` for the learning rate.

    Ours and not the public training's, unless a recipe sets it: the gradient is clipped, every batch is a step, and the
    warm-up has a fixed number of batches. What is left of an epoch's batches makes a step of its own.

    The averaged weights move by 1 - ema_decay * (1 - exp(-t / ema_ramp)) at step t. Raises `ParameterError` for a
    number below 0, lr, ema_ramp and clip also for 0, momenta and ema_decay above 1, and for what is no finite number
    but for an infinite clip; `UnknownName` for another optimizer or precision.
    """

    epochs: int = 300
    optimizer: str = "sgd"  # or adamw, which learns faster where there are few epochs
    lr: float = 0.01
    final_lr: float = 0.2  # as a fraction of lr, at the end of the cosine
    momentum: float = 0.937
    weight_decay: float = 5e-4
    warmup_steps: int = 1000
    warmup_bias_lr: float = 0.1
    warmup_momentum: float = 0.9
    ema_decay: float = 0.9999
    ema_ramp: float = 2000
    clip: float = 10.0  # largest norm of the gradient; infinity leaves it alone
    accumulate: float = 1.0  # batches whose gradients make one step, rounded; from 1 up to it during the warm-up
    summed: bool = False  # the loss grows with the batch, so gradients of batches add up; else their mean counts
    precision: str = "float32"  # or bfloat16: autocast on an accelerator
    compile: bool = False  # run the model by torch.compile: equal but for rounding, and minutes until it begins
    checkpoint: bool = False  # keep of every block its input alone, and run it again for its gradient: less memory
    save_seconds: float = 10.0  # at least so long between two checkpoints

    def __post_init__(self):
        check_name("precision", self.precision, ("float32", "bfloat16"))
        check_name("optimizer", self.optimizer, ("sgd", "adamw"))
        if self.compile and self.checkpoint:
            raise ParameterError("a training is compiled or checkpointed, not both")
        for field in fields(self):
            name, value = field.name, getattr(self, field.name)
            if field.type == "bool":
                check_kind(f"{name} of a training", value, bool, "true or false")
            elif field.type == "int":
                check_whole(name, value, 0)
            elif field.type == "float" and (name, value) != ("clip", math.inf):
                most = 1 if name in ("momentum", "warmup_momentum", "ema_decay") else math.inf
                least = 0.5 if name == "accumulate" else 0
                check_number(name, value, least, most, above=name in ("lr", "ema_ramp", "clip"))


@dataclass
class Trained:
    """The model, the running average of its weights (`ema`, in eval mode) and one record of losses per epoch."""

    model: nn.Module
    ema: nn.Module
    history: list[dict]


_local = threading.local()  # `.stop`, in the threads of `side_by_side`: set when the trainings must end early


def train(
    model: nn.Module,
    batches: Callable[[int], Iterable],
    step: Step,
    config: TrainingConfig,
    *,
    seed: int = 0,
    state: str | Path | None = None,
    beside: Stateful | None = None,
    progress: Progress = silent,
) -> Trained:
    """Train `model` for `config.epochs` passes over `batches(epoch)`; see the module's docstring.

    Raises `CheckpointError` where `state` is damaged, `ParameterError`, and `TrainingDiverged`.

    model: what learns, in place and on the device where it is.
    batches: from an epoch (from 0) to its batches.
    step: from (model, batch, generator) to named losses.
    config: how it learns.
    seed: of `generator`, and of what layers draw.
    state: a checkpoint from which a killed training goes on; where anything that it depends on has changed, it starts
        afresh and says so. One that ends early leaves the model as it was before, so that the same call goes on.
    beside: what `step` changes beside the model; it is stored with it. Where it has a method `after`, that is called
        after every epoch with (epochs done, epochs, averaged model), and what it returns joins the epoch's record.
    progress: hears after every epoch of (epochs done, epochs, mean loss).
    """
    check_kind("the model of a training", model, nn.Module, "a torch.nn.Module")
    check_kind("config of a training", config, TrainingConfig, "a TrainingConfig")
    optimizer, seed = make_optimizer(model, config), check_whole("seed", seed, 0)
    owner = identity(model, batches, step, config, seed, _device(model), beside) if state else ""
    ema, seen = _averaged(model, config), _Seen()
    changed = {"model": model} | ({"beside": beside} if beside else {})
    parts = changed | {"ema": ema, "optimizer": optimizer, "seen": seen}
    with _undone_where_it_fails(model, changed) if state else nullcontext(), _forward(config)(model):
        history, saved = _resume(state, owner, parts) if state else [], time.monotonic()
        model.train()  # also where nothing is left to do
        for epoch in range(len(history), config.epochs):
            losses = _epoch(model, ema, optimizer, batches(epoch), step, config, epoch, seed, seen)
            judged = beside.after(epoch + 1, config.epochs, ema.module) if hasattr(beside, "after") else {}
            history.append({"epoch": epoch + 1} | losses | judged)
            if state and (epoch + 1 == config.epochs or time.monotonic() - saved > config.save_seconds):
                save_state(state, {k: v.state_dict() for k, v in parts.items()} | {"history": history}, owner)
                saved = time.monotonic()
            progress(epoch + 1, config.epochs, f"loss {losses['total']:.4g}")
    return Trained(model, ema.module, history)


def _forward(config: TrainingConfig) -> Callable[[nn.Module], AbstractContextManager]:
    return checkpointed if config.checkpoint else compiled if config.compile else nullcontext


@contextmanager
def _undone_where_it_fails(model: nn.Module, changed: dict[str, Stateful]) -> Iterator[None]:
    """Whatever ends the context early, an interrupt too: what was changed is put back."""
    before = copy.deepcopy({name: part.state_dict() for name, part in changed.items()})
    modes = [(part, part.training) for part in model.modules()]
    try:
        yield
    except BaseException:
        for name, part in changed.items():
            part.load_state_dict(before[name])
        for part, training in modes:
            part.training = training
        raise


def side_by_side(train_one: Callable[[str], Trained], names: Iterable[str], threads: int = 1, device="cpu") -> dict:
    """{name: train_one(name)}, several at once.

    Small networks leave most of a second thread idle, and wait long for it when the machine is busy with other things;
    one thread each also makes results independent of the number of cores. On an accelerator one trains at a time.
    Trainings whose layers draw take turns, step by step: PyTorch's random state is one for all threads.

    train_one: trains what a name stands for; but for layers, without drawing from the global random state.
    names: of what is trained.
    threads: of each.
    device: where they are trained.
    """
    names = list(names)
    # one more than the cores carry, so that none of them idles while the last network trains
    at_once = (os.cpu_count() or 1) // threads + 1 if torch.device(device).type == "cpu" else 1
    stop = threading.Event()

    def begin() -> None:
        torch.set_num_threads(threads)
        _local.stop = stop

    with ThreadPoolExecutor(at_once, initializer=begin) as executor:
        try:
            return dict(zip(names, executor.map(train_one, names), strict=True))
        except BaseException:  # an interrupt too: threads cannot be killed, but the trainings in them look at `stop`
            stop.set()
            executor.shutdown(wait=False, cancel_futures=True)
            raise


def schedule(config: TrainingConfig, step: int, epoch: int) -> tuple[float, float, float]:
    """(learning rate, learning rate of biases, momentum) at a step.

    A cosine over the epochs from lr to final_lr * lr, times a linear warm-up from 0 over `warmup_steps`; biases come
    down from `warmup_bias_lr` instead, and momentum up from `warmup_momentum` (Scaled-YOLOv4's public training).

    config: the settings.
    step: from 0, over the batches of all epochs.
    epoch: from 0.
    """
    f = config.final_lr
    cosine = config.lr * ((1 + math.cos(math.pi * epoch / max(config.epochs, 1))) / 2 * (1 - f) + f)
    ramp = min(1.0, step / config.warmup_steps) if config.warmup_steps else 1.0
    bias = config.warmup_bias_lr + ramp * (cosine - config.warmup_bias_lr)
    return ramp * cosine, bias, config.warmup_momentum + ramp * (config.momentum - config.warmup_momentum)


def make_optimizer(model: nn.Module, config: TrainingConfig) -> torch.optim.Optimizer:
    """The optimizer, over three groups: weights that decay, scales of norms, and biases; the last two do not decay.

    Raises `ParameterError` for a model without parameters that learn.
    """
    named = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
    if not named:
        raise ParameterError(f"this {type(model).__name__} has no parameters to train")
    biases = [p for name, p in named if name.endswith("bias")]
    scales = [p for name, p in named if p.ndim <= 1 and not name.endswith("bias")]
    decayed = [p for name, p in named if p.ndim > 1 and not name.endswith("bias")]
    groups = [{"params": group, "weight_decay": 0.0} for group in (decayed, scales, biases)]
    groups[0]["weight_decay"] = config.weight_decay
    if config.optimizer == "adamw":
        # beta2 = .99: a short training must forget its first, far too large gradients
        return torch.optim.AdamW(groups, lr=config.lr, betas=(0.9, 0.99), fused=True)
    fused = True if _device(model).type == "cuda" else None  # one kernel; on the CPU it would round otherwise
    return torch.optim.SGD(groups, lr=config.lr, momentum=config.momentum, nesterov=True, fused=fused)


class _Turns:
    """PyTorch's global random state as the layers of one epoch see it: seeded anew for every step.

    Threads take turns at it, unless the epoch's first step drew nothing: then the others run without.
    """

    def __init__(self, seed: int, epoch: int, device: torch.device):
        self.named, self.device, self.needed = (seed, "layers", epoch), device, True

    @contextmanager
    def step(self, i: int) -> Iterator[None]:
        """While step i runs."""
        if not self.needed:
            yield
            return
        with seeded(stream(*self.named, i).initial_seed(), self.device):
            before = self._states()
            yield
            self.needed = i > 0 or not all(map(torch.equal, before, self._states()))

    def _states(self) -> list[Tensor]:
        on_cuda = self.device.type == "cuda"
        return [torch.get_rng_state()] + ([torch.cuda.get_rng_state(self.device)] if on_cuda else [])


def together(config: TrainingConfig, step: int) -> int:
    """How many batches make one step of the optimizer: from 1 at the start up to `accumulate` after the warm-up.

    config: the settings.
    step: from 0, over the batches of all epochs.
    """
    ramp = min(1.0, step / config.warmup_steps) if config.warmup_steps else 1.0
    return max(1, round(1 + ramp * (config.accumulate - 1)))


class _Seen:
    """How many batches were seen, over all epochs."""

    batches = 0

    def state_dict(self) -> dict:
        return {"batches": self.batches}

    def load_state_dict(self, state: dict) -> None:
        self.batches = int(state["batches"])


def _groups(batches: Iterable, config: TrainingConfig, seen: _Seen) -> Iterator[list]:
    """The batches of every step of the optimizer; what is left at an epoch's end is one, too."""
    group = []
    for batch in batches:
        group.append(batch)
        seen.batches += 1
        if len(group) >= together(config, seen.batches - 1):
            yield group
            group = []
    if group:
        yield group


class _Record:
    """The mean of every named loss over the parts of steps that have it, on the model's device until the end."""

    def __init__(self):
        self.sums: dict[str, Tensor | float] = {}
        self.counts: dict[str, int] = {}

    def add(self, losses: Losses) -> None:
        self.sums |= {name: self.sums.get(name, 0.0) + loss.detach() for name, loss in losses.items()}
        self.counts |= {name: self.counts.get(name, 0) + 1 for name in losses}

    def means(self) -> dict[str, float]:
        return {name: float(total) / self.counts[name] for name, total in self.sums.items()}


def _epoch(model, ema, optimizer, batches, step, config, epoch, seed, seen) -> dict[str, float]:
    """One pass: returns the mean of every named loss, over all batches and parts of steps that have it."""
    model.train()
    generator, turns = stream(seed, "paths", epoch), _Turns(seed, epoch, _device(model))
    step = step.at(epoch, config.epochs) if hasattr(step, "at") else step  # a sampler that anneals
    # once an epoch: a supernet has a thousand modules to walk through, most of which do not run in a step
    parameters, follow = list(model.parameters()), _following(ema, model)
    record, stop, number = _Record(), getattr(_local, "stop", None), itertools.count()
    for group in _groups(batches, config, seen):
        if stop and stop.is_set():
            raise TrainingStopped("another training beside this one failed or was interrupted")
        _set_rates(optimizer, schedule(config, seen.batches - 1, epoch))
        fresh = True
        for batch in group:
            with turns.step(next(number)):
                for losses in _parts(step, model, batch, generator, config.precision):
                    if fresh:  # not earlier: what leads up to the first loss may leave gradients of its own behind
                        optimizer.zero_grad(set_to_none=True)
                    losses["total"].backward()
                    record.add(losses)
                    fresh = False
        if len(group) > 1 and not config.summed:
            torch._foreach_div_([p.grad for p in parameters if p.grad is not None], len(group))
        if config.clip < math.inf:
            nn.utils.clip_grad_norm_(parameters, config.clip)
        optimizer.step()
        follow()
    if not record.sums:
        raise ParameterError(f"there is no batch in epoch {epoch + 1}")
    means = record.means()
    finite = {"loss is": all(map(math.isfinite, means.values()))}
    finite["weights are"] = all(bool(p.detach().isfinite().all()) for p in parameters)
    for what in (what for what, fine in finite.items() if not fine):
        raise TrainingDiverged(f"the {what} not finite in epoch {epoch + 1}: lower the learning rate ({config.lr})")
    return means


def _parts(step: Step, model: nn.Module, batch, generator: torch.Generator, precision: str) -> Iterator[Losses]:
    """The losses of a step, one after the other. Autocast is on while the step computes, and off in between."""
    autocast = torch.autocast(_device(model).type, torch.bfloat16, enabled=precision == "bfloat16")
    with autocast:
        losses = step(model, batch, generator)
    several = isinstance(losses, Iterable) and not isinstance(losses, dict | Tensor)
    parts, part = iter(losses if several else [losses]), None
    while True:
        with autocast:
            upcoming = next(parts, None)
        if upcoming is None and part:
            break
        if not isinstance(upcoming, dict) or not isinstance(upcoming.get("total"), Tensor):
            wanted = 'a dictionary of losses with a "total" or yield at least one'
            raise ParameterError(f"a step must return {wanted}, got {upcoming!r:.60}")
        yield (part := upcoming)


def _device(model: nn.Module) -> torch.device:
    return next(model.parameters()).device


def _set_rates(optimizer: torch.optim.Optimizer, rates: tuple[float, float, float]) -> None:
    lr, bias_lr, momentum = rates
    for group, rate in zip(optimizer.param_groups, (lr, lr, bias_lr), strict=True):
        group["lr"] = rate
        if "momentum" in group:
            group["momentum"] = momentum


def _averaged(model: nn.Module, config: TrainingConfig) -> AveragedModel:
    """The exponential moving average of a model, whose decay ramps up: early weights are forgotten quickly."""

    @torch.no_grad()
    def average(averaged: list[Tensor], current: list[Tensor], count: Tensor | int) -> None:
        decay = config.ema_decay * (1 - math.exp(-(int(count) + 1) / config.ema_ramp))
        if averaged[0].is_floating_point():
            torch._foreach_lerp_(averaged, current, 1 - decay)
        else:
            torch._foreach_copy_(averaged, current)

    ema = AveragedModel(model, multi_avg_fn=average, use_buffers=True)
    ema.module.eval()
    return ema


def _following(ema: AveragedModel, model: nn.Module) -> Callable[[], None]:
    """What `ema.update_parameters(model)` does, without walking through both models at every step."""
    pairs: dict[torch.dtype, tuple[list[Tensor], list[Tensor]]] = {}
    tensors = ([*m.parameters(), *m.buffers()] for m in (ema.module, model))
    for averaged, current in zip(*tensors, strict=True):
        for kept, tensor in zip(pairs.setdefault(averaged.dtype, ([], [])), (averaged, current), strict=True):
            kept.append(tensor.detach())

    @torch.no_grad()
    def follow() -> None:
        """Move the averages towards the present values."""
        for averaged, current in pairs.values():
            if ema.n_averaged == 0:
                torch._foreach_copy_(averaged, current)
            else:
                ema.multi_avg_fn(averaged, current, ema.n_averaged)
        ema.n_averaged += 1

    return follow


def _resume(state: str | Path, owner: str, parts: dict[str, Stateful]) -> list[dict]:
    """Put every part into its stored state; the history of the epochs that are done."""
    saved = load_state(state, owner)
    if saved is None:
        return []
    with restoring(state):
        for name, part in parts.items():
            part.load_state_dict(saved[name])
        return saved["history"]
