"""Where randomness comes from: streams by name, and PyTorch's global random state borrowed for a while."""

from __future__ import annotations

import hashlib
import json
import operator
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch

_turn = threading.RLock()


def stream(seed: int, *purpose: str | int) -> torch.Generator:
    """A generator on the CPU for one purpose: `stream(seed, "paths", epoch)`.

    The same seed and purpose give the same draws, whatever ran before; others give draws that have nothing in common
    with them, even where seed and epoch are neighbours. Raises `TypeError` for a seed that is no whole number.
    """
    return torch.Generator().manual_seed(_number(seed, purpose, 63))


def rng(seed: int, *purpose: str | int) -> np.random.Generator:
    """NumPy's generator for one purpose; see `stream`."""
    return np.random.default_rng(_number(seed, purpose, 128))


def _number(seed: int, purpose: tuple, bits: int) -> int:
    text = json.dumps([part if isinstance(part, str) else operator.index(part) for part in (seed, *purpose)])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()) >> (256 - bits)


@contextmanager
def seeded(seed: int, device: torch.device | str = "cpu") -> Iterator[None]:
    """The global random state set to `seed` while the context is open, and as it was afterwards.

    For code that draws from nothing else: PyTorch's initialisation, dropout, torchvision's augmentations. The state is
    one for the whole process, so threads take turns. `device` is the accelerator whose state is meant as well.
    """
    device = torch.device(device)
    cuda = device.type == "cuda"
    with _turn, torch.random.fork_rng(devices=[device] if cuda else []):
        torch.default_generator.manual_seed(seed)  # torch.manual_seed would change the state of every accelerator
        if cuda:
            with torch.cuda.device(device):
                torch.cuda.manual_seed(seed)
        yield


class Turns:
    """PyTorch's global random state as the layers of a training see it in one epoch: seeded anew for every step.

    Threads take turns at it, unless the epoch's first step drew nothing: then the others run without.

    seed: of the training.
    epoch: which.
    device: the accelerator whose state is meant as well.
    own: what else names the draws: a process's number.
    """

    def __init__(self, seed: int, epoch: int, device: torch.device, own: tuple[int, ...] = ()):
        self.named, self.own, self.device, self.needed = (seed, "layers", epoch), own, device, True

    @contextmanager
    def step(self, i: int) -> Iterator[None]:
        """While step i runs."""
        if not self.needed:
            yield
            return
        with seeded(stream(*self.named, i, *self.own).initial_seed(), self.device):
            before = self._states()
            yield
            self.needed = i > 0 or not all(map(torch.equal, before, self._states()))

    def _states(self) -> list[torch.Tensor]:
        on_cuda = self.device.type == "cuda"
        return [torch.get_rng_state()] + ([torch.cuda.get_rng_state(self.device)] if on_cuda else [])


@contextmanager
def initialised(seed: int | None) -> Iterator[None]:
    """Modules made while the context is open get weights that depend on `seed` alone; None leaves chance as it is.

    On an accelerator (`with torch.device("cuda"):` around it) they are drawn there, and differ from the CPU's.
    """
    if seed is None:
        yield
        return
    with seeded(_number(seed, ("weights",), 63), torch.get_default_device()):
        yield
