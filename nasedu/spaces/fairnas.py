"""FairNAS's space: a MobileNetV2 whose 19 blocks choose kernel and expansion; nothing is skipped (section 4.1)."""

from __future__ import annotations

from nasedu.spaces.macro import MacroSpace, Outline, Published, Stage

STAGES = (Stage(32, 2, 2), Stage(40, 4, 2), Stage(80, 4, 2), Stage(96, 4, 1), Stage(192, 4, 2), Stage(320, 1, 1))

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


class FairNASSpace(MacroSpace):
    """A MobileNetV2 whose blocks choose kernel 3, 5 or 7 and expansion 3 or 6; see the module's docstring.

    Options: those of `Options`. Raises `UnknownName` and `ParameterError`.
    """

    name = "fairnas"
    outline = Outline(32, 16, STAGES, 1280)
    activation = "relu6"
    operations = MacroSpace.mbconvs
