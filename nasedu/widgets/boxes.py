"""Two boxes, one of which is moved: what each measure of overlap says, and where its gradient pulls."""

from __future__ import annotations

import torch
from torchvision.ops import generalized_box_iou_loss

from nasedu.detection.losses import paired_ciou, paired_iou
from nasedu.plots.images import outline
from nasedu.plots.picture import COLOURS, Picture
from nasedu.widgets.base import PictureWidget, slider

TRUTH = (40.0, 40.0, 80.0, 70.0)
SIDE = 120
MEASURES = {
    "IoU": paired_iou,
    "GIoU": lambda a, b: 1 - generalized_box_iou_loss(a, b),
    "CIoU": paired_ciou,
}


class BoxWidget(PictureWidget):
    """A box to move and to stretch beside a fixed one.

    Controls: `x` and `y` of its centre, `wide` and `high`, sliders in pixels. `values` has the three measures by name,
    `pulls` by name the sum over both corners of how far gradient descent on 1 - measure would move them, (2,).
    """

    def __init__(self):
        self.values: dict[str, float] = {}
        self.pulls: dict[str, torch.Tensor] = {}
        starts = {"centre x (px)": 30, "centre y (px)": 30, "width (px)": 40, "height (px)": 40}
        made = [slider(name, start, 5, SIDE) for name, start in starts.items()]
        self.x, self.y, self.wide, self.high = made
        super().__init__(*made)

    def draw(self):
        """Both boxes with an arrow per measure, and the numbers."""
        centre, half = (self.x.value, self.y.value), (self.wide.value / 2, self.high.value / 2)
        box = [centre[0] - half[0], centre[1] - half[1], centre[0] + half[0], centre[1] + half[1]]
        truth = torch.tensor([TRUTH])
        for name, measure in MEASURES.items():
            moved = torch.tensor([box], requires_grad=True)
            value = measure(moved, truth)
            value.sum().backward()
            self.values[name], self.pulls[name] = value.item(), moved.grad[0].view(2, 2).sum(0)
        picture = Picture(4.5, 4.5, "")
        ax = picture.subplots()
        ax.set(xlim=(0, SIDE), ylim=(SIDE, 0), xlabel="x (px)", ylabel="y (px)", aspect="equal")
        outline(ax, TRUTH, "black", "--", "truth")
        outline(ax, box, COLOURS[0], "-", "box")
        for i, (name, pull) in enumerate(self.pulls.items()):
            reach = (1500 * pull).clamp(-45, 45).tolist()
            look = {"width": 1.5, "head_width": 4, "color": COLOURS[1 + i], "label": name}
            ax.arrow(*centre, *reach, length_includes_head=True, **look)
        picture.key()
        told = ", ".join(f"{name} {value:.3f}" for name, value in self.values.items())
        still = [name for name, pull in self.pulls.items() if not pull.abs().sum() > 1e-9]
        told += f". No pull on the centre: {', '.join(still)}." if still else ". All three pull on the centre."
        picture.alt = f"A box and the true one, with arrows along which gradients pull: {told}"
        return picture, told
