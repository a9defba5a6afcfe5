"""Single-Path One-Shot's space: 20 ShuffleNetV2 units that choose kernel 3, 5 or 7, or Xception (table 1).

Widths are those of the official public code: the projection of a unit with stride 2 keeps the input's channels.
"""

from __future__ import annotations

from functools import partial

from nasedu.blocks import ShuffleBlock, ShuffleXception
from nasedu.errors import ParameterError, check_name
from nasedu.spaces.macro import MacroSpace, Outline, Place, Published, Stage

CHOICES = ("shuffle3", "shuffle5", "shuffle7", "xception")

PUBLISHED = {
    "SPOS": Published(
        tuple(CHOICES[i] for i in (2, 1, 0, 1, 2, 0, 2, 0, 2, 0, 2, 3, 0, 0, 0, 0, 3, 2, 3, 3)),
        322_918_720,
        3_558_464,
        "Guo et al. 2020, block search; megvii-model/SinglePathOneShot: 323M MACs, 3.5M params, error 25.6 %",
    ),
}


class SPOSSpace(MacroSpace):
    """A ShuffleNetV2 whose 20 units choose their kernel, or Xception; see the module's docstring.

    Options: `projection` of units with stride 2 ("input": as many channels as come in, "half": half of the output's, as
    another public code has it, which differs in the first two stages), and those of `Options`.
    Raises `UnknownName` and `ParameterError`.
    """

    name = "spos"
    outline = Outline(16, 0, (Stage(64, 4, 2), Stage(160, 4, 2), Stage(320, 8, 2), Stage(640, 4, 2)), 1024)
    activation = "relu"
    bias = False

    def __init__(self, *, projection: str = "input", **options):
        self.projection = check_name("projection", projection, ("input", "half"))
        super().__init__(**options)
        widths = (self.net.stem, *(stage.channels for stage in self.net.stages))
        if any(b <= a for a, b in zip(widths, widths[1:], strict=False)):
            raise ParameterError(f"spos needs every stage wider than the one before, width {self.options.width} is not")

    def operations(self, place: Place) -> dict:
        rest = (place.stride, self.act, self.options.squeeze_excite, self.projection)
        units = {f"shuffle{k}": partial(ShuffleBlock, place.c_in, place.c_out, k, *rest) for k in (3, 5, 7)}
        return units | {"xception": partial(ShuffleXception, place.c_in, place.c_out, 3, *rest)}
