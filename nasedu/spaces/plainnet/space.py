"""PlainNet, the space of Zen-NAS: a network is a chain of blocks, written as a structure string.

M. Lin et al., "Zen-NAS", ICCV 2021, section 5; the authors' MasterNet: blocks, global average, linear. An architecture
is a tuple of `Block`, not a list of decisions: there is no supernet, and no end to the number of architectures.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cached_property, partial
from typing import NamedTuple

import numpy as np
from torch import nn

from nasedu.blocks import Classifier, Cost, Residual, plain_modules
from nasedu.errors import (
    ArchitectureError,
    ParameterError,
    UnknownName,
    brief,
    check_kind,
    check_name,
    check_number,
    check_whole,
)
from nasedu.files import content_hash
from nasedu.randomness import initialised
from nasedu.spaces.base import MOST_CLASSES, MOST_PIXELS, Layer, Network
from nasedu.spaces.plainnet import mutation
from nasedu.spaces.plainnet.families import BASIC, BOTTLENECKS, HEAD, INVERTED, STEMS
from nasedu.spaces.plainnet.grammar import Call, check_word, read
from nasedu.spaces.plainnet.registry import KINDS, Block, PlainBlock, checked, is_published, show

PlainArch = tuple[Block, ...]

MOST_BLOCKS, MOST_LAYERS, MOST_CHANNELS, MOST_STRIDE = 500, 1000, 65_536, 8
MOST_SEEN = 100_000
SMALLEST = 8  # channels that mutation goes down to
LARGEST_MAP = 4  # px; random networks halve the map until one more time would leave fewer
RANDOM_BLOCKS, RANDOM_WIDTHS, RANDOM_LAYERS = (4, 8), (8, 120), (1, 2)  # between stem and head: Adlik's ranges


class BlockSet(NamedTuple):
    """A published choice of blocks: in the `groups` of the authors' files, with the limits that stand there."""

    groups: tuple[tuple[str, ...], ...]
    max_channels: int
    fixed_head: bool


SETS = {
    "xxbl": BlockSet((BOTTLENECKS, BASIC), 2048, False),
    "idw": BlockSet((INVERTED,), MOST_CHANNELS, True),
}


class PlainNetSpace:
    """Chains of blocks; see the module's docstring. Raises `ParameterError`, `UnknownName`.

    blocks: "xxbl" (6 residual types), "idw" (12 inverted ones), or a list of registered names.
    input_size: height and width of the image, in pixels.
    num_classes: the number of classes.
    squeeze_excite: whether squeeze-and-excitation follows each block's marked convolutions.
    max_channels: the widest that mutation makes; None is the published value.
    fixed_head: whether a 1x1 convolution keeps its width in mutation; None is the published value.
    split: the number of layers from which a mutated block becomes two.

    A learner's own block is sent along with the space by its function. cloudpickle (Dask) sends the function itself;
    plain pickle (`ProcessPoolExecutor`) its name only, so that a worker must be able to import it: define it in a
    module, not in the notebook or script itself, or the pool breaks.
    """

    name = "plainnet"
    size = math.inf  # the number of architectures

    def __init__(
        self,
        *,
        blocks: str | Sequence[str | PlainBlock] = "xxbl",
        input_size: int = 32,
        num_classes: int = 100,
        squeeze_excite: bool = False,
        max_channels: int | None = None,
        fixed_head: bool | None = None,
        split: int = 6,
    ):
        groups, most, fixed = _block_set(blocks)
        self.groups = tuple(tuple(checked(k) if isinstance(k, PlainBlock) else KINDS[k] for k in g) for g in groups)
        self.searched = {kind.name: kind for group in self.groups for kind in group}
        self.kinds = {name: KINDS[name] for name in STEMS} | self.searched
        self.max_channels = most if max_channels is None else max_channels
        self.fixed_head = fixed if fixed_head is None else fixed_head
        self.input_size, self.num_classes, self.threshold = input_size, num_classes, split
        self.squeeze_excite = squeeze_excite
        self._seen: dict[Block, Block] = {}  # blocks that were found to be valid
        check_whole("num_classes", num_classes, 1, MOST_CLASSES)
        check_whole("input_size", input_size, 8, MOST_PIXELS)
        check_whole("max_channels", self.max_channels, SMALLEST, MOST_CHANNELS)
        check_whole("split", split, 2, MOST_LAYERS)
        for name in ("squeeze_excite", "fixed_head"):
            check_kind(name, getattr(self, name), bool, "True or False")
        self.input_shape = (3, input_size, input_size)
        sent = tuple(name for name in self.searched) if all(map(is_published, self.searched.values())) else None
        self._made = {
            "blocks": blocks if isinstance(blocks, str) else sent or tuple(self.searched.values()),
            "input_size": input_size,
            "num_classes": num_classes,
            "squeeze_excite": squeeze_excite,
            "max_channels": self.max_channels,
            "fixed_head": self.fixed_head,
            "split": split,
        }

    def __reduce__(self):
        # blocks of a learner's own are sent, as pickle sends functions: another process may not have registered them
        return partial(PlainNetSpace, **self._made), ()

    @cached_property
    def fingerprint(self) -> str:
        """A content hash of what is searched: blocks, by their convolutions, and options (16 hex digits)."""
        probe = [[k.name, k.parts(Block(k.name, 16, 32, 2, 8 * k.has_bottleneck, 2))] for k in self.searched.values()]
        return content_hash([self.name, probe, {k: v for k, v in self._made.items() if k != "blocks"}])

    def parse(self, text: str) -> PlainArch:
        """Read a structure string. Raises `ArchitectureError` or `UnknownName`, with the place of what is wrong."""
        return self.validate([self._block(call) for call in read(text)])

    def format(self, arch: Sequence) -> str:
        """The structure string of `arch`, in its canonical form: no blanks, no labels. `parse` reads it back."""
        return "".join(map(show, self.validate(arch)))

    in_line = format  # a structure string has one line

    def validate(self, arch: Sequence) -> PlainArch:
        """Return `arch` as a tuple of `Block`. Raises `ArchitectureError` when it is none of this space's."""
        if isinstance(arch, str) or not isinstance(arch, Sequence) or not 1 <= len(arch) <= MOST_BLOCKS:
            raise ArchitectureError(f"an architecture of {self.name} is 1 to {MOST_BLOCKS} blocks, got {brief(arch)}")
        channels, chain = 3, []
        for number, values in enumerate(arch, 1):
            block = self._checked(values, number)
            if block.c_in != channels:
                source = f"block {number - 1} has" if number > 1 else "the image has"
                raise ArchitectureError(
                    f"block {number}, {show(block)}, takes {block.c_in} channels: {source} {channels}"
                )
            chain.append(block)
            channels = block.c_out
        return tuple(chain)

    def depth(self, arch: Sequence) -> int:
        """The number of layers: the sum of every block's L, which the published layer budgets bound."""
        return sum(block.layers for block in self.validate(arch))

    def cost(self, arch: Sequence) -> Cost:
        """Exact multiply-accumulates and parameters of `build(arch)`, in closed form: nothing is allocated."""
        arch = self.validate(arch)
        total, size = Cost(0, 0), self.input_size
        for block in arch:
            cost, size = self.kinds[block.name].cost(block, size, self.squeeze_excite)
            total += cost
        weights = arch[-1].c_out * self.num_classes
        return total + Cost(weights, weights + self.num_classes)

    def build(self, arch: Sequence, seed: int | None = None, *, residual: bool = True) -> Network:
        """The network of `arch`.

        arch: an architecture of this space.
        seed: of the initialisation, as in `SearchSpace.build`.
        residual: False adds no shortcuts.

        Its attributes `depths` (residual units per super-block that has any; None where none has) and `depths_skipped`
        are what the proxy "deepmad_entropy" takes for uneven depths.
        """
        arch = self.validate(arch)
        parts: dict[str, nn.Module] = {}
        with initialised(seed):
            for number, block in enumerate(arch, 1):
                parts[f"{number}_{block.name}"] = self.block(block)
            parts["classify"] = Classifier(arch[-1].c_out, self.num_classes)
        network = Network([Layer(name, nn.Identity) for name in parts], parts, {})
        for part in network.modules():
            if hasattr(part, "residual"):
                part.residual = residual
        units = (sum(isinstance(p, Residual) for p in self.kinds[b.name].parts(b)) for b in arch)
        network.depths = [n for n in units if n] or None
        # Incorporated-NAS leaves the first bottleneck or basic block out, and after a first bottleneck the second
        second = arch[1].name if len(arch) > 1 else ""
        network.depths_skipped = 2 if second in BOTTLENECKS else int(second in BASIC)
        return network

    def block(self, block: Block) -> nn.Module:
        """The module of one block, freshly initialised."""
        return plain_modules(self.kinds[block.name].parts(block), self.squeeze_excite)

    def mutate(
        self,
        arch: Sequence,
        rng: np.random.Generator,
        p: float | None = None,
        *,
        replacements: int = 1,
        rule: str = "uniform",
    ) -> PlainArch:
        """Replace random blocks. Neighbours take the new widths; blocks of `split` or more layers become two.

        arch: the parent.
        rng: of the draws.
        p: the probability that a block is replaced, and at least one is; None goes by `replacements`.
        replacements: how many blocks are drawn; one that is drawn twice is replaced once.
        rule: one of `mutation.RULES`; else raises `UnknownName`.
        """
        fixed, blocks = self._keeps_head(rule), list(self.validate(arch))
        check_whole("replacements", replacements, 0, MOST_BLOCKS)
        check_kind("rng of a mutation", rng, np.random.Generator, "a numpy.random.Generator")
        if p is not None:
            check_number("p, a probability,", p, most=1)
        drawn = [int(i) for i in rng.integers(len(blocks), size=replacements)]
        if p is not None:
            drawn = np.flatnonzero(rng.random(len(blocks)) < p).tolist() or drawn[:1]
        for i in dict.fromkeys(drawn):
            if blocks[i].name in self.searched:
                blocks[i] = mutation.RULES[rule](blocks[i], self.groups, rng, self.max_channels)
            else:
                blocks[i] = mutation.change_frame(blocks[i], rng, self.max_channels, fixed)
        return self.split(mutation.rechanneled(blocks))

    def split(self, arch: Sequence) -> PlainArch:
        """Every searched block of `threshold` or more layers as two: half the threshold, then the rest at stride 1.

        At 6, L layers become 3 + (L - 3). (The authors' code makes 3 + 3 of 7, and so loses a layer.)
        """
        blocks, first = [], self.threshold // 2
        for block in arch:
            while block.name in self.searched and block.layers >= self.threshold:
                blocks.append(block._replace(layers=first))
                block = block._replace(c_in=block.c_out, stride=1, layers=block.layers - first)
            blocks.append(block)
        return tuple(blocks)

    def sample(self, rng: np.random.Generator) -> PlainArch:
        """A random network: stem, 4 to 8 searched blocks, head; narrow, and with a stride wherever one still fits.

        The ranges are Adlik's, but the number of strides suits the input size: its own divides by 32 at any.
        """
        halvings = max(0, int(math.log2(self.input_size / LARGEST_MAP)))
        number = int(rng.integers(RANDOM_BLOCKS[0], RANDOM_BLOCKS[1] + 1))
        stem = int(self.input_size >= 64)
        strided = set(rng.permutation(number)[: halvings - stem].tolist())
        kinds = list(self.searched.values())
        blocks = [Block(STEMS[1], 3, _width(rng), 1 + stem, 0, 1)]
        for i in range(number):
            kind = kinds[rng.integers(len(kinds))]
            narrow = _width(rng) * kind.has_bottleneck
            layers = int(rng.integers(RANDOM_LAYERS[0], RANDOM_LAYERS[1] + 1))
            blocks.append(Block(kind.name, 0, _width(rng), 1 + (i in strided), narrow, layers))
        blocks.append(Block(HEAD, 0, _width(rng), 1, 0, 1))
        return self.split(mutation.rechanneled(blocks))

    def smallest(self, arch: Sequence, metric: str = "params", rule: str = "uniform") -> PlainArch:
        """The cheapest descendant of `arch`, for mutation keeps number and strides of blocks. Raises `UnknownName`.

        arch: the ancestor; a block that starts below 8 channels counts with as few, since it may stay.
        metric: "params" or "macs".
        rule: that of `mutate`: "shared_ratio" does not keep a fixed head.
        """
        blocks, size = [], self.input_size
        channels, fixed = 3, self._keeps_head(rule)
        for block in self.validate(arch):
            least = min(SMALLEST, block.c_out)
            if block.name in self.searched:
                narrow = min(SMALLEST, block.bottleneck or SMALLEST)
                options = [
                    Block(kind.name, channels, least, block.stride, narrow * kind.has_bottleneck, 1)
                    for kind in self.searched.values()
                ]
            else:
                kept = fixed and block.name == HEAD
                options = [block._replace(c_in=channels, c_out=block.c_out if kept else least)]
            priced = [(self.kinds[b.name].cost(b, size, self.squeeze_excite), b) for b in options]
            (_, size), cheapest = min(priced, key=lambda entry: getattr(entry[0][0], metric))
            blocks.append(cheapest)
            channels = cheapest.c_out
        return tuple(blocks)

    def _keeps_head(self, rule: str) -> bool:
        """Whether mutation by `rule` leaves a 1x1 convolution's width alone. Raises `UnknownName`."""
        return check_name("mutation rule", rule, mutation.RULES) != "shared_ratio" and self.fixed_head

    def _block(self, call: Call) -> Block:
        """A written block as a `Block`."""
        try:
            kind = self._kind(call.name)
        except UnknownName as error:
            raise UnknownName(f"at character {call.at}: {error}") from None
        names = list(kind.arguments)
        if len(call.arguments) != len(names):
            raise ArchitectureError(
                f"at character {call.at}: {call.name} takes {len(names)} numbers ({', '.join(names)}), "
                f"got {len(call.arguments)} arguments"
            )
        for name, value in zip(names, call.arguments, strict=True):
            if value < 1:
                raise ArchitectureError(
                    f"at character {call.at}: {name} of {call.name} must be at least 1, got {value}"
                )
        return Block(call.name, **{"bottleneck": 0} | dict(zip(names, call.arguments, strict=True)))

    def _kind(self, name: object) -> PlainBlock:
        """A block of this space, by name. Raises `UnknownName`."""
        name = str(name)[:60]
        if name in KINDS and name not in self.kinds:
            raise UnknownName(f"block {name} is not one of this space's: {', '.join(self.kinds)}")
        return self.kinds[check_word("block", name, self.kinds)]

    def _checked(self, values: Sequence, number: int) -> Block:
        """One block's values within their limits. Raises `ArchitectureError`, `UnknownName`."""
        if type(values) is Block and values in self._seen:  # a search asks for the same blocks over and over
            return self._seen[values]
        if not isinstance(values, Sequence) or isinstance(values, str) or len(values) != len(Block._fields):
            raise ArchitectureError(f"block {number} is ({', '.join(Block._fields)}), got {brief(values)}")
        name, *numbers = values
        kind = self._kind(name)
        if not all(isinstance(value, int | np.integer) and not isinstance(value, bool) for value in numbers):
            raise ArchitectureError(f"block {number} is a name and whole numbers, got {brief(values)}")
        block = Block(name, *map(int, numbers))
        limits = {"c_in": MOST_CHANNELS, "c_out": MOST_CHANNELS, "stride": MOST_STRIDE, "layers": MOST_LAYERS}
        for field, most in limits.items():
            if not 1 <= getattr(block, field) <= most:
                value = getattr(block, field)
                raise ArchitectureError(f"block {number}: {field} of {name} must be from 1 to {most}, got {value}")
        if kind.has_bottleneck != (0 < block.bottleneck <= MOST_CHANNELS) or block.bottleneck < 0:
            allowed = f"from 1 to {MOST_CHANNELS}" if kind.has_bottleneck else "0"
            raise ArchitectureError(f"block {number}: bottleneck of {name} must be {allowed}, got {block.bottleneck}")
        kind.parts(block)
        if len(self._seen) >= MOST_SEEN:
            self._seen.clear()
        return self._seen.setdefault(block, block)


def _block_set(blocks: str | Sequence[str | PlainBlock]) -> BlockSet:
    """The groups of block names or kinds that `blocks` stands for."""
    if isinstance(blocks, str):
        return SETS[check_name("set of blocks", blocks, SETS)]
    if not isinstance(blocks, Sequence):
        raise ParameterError(f"blocks are the name of a set or a list of block names, got {brief(blocks)}")
    names = [kind.name if isinstance(kind, PlainBlock) else check_name("block", kind, KINDS) for kind in blocks]
    if not names or len(set(names)) != len(names) or set(names) & set(STEMS):
        raise ParameterError(f"blocks are different names, none of them {STEMS[0]} and the like, got {brief(names)}")
    return BlockSet((tuple(blocks),), 2048, False)


def _width(rng: np.random.Generator) -> int:
    return 8 * int(rng.integers(RANDOM_WIDTHS[0] // 8, RANDOM_WIDTHS[1] // 8 + 1))
