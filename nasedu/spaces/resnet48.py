"""The ResNet48 ranking space of the CVPR 2022 NAS competition, track 1: basic blocks of elastic width and depth.

Four stages of basic blocks (He et al. 2016): how many run, and the width of every convolution, are decided. All blocks
of a stage end in one width, because each adds its input to its output; the first stage's is the stem's. With this tie
every architecture is a network that can be built, and there are prod_s sum_d 7 * 7^d of them. The organisers' rules
count one width per block, and a code of its own for each of the 47 convolutions would give
5694125374069829247196409708843857000000 strings, most of which describe no network.

An architecture is written in digits: the resolution (1: 224 px), four depths, the stem's width, then two digits for the
convolutions of every block, 00 for one that is not there. Codes 1 to 7 are the ratios 1, .95 ... .7.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType

from torch import nn

from nasedu.blocks import Classifier
from nasedu.blocks.basic import BasicBlock, Stem
from nasedu.errors import ArchitectureError, ParameterError, check_kind, check_name, check_number
from nasedu.spaces.base import Arch, Decision, SearchSpace, Slot
from nasedu.spaces.macro import Options, Published, make_divisible
from nasedu.supernet.residual import ElasticBasicBlock, ElasticClassifier, ElasticStem

BLOCKS, CHANNELS, FEWEST = (5, 5, 8, 5), (64, 128, 256, 512), 2  # per stage the most blocks and channels; fewest blocks
RATIOS = ("1", "0.95", "0.9", "0.85", "0.8", "0.75", "0.7")
ACTIVATIONS = ("relu", "prelu", "swish", "mish", "selu")  # after the sum; between the convolutions it is a ReLU

PUBLISHED = {
    "largest": Published(
        "1" + "5585" + "1" * 47,
        5_282_238_464,
        34_043_688,
        "CVPR 2022 NAS competition, track 1: the full supernet; 5,292,349,440 by Paddle's counter",
    ),
    "the README's": Published(
        "348311131310000332323230014143424241434543757770000",
        3_254_345_728,
        16_208_808,
        "the 51-digit example of the organisers' baseline, without the resolution; counts are ours",
    ),
}


@dataclass(frozen=True)
class Plan:
    """A block's channels: what it reads, has inside and returns, or that it is not there."""

    c_in: int
    hidden: int
    c_out: int
    there: bool = True

    def make(self, stride: int, act: str) -> nn.Module:
        """The stand-alone block."""
        return BasicBlock(self.c_in, self.hidden, self.c_out, stride, act) if self.there else nn.Identity()


@dataclass(frozen=True)
class Wide:
    """The channels that a stem makes, or a classifier reads."""

    c_in: int


class ResNet48Space(SearchSpace):
    """Depths of four stages, a width for each of them and one inside every block; see the module's docstring.

    pool: whether the stem ends in a pool, as published.
    options: those of `spaces.macro.Options`. `width` scales every published number of channels (to the nearest whole
        one), `depth` the most blocks of a stage, of which 2 are always there; `activation` is the one after the sum:
        relu, prelu, swish, mish or selu. There is no squeeze-and-excitation.

    Raises `ParameterError` and `UnknownName`.
    """

    name = "resnet48"
    course = MappingProxyType({"width": 0.0625, "depth": 1.0, "pool": False})  # all published strings fit, in small

    def __init__(self, *, pool: bool = True, **options):
        self.options, self.pool = Options(**options), check_kind("pool", pool, bool, "True or False")
        self.act = check_name("activation of resnet48", self.options.activation or "relu", ACTIVATIONS)
        if self.options.squeeze_excite:
            raise ParameterError("resnet48 has no squeeze-and-excitation")
        check_number("depth of resnet48, whose strings have room for the published blocks,", self.options.depth, most=1)
        self.input_shape = self.options.input_shape
        self.blocks = [max(FEWEST, math.ceil(n * self.options.depth - 1e-9)) for n in BLOCKS]
        self.widths = [[self._channels(c, ratio) for ratio in RATIOS] for c in CHANNELS]
        self.layers = list(self._layers())

    def _channels(self, published: int, ratio: str) -> int:
        return max(1, round(make_divisible(published * float(ratio)) * self.options.width))

    def format(self, arch: Arch) -> str:
        """The 52 digits of an architecture."""
        chosen = {d.name: i for d, i in zip(self.decisions, self.validate(arch), strict=True)}
        depths = [FEWEST + chosen.get(f"depth{s}", 0) for s in range(1, 5)]  # 2 may be all there are
        text = "1" + "".join(map(str, depths)) + str(1 + chosen["width1"])
        for s, (most, depth) in enumerate(zip(BLOCKS, depths, strict=True), 1):
            codes = [f"{1 + chosen[f'inside{s}_{b}']}{1 + chosen[f'width{s}']}" for b in range(1, depth + 1)]
            text += "".join(codes) + "00" * (most - depth)
        return text

    def parse(self, text: str) -> Arch:
        """Read 52 digits, or 51 without the resolution. Raises `ArchitectureError`."""
        text = self._text(text).strip()
        if not re.fullmatch("[0-9]{51,52}", text):
            what = f"{len(text)} characters, {text[:60]!r}" if text else "nothing"
            raise ArchitectureError(f"an architecture of {self.name} is 52 digits, or 51 without the first, got {what}")
        digits = [int(digit) for digit in text[-51:]]
        if len(text) == 52 and text[0] != "1":
            raise ArchitectureError(f"digit 1 of 52 is the resolution, 1 for 224 px, got {text[0]}")
        chosen = {"width1": self._code(digits[4], "the stem")}
        at = 5
        for s, most in enumerate(BLOCKS, 1):
            chosen |= self._stage(
                s, digits[s - 1], list(zip(*[iter(digits[at : at + 2 * most])] * 2, strict=True)), chosen
            )
            at += 2 * most
        return self.canonical([chosen.get(d.name, 0) for d in self.decisions])

    def _stage(self, s: int, depth: int, codes: list[tuple[int, int]], chosen: dict[str, int]) -> dict[str, int]:
        """What the digits of one stage decide. Raises `ArchitectureError`."""
        most = self.blocks[s - 1]
        if not FEWEST <= depth <= most:
            raise ArchitectureError(f"stage {s} has {FEWEST} to {most} blocks, the string says {depth}")
        if any(any(pair) for pair in codes[depth:]):
            raise ArchitectureError(f"stage {s} has {depth} blocks: the digits of those that are not there must be 0")
        found = {f"depth{s}": depth - FEWEST}
        for b, (inside, out) in enumerate(codes[:depth], 1):
            found[f"inside{s}_{b}"] = self._code(inside, f"convolution 1 of block {b} in stage {s}")
            width = self._code(out, f"convolution 2 of block {b} in stage {s}")
            tied = chosen.get(f"width{s}", found.get(f"width{s}", width))
            if width != tied:
                told = "the stem and all blocks of stage 1" if s == 1 else f"all blocks of stage {s}"
                raise ArchitectureError(f"{told} end in one width, whose code is {tied + 1}; block {b} has {width + 1}")
            found[f"width{s}"] = width
        return found

    def _code(self, digit: int, where: str) -> int:
        if not 1 <= digit <= len(RATIOS):
            raise ArchitectureError(f"{where} has a width of code 1 to {len(RATIOS)}, got {digit}")
        return digit - 1

    def _layers(self) -> Iterator[Slot]:
        """Stem, blocks and classifier: every one has decisions."""
        width = Decision("width1", RATIOS)
        settings = {"stride": self.options.stem_stride, "pool": self.pool}
        yield Slot(
            "stem",
            lambda i, widths=self.widths[0]: Stem(widths[i], **settings),
            decisions=(width,),
            make_elastic=partial(ElasticStem, self.widths[0], **settings),
        )
        for s in range(1, 5):
            before, width = width, Decision(f"width{s}", RATIOS)
            depth = Decision(f"depth{s}", tuple(str(n) for n in range(FEWEST, self.blocks[s - 1] + 1)))
            for b in range(1, self.blocks[s - 1] + 1):
                yield self._block(s, b, before if b == 1 < s else None, depth if b > FEWEST else None, width)
        wide, classes = self.widths[-1], self.options.num_classes
        yield Slot(
            "classifier",
            lambda i: Classifier(wide[i], classes),
            decisions=(width,),
            make_elastic=partial(ElasticClassifier, wide, classes),
            plan=lambda i: Wide(wide[i]),
        )

    def _block(self, s: int, b: int, before: Decision | None, depth: Decision | None, width: Decision) -> Slot:
        """Block b of stage s: `before` is the width that it reads where that is another stage's."""
        after, wide = b - FEWEST, self.widths[s - 1]
        read = self.widths[s - 2] if before else wide
        inside = Decision(f"inside{s}_{b}", RATIOS, (depth.name, after) if depth else None)
        stride = 2 if before else 1

        def plan(*option: int) -> Plan:
            *others, i, j = option
            c_in = read[others.pop()] if before else wide[j]
            there = not others or others[0] >= after
            return Plan(c_in, wide[i], wide[j]) if there else Plan(c_in, 0, wide[j], False)

        decisions = [d for d in (depth, before, inside, width) if d]
        elastic = partial(ElasticBasicBlock, read, wide, wide, stride, self.act, reads=bool(before))
        return Slot(
            f"stage{s}_{b}",
            lambda *option: plan(*option).make(stride, self.act),
            decisions=tuple(decisions),
            make_elastic=partial(elastic, after=after) if depth else elastic,
            plan=plan,
        )
