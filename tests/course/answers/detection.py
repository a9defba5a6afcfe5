"""Right and plausible wrong answers to the exercises of notebook 13, with the sentence that names the fault."""

from __future__ import annotations

import math

import numpy as np
import torch
from torchvision.ops import generalized_box_iou

from nasedu.course.checks.detection import check_ciou, check_coco_ap, check_faults, check_owners, check_suppress


def parts(a, b):
    """IoU, squared distance of centres, squared diagonal, and the aspect term v."""
    inner = (torch.minimum(a[:, 2:], b[:, 2:]) - torch.maximum(a[:, :2], b[:, :2])).clamp(min=0).prod(1)
    areas = (a[:, 2:] - a[:, :2]).prod(1) + (b[:, 2:] - b[:, :2]).prod(1)
    iou = inner / (areas - inner)
    apart = ((a[:, :2] + a[:, 2:] - b[:, :2] - b[:, 2:]) / 2).square().sum(1)
    diagonal = (torch.maximum(a[:, 2:], b[:, 2:]) - torch.minimum(a[:, :2], b[:, :2])).square().sum(1)
    turn = [torch.atan((x[:, 2] - x[:, 0]) / (x[:, 3] - x[:, 1])) for x in (a, b)]
    return iou, apart, diagonal, 4 / math.pi**2 * (turn[0] - turn[1]).square()


def ciou(a, b, weight=True, aspect=True):
    iou, apart, diagonal, v = parts(a, b)
    v = v if aspect else v.detach()
    alpha = v / (1 - iou + v + 1e-9)
    return iou - apart / diagonal - (alpha.detach() if weight else alpha) * v


def diou(a, b):
    iou, apart, diagonal, _ = parts(a, b)
    return iou - apart / diagonal


def plain_v(a, b):
    return diou(a, b) - parts(a, b)[3]


def iou_alone(a, b):
    return parts(a, b)[0]


def rooted(a, b):
    iou, apart, diagonal, v = parts(a, b)
    return iou - (apart / diagonal).sqrt() - v * v / (1 - iou + v + 1e-9)


def owners(box, stride, cells, anchors, ratio, edge=True, both=False, least=None):
    width, height = box[2] - box[0], box[3] - box[1]
    x, y = (box[0] + box[2]) / 2 / stride, (box[1] + box[3]) / 2 / stride
    column, row = min(int(x), cells - 1), min(int(y), cells - 1)
    mine = [(row, column)]
    for share, (down, right) in ((x - column, (0, 1)), (y - row, (1, 0))):
        if share != 0.5:
            step = 1 if share > 0.5 else -1
            mine.append((row + step * down, column + step * right))
        if both:
            mine.append((row - down, column - right))
    mine = [(r, c) for r, c in mine if not edge or (0 <= r < cells and 0 <= c < cells)]
    fits = [
        i for i, (w, h) in enumerate(anchors) if max(width / w, w / width, height / h, h / height) < (least or ratio)
    ]
    return [(i, r, c) for i in fits for r, c in mine]


def own_cell(box, stride, cells, anchors, ratio):
    every = owners(box, stride, cells, anchors, ratio)
    return [(a, *every[0][1:]) for a in dict.fromkeys(a for a, _, _ in every)]


def turned_cells(box, *rest):
    return [(a, c, r) for a, r, c in owners(box, *rest)]


def overlap(a, b):
    inner = max(0, min(a[2], b[2]) - max(a[0], b[0])) * max(0, min(a[3], b[3]) - max(a[1], b[1]))
    return inner / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - inner)


def suppress(boxes, scores, labels, iou, classes=True, dead=False, equal=False):
    kept, seen = [], []
    for i in np.argsort(-np.asarray(scores), kind="stable"):
        rivals = seen if dead else kept
        near = [j for j in rivals if (labels[i] == labels[j] or not classes)]
        shares = [overlap(boxes[i], boxes[j]) for j in near]
        if not any(share > iou or (equal and share >= iou) for share in shares):
            kept.append(int(i))
        seen.append(i)
    return kept


def in_order(boxes, scores, labels, iou):
    kept = []
    for i in range(len(boxes)):
        if all(labels[i] != labels[j] or overlap(boxes[i], boxes[j]) <= iou for j in kept):
            kept.append(i)
    return kept


def coco_ap(
    found, objects, threshold, duplicates=False, sort=True, images=True, recalls=101, envelope=True, rule="coco"
):
    taken, right = set(), []
    for image, _, box in sorted(found, key=lambda one: -one[1]) if sort else found:
        free = [
            (overlap(box, other), place)
            for place, (where, other) in enumerate(objects)
            if (where == image or not images) and (place not in taken or duplicates)
        ]
        if rule == "voc":
            free = [(overlap(box, other), place) for place, (where, other) in enumerate(objects) if where == image]
        elif rule == "first":
            free = [one for one in free if one[0] >= threshold][:1]
        best, place = max(free, default=(0, None))
        right.append(best >= threshold and (rule != "voc" or place not in taken))
        if right[-1]:
            taken.add(place)
    hits = np.cumsum(right) if right else np.zeros(0)
    precision, recall = hits / np.arange(1, len(hits) + 1), hits / len(objects)
    if envelope:
        precision = np.maximum.accumulate(precision[::-1])[::-1]
    places = np.searchsorted(recall, np.linspace(0, 1, recalls), side="left")
    return float(np.mean([precision[i] if i < len(precision) else 0.0 for i in places]))


def faults(images, slack=2.0, axes=(0, 1)):
    found = {}
    for place, image in enumerate(images):
        boxes = np.array(image["boxes"]).reshape(-1, 4)
        if not len(boxes):
            continue
        width, height = image["width"], image["height"]
        if boxes.max() <= 1:
            found[place] = "shares"
        elif any((boxes[:, 2 + i] <= boxes[:, i]).any() for i in axes):
            found[place] = "sizes"
        elif any((boxes[:, [i, 2 + i]] > (width, height)[i] + slack).any() for i in axes):
            found[place] = "axes"
    return found


ANSWERS = {
    check_ciou: [
        (ciou, None),
        (iou_alone, "do not touch"),
        (diou, "aspect term"),
        (plain_v, "α = v / (1 - IoU + v)"),
        (rooted, "do not touch"),
        (lambda a, b: torch.diagonal(generalized_box_iou(a, b)), "do not touch"),
        (lambda a, b: ciou(a, b).detach(), "keep the graph"),
        (lambda a, b: ciou(a, b, weight=False), "α is a weight that gets no gradient"),
        (lambda a, b: ciou(a, b, aspect=False), "taught through v"),
        (lambda a, b: ciou(a, b).mean(), "a number for each pair"),
    ],
    check_owners: [
        (owners, None),
        (own_cell, "expected the cells"),
        (turned_cells, "the row comes first"),
        (lambda *given: owners(*given, edge=False), "only cells 0 to 7"),
        (lambda *given: owners(*given, both=True), "expected the cells"),
        (lambda *given: owners(*given, least=4.0), "anchors are not the right ones"),
        (lambda *given: owners(*given) * 2, "stands once"),
    ],
    check_suppress: [
        (suppress, None),
        (in_order, "the better of two boxes"),
        (lambda *given: suppress(*given, classes=False), "different classes"),
        (lambda *given: suppress(*given, dead=True), "suppresses nothing"),
        (lambda *given: suppress(*given, equal=True), "does not exceed"),
        (lambda *given: sorted(suppress(*given)), "different classes"),
    ],
    check_coco_ap: [
        (coco_ap, None),
        (lambda *given: coco_ap(*given, rule="voc"), "still free"),
        (lambda *given: coco_ap(*given, rule="first"), "not the first"),
        (lambda *given: coco_ap(*given, duplicates=True), "a second box"),
        (lambda *given: coco_ap(*given, sort=False), "by falling score"),
        (lambda *given: coco_ap(*given, images=False), "its own image"),
        (lambda *given: coco_ap(*given, recalls=11), "costs recall"),
        (lambda *given: coco_ap(*given, envelope=False), "the best at that recall"),
    ],
    check_faults: [
        (faults, None),
        (lambda images: {}, "was not found"),
        (lambda images: faults(images, slack=0.0), "a sound image"),
        (lambda images: faults(images, slack=1.5), "a sound image"),
        (lambda images: faults(images, slack=20.0), "was not found"),
        (lambda images: faults(images, axes=(0,)), "was not found"),
        (lambda images: faults(images, axes=(1,)), "was not found"),
        (lambda images: dict.fromkeys(faults(images), "sizes"), "this image's fault"),
        (lambda images: dict.fromkeys(faults(images), "wrong"), "is called"),
    ],
}
