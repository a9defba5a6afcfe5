"""How a model runs while it is trained: compiled, or with blocks that run twice to keep less."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from functools import partial

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.checkpoint import checkpoint


@contextmanager
def compiled(model: nn.Module) -> Iterator[None]:
    """While the context is open, the model's forward is run by `torch.compile`: the same but for rounding."""
    with _instead(model, lambda forward: torch.compile(forward, dynamic=False)):
        yield


@contextmanager
def checkpointed(model: nn.Module, around: Callable[[], AbstractContextManager] = nullcontext) -> Iterator[None]:
    """While the context is open, every block keeps its inputs alone for the backward pass, and runs again in it.

    Blocks are the `parts` of a network of a space, else the direct children. A block that runs again draws what it
    drew, and leaves the running statistics of batch normalisation alone: they have seen the batch already.

    model: what is trained.
    around: makes a context that the first run is in; the backward pass is not, so it is opened there once more.
    """
    parts = getattr(model, "parts", None)
    blocks = list((parts if isinstance(parts, nn.ModuleDict) else model).children())
    with ExitStack() as open_:
        for block in blocks:
            run_twice = partial(partial, checkpoint, context_fn=_again(block, around), use_reentrant=False)
            open_.enter_context(_instead(block, run_twice))
        yield


@contextmanager
def _instead(module: nn.Module, wrap: Callable[[Callable], Callable]) -> Iterator[None]:
    """The module's forward as `wrap` has it; afterwards the one of its class is seen again."""
    module.forward = wrap(module.forward)
    try:
        yield
    finally:
        del module.forward


def _again(block: nn.Module, around: Callable[[], AbstractContextManager]) -> Callable[[], tuple]:
    """The contexts of a block's first run and of its second."""
    norms = [part for part in block.modules() if isinstance(part, _BatchNorm)]
    return lambda: (nullcontext(), _second_run(norms, around))


@contextmanager
def _second_run(norms: Sequence[_BatchNorm], around: Callable[[], AbstractContextManager]) -> Iterator[None]:
    kept = [(norm, norm.momentum, norm.num_batches_tracked) for norm in norms]
    for norm in norms:
        norm.momentum, norm.num_batches_tracked = 0.0, None
    try:
        with around():
            yield
    finally:
        for norm, momentum, batches in kept:
            norm.momentum, norm.num_batches_tracked = momentum, batches
