"""Checkers of notebook 09: canonical strings, exact counts, chained channels, budgets, ranks that combine proxies."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import scipy

from nasedu import spaces
from nasedu.course.checks import ask, exercise, expect, require
from nasedu.spaces.plainnet import CIFAR_SEED, Block

STRINGS = (
    "SuperConvK3BNRELU(3,8,1,1)",
    " SuperConvK3BNRELU( 3, 8 ,1,1 )\n SuperResK3K3(8,16,1,8,1) ",
    "SuperConvK3BNRELU(stem|3,8,1,1)SuperResK1K5K1(late-2|8,40,2,16,3)",
    "SuperConvK3BNRELU(03,+8,1,001)SuperConvK1BNRELU(8,100,1,1)",
    CIFAR_SEED,
)
BASICS = ((16, 16, 3, 8, 1), (16, 24, 3, 8, 1), (8, 40, 5, 16, 3), (64, 32, 7, 8, 2))  # c_in, c_out, k, bottleneck, L
CHAIN = (
    Block("SuperConvK3BNRELU", 3, 16, 1, 0, 1),
    Block("SuperResK3K3", 16, 40, 2, 8, 2),
    Block("SuperResK1K5K1", 40, 8, 1, 16, 1),
    Block("SuperConvK1BNRELU", 8, 96, 1, 0, 1),
)
WIDER = (
    (1, 2, 80),
    (1, 0.5, (16, 24)),
    (0, 1.25, (16, 24)),
    (2, 0.4, 8),
    (3, 2.5, 240),
    (1, 0.3, 16),
)  # i, ratio, width


@exercise("09.1", "one spelling for one network")
def check_canonical(canonical: Callable[[str], str]) -> None:
    """`canonical(text)`: the structure string without blanks and labels, its numbers in their shortest form."""
    space = spaces.create("plainnet")
    for text in STRINGS:
        got, right = canonical(text), space.format(space.parse(text))
        require(isinstance(got, str), f"a structure string is text, got {type(got).__name__}")
        became = f"{text if len(text) < 70 else text[:67] + '...'!r} became {got!r:.80}"
        require(not any(c.isspace() for c in got), f"there must be no blank left; {became}")
        require("|" not in got, f"a label, which ends at '|', must go, bar and all; {became}")
        kept = got.count("(") == right.count("(") and got.replace("0", "") == right.replace("0", "")
        require(kept, f"names, order and values of the numbers must stay; {became}")
        require(got == right, f"numbers are written without zeros in front or a plus: {right!r:.80}; {became}")
        require(canonical(got) == got, "a string that is canonical already must stay as it is")


@exercise("09.2", "exact parameters of a block")
def check_params(params: Callable[[int, int, int, int, int], int]) -> None:
    """`params(c_in, c_out, k, bottleneck, layers)` of a SuperResK*K*, as the built block has them."""
    space = spaces.create("plainnet")
    for c_in, c_out, k, narrow, layers in BASICS:
        block = Block(f"SuperResK{k}K{k}", c_in, c_out, 1, narrow, layers)
        true = space.kinds[block.name].cost(block, 8)[0].params
        got = params(c_in, c_out, k, narrow, layers)
        whole = isinstance(got, int | np.integer) and not isinstance(got, bool)
        require(whole, f"a count is a whole number, got {got!r}")
        hints = [(true + off, mistake) for off, mistake in _misses(c_in, c_out, k, narrow, layers)]
        expect(got, true, f"{spaces.plainnet.registry.show(block)} has {true:,} parameters, not {got:,}", hints)


def _misses(c_in: int, c_out: int, k: int, narrow: int, layers: int) -> tuple[tuple[int, str], ...]:
    """By how much a plausible count is off, and what it forgot."""
    vectors = layers * (narrow + c_out) + c_out  # of normalisation, one of its two
    projection = c_in * c_out + 3 * c_out
    widened = (layers - 1) * (c_in - c_out) * narrow * k * k
    return (
        (-vectors, "batch normalisation has two vectors, a weight and a bias: 2C parameters, not C"),
        (-2 * vectors, "the weight and the bias of every batch normalisation count as well"),
        (-c_out, "the projection's 1x1 convolution has a bias, unlike the others"),
        (-projection, "the first unit of a block always has a projection: a 1x1 convolution and its normalisation"),
        ((layers - 1) * projection, "only the first unit has a projection, the others add what came in"),
        (widened, "from the second unit on, a block's input has c_out channels"),
    )


@exercise("09.3", "a mutation that keeps the chain")
def check_widen(widen: Callable[[Sequence[Block], int, float], Sequence[Block]]) -> None:
    """`widen(blocks, i, ratio)`: block i of another width, a multiple of 8 from 8, and all channels still chained."""
    kept = "the blocks that were handed in must stay as they were"
    for i, ratio, width in WIDER:
        got = list(ask(widen, list(CHAIN), i, ratio, keep=kept))
        require(len(got) == len(CHAIN), f"{len(CHAIN)} blocks went in, {len(got)} came out")
        require(all(len(block) == 6 for block in got), "every block keeps its six values")
        got = [Block(*block) for block in got]
        new, was = got[i].c_out, f"{CHAIN[i].c_out} x {ratio}"
        require(new % 8 == 0, f"widths are multiples of 8: {was} became {new}")
        require(new >= 8, f"no block is narrower than 8 channels: {was} became {new}")
        require(new in np.atleast_1d(width), f"{was} must become {width}, the nearest multiple of 8, not {new}")
        right = list(CHAIN)
        right[i] = right[i]._replace(c_out=new)
        if i + 1 < len(CHAIN):
            require(got[i + 1].c_in == new, "the next block must take the new width, or the chain is broken")
            right[i + 1] = right[i + 1]._replace(c_in=new)
        require(got[0].c_in == 3, "an image has 3 channels, whatever is mutated")
        require(got == right, "nothing may change but block i's output and the next block's input")


@exercise("09.4", "within the budget")
def check_within(within: Callable[..., bool]) -> None:
    """`within(space, arch, params=None, macs=None, layers=None)`: is the network within every limit that is given?"""
    space = spaces.create("plainnet", num_classes=10)
    arch = space.validate(CHAIN)
    cost = space.cost(arch)
    exact = {"params": cost.params, "macs": cost.macs, "layers": space.depth(arch)}
    require(within(space, arch) is True, "without any limit everything is within the budget, and the answer is True")
    for metric, value in exact.items():
        require(within(space, arch, **{metric: value}), f"exactly at the limit of {metric} is still within it")
        above = f"one above the limit of {metric} is outside: it has {value:,} and {value - 1:,} are allowed"
        layers = " (layers are the sum of every block's L, not the number of blocks)" * (metric == "layers")
        require(not within(space, arch, **{metric: value - 1}), above + layers)
        others = {name: 10 * limit for name, limit in exact.items()} | {metric: value - 1}
        require(not within(space, arch, **others), "one limit that is broken is enough")
    require(within(space, arch, **exact), "a network at all three limits is within the budget")
    require(not within(space, arch, layers=0), "a limit of 0 is a limit: only None means that there is none")


@exercise("09.5", "log-rank with ties and failures")
def check_log_rank(log_rank: Callable[[np.ndarray], np.ndarray]) -> None:
    """`log_rank(scores)`: scores (n, k), higher is better, nan and -inf are failures; sums of ln(rank / n), (n,)."""
    plain = np.array([[1.0, 10.0], [2.0, 40.0], [3.0, 30.0], [4.0, 20.0]])
    got = np.asarray(log_rank(plain.copy()), float)
    require(got.shape == (4,), f"4 architectures have 4 sums, got the shape {got.shape}")
    best = log_rank(np.array([[5.0, 1.0], [7.0, 9.0]]))[1]
    expect(best, 0.0, "the best of all in every proxy has ranks of n, so its sum of ln(n/n) is 0")
    require(np.argmin(got) == 0, "1 is the rank of the worst: low scores in both columns must end lowest")
    expect(got, _log_rank(plain), f"the sums of ln(rank/n) must be {_log_rank(plain).round(3)}")
    stretched = np.column_stack([np.exp(plain[:, 0]), plain[:, 1] ** 3])
    expect(log_rank(stretched), got, "ranks do not change where a proxy is stretched: use no distances")
    tied, shared = np.array([[1.0], [2.0], [2.0], [3.0]]), "equal scores share the mean of their ranks"
    expect(log_rank(tied.copy()), _log_rank(tied), f"{shared}: two that stand at 2 and 3 both get 2.5")
    failed = np.array([[np.nan, 1.0], [-np.inf, 2.0], [5.0, 3.0], [-7.0, np.nan]])
    sums = np.asarray(ask(log_rank, failed, keep="the scores that were handed in must stay as they were"), float)
    require(np.isfinite(sums).all(), "a failure has the lowest rank: no sum may be nan or infinite")
    expect(sums, _log_rank(failed), "all failures of a column, nan and -inf alike, are one tie below all")


def _log_rank(scores: np.ndarray) -> np.ndarray:
    scores = np.where(np.isnan(scores), -math.inf, scores)
    return np.log(scipy.stats.rankdata(scores, axis=0) / len(scores)).sum(1)
