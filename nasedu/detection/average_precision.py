"""How good detections are: average precision by the rules of COCO and of PASCAL VOC, as fractions 0..1.

Both sort a class's detections by score, call each one right or wrong, and summarise precision over recall.
COCO (Lin et al. 2014) averages over IoU .50 to .95 and over 101 recalls, computed by pycocotools. VOC
(Everingham et al. 2010, section 4.2) takes one IoU, and 11 recalls (until 2009) or every one (since 2010).
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from math import nan
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torchvision.ops import box_iou

from nasedu.errors import ParameterError, check_name

BACKENDS = {  # where each library keeps its index class and its evaluator class
    "pycocotools": ("pycocotools.coco", "pycocotools.cocoeval", "COCOeval"),
    "faster": ("faster_coco_eval.core.coco", "faster_coco_eval.core.faster_eval_api", "COCOeval_faster"),
}


@dataclass(frozen=True)
class Metrics:
    """Means over the classes that occur, NaN where none does. `per_class` has the same names by class.

    ap: COCO AP .50:.95. ap50, ap75: COCO AP at one IoU. voc11_50, voc_all_50: VOC AP at IoU .50 over
    11 recalls and over every recall.
    """

    ap: float
    ap50: float
    ap75: float
    voc11_50: float
    voc_all_50: float
    per_class: dict[str, dict[str, float]]


class Curve(NamedTuple):
    """Recall and precision (k,) of one class after each detection that counts, and how many objects count."""

    recall: np.ndarray
    precision: np.ndarray
    objects: int


def evaluate(
    truth, detections: Sequence[dict], *, classes: Sequence[str] | None = None, backend: str = "pycocotools"
) -> Metrics:
    """Average precision of detections (one dict of boxes, scores, labels for each image, in order).

    truth: a detection data set (its `coco()`), such a COCO-format dict, or a list of dicts of boxes (n, 4)
    xyxy, labels (n,) and, where some do not count, ignore (n,); `classes` names the labels of such a list.
    A detection of an ignored object is neither right nor wrong. As COCO prescribes, an image's 100 best
    detections of a class count towards ap, ap50 and ap75. backend "faster" gives the same numbers by
    faster-coco-eval where that is installed. Raises `ParameterError` when the numbers of images differ, a
    label has no class or the backend is not installed, `UnknownName` for a backend of another name.
    """
    truths, names = _truths(truth, classes)
    found = [{key: torch.as_tensor(image[key]).cpu() for key in image} for image in detections]
    if len(truths) != len(found):
        raise ParameterError(f"detections of {len(found)} images, but the truth has {len(truths)} images")
    labels = torch.cat([torch.zeros(0), *(image["labels"] for image in [*truths, *found])])
    needed = int(labels.max()) + 1 if len(labels) else 0
    names = [str(label) for label in range(needed)] if names is None else list(names)
    if needed > len(names):
        raise ParameterError(f"label {needed - 1} is out of range: the truth has {len(names)} classes")
    scores = _coco(truths, found, len(names), backend)
    curves = [precision_recall(truths, found, label) for label in range(len(names))]
    scores["voc11_50"] = [average_precision_11(curve) for curve in curves]
    scores["voc_all_50"] = [average_precision_all(curve) for curve in curves]
    per_class = {name: {key: float(scores[key][i]) for key in scores} for i, name in enumerate(names)}
    return Metrics(**{key: _mean(scores[key]) for key in scores}, per_class=per_class)


def precision_recall(truths: Sequence[dict], detections: Sequence[dict], label: int, iou: float = 0.5) -> Curve:
    """The curve of one class over all images: dicts of tensors, as `evaluate` takes them in lists.

    Best score first, equal scores in their order, each detection looks at the object of its class that it
    overlaps most. It is right if their IoU is at least `iou` and no better detection took the object; it
    does not count if the object is ignored.
    """
    objects, scores, verdicts = 0, [np.zeros(0)], [np.zeros(0)]
    for truth, found in zip(truths, detections, strict=True):
        mine, theirs = truth["labels"] == label, found["labels"] == label
        ignore = truth["ignore"][mine] if "ignore" in truth else torch.zeros_like(mine[mine])
        objects += int((~ignore).sum())
        order = found["scores"][theirs].argsort(descending=True, stable=True)
        overlaps = box_iou(found["boxes"][theirs][order].double(), truth["boxes"][mine].double())
        scores.append(found["scores"][theirs][order].double().numpy())
        verdicts.append(_verdicts(overlaps, ignore, iou))
    ranked = np.concatenate(verdicts)[np.argsort(-np.concatenate(scores), kind="stable")]
    right = np.cumsum(ranked[~np.isnan(ranked)])
    return Curve(right / max(objects, 1), right / np.arange(1, len(right) + 1), objects)


def _verdicts(overlaps: Tensor, ignore: Tensor, iou: float) -> np.ndarray:
    """One image's detections, best first: 1 right, 0 wrong, NaN does not count."""
    verdicts, taken = np.zeros(len(overlaps)), set()
    if overlaps.shape[1] == 0:
        return verdicts
    best = overlaps.max(dim=1)
    for i, (overlap, nearest) in enumerate(zip(best.values.tolist(), best.indices.tolist(), strict=True)):
        if overlap >= iou and ignore[nearest]:
            verdicts[i] = nan
        elif overlap >= iou and nearest not in taken:
            verdicts[i] = 1
            taken.add(nearest)
    return verdicts


def average_precision_11(curve: Curve) -> float:
    """Mean over recalls 0, .1 ... 1 of the best precision at that recall or beyond; NaN without objects."""
    if not curve.objects:
        return nan
    reached = [curve.precision[curve.recall >= step / 10] for step in range(11)]
    return float(np.mean([best.max(initial=0) for best in reached]))


def average_precision_all(curve: Curve) -> float:
    """The area under precision over recall, made non-increasing from the right; NaN without objects."""
    if not curve.objects:
        return nan
    envelope = np.maximum.accumulate(curve.precision[::-1])[::-1]
    return float(np.sum(np.diff(curve.recall, prepend=0) * envelope))


def _mean(scores: Sequence[float]) -> float:
    """The mean over classes that occur."""
    known = [score for score in scores if not np.isnan(score)]
    return float(np.mean(known)) if known else nan


def _truths(truth, classes: Sequence[str] | None) -> tuple[list[dict], Sequence[str] | None]:
    """Any accepted ground truth as a list of dicts of tensors, and the names of its classes if known."""
    coco = truth.coco() if hasattr(truth, "coco") else truth
    if not isinstance(coco, dict):
        images = [{key: torch.as_tensor(image[key]).cpu() for key in image} for image in coco]
        return images, classes
    categories = sorted(coco["categories"], key=lambda category: category["id"])
    label = {category["id"]: i for i, category in enumerate(categories)}
    notes = {image["id"]: [] for image in coco["images"]}
    for note in coco["annotations"]:
        notes[note["image_id"]].append(note)
    images = []
    for found in notes.values():
        boxes = torch.tensor([note["bbox"] for note in found], dtype=torch.float64).reshape(-1, 4)
        images.append(
            {
                "boxes": torch.cat([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], dim=1),
                "labels": torch.tensor([label[note["category_id"]] for note in found], dtype=torch.int64),
                "ignore": torch.tensor([bool(note.get("iscrowd", 0)) for note in found], dtype=torch.bool),
            }
        )
    return images, [category["name"] for category in categories]


def _coco(truths: Sequence[dict], detections: Sequence[dict], classes: int, backend: str) -> dict[str, np.ndarray]:
    """COCO's ap, ap50 and ap75 of every class (classes,), NaN where a class does not occur."""
    coco, cocoeval, evaluator = BACKENDS[check_name("average precision backend", backend, BACKENDS)]
    try:
        index_class, eval_class = import_module(coco).COCO, getattr(import_module(cocoeval), evaluator)
    except ImportError:
        package = coco.split(".")[0].replace("_", "-")
        raise ParameterError(f"backend {backend!r} needs the package {package}, not installed here") from None
    categories = [{"id": label + 1, "name": str(label)} for label in range(classes)]
    images = [{"id": i, "width": 1, "height": 1} for i in range(len(truths))]
    with contextlib.redirect_stdout(io.StringIO()):  # both libraries print their progress
        indices = []
        for side in (truths, detections):
            index = index_class()
            index.dataset = {"images": images, "categories": categories, "annotations": _annotations(side)}
            index.createIndex()
            indices.append(index)
        run = eval_class(*indices, "bbox")
        run.params.areaRng, run.params.areaRngLbl, run.params.maxDets = [[0, 1e10]], ["all"], [100]
        run.evaluate()
        run.accumulate()
    precision = run.eval["precision"].reshape(10, 101, classes)  # IoU, recall, class; -1 where undefined
    precision = np.where(precision < 0, nan, precision).mean(axis=1)
    return {"ap": precision.mean(axis=0), "ap50": precision[0], "ap75": precision[5]}


def _annotations(images: Sequence[dict]) -> list[dict]:
    """Truths, or detections if they have scores, as COCO annotations."""
    notes = []
    for number, image in enumerate(images):
        sizes = image["boxes"][:, 2:] - image["boxes"][:, :2]
        boxes = torch.cat([image["boxes"][:, :2], sizes], dim=1).double().tolist()
        crowd = image["ignore"].tolist() if "ignore" in image else [False] * len(boxes)
        scores = image["scores"].tolist() if "scores" in image else [1.0] * len(boxes)
        for box, label, ignore, score in zip(boxes, image["labels"].tolist(), crowd, scores, strict=True):
            place = {"id": len(notes) + 1, "image_id": number, "category_id": label + 1}
            area = box[2] * box[3]
            notes.append({**place, "bbox": box, "area": area, "iscrowd": int(ignore), "score": score})
    return notes
