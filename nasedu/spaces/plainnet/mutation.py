"""How Zen-NAS changes a block: another type, width, bottleneck and number of layers; the stride stays.

Three rules: "uniform" draws from the distinct changes, as the paper says; "origin" as the authors' code does, where a
list that several types share names the first types more often; "shared_ratio" as Adlik's fork does.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache

import numpy as np

from nasedu.spaces.plainnet.families import HEAD, multiple_of_8
from nasedu.spaces.plainnet.registry import Block, PlainBlock

RATIOS = (2.5, 2, 1.5, 1.25, 1, 1 / 1.25, 1 / 1.5, 1 / 2, 1 / 2.5)
STEPS = (-2, -1, 0, 1, 2)
ADLIK_BOTTLENECK = 512  # the widest that the fork's mutation makes

Groups = Sequence[Sequence[PlainBlock]]


@lru_cache(maxsize=10_000)
def widths(channels: int, most: int) -> tuple[int, ...]:
    """The distinct widths that a mutation of `channels` can reach: multiples of 8 from 8 to `most`, ascending."""
    return tuple(sorted({multiple_of_8(min(most, max(8, channels * ratio))) for ratio in RATIOS}))


@lru_cache(maxsize=1000)
def depths(layers: int) -> tuple[int, ...]:
    """The numbers of layers that a mutation can reach: two more or fewer, at least 1."""
    return tuple(layers + step for step in STEPS if layers + step >= 1)


def origin_weights(sizes: Sequence[int]) -> list[float]:
    """How often the authors' code draws each type, in groups of these sizes; the first types most often.

    The code appends a group's list to the list of lists type by type, and goes on adding to the one it appended last.
    So type t of n (from 1) stands in n - max(t, 2) + 2 lists: of XXBL's 480 strings, 180 are distinct.
    """
    times = [n - max(t, 2) + 2 if n > 1 else 1 for n in sizes for t in range(1, n + 1)]
    return [time / sum(times) for time in times]


def change_frame(block: Block, rng: np.random.Generator, most: int, fixed_head: bool) -> Block:
    """A stem or head (a block that is not searched) of another width.

    block: what changes.
    rng: of the draws.
    most: the widest that is allowed, in channels.
    fixed_head: whether a 1x1 convolution keeps its width.
    """
    if fixed_head and block.name == HEAD:
        return block
    return block._replace(c_out=_pick(widths(block.c_out, most), rng))


def uniform(block: Block, groups: Groups, rng: np.random.Generator, most: int) -> Block:
    """One of the distinct changes, all alike in probability: they are a product, so each value is drawn on its own.

    block: what changes.
    groups: the searched kinds, as the authors' files group them.
    rng: of the draws.
    most: the widest that is allowed, in channels.
    """
    kinds = [kind for group in groups for kind in group]
    return _changed(block, _pick(kinds, rng), rng, most)


def origin(block: Block, groups: Groups, rng: np.random.Generator, most: int) -> Block:
    """As the authors' code: uniform but for the type, whose weights are those of `origin_weights`.

    block: what changes.
    groups: the searched kinds, as the authors' files group them.
    rng: of the draws.
    most: the widest that is allowed, in channels.
    """
    kinds = [kind for group in groups for kind in group]
    index = int(rng.choice(len(kinds), p=origin_weights([len(group) for group in groups])))
    return _changed(block, kinds[index], rng, most)


def shared_ratio(block: Block, groups: Groups, rng: np.random.Generator, most: int) -> Block:
    """As Adlik's fork: one ratio for the width and the bottleneck, and a step in layers.

    block: what changes.
    groups: the searched kinds, as the authors' files group them.
    rng: of the draws.
    most: the widest that is allowed, in channels.
    """
    kind, ratio = _pick([kind for group in groups for kind in group], rng), _pick(RATIOS, rng)
    c_out = multiple_of_8(min(most, block.c_out * ratio))
    narrow = multiple_of_8(min(ADLIK_BOTTLENECK, (block.bottleneck or block.c_out) * ratio))
    layers = max(1, block.layers + _pick(STEPS, rng))
    return Block(kind.name, block.c_in, c_out, block.stride, narrow * kind.has_bottleneck, layers)


RULES: dict[str, Callable[[Block, Groups, np.random.Generator, int], Block]] = {
    "uniform": uniform,
    "origin": origin,
    "shared_ratio": shared_ratio,
}


def _changed(block: Block, kind: PlainBlock, rng: np.random.Generator, most: int) -> Block:
    c_out, layers = _pick(widths(block.c_out, most), rng), _pick(depths(block.layers), rng)
    narrow = _pick(widths(block.bottleneck or block.c_out, most), rng) if kind.has_bottleneck else 0
    return Block(kind.name, block.c_in, c_out, block.stride, narrow, layers)


def _pick(values: Sequence, rng: np.random.Generator):
    return values[rng.integers(len(values))]


def rechanneled(blocks: Sequence[Block]) -> list[Block]:
    """The blocks with every input as wide as the output before it; the first one's stays."""
    chain = [blocks[0]]
    for block in blocks[1:]:
        chain.append(block if block.c_in == chain[-1].c_out else block._replace(c_in=chain[-1].c_out))
    return chain
