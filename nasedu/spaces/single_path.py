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

from nasedu.spaces.base import Slot
from nasedu.spaces.macro import MacroSpace, Outline, Place, Published, Stage
from nasedu.supernet.superkernel import SuperKernel

STAGES = (Stage(24, 4, 2), Stage(40, 4, 2), Stage(80, 4, 2), Stage(96, 4, 1), Stage(192, 4, 2))

_CHOICES = """k3e3 k3e3 k3e3 skip  k5e6 k3e3 k3e3 k3e3  k5e6 k3e3 k3e3 k3e3
              k5e6 k5e3 k5e3 k5e3  k5e6 k5e6 k5e6 k5e6"""

PUBLISHED = {
    "Single-Path NAS": Published(
        tuple(_CHOICES.split()),
        333_467_072,
        4_421_616,
        "Single-Path NAS (Stamoulis et al. 2019): 74.96 % top-1, 79 ms on a Pixel 1; blocks as in timm's spnasnet_100",
    )
}


class SinglePathSpace(MacroSpace):
    """Kernel 3 or 5, expansion 3 or 6, or skip, in 20 layers; see the module's docstring.

    semantics: of the superkernels: "sliced" or "faithful".
    norm: that the superkernels' thresholds are compared with: "l2" or "squared".
    options: those of `Options`.

    Raises `UnknownName` and `ParameterError`.
    """

    name = "single_path"
    outline = Outline(32, 16, STAGES, 1280, last=320)
    activation = "relu6"

    def __init__(self, *, semantics: str = "sliced", norm: str = "l2", **options):
        self._superkernel = partial(SuperKernel, semantics=semantics, norm=norm)
        super().__init__(**options)
        with torch.device("meta"):  # unknown semantics and norms are refused here, not when a supernet is made
            self.slots[0].make_elastic()

    def slot(self, place: Place) -> Slot:
        sizes = {"c_in": place.c_in, "c_out": place.c_out, "stride": place.stride, "skip": place.keeps_shape}
        elastic = partial(self._superkernel, **sizes, act=self.act, squeeze_excite=self.options.squeeze_excite)
        return dataclasses.replace(super().slot(place), make_elastic=elastic)

    def operations(self, place: Place) -> dict:
        return self.mbconvs(place, kernels=(3, 5)) | ({"skip": nn.Identity} if place.keeps_shape else {})
