"""PyTorch's global random state, borrowed for a while and given back."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import torch

_turn = threading.RLock()


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
