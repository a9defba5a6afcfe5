"""The YOLOv4 family of detectors: CSP blocks that choose their width ratio and depth.

All outer widths are fixed. Each backbone block CSP(c) has hidden width int(gamma c), each neck block CSP2(c) has
int((gamma + 0.5) c); each has a number of bottlenecks. Widths, choices and anchors of `p5`, `csp` and `tiny` are those
of the public templates Search-YOLOv4-P5, -CSP and -Tiny; `course` is p5's structure at laptop size.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from torch import nn

from nasedu.blocks import CSP, CSP2, SPPCSP, Bottleneck, Concat
from nasedu.errors import ParameterError, check_name, check_whole
from nasedu.spaces.base import Arch, Decision, Layer, SearchSpace, Slot
from nasedu.spaces.detector import (
    Detect,
    Template,
    anchors_of,
    choices_of,
    conv,
    head,
    inner_widths,
    nearest,
    upsample,
)
from nasedu.supernet.elastic import ElasticCSP, ElasticCSP2

MOST_DEPTH = 100  # bottlenecks of a block


@dataclass(frozen=True, kw_only=True)
class CSPTemplate(Template):
    """Channels are outer widths; depths count bottlenecks."""

    backbone: tuple[int, ...]
    neck: tuple[int, ...]  # (P3, P4, P5) of the pyramid; for tiny, the reduced and fused widths
    depths: tuple[int, ...]
    neck_depths: tuple[int, ...]
    hand: tuple[int, ...]  # the usual depths, all at gamma 0.5: the hand-designed network
    image_size: int = 416
    stem: int = 32
    widths: tuple[float, ...] = (0.25, 0.5, 0.75)  # gamma
    strides: tuple[int, ...] = (8, 16, 32)
    fixed_first: bool = False  # the first backbone block is one plain bottleneck, not searched
    stem_stride: int = 1
    downs: tuple[int, ...] = (2, 2, 2, 2, 2)  # stride of the convolution before each backbone block
    act: str = "mish"

    def layers(self, space: SearchSpace) -> list[Layer]:
        return _Builder(self, space).layers()

    def checked_depths(self, depths: object) -> tuple | str:
        """A pair, the backbone's choices and the neck's; or "hand"."""
        if depths is None:
            return self.depths, self.neck_depths
        if isinstance(depths, str):
            return check_name("depths", depths, ["hand"])
        pair = isinstance(depths, Sequence) and len(depths) == 2 and all(isinstance(d, Sequence) for d in depths)
        parts = depths if pair else (depths, depths)
        found = []
        for where, usual, part in zip(("backbone", "neck"), (self.depths, self.neck_depths), parts, strict=True):
            none = isinstance(part, Sequence) and not part
            if not usual and pair and not none:
                raise ParameterError(f"this template has no blocks in its {where} that could have depths, got {part}")
            found.append(() if not usual else choices_of("depths", part, _depth))
        return tuple(found)

    def hand_designed(self, space: SearchSpace) -> Arch:
        """gamma 0.5 everywhere with the template's usual depths (YOLOv4-P5's and -CSP's; for the others ours)."""
        return nearest(space, [number for depth in self.hand for number in (0.5, depth)])


class _Builder:
    """Makes the layers of a template for a space."""

    def __init__(self, template: CSPTemplate, space: SearchSpace):
        self.template, self.space, self.conv = template, space, partial(conv, space)
        self.left = list(template.hand)  # the usual depths of the slots to come

    def layers(self) -> list[Layer]:
        return self._tiny() if len(self.template.strides) == 2 else self._pyramid()

    def _slot(self, name: str, c_in: int, c_out: int, neck: bool = False) -> Slot:
        space, usual = self.space, self.left.pop(0)
        block, elastic = (CSP2, ElasticCSP2) if neck else (CSP, ElasticCSP)
        depths = (usual,) if space.depths == "hand" else space.depths[neck]
        hiddens = inner_widths(name, [gamma + 0.5 * neck for gamma in space.widths], c_out)
        return Slot(
            name,
            lambda width, depth: block(c_in, c_out, hiddens[width], depths[depth], space.act),
            decisions=(
                Decision(f"{name}.width", tuple(f"{gamma:g}" for gamma in space.widths)),
                Decision(f"{name}.depth", tuple(str(n) for n in depths)),
            ),
            make_elastic=lambda: elastic(c_in, c_out, hiddens, depths, space.act, space.semantics),
        )

    def _head(self, channels: tuple[int, ...], of: tuple[str, ...]) -> Layer:
        return head(self.space, channels, of, Detect)

    def _backbone(self) -> list[Layer]:
        t, layers = self.template, [self.conv("stem", 3, self.template.stem, 3, self.template.stem_stride)]
        for i, (c_in, c, stride) in enumerate(zip((t.stem, *t.backbone), t.backbone, t.downs, strict=False), 1):
            layers.append(self.conv(f"down{i}", c_in, c, 3, stride))
            if i == 1 and t.fixed_first:
                layers.append(Layer("back1", partial(Bottleneck, c, c // 2, True, self.space.act)))
            else:
                layers.append(self._slot(f"back{i}", c, c))
        return layers

    def _pyramid(self) -> list[Layer]:
        """CSP backbone, SPP, top-down and bottom-up path (PAN), three scales."""
        (c3, c4, c5), (n3, n4, n5) = self.template.backbone[-3:], self.template.neck
        top = len(self.template.backbone)
        p3, p4 = f"back{top - 2}", f"back{top - 1}"
        return self._backbone() + [
            Layer("spp", partial(SPPCSP, c5, n5, self.space.act)),
            self.conv("reduce5", n5, n4),
            upsample("up4"),
            self.conv("lateral4", c4, n4, of=(p4,)),
            Layer("join4", Concat, ("lateral4", "up4")),
            self._slot("neck1", 2 * n4, n4, neck=True),
            self.conv("reduce4", n4, n3),
            upsample("up3"),
            self.conv("lateral3", c3, n3, of=(p3,)),
            Layer("join3", Concat, ("lateral3", "up3")),
            self._slot("neck2", 2 * n3, n3, neck=True),
            self.conv("head3", n3, 2 * n3, 3),
            self.conv("pan4", n3, n4, 3, 2, of=("neck2",)),
            Layer("join_pan4", Concat, ("pan4", "neck1")),
            self._slot("neck3", 2 * n4, n4, neck=True),
            self.conv("head4", n4, 2 * n4, 3),
            self.conv("pan5", n4, n5, 3, 2, of=("neck3",)),
            Layer("join_pan5", Concat, ("pan5", "spp")),
            self._slot("neck4", 2 * n5, n5, neck=True),
            self.conv("head5", n5, 2 * n5, 3),
            self._head((2 * n3, 2 * n4, 2 * n5), ("head3", "head4", "head5")),
        ]

    def _tiny(self) -> list[Layer]:
        """Three CSP blocks between max pools and two scales."""
        t = self.template
        c1, c2, c3 = t.backbone
        reduced, fused = t.neck
        pool = partial(nn.MaxPool2d, 2)
        return [
            self.conv("stem", 3, t.stem, 3, 2),
            self.conv("down1", t.stem, c1, 3, 2),
            self._slot("back1", c1, c1),
            Layer("pool1", pool),
            self._slot("back2", c1, c2),
            Layer("pool2", pool),
            self._slot("back3", c2, c3),
            Layer("pool3", pool),
            self.conv("widen", c3, 2 * c3, 3),
            Layer("deepest", partial(Bottleneck, 2 * c3, c3, True, self.space.act)),
            self.conv("reduce", 2 * c3, reduced),
            upsample("up"),
            Layer("join", Concat, ("up", "back3")),
            self.conv("fuse", reduced + c3, fused),
            self._head((fused, 2 * c3), ("fuse", "deepest")),
        ]


TEMPLATES: dict[str, CSPTemplate] = {
    "p5": CSPTemplate(
        backbone=(64, 128, 256, 512, 1024),
        neck=(128, 256, 512),
        depths=(1, 3, 7, 15),
        neck_depths=(0, 3, 6, 9),
        hand=(1, 3, 15, 15, 7, 3, 3, 3, 3),
        anchors=anchors_of("13,17 31,25 24,51 61,45 | 48,102 119,96 97,189 217,184 | 171,384 324,451 616,618 800,800"),
    ),
    "csp": CSPTemplate(
        backbone=(64, 128, 256, 512, 1024),
        neck=(128, 256, 512),
        depths=(2, 4, 6, 8),
        neck_depths=(0, 2, 4, 6),
        hand=(2, 8, 8, 4, 2, 2, 2, 2),
        anchors=anchors_of("12,16 19,36 40,28 | 36,75 76,55 72,146 | 142,110 192,243 459,401"),
        fixed_first=True,
    ),
    "tiny": CSPTemplate(
        backbone=(64, 128, 256),
        neck=(128, 256),
        depths=(1, 2, 3, 4),
        neck_depths=(),
        hand=(1, 1, 1),
        anchors=anchors_of("10,14 23,27 37,58 | 81,82 135,169 344,319"),
        strides=(16, 32),
    ),
    "course": CSPTemplate(
        image_size=128,
        stem=16,
        backbone=(24, 32, 48, 64, 96),
        neck=(32, 48, 64),
        depths=(1, 2, 3, 4),
        neck_depths=(0, 1, 2, 3),
        hand=(1, 2, 3, 3, 2, 1, 1, 1, 1),
        anchors=anchors_of("15,23 22,34 30,46 | 40,60 48,76 66,66 | 64,98 84,84 100,120"),
        stem_stride=2,
        downs=(2, 1, 2, 2, 2),
        act="silu",
    ),
}


def _depth(value: object) -> int:
    return check_whole("a depth", value, 0, MOST_DEPTH)
