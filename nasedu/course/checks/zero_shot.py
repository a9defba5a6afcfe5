"""Checkers of notebook 09: what the Zen-score counts and how it is gamed, faults of mutations, ranks that combine."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from functools import cache

import numpy as np
import scipy
import torch

from nasedu import proxies, ranking, spaces
from nasedu.blocks import Conv, Residual
from nasedu.course.checks import Violation, ask, exercise, expect, number, require
from nasedu.errors import NaseduError
from nasedu.spaces.plainnet import CIFAR_SEED, Block, PlainArch, PlainNetSpace
from nasedu.spaces.plainnet.registry import PlainBlock

STEM, HEAD = "SuperConvK3BNRELU", "SuperConvK1BNRELU"
CLOSE = 0.97  # Spearman's ρ from which on two orders count as the same
SLACK = 0.5  # by how much a Zen-score may differ from the learner's, who drew other noise
CHAIN = (
    Block(STEM, 3, 16, 1, 0, 1),
    Block("SuperResK3K3", 16, 40, 2, 8, 2),
    Block("SuperResK1K5K1", 40, 8, 2, 16, 5),
    Block(HEAD, 8, 96, 1, 0, 1),
)


@exercise("09.1", "what the running average takes off")
def check_taken_off(taken_off: Callable[..., float]) -> None:
    """`taken_off(variance, passes, momentum)`: ½ ln of the batch's variance less ½ ln of the running one."""
    expect(number(taken_off(1.0, 5)), 0.0, "a variance of 1 is what the average started with: nothing is taken off")
    expect(number(taken_off(9.0, 3, 1.0)), 0.0, "at momentum 1 the average forgets at once: nothing is taken off")
    expect(number(taken_off(9.0, 0)), math.log(3.0), "before any pass the running variance is still 1")
    for variance, passes, momentum in ((100.0, 2, 0.1), (6.0, 1, 0.1), (0.2, 4, 0.3), (30.0, 2, 0.5)):
        kept, other = (1 - momentum) ** passes, momentum**passes
        whole = math.log(variance / (kept + (1 - kept) * variance))
        hints = [
            (whole, "the score adds half a logarithm of a variance, so half of this is taken off"),
            (-whole / 2, "positive where the running variance is below the batch's, negative where it is above"),
            (math.log(variance / (other + (1 - other) * variance)) / 2, "a pass keeps 1 - momentum of what was there"),
            (math.log(1 / (1 - kept)) / 2, "the average starts at 1, and what is left of that counts, too"),
            (math.log(variance / (1 - momentum * passes * (1 - variance))) / 2, "what is left shrinks with every pass"),
        ]
        what = f"variance {variance:g}, {passes} passes, momentum {momentum:g} take off {whole / 2:.4f}"
        expect(number(taken_off(variance, passes, momentum)), whole / 2, what, hints)


def _network(*blocks: Block, space: PlainNetSpace) -> PlainArch:
    """A stem as wide as the first of `blocks` takes, they, and a head."""
    return space.validate(
        (Block(STEM, 3, blocks[0].c_in, 1, 0, 1), *blocks, Block(HEAD, blocks[-1].c_out, 64, 1, 0, 1))
    )


def _zen(space: PlainNetSpace, arch: PlainArch) -> float:
    images, networks = torch.zeros(8, 3, 16, 16), [space.build(arch, seed=0) for _ in range(2)]
    return sum(proxies.score("zen", network, images, seed=seed) for seed, network in enumerate(networks)) / 2


def _convolutions(space: PlainNetSpace, arch: PlainArch) -> list[Conv]:
    parts = [part for block in arch for part in space.kinds[block.name].parts(block)]
    return [conv for part in parts for conv in (part.convs if isinstance(part, Residual) else (part,))]


def _families() -> Iterable[tuple[str, str, list[Block]]]:
    """Blocks to be ranked, with what they are and what a formula that fails on them lacks."""
    kinds, idw = ("SuperResK3K3", "SuperResK1K3K1", "SuperResK1K7K1"), "SuperResIDWE{}K{}"
    deep = [Block(kinds[1], 32, 32, 2, 8, n) for n in (1, 2, 3, 4, 5)]
    yield "equally wide networks", "every convolution adds a term", deep
    wide = [Block(kinds[0], c, c, 2, c // 2, 2) for c in (8, 16, 32, 64)]
    yield "equally deep networks", "an output that sums up more products varies more", wide
    large = [Block(f"SuperResK{k}K{k}", 16, 16, 1, 16, 2) for k in (3, 5, 7)]
    yield "networks of several kernels", "a kernel of k pixels a side has k x k products a channel", large
    grouped = [Block(idw.format(e, k), 16, 16, 1, 8, 3) for e, k in ((1, 3), (6, 3), (2, 7), (6, 7))]
    yield "networks with grouped convolutions", "an output sums up the channels of its own group only", grouped
    mixed = [Block(kind, c, c, 2, c // 2, n) for kind in kinds for c in (8, 48) for n in (1, 3)]
    sizes = ((16, 1), (8, 2), (64, 1), (8, 3), (256, 1), (8, 4))
    either = [Block(kinds[1], c, c, 2, c // 2, n) for c, n in sizes]
    yield "networks, deep and narrow or shallow and wide", "each convolution adds ½ ln of *half* its products", either
    yield "networks of all sorts", "logarithms of the products add up, not the products", mixed


@cache
def _families_with_scores() -> list[tuple[str, str, PlainNetSpace, list[PlainArch], list[float]]]:
    """The families as networks of a space, with their Zen-scores: a second answer need not wait for them."""
    found = []
    for what, lacking, blocks in _families():
        space = spaces.create("plainnet", blocks="idw" if "grouped" in what else "xxbl", num_classes=10)
        archs = [_network(block, space=space) for block in blocks]
        found.append((what, lacking, space, archs, [_zen(space, arch) for arch in archs]))
    return found


@exercise("09.2", "Zen without a network")
def check_formula(formula: Callable[[list[Conv]], float]) -> None:
    """`formula(convolutions)`: a number that ranks networks as their Zen-scores do."""
    for what, lacking, space, archs, zens in _families_with_scores():
        said = [number(formula(_convolutions(space, arch))) for arch in archs]
        require(np.isfinite(said).all(), f"the formula must give a finite number for {what}")
        rho = ranking.spearman(said, zens)
        found = "gives all the same number" if math.isnan(rho) else f"has ρ = {rho:.2f} with Zen"
        require(rho >= CLOSE, f"among {what} the formula {found}, not {CLOSE} or more: {lacking}")


@exercise("09.3", "same size, rising score")
def check_rising(rising: Callable[[], Sequence[str]]) -> None:
    """`rising()`: four structure strings of one size, each of a Zen-score by 3 above the one before."""
    space, texts = spaces.create("plainnet", num_classes=10), rising()
    listed = isinstance(texts, list | tuple) and all(isinstance(text, str) for text in texts)
    require(listed and len(texts) == 4, "the answer must be a list of four structure strings")
    try:
        archs = [space.parse(text) for text in texts]
    except NaseduError as error:
        raise Violation(f"every text must be a structure string: {error}") from None
    sizes = [space.cost(arch).params for arch in archs]
    require(max(sizes) <= 100_000, f"no network may have more than 100,000 parameters, one has {max(sizes):,}")
    layers = max(map(space.depth, archs))
    require(layers <= 10, f"no network may have more than 10 layers, one has {layers}")
    near = max(sizes) <= 1.1 * min(sizes)
    require(near, f"numbers of parameters must differ by at most a tenth: {min(sizes):,} to {max(sizes):,}")
    scores = [_zen(space, arch) for arch in archs]
    told = ", ".join(f"{score:.1f}" for score in scores)
    require(scores == sorted(scores), f"each must score higher than the one before: {told}")
    require(min(np.diff(scores)) >= 3 - SLACK, f"each must score higher than the one before by 3 or more: {told}")


def _swapped(arch: PlainArch) -> PlainArch:
    return (arch[0], arch[2], arch[1], arch[3])


def _changed(i: int, **values: int) -> Callable[[PlainArch], PlainArch]:
    """A mutation that changes values of block i alone."""
    return lambda arch: tuple(b._replace(**values) if j == i else b for j, b in enumerate(arch))


def _strides(*strides: int) -> Callable[[PlainArch], PlainArch]:
    """A mutation after which the blocks have these strides."""
    return lambda arch: tuple(b._replace(stride=s) for b, s in zip(arch, strides, strict=True))


def _halved(stride: int) -> Callable[[PlainArch], PlainArch]:
    """A mutation that makes two of block 2, the second with this stride."""

    def mutate(arch: PlainArch) -> PlainArch:
        first, second = arch[2]._replace(layers=3), arch[2]._replace(c_in=arch[2].c_out, layers=2, stride=stride)
        return (*arch[:2], first, second, *arch[3:])

    return mutate


MUTANTS = {  # what a mutation does, and what its child is
    "no change at all": (lambda arch: arch, ""),
    "one block more, whose second half has stride 1": (_halved(1), ""),
    "the strides 1, 2, 2, 1 moved to 2, 2, 1, 1": (_strides(2, 2, 1, 1), ""),
    "the strides 1, 2, 2, 1 made 1, 4, 1, 1": (_strides(1, 4, 1, 1), ""),
    "a block cut in two whose halves both keep stride 2": (_halved(2), "stride"),
    "a stride that got lost": (_changed(1, stride=1), "stride"),
    "a first block of stride 2": (_changed(0, stride=2), "stride"),
    "a last block of stride 2": (_changed(3, stride=2), "stride"),
    "the strides 1, 2, 2, 1 made 1, 3, 1, 1": (_strides(1, 3, 1, 1), "stride"),
    "a new width that the next block does not take": (_changed(1, c_out=48), "channels"),
    "a new width of the first block that the next does not take": (_changed(0, c_out=8), "channels"),
    "a last block that takes another width": (_changed(3, c_in=16), "channels"),
    "a first block that takes an image of 1 channel": (_changed(0, c_in=1), "channels"),
    "two blocks that changed places": (_swapped, "channels"),
}


@exercise("09.4", "a mutation with a fault")
def check_fault(fault: Callable[[PlainArch, PlainArch], str]) -> None:
    """`fault(parent, child)`: "channels", "stride" or "" for the children of sound mutations and of planted mutants."""
    for what, (mutate, want) in MUTANTS.items():
        got = ask(fault, CHAIN, mutate(CHAIN), keep="parent and child must stay as they were")
        require(isinstance(got, str), f'the answer is "channels", "stride" or "", got {type(got).__name__}')
        require(
            got == want, f"a child with {what} is {want!r}, not {got!r}" if want else f"{what} is sound, not {got!r}"
        )
    space, rng = spaces.create("plainnet"), np.random.default_rng(0)
    for parent in (CHAIN, space.parse(CIFAR_SEED)):
        for rule in ("uniform", "shared_ratio") * 20:
            got = fault(parent, space.mutate(parent, rng, replacements=2, rule=rule))
            require(got == "", f"the package's own mutation is sound, with more blocks, too; you say {got!r}")


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
    failed = np.array([[np.nan, 1.0], [-np.inf, 2.0], [np.inf, 3.0], [-1e12, np.nan]])
    sums = np.asarray(ask(log_rank, failed, keep="the scores that were handed in must stay as they were"), float)
    require(np.isfinite(sums).all(), "a failure has the lowest rank: no sum may be nan or infinite")
    expect(sums, _log_rank(failed), "all failures of a column, nan and -inf but not inf, are one tie below all")


def _log_rank(scores: np.ndarray) -> np.ndarray:
    scores = np.where(np.isnan(scores), -math.inf, scores)
    return np.log(scipy.stats.rankdata(scores, axis=0) / len(scores)).sum(1)


@exercise("09.6", "a block that games the score")
def check_cheap(cheap: Callable[..., Iterable[Residual]]) -> None:
    """`cheap(c_in, c_out, stride, layers)`: parts of a block with few parameters and a high Zen-score."""
    require(hasattr(cheap(32, 32, 1, 1), "__iter__"), "a block yields its parts, or returns them in a list")
    list(cheap(32, 32, 1, 1))  # what it raises is the answer's
    kind = PlainBlock("Answer", lambda c_in, c_out, stride, layers: cheap(c_in, c_out, stride, layers))
    known = Block("SuperResK3K3", 32, 32, 1, 32, 1)
    parts = {}
    for numbers in ((32, 32, 1, 1), (32, 32, 1, 3), (16, 40, 2, 2), (24, 24, 2, 1), (40, 8, 1, 2), (8, 24, 4, 1)):
        block = Block("Answer", *numbers[:3], 0, numbers[3])
        try:
            parts[numbers] = kind.parts(block)
        except NaseduError as error:
            raise Violation(str(error)) from None
        around = all(isinstance(part, Residual) for part in parts[numbers])
        require(around and len(parts[numbers]) >= numbers[3], "every layer is a Residual: convolutions and a shortcut")
        wide = all(any(conv.kernel > 1 for conv in part.convs) for part in parts[numbers])
        require(wide, "every layer must look at neighbouring pixels: a kernel larger than 1")
    space = spaces.create("plainnet", blocks=[kind, known.name], num_classes=10)
    mine = Block("Answer", 32, 32, 1, 0, 1)
    one, three, theirs = (space.kinds[b.name].cost(b, 16)[0].params for b in (mine, mine._replace(layers=3), known))
    require(three > one, f"more layers must cost more: 1 has {one:,} parameters, 3 have {three:,}")
    most = f"at most a quarter of SuperResK3K3's {theirs:,} parameters"
    require(one <= theirs / 4, f"with 32 channels and one layer it must have {most}, not {one:,}")
    gain = _zen(space, _network(mine, space=space)) - _zen(space, _network(known, space=space))
    require(gain >= 3 - SLACK, f"the network must score 3 or more above SuperResK3K3's, got {gain:+.1f}")
