"""Several processes that train one model: what each of them knows of the others.

`torchrun` and `accelerate launch` start a program n times. All n do the same, with the same seeds, and so reach `train`
together; there they share the work. Each takes its part of every batch, gradients are averaged once a step, and so the
weights are the same in all of them at any time. Alone, nothing here does anything. Accelerate says who this process
is, chooses its device and how processes talk (NCCL between GPUs, gloo between CPUs).
"""

from __future__ import annotations

import hashlib
import multiprocessing
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
from torch import Tensor, distributed, nn

from nasedu.errors import ParameterError, ProcessLost, check_whole, needs

PATIENCE = 600  # seconds without an answer after which a process counts as lost; $NASEDU_PATIENCE
Part = Callable[[Any, int, int], Any]  # (batch, rank, number of processes) -> what this process gets of the batch


class Processes:
    """One process alone: every method leaves what it is given as it is. `Several` has the same methods."""

    rank, number = 0, 1

    @contextmanager
    def at_work(self) -> Iterator[None]:
        """While the context is open, the processes work on parts of the same batches: `current()` says so."""
        global _current
        before, _current = _current, self
        try:
            yield
        finally:
            _current = before

    def mean(self, values: Tensor) -> Tensor:
        """The mean over the processes, of one shape in all of them; differentiable."""
        return values

    def average(self, tensors: Iterable[Tensor]) -> None:
        """Set floating-point tensors to their mean over the processes; others to what the first process has."""

    def average_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Average the gradients; a parameter that no process has one of stays without."""

    def send(self, tensors: Iterable[Tensor]) -> None:
        """Set tensors to what the first process has."""

    def agree(self, what: str, value: object) -> None:
        """Raise `ParameterError` unless `repr(value)` is the same in all processes; `what` is its name there."""

    def wait(self) -> None:
        """Until all processes are here."""


_alone = Processes()
_current: Processes = _alone
_started: Several | None = None


def current() -> Processes:
    """The processes that work on parts of one batch now; outside of a training every one is alone.

    A loss asks it that is no mean over samples: divided by a number that depends on the batch, say.
    """
    return _current


def asked_for() -> int:
    """How many processes this program was started in, as `torchrun` says it. Raises `ParameterError`."""
    said = os.environ.get("WORLD_SIZE", "1")
    return check_whole("WORLD_SIZE, the number of processes,", int(said) if said.isdigit() else said)


def together(device: torch.device | str) -> Processes:
    """The processes that this program was started in; the first call waits for all of them.

    What a process starts itself, such as the workers of an executor, is alone. Raises `ProcessLost` where one does not
    come, `ParameterError`, and `BackendError` without the extra `training`.

    device: what they train on. Started on CUDA, each takes a device of its own, which "cuda" stands for from then on.
    """
    global _started
    if _started and _started.process == os.getpid():
        return _started
    if asked_for() == 1 or multiprocessing.parent_process():
        return _alone
    _started = Several(torch.device(device))
    return _started


class Several(Processes):
    """This process and the others. Raises `ProcessLost` wherever one of them ended or does not answer.

    device: what they train on.
    """

    def __init__(self, device: torch.device):
        with needs("training"):
            from accelerate import PartialState
        said = os.environ.get("NASEDU_PATIENCE", str(PATIENCE))
        self.patience = check_whole("NASEDU_PATIENCE, in seconds,", int(said) if said.isdigit() else said)
        self.process, self.rank = os.getpid(), int(os.environ.get("RANK", "0"))
        self.number, limit = int(os.environ["WORLD_SIZE"]), timedelta(seconds=self.patience)
        with self._told():
            # some start later than others, so they have longer for that
            start = timedelta(seconds=max(PATIENCE, self.patience))
            state = PartialState(cpu=device.type == "cpu", timeout=start)
            self.rank, self.number = state.process_index, state.num_processes
            # on the CPU also where they train on GPUs: there a process that ended is noticed at once
            self.talk = distributed.new_group(backend="gloo", timeout=limit)

    def mean(self, values: Tensor) -> Tensor:
        """The mean over the processes, of one shape in all of them; differentiable."""
        return _Mean.apply(values, self)

    @torch.no_grad()
    def average(self, tensors: Iterable[Tensor]) -> None:
        """Set floating-point tensors to their mean over the processes; others to what the first process has."""
        tensors = list(tensors)
        first = [t.clone() for t in tensors]
        self.send(first)
        # differences, so that rounding leaves what is the same everywhere as it is
        away = [t - f if t.is_floating_point() else torch.zeros_like(t) for t, f in zip(tensors, first, strict=True)]
        self._average([a for a in away if a.is_floating_point()])
        for tensor, start, change in zip(tensors, first, away, strict=True):
            tensor.copy_(start + change if tensor.is_floating_point() else start)

    @torch.no_grad()
    def average_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Average the gradients; a parameter that no process has one of stays without."""
        parameters = list(parameters)  # those of a supernet, whose paths differ between processes
        there = torch.tensor([p.grad is not None for p in parameters], dtype=torch.int32)
        for parameter, some in zip(parameters, self.sum(there).tolist(), strict=True):
            if some and parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
        self._average([p.grad for p in parameters if p.grad is not None])

    def _average(self, tensors: list[Tensor]) -> None:
        for group in _alike(tensors):
            flat = torch.cat([t.reshape(-1) for t in group])
            self.sum(flat).div_(self.number)
            _put_back(flat, group)

    @torch.no_grad()
    def send(self, tensors: Iterable[Tensor]) -> None:
        """Set tensors to what the first process has."""
        for group in _alike(tensors):
            flat = torch.cat([t.reshape(-1) for t in group])
            with self._told():
                distributed.broadcast(flat, 0, group=self._group(flat))
            _put_back(flat, group)

    def agree(self, what: str, value: object) -> None:
        """Raise `ParameterError` unless `repr(value)` is the same in all processes; `what` is its name there."""
        number = int.from_bytes(hashlib.sha256(repr(value).encode()).digest()[:7])
        both = torch.tensor([number, -number])
        with self._told():
            distributed.all_reduce(both, distributed.ReduceOp.MAX, group=self.talk)
        if both.sum():  # the largest is not the smallest
            raise ParameterError(f"process {self.rank} of {self.number} does not have the same {what} as another one")

    def wait(self) -> None:
        """Until all processes are here."""
        self.sum(torch.zeros(1))

    def sum(self, flat: Tensor) -> Tensor:
        """Its sum over the processes, in place."""
        with self._told():
            distributed.all_reduce(flat, group=self._group(flat))
        return flat

    def _group(self, tensor: Tensor) -> distributed.ProcessGroup | None:
        return self.talk if tensor.device.type == "cpu" else None

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except RuntimeError as error:  # of many types, one per way of talking
            told = f"it ended, or did not answer for {self.patience} s; start all of them again: a `state` goes on"
            raise ProcessLost(f"process {self.rank} of {self.number} has lost another one: {told}") from error


class _Mean(torch.autograd.Function):
    """The mean of what every process has, for a loss that is the mean of every process's loss."""

    @staticmethod
    def forward(ctx, values: Tensor, several: Several) -> Tensor:
        ctx.several = several
        return several.sum(values.detach().clone(memory_format=torch.contiguous_format)).div_(several.number)

    @staticmethod
    def backward(ctx, *gradients: Tensor) -> tuple[Tensor, None]:
        return _Mean.apply(gradients[0], ctx.several), None  # which has a derivative, too


def _alike(tensors: Iterable[Tensor]) -> list[list[Tensor]]:
    """Tensors by device and type, those of a kind in one buffer: one message instead of hundreds."""
    groups: dict[tuple, list[Tensor]] = {}
    for tensor in tensors:
        groups.setdefault((tensor.device, tensor.dtype), []).append(tensor)
    return list(groups.values())


def _put_back(flat: Tensor, tensors: list[Tensor]) -> None:
    for tensor, values in zip(tensors, flat.split([t.numel() for t in tensors]), strict=True):
        tensor.copy_(values.view(tensor.shape))


@dataclass(frozen=True)
class Divided:
    """Batches that say how each of them is divided among processes.

    batches: from an epoch to its batches.
    part: how; None where nobody knows.
    """

    batches: Callable[[int], Iterable]
    part: Part | None

    def __call__(self, epoch: int) -> Iterable:
        """The batches of an epoch, whole."""
        return self.batches(epoch)


def parts(batches: Callable[[int], Iterable], epoch: int, team: Processes) -> Iterable:
    """What this process gets of an epoch's batches: all of them, each whole or in part. Raises `ParameterError`.

    batches: `Divided`, or a function from an epoch to tensors and tuples of tensors: see `divided`.
    epoch: which.
    team: the processes.
    """
    if team.number == 1:
        return batches(epoch)
    part = batches.part if isinstance(batches, Divided) else divided
    if part is None:
        raise ParameterError("on several processes a task needs a method part(batch, rank, number of processes)")
    return (part(batch, team.rank, team.number) for batch in batches(epoch))


def divided(batch: Tensor | Sequence[Tensor], rank: int, number: int) -> Tensor | tuple[Tensor, ...]:
    """Samples rank, rank + number, rank + 2 number ... of a batch. Raises `ParameterError` for one of uneven parts.

    batch: a tensor, or several of one length.
    rank: of the process, from 0.
    number: of processes.
    """
    tensors = [batch] if isinstance(batch, Tensor) else batch
    sizes = {len(t) if isinstance(t, Tensor) and t.ndim else -1 for t in tensors}
    if len(sizes) != 1 or -1 in sizes:
        raise ParameterError("on several processes a batch must be tensors of one length, or come from a task")
    if (size := sizes.pop()) % number:
        # equal parts alone make the mean of their losses that of the batch
        raise ParameterError(f"a batch of {size} makes no {number} equal parts: give {number} processes a multiple")
    own = tuple(t[rank::number] for t in tensors)
    return own[0] if isinstance(batch, Tensor) else own
