"""ProxylessNAS's space: a MobileNetV2 whose blocks choose kernel and expansion, or are skipped (section 4.1).

The candidates are inverted residuals with kernels 3, 5, 7 and expansions 3, 6. `skip` stands only where the shortcut is
an identity; where it is chosen, nothing but the identity is left. The outline "search" is that of the public search
code; the published networks were searched with other widths, one outline each.
"""

from __future__ import annotations

from functools import partial

from nasedu.blocks import skip
from nasedu.errors import check_name
from nasedu.spaces.macro import MacroSpace, Outline, Place, Published, Stage


def _outline(stem: int, first: int, channels: tuple[int, ...], head: int) -> Outline:
    repeats, strides = (4, 4, 4, 4, 4, 1), (2, 2, 2, 1, 2, 1)
    return Outline(stem, first, tuple(map(Stage, channels, repeats, strides)), head)


OUTLINES = {
    "search": _outline(32, 16, (24, 40, 80, 96, 192, 320), 1280),
    "mobile": _outline(32, 16, (32, 40, 80, 96, 192, 320), 1280),
    "gpu": _outline(40, 24, (32, 56, 112, 128, 256, 432), 1728),
    "cpu": _outline(40, 24, (32, 48, 88, 104, 216, 360), 1432),
}

_MOBILE = """k5e3 k3e3 skip skip  k7e3 k3e3 k5e3 k5e3  k7e6 k5e3 k5e3 k5e3
             k5e6 k5e3 k5e3 k5e3  k7e6 k7e6 k7e3 k7e3  k7e6"""
_GPU = """k5e3 skip skip skip  k7e3 skip skip k3e3  k7e6 skip skip k5e3
          k5e6 k3e3 skip k5e3  k7e6 k7e6 k7e6 k5e6  k7e6"""
_CPU = """k3e6 k3e3 k3e3 k3e3  k3e6 k3e3 k3e3 k5e3  k3e6 skip skip k3e3
          k5e6 k3e3 k3e3 k3e3  k5e6 k5e3 k5e3 k3e3  k5e6"""


def _stated(outline: str, choices: str, macs: int, params: int) -> Published:
    source = f"Cai et al. 2019; osmr/imgclsmob, proxylessnas.py, which states its {params} params"
    return Published(tuple(choices.split()), macs, params, source, {"outline": outline})


PUBLISHED = {
    "ProxylessNAS-Mobile": Published(
        tuple(_MOBILE.split()),
        320_427_584,
        4_080_512,
        "Cai et al. 2019, figure 4; mit-han-lab/proxylessnas: 320.4M MACs, 4.08M params, 74.6 % top-1, 78 ms",
        {"outline": "mobile"},
    ),
    "ProxylessNAS-GPU": _stated("gpu", _GPU, 465_260_160, 7_119_848),
    "ProxylessNAS-CPU": _stated("cpu", _CPU, 439_243_864, 4_361_648),
}


class ProxylessNASSpace(MacroSpace):
    """A MobileNetV2 whose blocks choose kernel and expansion, or are skipped; see the module's docstring.

    outline: "search", "mobile", "gpu" or "cpu".
    skip: "identity" offers it where the shapes agree, "everywhere" also elsewhere, as a 1x1 projection (7^21
        architectures, as some public codes count).
    options: those of `Options`.

    Raises `UnknownName` and `ParameterError`.
    """

    name = "proxylessnas"
    activation = "relu6"

    def __init__(self, *, outline: str = "search", skip: str = "identity", **options):
        self.skip = check_name("skip", skip, ("identity", "everywhere"))
        self.outline = OUTLINES[check_name("outline", outline, OUTLINES)]
        super().__init__(**options)

    def operations(self, place: Place) -> dict:
        candidates = self.mbconvs(place)
        if place.keeps_shape or self.skip == "everywhere":
            candidates["skip"] = partial(skip, place.c_in, place.c_out, place.stride, self.act)
        return candidates
