"""What the families of detectors share: how a template is described, and the heads."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from nasedu.blocks import ConvBNAct
from nasedu.errors import ParameterError, brief
from nasedu.spaces.base import Arch, Layer, SearchSpace

MOST_ANCHORS, MOST_CHOICES = 100, 20  # on a scale; of a decision
Anchors = tuple[tuple[tuple[float, float], ...], ...]  # per scale, per anchor: (width, height) in pixels


@dataclass(frozen=True)
class Template:
    """The numbers of one network family, as a subclass has them; they become the layers of a space.

    anchors: per scale.
    image_size: the usual one, in pixels.
    strides: pixels of the image per position, per scale.
    widths: the choices of a block's width ratio.
    act: the name of the activation.
    """

    anchors: Anchors
    image_size: int
    strides: tuple[int, ...]
    widths: tuple[float, ...]
    act: str

    def layers(self, space: SearchSpace) -> list[Layer]:
        """The network, whose blocks are slots. Every template has its own.

        space: has the classes, the anchors and the activation.
        """
        raise NotImplementedError

    def checked_depths(self, depths: object) -> tuple | str | None:
        """What `YoloSpace` holds as depths. Raises `ParameterError`.

        depths: its option.
        """
        raise NotImplementedError

    def hand_designed(self, space: SearchSpace) -> Arch:
        """The usual network of the family, or the one of the space that is nearest to it.

        space: made of this template.
        """
        raise NotImplementedError


def nearest(space: SearchSpace, wanted: list[float]) -> Arch:
    """The architecture whose choices are nearest to numbers, one per decision."""
    pairs = zip(space.decisions, wanted, strict=True)
    return tuple(min(range(len(d.choices)), key=lambda i: abs(float(d.choices[i]) - w)) for d, w in pairs)


def inner_widths(name: str, ratios: Sequence[float], channels: int) -> list[int]:
    """Channels inside a block for each width ratio. Raises `ParameterError` for none, or for the same number twice.

    name: of the block.
    ratios: the choices.
    channels: of ratio 1.
    """
    inside = [int(ratio * channels) for ratio in ratios]
    if min(inside) < 1 or len(set(inside)) < len(inside):
        told = ", ".join(f"{ratio:g} is {c}" for ratio, c in zip(ratios, inside, strict=True))
        raise ParameterError(f"width ratios must be different numbers of channels in {name}, at least 1: {told}")
    return inside


def conv(space: SearchSpace, name: str, c_in: int, c_out: int, kernel: int = 1, stride: int = 1, of=()) -> Layer:
    """A convolution with normalisation and the space's activation.

    space: names the activation.
    name: of the layer.
    c_in: channels of the map that it reads.
    c_out: channels of its own.
    kernel: height and width, in positions.
    stride: in positions.
    of: the layer that it reads; none is the one before.
    """
    return Layer(name, partial(ConvBNAct, c_in, c_out, kernel, stride, space.act), of)


def head(space: SearchSpace, channels: tuple[int, ...], of: tuple[str, ...], kind: type[Detect]) -> Layer:
    """The last layer, which reads a map of every scale.

    space: has the classes, the anchors and the sizes.
    channels: of the maps.
    of: the layers that they come from.
    kind: what makes boxes of them.
    """
    made = partial(kind, channels, space.num_classes, space.anchors.shape[1], space.strides, space.image_size)
    return Layer("detect", made, of)


def choices_of(what: str, given: object, check: Callable[[object], object]) -> tuple:
    """An option's choices, in order. Raises `ParameterError` where they are none, or not ascending.

    what: they are.
    given: by the caller.
    check: raises for what is no choice.
    """
    if not isinstance(given, Sequence) or isinstance(given, str) or not 1 <= len(given) <= MOST_CHOICES:
        raise ParameterError(f"{what} must be a list of 1 to {MOST_CHOICES} numbers, got {brief(given)}")
    found = tuple(map(check, given))
    if list(found) != sorted(set(found)):
        raise ParameterError(f"{what} must ascend, got {brief(given)}")
    return found


def upsample(name: str) -> Layer:
    """Twice the sides, by repetition."""
    return Layer(name, partial(nn.Upsample, scale_factor=2))


def anchors_of(text: str) -> Anchors:
    """Anchors as public configurations write them: scales divided by |, pairs w,h by spaces."""
    return tuple(tuple(tuple(float(v) for v in pair.split(",")) for pair in scale.split()) for scale in text.split("|"))


def checked_anchors(anchors: object, scales: int) -> Tensor:
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
        maps = [self.of_scale(i, x) for i, x in enumerate(features)]
        shapes = [(len(m), self.anchors, self.outputs, *m.shape[2:]) for m in maps]
        return [m.reshape(shape).permute(0, 1, 3, 4, 2) for m, shape in zip(maps, shapes, strict=True)]

    def of_scale(self, i: int, x: Tensor) -> Tensor:
        """What one scale's convolution makes of its map.

        i: the scale.
        x: (B, C, H, W).
        """
        return self.convs[i](x)


class ImplicitDetect(Detect):
    """A head with implicit knowledge: a vector is added before each convolution, one multiplied behind it (YOLOR).

    Shapes as in `Detect`.

    channels: as there.
    num_classes: as there.
    anchors: as there.
    strides: as there.
    size: as there.
    """

    def __init__(self, channels: tuple[int, ...], num_classes: int, anchors: int, strides: tuple[int, ...], size: int):
        super().__init__(channels, num_classes, anchors, strides, size)
        self.added = nn.ParameterList(nn.Parameter(0.02 * torch.randn(c, 1, 1)) for c in channels)
        shape = (anchors * self.outputs, 1, 1)
        self.factors = nn.ParameterList(nn.Parameter(1 + 0.02 * torch.randn(shape)) for _ in channels)

    def of_scale(self, i: int, x: Tensor) -> Tensor:
        return self.convs[i](x + self.added[i]) * self.factors[i]

    def merged(self) -> Detect:
        """The plain head that computes the same: f (W (x + a) + b) = (f W) x + f (W a + b)."""
        channels = tuple(conv.in_channels for conv in self.convs)
        plain = Detect(channels, self.outputs - 5, self.anchors, (1,) * len(channels), 1).to(self.added[0])
        with torch.no_grad():
            for new, old, added, factor in zip(plain.convs, self.convs, self.added, self.factors, strict=True):
                new.weight.copy_(old.weight * factor[..., None])
                new.bias.copy_(factor.flatten() * (old.weight.flatten(1) @ added.flatten() + old.bias))
        return plain
