"""Networks whose initial weights depend on a seed alone."""

from __future__ import annotations

from torch import nn

from nasedu.randomness import seeded
from nasedu.spaces.base import Arch, SearchSpace


def build_seeded(space: SearchSpace, arch: Arch | None, seed: int) -> nn.Module:
    """`space.build(arch)`, or the supernet for None, with weights that depend on `seed` alone."""
    with seeded(seed):
        return space.supernet() if arch is None else space.build(arch)
