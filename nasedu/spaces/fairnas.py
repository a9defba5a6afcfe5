"""FairNAS's space: a MobileNetV2 whose 19 blocks choose kernel and expansion; nothing is skipped (section 4.1)."""

from __future__ import annotations

from functools import partial

from nasedu.blocks import Classifier, ConvBN, MBConv
from nasedu.spaces.base import Layer, SearchSpace, choice
from nasedu.spaces.macro import Options, Outline, Published, Stage, mbconvs, places

OUTLINE = Outline(
    32,
    16,
    (Stage(32, 2, 2), Stage(40, 4, 2), Stage(80, 4, 2), Stage(96, 4, 1), Stage(192, 4, 2), Stage(320, 1, 1)),
    1280,
)

_B = """k5e3 k3e3  k5e3 k3e3 k3e6 k5e3  k7e3 k3e3 k3e6 k5e3
        k3e3 k3e6 k7e3 k3e3  k7e6 k5e6 k7e6 k3e6  k5e6"""
_C = """k5e3 k3e3  k7e3 k3e3 k3e3 k3e3  k3e3 k3e3 k3e6 k3e3
        k3e3 k3e3 k3e3 k3e3  k7e6 k7e6 k3e6 k3e6  k5e6"""

PUBLISHED = {
    "FairNAS-B": Published(
        tuple(_B.split()), 345_297_632, 4_506_272, "Chu et al. 2021: 345M multiply-adds, 4.5M params"
    ),
    "FairNAS-C": Published(
        tuple(_C.split()), 321_024_992, 4_397_864, "Chu et al. 2021: 321M multiply-adds, 4.4M params"
    ),
}


class FairNASSpace(SearchSpace):
    """A MobileNetV2 whose blocks choose kernel 3, 5 or 7 and expansion 3 or 6; see the module's docstring.

    Options: those of `Options`. Raises `UnknownName` and `ParameterError`.
    """

    name = "fairnas"

    def __init__(self, **options):
        self.options = Options(**options)
        self.input_shape = self.options.input_shape
        act, net = self.options.activation or "relu6", self.options.scaled(OUTLINE)
        self.layers = [
            Layer("stem", partial(ConvBN, 3, net.stem, 3, self.options.stem_stride, act)),
            Layer("first", partial(MBConv, net.stem, net.first, 3, 1, act=act)),
            *(choice(place.name, mbconvs(place, self.options, act)) for place in places(net.first, net.stages)),
            Layer("head", partial(ConvBN, net.stages[-1].channels, net.head, act=act)),
            Layer("classifier", partial(Classifier, net.head, self.options.num_classes)),
        ]
