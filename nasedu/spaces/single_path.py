"""Single-Path NAS (Stamoulis et al. 2019): every choice of a layer is a part of one superkernel.

20 inverted bottlenecks (MobileNetV2) choose a kernel (3, 5) and an expansion (3, 6) or, where the shape stays, to be
skipped. Stem, first block (k3e1), last block (k3e6) and the final 1x1 convolution are fixed. The supernet stores the
largest block of each layer only; `nasedu.supernet.superkernel` says how it holds the others.
"""

from __future__ import annotations

import dataclasses
from functools import partial

import torch
from torch import nn

from nasedu.blocks import Classifier, ConvBN, MBConv
from nasedu.spaces.base import Layer, SearchSpace, Slot, choice
from nasedu.spaces.macro import Options, Outline, Place, Published, Stage, mbconvs, places
from nasedu.supernet.superkernel import SuperKernel

OUTLINE = Outline(32, 16, (Stage(24, 4, 2), Stage(40, 4, 2), Stage(80, 4, 2), Stage(96, 4, 1), Stage(192, 4, 2)), 1280)
LAST = 320  # channels of the last block, which is not searched

PUBLISHED = {
    "Single-Path NAS": Published(
        (
            *("k3e3", "k3e3", "k3e3", "skip"),
            *("k5e6", "k3e3", "k3e3", "k3e3"),
            *("k5e6", "k3e3", "k3e3", "k3e3"),
            *("k5e6", "k5e3", "k5e3", "k5e3"),
            *("k5e6", "k5e6", "k5e6", "k5e6"),
        ),
        333467072,
        4421616,
        "Single-Path NAS (Stamoulis et al. 2019): 74.96 % top-1, 79 ms on a Pixel 1; blocks as in timm's spnasnet_100",
    )
}


class SinglePathSpace(SearchSpace):
    """Kernel 3 or 5, expansion 3 or 6, or skip, in 20 layers; see the module's docstring.

    `semantics` of the supernet ("sliced", "faithful") and the thresholds' `norm` ("l2", "squared") are the
    superkernel's; the other options are `macro.Options`. Raises `UnknownName` and `ParameterError`.
    """

    name = "single_path"

    def __init__(self, *, semantics: str = "sliced", norm: str = "l2", **options):
        self.options = Options(**options)
        self.input_shape = self.options.input_shape
        self.act = self.options.activation or "relu6"
        net, last = self.options.scaled(OUTLINE), self.options.channels(LAST)
        self._superkernel = partial(
            SuperKernel, act=self.act, squeeze_excite=self.options.squeeze_excite, semantics=semantics, norm=norm
        )
        self.layers = [
            Layer("stem", partial(ConvBN, 3, net.stem, 3, self.options.stem_stride, self.act)),
            Layer("first", partial(MBConv, net.stem, net.first, 3, 1, act=self.act)),
            *(self._slot(place) for place in places(net.first, net.stages)),
            Layer("last", partial(MBConv, net.stages[-1].channels, last, 3, 6, act=self.act)),
            Layer("head", partial(ConvBN, last, net.head, act=self.act)),
            Layer("classifier", partial(Classifier, net.head, self.options.num_classes)),
        ]
        with torch.device("meta"):  # unknown semantics and norms are refused here, not when a supernet is made
            self.slots[0].make_elastic()

    def _slot(self, place: Place) -> Slot:
        operations = mbconvs(place, self.options, self.act, kernels=(3, 5))
        if place.keeps_shape:
            operations["skip"] = nn.Identity
        elastic = partial(self._superkernel, place.c_in, place.c_out, place.stride, skip=place.keeps_shape)
        return dataclasses.replace(choice(place.name, operations), make_elastic=elastic)
