"""The detection loss of Scaled-YOLOv4 (Wang et al. 2021): boxes by IoU, objectness and classes by BCE.

Per scale: box = mean(1 - IoU) over the positives; obj = BCE over every cell and anchor, whose target is the
(detached) IoU of a positive and 0 elsewhere, weighted per scale by `balance`; cls = BCE over the positives.
Their sums over the scales are weighted, multiplied by 3 / scales, and the total by the batch size.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits as bce

from nasedu import processes
from nasedu.detection.anchors import RATIO, Assignment, assign, candidates
from nasedu.detection.boxes import decode_boxes
from nasedu.errors import ParameterError, check_name

EPS = 1e-7  # torchvision's, beside areas and squares


def paired_iou(boxes: Tensor, others: Tensor) -> Tensor:
    """Intersection over union (n,) of boxes (n, 4) and others (n, 4), row by row."""
    overlap = torch.minimum(boxes[:, 2:], others[:, 2:]) - torch.maximum(boxes[:, :2], others[:, :2])
    overlap = overlap.clamp(min=0).prod(dim=1)
    areas = (boxes[:, 2:] - boxes[:, :2]).prod(dim=1) + (others[:, 2:] - others[:, :2]).prod(dim=1)
    return overlap / (areas - overlap).clamp(min=1e-7)


def paired_ciou(boxes: Tensor, others: Tensor) -> Tensor:
    """Complete IoU (n,), at most 1 (Zheng et al. 2020, eq. 10): IoU less centre distance and aspect terms.

    What torchvision's `complete_box_iou_loss` gives, to the last bit with its gradient; but that one picks out the
    boxes that overlap, and a GPU would be waited for.
    """
    iou = _overlap_share(boxes, others)
    distance = _centre_distance(boxes, others)
    (x1, y1, x2, y2), (u1, v1, u2, v2) = boxes.unbind(-1), others.unbind(-1)
    aspect = 4 / torch.pi**2 * (torch.atan((u2 - u1) / (v2 - v1)) - torch.atan((x2 - x1) / (y2 - y1))).pow(2)
    with torch.no_grad():
        alpha = aspect / (1 - iou + aspect + EPS)
    return 1 - (1 - iou + distance + alpha * aspect)


def _overlap_share(boxes: Tensor, others: Tensor) -> Tensor:
    (x1, y1, x2, y2), (u1, v1, u2, v2) = boxes.unbind(-1), others.unbind(-1)
    left, top, right, bottom = torch.max(x1, u1), torch.max(y1, v1), torch.min(x2, u2), torch.min(y2, v2)
    both = torch.where((bottom > top) & (right > left), (right - left) * (bottom - top), 0.0)
    union = (x2 - x1) * (y2 - y1) + (u2 - u1) * (v2 - v1) - both
    return both / (union + EPS)


def _centre_distance(boxes: Tensor, others: Tensor) -> Tensor:
    """Squared, as a share of the squared diagonal of the smallest box around both."""
    (x1, y1, x2, y2), (u1, v1, u2, v2) = boxes.unbind(-1), others.unbind(-1)
    left, top, right, bottom = torch.min(x1, u1), torch.min(y1, v1), torch.max(x2, u2), torch.max(y2, v2)
    diagonal = (right - left) ** 2 + (bottom - top) ** 2 + EPS
    return (((x2 + x1) / 2 - (u1 + u2) / 2) ** 2 + ((y2 + y1) / 2 - (v1 + v2) / 2) ** 2) / diagonal


OVERLAPS = {"iou": paired_iou, "ciou": paired_ciou}
SMALLEST = 0.01  # pixels: a predicted side of 0 would give the aspect term of CIoU a gradient of 0 / 0


class DetectionLoss:
    """`loss(maps, targets)` gives a dict of scalars: box, obj, cls (weighted, per image) and total (x batch).

    The default weights are the published ones. Raises `ParameterError` for more scales than `balance` has weights or
    other anchors than strides, `UnknownName` for another iou.

    anchors: (scales, A, 2) in pixels, finest scale first.
    strides: of each scale.
    num_classes: one class has no class loss.
    iou: "ciou" for training, "iou" is what WZDNAS uses while it searches.
    box: the weight of the boxes.
    obj: of objectness.
    cls: of the classes, times num_classes / 80.
    balance: of each scale's objectness.
    ratio: the factor between sides that an anchor stays below.
    looks: whether the positives are picked out, for which a GPU must be waited for; else every candidate is computed
        and those that are none weigh 0, which is the same but for rounding. None: on the CPU alone.
    pooled: take the means of box and cls over the positives of all scales at once, so that a scale with few does not
        count as much as one with many (ours; the published loss takes them scale by scale).
    """

    def __init__(
        self,
        anchors: Tensor,
        strides: Sequence[int],
        num_classes: int,
        iou: str = "ciou",
        *,
        box: float = 0.05,
        obj: float = 1.0,
        cls: float = 0.5,
        balance: Sequence[float] = (4.0, 1.0, 0.4),
        ratio: float = RATIO,
        looks: bool | None = None,
        pooled: bool = False,
    ):
        self.overlap = OVERLAPS[check_name("box loss", iou, OVERLAPS)]
        self.anchors, self.strides, self.ratio = torch.as_tensor(anchors).float(), tuple(strides), ratio
        if len(self.anchors) != len(self.strides) or len(balance) < len(self.strides):
            raise ParameterError(
                f"a detection loss needs anchors and a balance weight for each scale: {len(self.strides)} "
                f"strides came with anchors for {len(self.anchors)} and weights for {len(balance)}"
            )
        self.balance, self.pooled, self.looks = balance, pooled, looks
        scaling = 3 / len(self.strides)
        self.weights = {"box": box * scaling, "obj": obj * scaling, "cls": cls * num_classes / 80 * scaling}
        self.num_classes = num_classes

    def __call__(self, maps: Sequence[Tensor], targets: Tensor) -> dict[str, Tensor]:
        """maps: raw (B, A, H, W, 5 + classes) for each scale; targets (n, 6), n may be 0."""
        device = maps[0].device
        targets, anchors = (t.to(device, non_blocking=True) for t in (targets, self.anchors))
        shapes = [tuple(raw.shape[2:4]) for raw in maps]
        looks = device.type == "cpu" if self.looks is None else self.looks
        asked = targets, anchors, self.strides, shapes, self.ratio
        positives = [(found, None) for found in assign(*asked)] if looks else candidates(*asked)
        sums = {name: torch.zeros((), device=device) for name in self.weights}
        shares = _shares(positives, self.pooled)
        for scale, (raw, (found, valid)) in enumerate(zip(maps, positives, strict=True)):
            raw = raw.float()
            predicted = raw[found.image, found.anchor, found.row, found.column]
            overlap = self._overlap(predicted, found, targets, anchors[scale], self.strides[scale])
            seen = overlap if valid is None else overlap.where(valid, 0.0)
            obj = bce(raw[..., 4], _objectness(raw, found, seen))
            sums["obj"] = sums["obj"] + self.balance[scale] * obj
            if len(found.target):  # the mean over no positives would be NaN
                sums["box"] = sums["box"] + shares[scale] * _mean(1 - overlap, valid)
                labels = targets[found.target, 1].long()
                sums["cls"] = sums["cls"] + shares[scale] * self._classes(predicted, labels, valid)
        parts = {name: self.weights[name] * value for name, value in sums.items()}
        return {**parts, "total": sum(parts.values()) * (len(maps[0]) * processes.current().number)}

    def _overlap(self, predicted: Tensor, found: Assignment, targets: Tensor, anchors: Tensor, stride: int) -> Tensor:
        cells = torch.stack([found.column, found.row], dim=1)
        boxes = decode_boxes(predicted[:, :4], cells, anchors[found.anchor], stride)
        far = boxes[:, 2:].maximum(boxes[:, :2] + SMALLEST)
        return self.overlap(torch.cat([boxes[:, :2], far], dim=1), targets[found.target, 2:])

    def _classes(self, predicted: Tensor, labels: Tensor, valid: Tensor | None) -> Tensor:
        if self.num_classes == 1:
            return predicted.new_zeros(())
        if valid is None:
            return bce(predicted[:, 5:], torch.nn.functional.one_hot(labels, self.num_classes).float())
        right = labels[:, None] == torch.arange(self.num_classes, device=labels.device)  # `one_hot` looks at labels
        return _mean(bce(predicted[:, 5:], right.float(), reduction="none").mean(1), valid)


def _shares(positives: Sequence[tuple[Assignment, Tensor | None]], pooled: bool) -> Sequence[float | Tensor]:
    """What the mean of each scale weighs: 1, or its part of all positives times the number of scales.

    Of several processes each has a part of the batch, and so the part that its positives are of those of all.
    """
    team, looked = processes.current(), positives[0][1] is None
    counts = [len(found.target) if valid is None else valid.sum() for found, valid in positives]
    own = torch.tensor(counts).double() if looked else torch.stack(counts).double()
    every = team.number * team.mean(own)
    shares = team.number * own / (every.mean() if pooled else every).clamp(min=1)
    return shares.tolist() if looked else shares.float().unbind()


def _mean(values: Tensor, valid: Tensor | None) -> Tensor:
    """The mean of values (p,) over the positives; 0 where every one is a candidate and none a positive."""
    if valid is None:
        return values.mean()
    return values.where(valid, 0.0).sum() / valid.sum().clamp(min=1)


def _objectness(raw: Tensor, found: Assignment, overlap: Tensor) -> Tensor:
    """Targets (B, A, H, W): IoU where an object is, the largest where several share a place, 0 elsewhere."""
    _, anchors, height, width, _ = raw.shape
    place = ((found.image * anchors + found.anchor) * height + found.row) * width + found.column
    flat = raw.new_zeros(raw[..., 4].numel())  # whose zeros also win over a negative CIoU
    return flat.scatter_reduce(0, place, overlap.detach(), "amax").view(raw.shape[:4])
