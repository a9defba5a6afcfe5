"""The detector space of WZDNAS: a YOLOv4-style network whose CSP blocks choose their width ratio and depth.

All outer widths are fixed. Each backbone block CSP(c) has hidden width int(gamma c), each neck block CSP2(c) has
int((gamma + 0.5) c); each has a number of bottlenecks. Widths, choices and anchors of `p5`, `csp` and `tiny` are those
of the public templates Search-YOLOv4-P5, -CSP and -Tiny; `course` is p5's structure at laptop size.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from nasedu.blocks import CSP, CSP2, SPPCSP, Bottleneck, Concat, ConvBNAct
from nasedu.blocks.common import ACTIVATIONS
from nasedu.errors import ParameterError, brief, check_name, check_whole
from nasedu.spaces.base import MOST_CLASSES, MOST_PIXELS, Arch, Decision, Layer, SearchSpace, Slot
from nasedu.supernet.elastic import ElasticCSP, ElasticCSP2

MOST_ANCHORS = 100  # on a scale
Anchors = tuple[tuple[tuple[float, float], ...], ...]  # per scale, per anchor: (width, height) in pixels


@dataclass(frozen=True)
class Template:
    """The numbers of one network family. Channels are outer widths; depths count bottlenecks."""

    backbone: tuple[int, ...]
    neck: tuple[int, ...]  # (P3, P4, P5) of the pyramid; for tiny, the reduced and fused widths
    depths: tuple[int, ...]
    neck_depths: tuple[int, ...]
    hand: tuple[int, ...]  # the usual depths, all at gamma 0.5: the hand-designed network
    anchors: Anchors
    image_size: int = 416
    stem: int = 32
    widths: tuple[float, ...] = (0.25, 0.5, 0.75)  # gamma
    strides: tuple[int, ...] = (8, 16, 32)
    fixed_first: bool = False  # the first backbone block is one plain bottleneck, not searched
    stem_stride: int = 1
    downs: tuple[int, ...] = (2, 2, 2, 2, 2)  # stride of the convolution before each backbone block
    act: str = "mish"


def _anchors(text: str) -> Anchors:
    return tuple(tuple(tuple(float(v) for v in pair.split(",")) for pair in scale.split()) for scale in text.split("|"))


TEMPLATES: dict[str, Template] = {
    "p5": Template(
        backbone=(64, 128, 256, 512, 1024),
        neck=(128, 256, 512),
        depths=(1, 3, 7, 15),
        neck_depths=(0, 3, 6, 9),
        hand=(1, 3, 15, 15, 7, 3, 3, 3, 3),
        anchors=_anchors("13,17 31,25 24,51 61,45 | 48,102 119,96 97,189 217,184 | 171,384 324,451 616,618 800,800"),
    ),
    "csp": Template(
        backbone=(64, 128, 256, 512, 1024),
        neck=(128, 256, 512),
        depths=(2, 4, 6, 8),
        neck_depths=(0, 2, 4, 6),
        hand=(2, 8, 8, 4, 2, 2, 2, 2),
        anchors=_anchors("12,16 19,36 40,28 | 36,75 76,55 72,146 | 142,110 192,243 459,401"),
        fixed_first=True,
    ),
    "tiny": Template(
        backbone=(64, 128, 256),
        neck=(128, 256),
        depths=(1, 2, 3, 4),
        neck_depths=(),
        hand=(1, 1, 1),
        anchors=_anchors("10,14 23,27 37,58 | 81,82 135,169 344,319"),
        strides=(16, 32),
    ),
    "course": Template(
        image_size=128,
        stem=16,
        backbone=(24, 32, 48, 64, 96),
        neck=(32, 48, 64),
        depths=(1, 2, 3, 4),
        neck_depths=(0, 1, 2, 3),
        hand=(1, 2, 3, 3, 2, 1, 1, 1, 1),
        anchors=_anchors("15,23 22,34 30,46 | 40,60 48,76 66,66 | 64,98 84,84 100,120"),
        stem_stride=2,
        downs=(2, 1, 2, 2, 2),
        act="silu",
    ),
}


def _checked(anchors: object, scales: int) -> Tensor:
    """Anchors as a tensor (scales, anchors of each, 2). Raises `ParameterError` for what are none."""
    try:
        found = torch.as_tensor(anchors, dtype=torch.float32).detach().clone()
    except (TypeError, ValueError, RuntimeError, OverflowError):
        found = torch.empty(0)
    fits = found.ndim == 3 and found.shape[0] == scales and found.shape[2] == 2 and 1 <= found.shape[1] <= MOST_ANCHORS
    if not fits or not bool(((found > 0) & (found <= 1e5)).all()):
        form = f"1 to {MOST_ANCHORS} pairs (w, h) of pixels on each of {scales} scales, equally many"
        raise ParameterError(f"anchors must be {form}, got {brief(anchors)}")
    return found


class Detect(nn.Module):
    """The head: a 1x1 convolution per scale. Returns raw maps, one per scale, each (B, A, H, W, 5 + classes).

    The last axis holds tx, ty, tw, th, objectness and one logit per class; `nasedu.detection.decode` makes boxes of it.
    Biases start at the prior of a few objects per image (RetinaNet, section 4.1).

    channels: of the map that comes in, per scale.
    num_classes: the number of classes.
    anchors: A, the number of anchors per scale.
    strides: pixels of the image per position, per scale.
    size: height and width of the image, in pixels.
    """

    def __init__(self, channels: tuple[int, ...], num_classes: int, anchors: int, strides: tuple[int, ...], size: int):
        super().__init__()
        self.anchors, self.outputs = anchors, 5 + num_classes
        self.convs = nn.ModuleList(nn.Conv2d(c, anchors * self.outputs, 1) for c in channels)
        for conv, stride in zip(self.convs, strides, strict=True):
            bias = torch.zeros(anchors, self.outputs, device=conv.bias.device)
            bias[:, 4] = math.log(8 / (size / stride) ** 2)
            bias[:, 5:] = -math.log(max(num_classes - 1, 1) / 0.6)
            conv.bias = nn.Parameter(bias.flatten())

    def forward(self, *features: Tensor) -> list[Tensor]:
        maps = [conv(x) for conv, x in zip(self.convs, features, strict=True)]
        shapes = [(len(m), self.anchors, self.outputs, *m.shape[2:]) for m in maps]
        return [m.reshape(shape).permute(0, 1, 3, 4, 2) for m, shape in zip(maps, shapes, strict=True)]


class YoloSpace(SearchSpace):
    """A detector whose blocks choose width ratio and depth; see the module's docstring.

    template: "p5", "csp", "tiny" or "course".
    num_classes: the number of classes.
    image_size: in pixels, a multiple of 32; None is the template's.
    anchors: per scale, per anchor (w, h) in pixels; None is the template's.
    semantics: of the supernet: "faithful" or "sliced".
    act: the name of the activation; None is the template's.

    Raises `UnknownName` and `ParameterError`.
    """

    def __init__(
        self,
        template: str = "course",
        *,
        num_classes: int = 10,
        image_size: int | None = None,
        anchors: Anchors | None = None,
        semantics: str = "sliced",
        act: str | None = None,
    ):
        self.template = TEMPLATES[check_name("template", template, TEMPLATES)]
        check_whole("num_classes", num_classes, 1, MOST_CLASSES)
        size = self.template.image_size if image_size is None else image_size
        self.image_size = check_whole("image_size", size, max(self.template.strides), MOST_PIXELS)
        if self.image_size % max(self.template.strides):
            raise ParameterError(f"image_size must be a multiple of {max(self.template.strides)}, got {image_size}")
        self.name = f"yolo:{template}"
        self.input_shape = (3, self.image_size, self.image_size)
        self.num_classes, self.semantics = num_classes, semantics
        self.act = self.template.act if act is None else check_name("activation", act, ACTIVATIONS)
        self.strides = self.template.strides
        self.anchors = _checked(self.template.anchors if anchors is None else anchors, len(self.strides))
        self.layers = self._tiny() if template == "tiny" else self._pyramid()
        with torch.device("meta"):  # unknown semantics are refused here, not when a supernet is made
            self.slots[0].make_elastic()

    @property
    def hand_designed(self) -> Arch:
        """gamma 0.5 everywhere with the template's usual depths (YOLOv4-P5's and -CSP's; for the others ours)."""
        return self.at(0.5, self.template.hand)

    def at(self, gamma: float, depths: tuple[int, ...]) -> Arch:
        """The architecture with one width ratio everywhere and the given number of bottlenecks per block."""
        arch = []
        for slot, n in zip(self.slots, depths, strict=True):
            width, depth = slot.decisions
            arch += [width.choices.index(f"{gamma:g}"), depth.choices.index(str(n))]
        return tuple(arch)

    def _conv(self, name: str, c_in: int, c_out: int, kernel: int = 1, stride: int = 1, of: tuple = ()) -> Layer:
        return Layer(name, partial(ConvBNAct, c_in, c_out, kernel, stride, self.act), of)

    def _slot(self, name: str, c_in: int, c_out: int, neck: bool = False) -> Slot:
        t = self.template
        block, elastic = (CSP2, ElasticCSP2) if neck else (CSP, ElasticCSP)
        depths = t.neck_depths if neck else t.depths
        hiddens = [int((gamma + 0.5 * neck) * c_out) for gamma in t.widths]
        return Slot(
            name,
            lambda width, depth: block(c_in, c_out, hiddens[width], depths[depth], self.act),
            decisions=(
                Decision(f"{name}.width", tuple(f"{gamma:g}" for gamma in t.widths)),
                Decision(f"{name}.depth", tuple(str(n) for n in depths)),
            ),
            make_elastic=lambda: elastic(c_in, c_out, hiddens, depths, self.act, self.semantics),
        )

    def _detect(self, channels: tuple[int, ...], of: tuple[str, ...]) -> Layer:
        head = partial(Detect, channels, self.num_classes, self.anchors.shape[1], self.strides, self.image_size)
        return Layer("detect", head, of)

    def _backbone(self) -> list[Layer]:
        t, layers = self.template, [self._conv("stem", 3, self.template.stem, 3, self.template.stem_stride)]
        for i, (c_in, c, stride) in enumerate(zip((t.stem, *t.backbone), t.backbone, t.downs, strict=False), 1):
            layers.append(self._conv(f"down{i}", c_in, c, 3, stride))
            if i == 1 and t.fixed_first:
                layers.append(Layer("back1", partial(Bottleneck, c, c // 2, True, self.act)))
            else:
                layers.append(self._slot(f"back{i}", c, c))
        return layers

    def _pyramid(self) -> list[Layer]:
        """CSP backbone, SPP, top-down and bottom-up path (PAN), three scales."""
        (c3, c4, c5), (n3, n4, n5) = self.template.backbone[-3:], self.template.neck
        top = len(self.template.backbone)
        p3, p4 = f"back{top - 2}", f"back{top - 1}"
        upsample = partial(nn.Upsample, scale_factor=2)
        return self._backbone() + [
            Layer("spp", partial(SPPCSP, c5, n5, self.act)),
            self._conv("reduce5", n5, n4),
            Layer("up4", upsample),
            self._conv("lateral4", c4, n4, of=(p4,)),
            Layer("join4", Concat, ("lateral4", "up4")),
            self._slot("neck1", 2 * n4, n4, neck=True),
            self._conv("reduce4", n4, n3),
            Layer("up3", upsample),
            self._conv("lateral3", c3, n3, of=(p3,)),
            Layer("join3", Concat, ("lateral3", "up3")),
            self._slot("neck2", 2 * n3, n3, neck=True),
            self._conv("head3", n3, 2 * n3, 3),
            self._conv("pan4", n3, n4, 3, 2, of=("neck2",)),
            Layer("join_pan4", Concat, ("pan4", "neck1")),
            self._slot("neck3", 2 * n4, n4, neck=True),
            self._conv("head4", n4, 2 * n4, 3),
            self._conv("pan5", n4, n5, 3, 2, of=("neck3",)),
            Layer("join_pan5", Concat, ("pan5", "spp")),
            self._slot("neck4", 2 * n5, n5, neck=True),
            self._conv("head5", n5, 2 * n5, 3),
            self._detect((2 * n3, 2 * n4, 2 * n5), ("head3", "head4", "head5")),
        ]

    def _tiny(self) -> list[Layer]:
        """Three CSP blocks between max pools and two scales."""
        t = self.template
        c1, c2, c3 = t.backbone
        reduced, fused = t.neck
        pool = partial(nn.MaxPool2d, 2)
        return [
            self._conv("stem", 3, t.stem, 3, 2),
            self._conv("down1", t.stem, c1, 3, 2),
            self._slot("back1", c1, c1),
            Layer("pool1", pool),
            self._slot("back2", c1, c2),
            Layer("pool2", pool),
            self._slot("back3", c2, c3),
            Layer("pool3", pool),
            self._conv("widen", c3, 2 * c3, 3),
            Layer("deepest", partial(Bottleneck, 2 * c3, c3, True, self.act)),
            self._conv("reduce", 2 * c3, reduced),
            Layer("up", partial(nn.Upsample, scale_factor=2)),
            Layer("join", Concat, ("up", "back3")),
            self._conv("fuse", reduced + c3, fused),
            self._detect((fused, 2 * c3), ("fuse", "deepest")),
        ]
