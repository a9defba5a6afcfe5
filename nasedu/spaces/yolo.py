"""The detector space of WZDNAS: a YOLO network whose blocks choose their inside; all outer widths are fixed.

Templates of two families: `yolo_csp` has YOLOv4's (p5, csp, tiny, course), whose blocks choose a width ratio and a
depth, `yolo_elan` YOLOv7's (yolov7, yolov7-small, yolov7-tiny, elan), whose blocks choose a width ratio and which of
their outputs are read.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from nasedu.blocks.common import ACTIVATIONS
from nasedu.errors import ParameterError, check_name, check_number, check_whole
from nasedu.spaces import yolo_csp, yolo_elan
from nasedu.spaces.base import MOST_CLASSES, MOST_PIXELS, Arch, SearchSpace
from nasedu.spaces.detector import Anchors, Template, checked_anchors, choices_of

TEMPLATES: dict[str, Template] = {**yolo_csp.TEMPLATES, **yolo_elan.TEMPLATES}
Depths = Sequence[int] | Sequence[Sequence[int]] | str


class YoloSpace(SearchSpace):
    """A detector whose blocks choose their inside; see the module's docstring.

    template: "p5", "csp", "tiny" or "course"; "yolov7", "yolov7-small", "yolov7-tiny" or "elan".
    num_classes: the number of classes.
    image_size: in pixels, a multiple of 32; None is the template's.
    anchors: per scale, per anchor (w, h) in pixels; None is the template's.
    semantics: of the supernet: "faithful" or "sliced".
    act: the name of the activation; None is the template's.
    widths: the width ratios to choose from; None are the template's. One alone leaves only the rest to be searched.
    depths: of the YOLOv4 family: the depths to choose from, of all blocks, or a pair of the backbone's and the neck's;
        "hand": every block has its usual one, and only widths are searched. None are the template's.

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
        widths: Sequence[float] | None = None,
        depths: Depths | None = None,
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
        self.anchors = checked_anchors(self.template.anchors if anchors is None else anchors, len(self.strides))
        self.widths = self.template.widths if widths is None else choices_of("widths", widths, _ratio)
        self.depths = self.template.checked_depths(depths)
        self.layers = self.template.layers(self)
        with torch.device("meta"):  # unknown semantics are refused here, not when a supernet is made
            self.slots[0].make_elastic()

    @property
    def hand_designed(self) -> Arch:
        """The usual network of the family, or the nearest that the space has: see the template's."""
        return self.template.hand_designed(self)


def _ratio(value: object) -> float:
    return check_number("a width ratio", value, 0, 4, above=True)
