"""One training loop for everything that learns weights: schedule, averaged weights, checkpoints, resume.

What a step does with the model is the caller's: `step(model, batch, generator)` returns named losses, of which "total"
is minimised, or yields several such in turn (one per path through a supernet). Each is back-propagated as it comes, so
that one graph is in memory at a time; their gradients add up, and the optimizer steps once. A batch, and every draw of
`generator`, depends on (seed, epoch) alone, so a training that was killed goes on at its last epoch and ends where it
would have ended. What layers draw (dropout, say) depends on (seed, epoch, batch), on CPU and CUDA.

Where a program runs in several processes (`nasedu.processes`), each computes its part of every batch. They start with
the first one's weights and take the same steps, so the result is the same in all of them, and does not depend on their
number but for rounding, for what layers draw, and for batch normalisation unless `sync_bn` is on. The first one alone
writes the checkpoint and reports.
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

from nasedu import processes
from nasedu.errors import (
    ParameterError,
    TrainingDiverged,
    TrainingStopped,
    check_kind,
    check_name,
    check_number,
    check_whole,
)
from nasedu.progress import Progress, silent
from nasedu.randomness import Turns, stream
from nasedu.storage import identity, load_state, restoring, save_state
from nasedu.training.averaged import Means, averaged, following
from nasedu.training.forward import checkpointed, compiled
from nasedu.training.optimizers import OPTIMIZERS
from nasedu.training.schedule import check_milestones, schedule
from nasedu.training.sync_norm import SyncNorm

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
    optimizer: str = "sgd"  # one of `optimizers.OPTIMIZERS`; adamw learns faster where there are few epochs
    lr: float = 0.01
    decay: str = "cosine"  # one of `schedule.DECAYS`: how lr falls
    final_lr: float = 0.2  # as a fraction of lr, at the end of the cosine or the line
    milestones: tuple[int, ...] = ()  # of decay "step": epochs after which lr is multiplied by `factor`
    factor: float = 0.1
    decay_steps: int = 0  # batches of all epochs: lr falls with each from the warm-up's end; 0: with the epochs
    momentum: float = 0.937
    nesterov: bool = True  # of sgd
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
    # of several processes only
    sync_bn: bool = False  # normalise by the statistics of the whole batch, else each process by those of its part
    paths: str = "same"  # what a step draws is the same in all processes; or different: a stream for each

    def __post_init__(self):
        check_name("precision", self.precision, ("float32", "bfloat16"))
        check_name("optimizer", self.optimizer, OPTIMIZERS)
        check_milestones(self.decay, self.milestones)
        check_name("paths of processes", self.paths, ("same", "different"))
        if self.sync_bn and self.paths == "different":
            raise ParameterError("sync_bn needs paths='same': every process must run the same layers")
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
    progress: hears after every epoch of (epochs done, epochs, mean loss); its method `record`, if it has one as
        `logs.Log` has, of the history so far, also at the start.
    """
    run = _Run(model, step, config, seed)
    owner = identity(model, batches, step, config, run.seed, _device(model), beside) if state else ""
    changed = {"model": model} | ({"beside": beside} if beside else {})
    parts, team = changed | {"ema": run.ema, "optimizer": run.optimizer, "seen": run.seen}, run.team
    kept, told = _Checkpoint(state, owner, parts, config, team), progress if team.rank == 0 else silent
    record = getattr(told, "record", lambda history: None)
    with _undone_where_it_fails(model, changed) if state else nullcontext(), _forward(run):
        record(history := kept.history())
        model.train()  # also where nothing is left to do
        for epoch in range(len(history), config.epochs):
            losses = run.epoch(processes.parts(batches, epoch, team), epoch)
            judged = beside.after(epoch + 1, config.epochs, run.ema.module) if hasattr(beside, "after") else {}
            history.append({"epoch": epoch + 1} | losses | judged)
            kept.save(history)
            record(history)
            told(epoch + 1, config.epochs, f"loss {losses['total']:.4g}")
        team.wait()  # so that whoever reads the checkpoint next finds it
    return Trained(model, run.ema.module, history)


def _forward(run: _Run) -> AbstractContextManager:
    """The model's forward as the settings have it."""
    if run.config.checkpoint:
        return checkpointed(run.model, run.norms)
    return compiled(run.model) if run.config.compile else nullcontext()


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
    several = processes.together(device).number > 1  # they must meet in one order
    at_once = (os.cpu_count() or 1) // threads + 1 if torch.device(device).type == "cpu" and not several else 1
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
    return OPTIMIZERS[config.optimizer](groups, config)


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


class _Run:
    """A training in progress: what learns and how, its average, how far it is, and the processes that share it."""

    def __init__(self, model: nn.Module, step: Step, config: TrainingConfig, seed: int):
        check_kind("the model of a training", model, nn.Module, "a torch.nn.Module")
        check_kind("config of a training", config, TrainingConfig, "a TrainingConfig")
        self.optimizer, self.seed = make_optimizer(model, config), check_whole("seed", seed, 0)
        self.model, self.step, self.config, self.seen = model, step, config, _Seen()
        self.team = team = processes.together(_device(model))
        named = [(name, tuple(p.shape)) for name, p in model.named_parameters()]
        team.agree("model, config and seed", (named, config, self.seed))
        team.send(t.detach() for t in (*model.parameters(), *model.buffers()))
        self.ema = averaged(model, config.ema_decay, config.ema_ramp)

    def norms(self) -> AbstractContextManager:
        """In which batch normalisation is that of all processes, where it is asked for."""
        return SyncNorm(self.team) if self.config.sync_bn and self.team.number > 1 else nullcontext()

    def epoch(self, batches: Iterable, epoch: int) -> dict[str, float]:
        """One pass: returns the mean of every named loss, over all batches and parts of steps that have it."""
        team, means = self.team, Means()
        with team.at_work(), self.norms():
            parameters = self._pass(batches, epoch, means)
        if not means.sums:
            raise ParameterError(f"there is no batch in epoch {epoch + 1}")
        # each process saw its parts; the average follows linearly, so it comes out as if they met at every step
        team.average(t.detach() for m in (self.model, self.ema.module) for t in m.buffers())
        found = means.over(team)
        finite = {"loss is": all(map(math.isfinite, found.values()))}
        finite["weights are"] = all(bool(p.detach().isfinite().all()) for p in parameters)
        for what in (what for what, fine in finite.items() if not fine):
            told = f"the {what} not finite in epoch {epoch + 1}: lower the learning rate ({self.config.lr})"
            raise TrainingDiverged(told)
        return found

    def _pass(self, batches: Iterable, epoch: int, means: Means) -> list[nn.Parameter]:
        model, config, optimizer, team = self.model.train(), self.config, self.optimizer, self.team
        own = (team.rank,) if team.rank else ()  # the first process draws what one alone would
        generator = stream(self.seed, "paths", epoch, *(own if config.paths == "different" else ()))
        turns, number = Turns(self.seed, epoch, _device(model), own), itertools.count()
        # a sampler that anneals
        step = self.step.at(epoch, config.epochs) if hasattr(self.step, "at") else self.step
        # once an epoch: a supernet has a thousand modules to walk through, most of which do not run in a step
        parameters, follow = list(model.parameters()), following(self.ema, model)
        stop = getattr(_local, "stop", None)
        for group in _groups(batches, config, self.seen):
            if stop and stop.is_set():
                raise TrainingStopped("another training beside this one failed or was interrupted")
            _set_rates(optimizer, schedule(config, self.seen.batches - 1, epoch))
            fresh = True
            for batch in group:
                with turns.step(next(number)):
                    for losses in _parts(step, model, batch, generator, config.precision):
                        if fresh:  # not earlier: what leads up to the first loss may leave gradients of its own behind
                            optimizer.zero_grad(set_to_none=True)
                        losses["total"].backward()
                        means.add(losses)
                        fresh = False
            if len(group) > 1 and not config.summed:
                torch._foreach_div_([p.grad for p in parameters if p.grad is not None], len(group))
            team.average_gradients(parameters)
            if config.clip < math.inf:
                nn.utils.clip_grad_norm_(parameters, config.clip)
            optimizer.step()
            follow()
        return parameters


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


class _Checkpoint:
    """Where the parts of a training are kept, if they are: all processes read it, the first one writes it."""

    def __init__(self, file, owner: str, parts: dict[str, Stateful], config: TrainingConfig, team):
        self.file, self.owner, self.parts, self.config, self.team = file, owner, parts, config, team
        self.saved = time.monotonic()

    def history(self) -> list[dict]:
        """Put every part into its stored state; the history of the epochs that are done."""
        saved, history = load_state(self.file, self.owner) if self.file else None, []
        if saved is not None:
            with restoring(self.file):
                for name, part in self.parts.items():
                    part.load_state_dict(saved[name])
                history = saved["history"]
        self.team.agree("checkpoint", (self.owner, len(history)))
        return history

    def save(self, history: list[dict]) -> None:
        """Now and then, and at the end."""
        due = len(history) == self.config.epochs or time.monotonic() - self.saved > self.config.save_seconds
        if self.file and due and self.team.rank == 0:
            state = {name: part.state_dict() for name, part in self.parts.items()}
            save_state(self.file, state | {"history": history}, self.owner)
            self.saved = time.monotonic()
