"""Checkers for notebook 13: complete IoU, assignment, suppression, COCO's average precision, faults in a data set."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor
from torchvision.ops import nms

from nasedu.course.checks import ask, exercise, expect, require
from nasedu.detection import evaluate
from nasedu.detection.anchors import assign
from nasedu.detection.losses import paired_ciou, paired_iou

Box = Sequence[float]


def _boxes(draw: np.random.Generator, count: int, side: float = 60.0) -> np.ndarray:
    """Random boxes (count, 4) in a square of this side."""
    corners = draw.uniform(0, side * 0.7, (count, 2))
    return np.hstack([corners, corners + draw.uniform(3, side * 0.3, (count, 2))])


@exercise("13.1", "complete IoU")
def check_ciou(ciou: Callable[[Tensor, Tensor], Tensor]) -> None:
    """`ciou(boxes, others)`: both (n, 4), corners; the complete IoU (n,), pair by pair."""
    draw = np.random.default_rng(0)
    boxes, others = (torch.tensor(_boxes(draw, 40)).float() for _ in range(2))
    got = ask(ciou, boxes, boxes)
    require(isinstance(got, Tensor) and got.shape == (40,), "the answer must be a tensor with a number for each pair")
    expect(got, torch.ones(40), "a box and itself have a complete IoU of 1")
    centre, half = (boxes[:, :2] + boxes[:, 2:]) / 2, (boxes[:, 2:] - boxes[:, :2]) / 2
    inner = torch.cat([centre - half / 2, centre + half / 2], 1)
    aligned = "with one centre and one aspect ratio nothing is taken off the IoU"
    expect(ciou(boxes, inner), torch.full((40,), 0.25), aligned)
    far, apart = boxes + 200, "boxes of one shape that do not touch have -ρ²/c², and no aspect term"
    expect(ciou(boxes, far), paired_ciou(boxes, far), apart)
    turned = torch.stack([centre[:, 0] - half[:, 1], centre[:, 1] - half[:, 0]], 1)
    turned = torch.cat([turned, 2 * centre - turned], 1)
    wrong = [(paired_iou(boxes, turned), "with one centre and turned sides the aspect term αv must be taken off")]
    expect(ciou(boxes, turned), paired_ciou(boxes, turned), "the aspect term is αv with α = v / (1 - IoU + v)", wrong)
    expect(ciou(boxes, others), paired_ciou(boxes, others), "random pairs must agree with the formula, too")
    moved = boxes[:4].clone().requires_grad_()
    total = ciou(moved, far[:4]).sum()
    require(total.requires_grad, "the answer must keep the graph: a loss is made of it")
    total.backward()
    require(bool((moved.grad.abs().sum(1) > 0).all()), "boxes that do not touch must still be pulled together")
    pulls = []
    for measure in (ciou, paired_ciou):
        one = boxes.clone().requires_grad_()
        measure(one, turned + 3).sum().backward()
        pulls.append(one.grad)
    taught = "gradients differ: the aspect ratio is taught through v, and α is a weight that gets no gradient"
    require(torch.allclose(*pulls, atol=1e-5, rtol=1e-3), taught)


def _owners(box: Box, stride: int, cells: int, anchors: Sequence, ratio: float) -> set[tuple[int, int, int]]:
    found = assign(
        torch.tensor([[0.0, 0.0, *box]]), torch.tensor([anchors]).float(), [stride], [(cells, cells)], ratio
    )[0]
    return set(zip(found.anchor.tolist(), found.row.tolist(), found.column.tolist(), strict=True))


@exercise("13.2", "who owns an object")
def check_owners(owners: Callable[[Box, int, int, Sequence, float], Sequence[tuple[int, int, int]]]) -> None:
    """`owners(box, stride, cells, anchors, ratio)`: (anchor, row, column) of all that must find the object."""
    anchors = [(10.0, 10.0), (20.0, 12.0), (60.0, 60.0)]
    cases = (
        ((34, 42, 46, 52), "a square of 12 px, its centre in the left upper part of its cell"),
        ((30, 50, 44, 60), "a centre in the right lower part of its cell: the neighbours are right and below"),
        ((32, 32, 48, 48), "a centre exactly in the middle of its cell has no nearer neighbour"),
        ((0, 0, 3.9, 9), "at the edge of the image there is no cell beyond"),
        ((118, 119, 128, 127.9), "at the other edge neither"),
        ((10, 10, 120, 30), "no anchor is within the ratio: nobody owns the object"),
        ((20, 20, 40, 40), "an anchor differs by the ratio itself: it is not within"),
    )
    for box, what in cases:
        got = [tuple(int(v) for v in one) for one in ask(owners, box, 16, 8, anchors, 2.0)]
        want = _owners(box, 16, 8, anchors, 2.0)
        require(len(set(got)) == len(got), f"{what}: each anchor in each cell stands once")
        inside = all(0 <= row < 8 and 0 <= column < 8 for _, row, column in got)
        require(inside, f"{what}: only cells 0 to 7 exist")
        require({a for a, _, _ in got} == {a for a, _, _ in want}, f"{what}: the anchors are not the right ones")
        swapped = {(a, c, r) for a, r, c in got} == want and set(got) != want
        require(not swapped, f"{what}: rows count downwards, columns to the right, and the row comes first")
        require(set(got) == want, f"{what}: expected the cells {sorted({one[1:] for one in want})}")
    draw = np.random.default_rng(0)
    for box in _boxes(draw, 60, 128.0).round(1):
        for stride, cells in ((8, 16), (32, 4)):
            got = {tuple(int(v) for v in one) for one in owners(tuple(box), stride, cells, anchors, 2.0)}
            require(got == _owners(box, stride, cells, anchors, 2.0), f"the box {box.tolist()} at stride {stride}")


@exercise("13.3", "suppression")
def check_suppress(suppress: Callable[[np.ndarray, np.ndarray, np.ndarray, float], Sequence[int]]) -> None:
    """`suppress(boxes, scores, labels, iou)`: the places of the boxes that stay, best score first."""
    pair = np.array([[0, 0, 10, 10], [0, 0, 10, 9], [30, 30, 40, 40]], dtype=float)
    cases = (
        ([0.5, 0.9, 0.1], [0, 0, 0], 0.5, [1, 2], "the better of two boxes that overlap stays, whatever their order"),
        ([0.5, 0.9, 0.1], [0, 1, 0], 0.5, [1, 0, 2], "boxes of different classes never suppress each other"),
        ([0.5, 0.9, 0.1], [0, 0, 0], 0.95, [1, 0, 2], "an overlap below the threshold is none"),
        ([0.7, 0.7, 0.7], [0, 0, 0], 0.5, [0, 2], "of equal scores the first one counts as better"),
        ([0.5, 0.9, 0.1], [0, 0, 0], 0.9, [1, 0, 2], "an overlap that equals the threshold does not exceed it"),
    )
    for scores, labels, iou, want, sentence in cases:
        got = [int(i) for i in ask(suppress, pair, np.array(scores), np.array(labels), iou)]
        require(got == want, f"{sentence} (got {got}, expected {want})")
    chain = np.array([[0, 0, 10, 10], [4, 0, 14, 10], [8, 0, 18, 10]], dtype=float)
    got = [int(i) for i in suppress(chain, np.array([0.9, 0.8, 0.7]), np.zeros(3, int), 0.4)]
    require(got == [0, 2], f"what was suppressed itself suppresses nothing: expected [0, 2], got {got}")
    require(len(suppress(np.zeros((0, 4)), np.zeros(0), np.zeros(0, int), 0.5)) == 0, "of no boxes none stays")
    draw = np.random.default_rng(0)
    for _ in range(5):
        boxes, scores, labels = _boxes(draw, 60), draw.permutation(60) / 60, draw.integers(0, 3, 60)
        apart = torch.tensor(boxes + 1000 * labels[:, None])
        want = nms(apart, torch.tensor(scores), 0.3).tolist()
        require([int(i) for i in suppress(boxes, scores, labels, 0.3)] == want, "sixty random boxes of three classes")
        order = draw.permutation(60)
        shuffled = [int(order[i]) for i in suppress(boxes[order], scores[order], labels[order], 0.3)]
        require(shuffled == want, "the order in which boxes stand must not matter")


@exercise("13.4", "COCO's average precision")
def check_coco_ap(coco_ap: Callable[[list, list, float], float]) -> None:
    """`coco_ap(found, objects, threshold)`: of one class; (image, score, box) found, (image, box) in truth."""
    square, beside, other = (0, 0, 10, 10), (0, 0, 10, 8), (50, 50, 70, 70)
    cases = (
        ([(0, 0.9, square)], [(0, square)], "one object, found"),
        ([(0, 0.9, square)], [(0, square), (1, other)], "an object that nobody found costs recall"),
        ([(0, 0.9, square), (0, 0.8, beside)], [(0, square), (1, other)], "a second box on one object is wrong"),
        ([(1, 0.9, square)], [(0, square)], "a box counts in its own image only"),
        (
            [(0, 0.9, other), (0, 0.8, square), (1, 0.7, other)],
            [(0, square), (1, other)],
            "precision at a recall is the best at that recall or beyond",
        ),
        ([(0, 0.3, square), (0, 0.9, other)], [(0, square)], "go through the boxes by falling score"),
        ([], [(0, square)], "without boxes the answer is 0"),
        (
            [(0, 0.9, square), (0, 0.8, square)],
            [(0, square), (0, beside)],
            "a box takes the best object that is still free, if it overlaps that one enough",
        ),
        (
            [(0, 0.9, square), (0, 0.8, (0, 3, 10, 13))],
            [(0, beside), (0, square)],
            "of the free objects a box takes the one that it overlaps most, not the first",
        ),
    )
    for found, objects, sentence in cases:
        _compare(coco_ap, found, objects, 0.5, sentence)
    _compare(coco_ap, [(0, 0.9, beside)], [(0, square)], 0.8, "an IoU equal to the threshold is enough")
    draw = np.random.default_rng(0)
    for threshold in (0.5, 0.75):
        objects = [(image, tuple(box)) for image in range(4) for box in _boxes(draw, 6).round(1)]
        near = [(i, tuple(np.array(b) + draw.normal(0, 1.2, 4))) for i, b in objects if draw.random() < 0.8]
        near += [(int(draw.integers(4)), tuple(box)) for box in _boxes(draw, 12)]
        scores = draw.permutation(len(near)) / len(near)
        found = [(image, float(score), box) for (image, box), score in zip(near, scores, strict=True)]
        _compare(coco_ap, found, objects, threshold, "four random images must agree with pycocotools")


def _compare(coco_ap: Callable, found: list, objects: list, threshold: float, sentence: str) -> None:
    got, want = ask(coco_ap, list(found), list(objects), threshold), _coco_ap(found, objects, threshold)
    expect(got, want, sentence, tolerance=1e-9)


def _coco_ap(found: list, objects: list, threshold: float) -> float:
    """By the library that the package asks, at .5 and .75; at .8 by the case's own definition."""
    if threshold == 0.8:
        return 1.0
    images = 1 + max(image for image, *_ in [*found, *objects])
    truth, seen = ([{"boxes": [], "labels": []} for _ in range(images)] for _ in range(2))
    for image, box in objects:
        truth[image]["boxes"].append(box)
    for image, score, box in found:
        seen[image]["boxes"].append(box)
        seen[image].setdefault("scores", []).append(score)
    for one in (*truth, *seen):
        one["labels"] = torch.zeros(len(one["boxes"])).long()
        one["boxes"] = torch.tensor(one["boxes"], dtype=torch.float64).reshape(-1, 4)
    for one in seen:
        one["scores"] = torch.tensor(one.get("scores", []), dtype=torch.float64)
    metrics = evaluate(truth, seen)
    return metrics.ap50 if threshold == 0.5 else metrics.ap75


FAULTS = ("sizes", "axes", "shares")


@exercise("13.5", "faults in a data set")
def check_faults(faults: Callable[[list[dict]], dict[int, str]]) -> None:
    """`faults(images)`: dicts of width, height and boxes (n, 4); which images are written otherwise, and how."""
    for seed in range(6):
        images, planted = _planted(np.random.default_rng(seed), FAULTS[: seed % 4] if seed < 4 else FAULTS)
        got = {int(place): str(kind) for place, kind in dict(ask(faults, images)).items()}
        unknown = set(got.values()) - set(FAULTS)
        require(not unknown, f"a fault is called {', '.join(FAULTS)}; got {', '.join(sorted(unknown))}")
        for place, kind in planted.items():
            require(place in got, f"an image has {kind} that was not found: {images[place]}")
            require(got[place] == kind, f"this image's fault is {kind}, not {got[place]}: {images[place]}")
        sound = sorted(set(got) - set(planted))
        require(not sound, f"a sound image was accused: {images[sound[0]] if sound else ''}")


def _planted(draw: np.random.Generator, kinds: Sequence[str]) -> tuple[list[dict], dict[int, str]]:
    """Sixty images, of which some are written otherwise; each of these has a box that shows it."""
    images, planted = [], {}
    for place in range(60):
        width, height = (int(v) for v in draw.permutation([640, 360 + int(draw.integers(40))]))
        corners = draw.uniform(0, 0.75, (int(draw.integers(0, 6)), 2))
        shares = np.hstack([corners, corners + draw.uniform(0.05, 0.25, corners.shape)])
        boxes = (shares * [width, height, width, height]).round(1)
        if len(boxes) and draw.random() < 0.4:  # it sticks out a little, as careless hands draw
            side, over = int(draw.integers(4)), draw.uniform(0.5, 2)
            boxes[0, side] = (-over, -over, width + over, height + over)[side]
        if kinds and place % 5 == 2:
            planted[place] = kinds[place // 5 % len(kinds)]
            others = boxes[: int(draw.integers(2)) * len(boxes)]
            boxes = _showing(draw, planted[place], width, height, others)
        images.append({"width": width, "height": height, "boxes": boxes.round(4).tolist()})
    return images, planted


def _showing(draw: np.random.Generator, kind: str, width: int, height: int, others: np.ndarray) -> np.ndarray:
    """Boxes written otherwise: the first one shows it on one axis alone, and just so."""
    if kind == "sizes":
        far = draw.uniform(0.5, 0.7)  # where it starts on the axis that shows it: its side there is shorter
        shown = [far, 0.1, 0.95, 0.5] if draw.integers(2) else [0.1, far, 0.5, 0.95]
        boxes = np.vstack([np.array(shown) * [width, height, width, height], others])
        return np.hstack([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]])
    if kind == "axes":
        end = min(width, height) + draw.uniform(2.5, 12)
        long = [end - 90, 30, end, 70]
        shown = long if width > height else [long[i] for i in (1, 0, 3, 2)]
        return np.vstack([shown, others])[:, [1, 0, 3, 2]]
    shares = np.array([0.2, 0.3, 0.7, 0.9]) * [width, height, width, height]
    return np.vstack([shares, others.clip(0, [width, height] * 2)]) / [width, height, width, height]
