"""The YOLOv7 family of detectors: ELAN blocks that choose their width ratio and which of their outputs are read.

All outer widths are fixed. A block's chain of convolutions has int(gamma c) channels, c its usual number, and any
subset of its outputs is concatenated. Widths and anchors of `yolov7`, `yolov7-small` and `yolov7-tiny` are those of
WZDNAS's public templates Search-YOLOv7, -small and -tiny; `elan` is the last one's structure at laptop size.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from torch import nn

from nasedu.blocks import Concat
from nasedu.blocks.elan import ELAN, ELAN2, SPPCSPC, RepConv, Transition
from nasedu.errors import ParameterError
from nasedu.spaces.base import Arch, Decision, Layer, SearchSpace, Slot
from nasedu.spaces.detector import ImplicitDetect, Template, anchors_of, conv, head, inner_widths, nearest, upsample
from nasedu.supernet.elan import ElasticELAN, ElasticELAN2


@dataclass(frozen=True, kw_only=True)
class ELANTemplate(Template):
    """Channels are outer widths, and of every block the usual width of its chain."""

    stem: tuple[int, ...]
    backbone: tuple[tuple[int, int], ...]  # of every block, channels of its output and of its chain
    neck: tuple[int, int, int]  # P3, P4, P5; a block's chain has half of it
    outs: int  # convolutions of a chain
    usual: tuple[int, ...] = (1, 3)  # the outputs that the hand-designed network reads, in the backbone
    usual_neck: tuple[int, ...] = (0, 1, 2, 3)
    thin: bool = False  # -tiny's parts: pools and strided convolutions for transitions, no ELAN2 and no RepConv
    image_size: int = 640
    widths: tuple[float, ...] = (0.75, 1.0, 1.25)
    strides: tuple[int, ...] = (8, 16, 32)
    act: str = "silu"

    def layers(self, space: SearchSpace) -> list[Layer]:
        return _Builder(self, space).layers()

    def checked_depths(self, depths: object) -> None:
        """Nothing: an ELAN block's depth follows from the outputs that are read."""
        if depths is not None:
            raise ParameterError("a template of the YOLOv7 family has no depths to choose from")

    def hand_designed(self, space: SearchSpace) -> Arch:
        """The usual chain everywhere, with the outputs that YOLOv7 and YOLOv7-tiny read; for `elan` ours."""
        wanted = []
        for i in range(len(space.slots)):
            usual = self.usual if i < len(self.backbone) else self.usual_neck
            wanted += [1.0, *(float(out in usual) for out in range(self.outs))]
        return nearest(space, wanted)


class _Builder:
    """Makes the layers of a template for a space."""

    def __init__(self, template: ELANTemplate, space: SearchSpace):
        self.template, self.space, self.conv = template, space, partial(conv, space)

    def layers(self) -> list[Layer]:
        """ELAN backbone, pooling pyramid, top-down and bottom-up path, three scales."""
        t, (n3, n4, n5) = self.template, self.template.neck
        c3, c4, c5 = (out for out, _ in t.backbone[1:])
        rep = partial(self._rep) if not t.thin else partial(self.conv, kernel=3)
        return [
            *self._backbone(),
            Layer("spp", partial(SPPCSPC, c5, n5, self.space.act, thin=t.thin)),
            self.conv("reduce5", n5, n4),
            upsample("up4"),
            self.conv("lateral4", c4, n4, of=("back3",)),
            Layer("join4", Concat, ("lateral4", "up4")),
            self._slot("neck1", 2 * n4, n4, n4 // 2, neck=True),
            self.conv("reduce4", n4, n3),
            upsample("up3"),
            self.conv("lateral3", c3, n3, of=("back2",)),
            Layer("join3", Concat, ("lateral3", "up3")),
            self._slot("neck2", 2 * n3, n3, n3 // 2, neck=True),
            self._down("pan4", n3, n4),
            Layer("join_pan4", Concat, ("pan4", "neck1")),
            self._slot("neck3", 2 * n4, n4, n4 // 2, neck=True),
            self._down("pan5", n4, n5),
            Layer("join_pan5", Concat, ("pan5", "spp")),
            self._slot("neck4", 2 * n5, n5, n5 // 2, neck=True),
            rep("head3", n3, 2 * n3, of=("neck2",)),
            rep("head4", n4, 2 * n4, of=("neck3",)),
            rep("head5", n5, 2 * n5, of=("neck4",)),
            head(self.space, (2 * n3, 2 * n4, 2 * n5), ("head3", "head4", "head5"), ImplicitDetect),
        ]

    def _backbone(self) -> list[Layer]:
        t, stem = self.template, self.template.stem
        strides = (2, 2) if t.thin else (1, 2, 1, 2)
        wide = zip((3, *stem), stem, strides, strict=False)
        layers = [self.conv(f"stem{i}", c_in, c, 3, stride) for i, (c_in, c, stride) in enumerate(wide, 1)]
        c_in = stem[-1]
        for i, (c, hidden) in enumerate(t.backbone, 1):
            if i > 1:
                pool = Layer(f"down{i}", partial(nn.MaxPool2d, 2))
                layers.append(pool if t.thin else self._down(f"down{i}", c_in, c_in))
            layers.append(self._slot(f"back{i}", c_in, c, hidden))
            c_in = c
        return layers

    def _down(self, name: str, c_in: int, c_out: int) -> Layer:
        """Half the sides: a transition, or in the thin form a strided convolution."""
        if self.template.thin:
            return self.conv(name, c_in, c_out, 3, 2)
        return Layer(name, partial(Transition, c_in, c_out // 2, self.space.act))

    def _rep(self, name: str, c_in: int, c_out: int, of: tuple[str, ...]) -> Layer:
        return Layer(name, partial(RepConv, c_in, c_out, self.space.act), of)

    def _slot(self, name: str, c_in: int, c_out: int, hidden: int, neck: bool = False) -> Slot:
        space, outs = self.space, self.template.outs
        block, elastic = (ELAN2, ElasticELAN2) if neck and not self.template.thin else (ELAN, ElasticELAN)
        hiddens = inner_widths(name, space.widths, hidden)

        def make(width: int, *read: int) -> nn.Module:
            return block(c_in, c_out, hiddens[width], [i for i, one in enumerate(read) if one], space.act)

        return Slot(
            name,
            make,
            decisions=(
                Decision(f"{name}.width", tuple(f"{gamma:g}" for gamma in space.widths)),
                *(Decision(f"{name}.out{i}", ("0", "1")) for i in range(1, outs + 1)),
            ),
            make_elastic=lambda: elastic(c_in, c_out, hiddens, outs, space.act, space.semantics),
        )


_LARGE = {
    "stem": (32, 64, 64, 128),
    "backbone": ((256, 64), (512, 128), (1024, 256), (1024, 256)),
    "neck": (128, 256, 512),
    "anchors": anchors_of("12,16 19,36 40,28 | 36,75 76,55 72,146 | 142,110 192,243 459,401"),
}
TEMPLATES: dict[str, ELANTemplate] = {
    "yolov7": ELANTemplate(outs=5, **_LARGE),
    "yolov7-small": ELANTemplate(outs=4, **_LARGE),
    "yolov7-tiny": ELANTemplate(
        stem=(32, 64),
        backbone=((64, 32), (128, 64), (256, 128), (512, 256)),
        neck=(64, 128, 256),
        outs=4,
        usual=(0, 1),
        usual_neck=(0, 1),
        thin=True,
        anchors=anchors_of("10,13 16,30 33,23 | 30,61 62,45 59,119 | 116,90 156,198 373,326"),
    ),
    "elan": ELANTemplate(
        stem=(16, 24),
        backbone=((32, 16), (48, 24), (64, 32), (96, 48)),
        neck=(32, 48, 64),
        outs=3,
        usual=(0, 1),
        usual_neck=(0, 1),
        thin=True,
        image_size=128,
        anchors=anchors_of("15,23 22,34 30,46 | 40,60 48,76 66,66 | 64,98 84,84 100,120"),
    ),
}
