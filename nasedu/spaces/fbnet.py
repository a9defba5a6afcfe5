"""FBNet's space: 22 blocks that choose kernel, expansion and groups, or are skipped (tables 1 and 2).

Choices are named as in the paper without underscores: `k3e1g2` is k3_e1_g2. The paper wins where public codes differ:
expansion 1 keeps its first convolution, and a grouped convolution is followed by a channel shuffle; options reproduce
the others. A skip at a place that changes the shape is a 1x1 projection, as in the authors' code (mobile-vision).
"""

from __future__ import annotations

from functools import partial

from nasedu.blocks import FBNetBlock, skip
from nasedu.errors import check_kind, check_name
from nasedu.spaces.macro import MacroSpace, Outline, Place, Published, Stage

HEADS = {"small": 1504, "large": 1984}
STAGES = (
    Stage(16, 1, 1),
    Stage(24, 4, 2),
    Stage(32, 4, 2),
    Stage(64, 4, 2),
    Stage(112, 4, 1),
    Stage(184, 4, 2),
    Stage(352, 1, 1),
)

_A = """skip  k3e3 k3e1 skip skip  k5e6 k3e3 k5e1 k3e3  k5e6 k5e3 k5e1g2 k5e6
        k3e6 k5e1g2 k5e3 k3e1g2  k5e6 k5e6 k5e3 k5e6  k5e6"""
_B = """k3e1  k3e6 k5e1 k3e1 k3e1  k5e6 k5e3 k3e6 k3e6sep  k5e6 k5e1 skip k5e3
        k5e6 k3e1 k5e1 k5e3  k5e6 k5e1 k5e6 k5e6  k3e6"""
_C = """k3e1  k3e6 skip k3e1 k3e1  k5e6 k5e3 k3e6sep k3e6  k5e6 k5e3 k5e6 k5e6
        k5e6 k3e6sep k5e6 k5e3  k5e6 k5e6 k5e6 k5e6  k3e6"""


def _published(choices: str, macs: int, params: int, **options) -> Published:
    source = "Wu et al. 2019, figure 4; blocks and MACs of facebookresearch/mobile-vision"
    return Published(tuple(choices.split()), macs, params, source, options)


# As printed in the paper, B and C have kernel 5 where the authors' code has k3_sep.
PUBLISHED = {
    "FBNet-A": _published(_A, 249_921_848, 4_321_464, head="small"),
    "FBNet-B": _published(_B, 295_561_032, 4_812_088, candidates="mobile-vision"),
    "FBNet-C": _published(_C, 382_984_480, 5_567_880, candidates="mobile-vision"),
    "FBNet-B, all 5x5": _published(_B.replace("k3e6sep", "k5e6"), 296_614_728, 4_813_048),
    "FBNet-C, all 5x5": _published(_C.replace("k3e6sep", "k5e6"), 384_960_160, 5_572_200),
}


class FBNetSpace(MacroSpace):
    """A chain of 22 blocks that choose kernel, expansion and groups, or are skipped; see the module's docstring.

    head: "large" (1984 channels) or "small" (1504).
    e1: "keep_expansion" or "drop_expansion", the first convolution at expansion 1.
    shuffle: False leaves it out.
    candidates: "paper", or "mobile-vision", which adds k3e6sep, two 3x3 depthwise convolutions in a row, which FBNet-B
        and -C have in the authors' code.
    options: those of `Options`.

    Raises `UnknownName` and `ParameterError`.
    """

    name = "fbnet"
    activation = "relu"

    def __init__(
        self,
        *,
        head: str = "large",
        e1: str = "keep_expansion",
        shuffle: bool = True,
        candidates: str = "paper",
        **options,
    ):
        check_name("e1", e1, ("keep_expansion", "drop_expansion"))
        check_name("candidates", candidates, ("paper", "mobile-vision"))
        check_kind("shuffle", shuffle, bool, "True or False")
        self.outline = Outline(16, 0, STAGES, HEADS[check_name("head", head, HEADS)])
        self.separable = candidates == "mobile-vision"
        self.block = partial(FBNetBlock, keep_expansion=e1 == "keep_expansion", shuffle=shuffle)
        super().__init__(**options)

    def operations(self, place: Place) -> dict:
        """The candidates of one place by name (FBNet, table 2), and a skip."""
        block = partial(self.block, act=self.act, squeeze_excite=self.options.squeeze_excite)
        block = partial(block, place.c_in, place.c_out, stride=place.stride)
        kinds = (("e1", 1, 1), ("e1g2", 1, 2), ("e3", 3, 1), ("e6", 6, 1))
        candidates = {f"k{k}{name}": partial(block, k, e, groups) for k in (3, 5) for name, e, groups in kinds}
        candidates["skip"] = partial(skip, place.c_in, place.c_out, place.stride, self.act)
        if self.separable:
            candidates["k3e6sep"] = partial(block, 3, 6, separable=True)
        return candidates
