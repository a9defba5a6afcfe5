"""How good detections are: average precision by the rules of COCO and of PASCAL VOC, as fractions 0..1.

Both sort a class's detections by score, call each one right or wrong, and summarise precision over recall.
COCO (Lin et al. 2014) averages over IoU .50 to .95 and over 101 recalls, computed by pycocotools. VOC
(Everingham et al. 2010, section 4.2) takes one IoU, and 11 recalls (until 2009) or every one (since 2010).
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from importlib.util import find_spec
from math import nan
from typing import NamedTuple

import numpy as np
import torch
from torchvision.ops import box_convert

from nasedu.detection.losses import paired_iou
from nasedu.errors import ParameterError, brief, check_kind, check_name

BACKENDS = {  # where each library keeps its index class and its evaluator class
    "pycocotools": ("pycocotools.coco", "pycocotools.cocoeval", "COCOeval"),
    "faster": ("faster_coco_eval.core.coco", "faster_coco_eval.core.faster_eval_api", "COCOeval_faster"),
}


@dataclass(frozen=True)
class Metrics:
    """Means over the classes that occur, NaN where none does. `per_class` has the same names by class.

    ap: COCO AP .50:.95. ap50, ap75: COCO AP at one IoU. voc11_50, voc_all_50: VOC AP at IoU .50 over
    11 recalls and over every recall. precision, recall: at IoU .50, of the detections whose score is at least
    `confidence`, the score at which the mean F1 over the classes is highest. backend: what computed the COCO numbers.
    """

    ap: float
    ap50: float
    ap75: float
    voc11_50: float
    voc_all_50: float
    per_class: dict[str, dict[str, float]]
    precision: float = nan
    recall: float = nan
    confidence: float = nan
    backend: str = field(default="pycocotools", compare=False, repr=False)


class Curve(NamedTuple):
    """Recall, precision and score (k,) of one class after each detection that counts, and how many objects count."""

    recall: np.ndarray
    precision: np.ndarray
    score: np.ndarray
    objects: int


class Columns(NamedTuple):
    """All images' boxes (n, 4), xyxy, below one another, and each one's image number, label, score and ignore (n,)."""

    boxes: np.ndarray
    image: np.ndarray
    label: np.ndarray
    score: np.ndarray
    ignore: np.ndarray

    def take(self, order: np.ndarray) -> Columns:
        """The rows in this order."""
        return Columns(*(column[order] for column in self))


def columns(images: Sequence[dict]) -> Columns:
    """One dict of boxes, labels and perhaps scores and ignore for each image; scores are 1 where there are none."""
    sizes = [len(image["labels"]) for image in images]

    def column(key: str, dtype: torch.dtype, default: float = 0) -> np.ndarray:
        parts = [image.get(key, torch.full((n,), default)) for image, n in zip(images, sizes, strict=True)]
        parts = [torch.as_tensor(part).cpu().to(dtype) for part in parts]
        return torch.cat([torch.zeros((0, 4) if key == "boxes" else 0, dtype=dtype), *parts]).numpy()

    image, label = np.repeat(np.arange(len(images)), sizes), column("labels", torch.int64)
    rest = column("scores", torch.float64, 1), column("ignore", torch.bool)
    return Columns(column("boxes", torch.float64), image, label, *rest)


def evaluate(
    truth, detections: Sequence[dict], *, classes: Sequence[str] | None = None, backend: str | None = None
) -> Metrics:
    """Average precision of detections. An ignored object's detection is neither right nor wrong.

    As COCO prescribes, an image's 100 best detections of a class count towards ap, ap50 and ap75.

    truth: a detection data set (its `coco()`), such a COCO-format dict, or a list of dicts of boxes (n, 4)
        xyxy, labels (n,) and, where some do not count, ignore (n,).
    detections: for each image, in order, a dict of boxes (n, 4) xyxy, scores (n,) and labels (n,).
    classes: the names of the labels where the truth is such a list.
    backend: "pycocotools", or "faster", faster-coco-eval, which gives the same numbers; None takes the
        faster one where it is installed. The result names it.
    Raises `ParameterError` when the numbers of images differ, an image's entries are missing, of different lengths or
    not finite, a label has no class or the backend is not installed, `UnknownName` for a backend of another name.
    """
    backend = check_name("average precision backend", backend or default_backend(), BACKENDS)
    try:
        truths, names = _truths(truth, classes)
    except (LookupError, TypeError, ValueError, RuntimeError) as error:
        raise ParameterError(f"the truth is no COCO dict that can be read: {brief(str(error))}") from None
    _check(truths, "objects", ("boxes", "labels"))
    _check(detections, "detections", ("boxes", "labels", "scores"))
    if len(truths) != len(detections):
        raise ParameterError(f"detections of {len(detections)} images, but the truth has {len(truths)} images")
    objects, found = columns(truths), columns(detections)
    labels = np.concatenate([objects.label, found.label])
    names = [str(label) for label in range(labels.max(initial=-1) + 1)] if names is None else list(names)
    for label in labels[(labels < 0) | (labels >= len(names))]:
        raise ParameterError(f"label {label} is out of range: the truth has {len(names)} classes")
    curves = precision_recall(objects, found, len(names))
    scores = _coco(objects, found, len(truths), len(names), backend) | {
        "voc11_50": np.array([average_precision_11(curve) for curve in curves]),
        "voc_all_50": np.array([average_precision_all(curve) for curve in curves]),
    }
    per_class = {name: {key: float(scores[key][i]) for key in scores} for i, name in enumerate(names)}
    means = {key: _mean(scores[key]) for key in scores} | operating_point(curves)
    return Metrics(**means, per_class=per_class, backend=backend)


def _check(images: Sequence[dict], what: str, keys: Sequence[str]) -> None:
    """Raise `ParameterError` unless every image has entries of one length, all numbers finite."""
    check_kind(what, images, (list, tuple), "a list with a dict for each image")
    for number, image in enumerate(images):
        where = f"{what} of image {number}"
        given = check_kind(where, image, Mapping, f"a dict of {', '.join(keys)}")
        for key in keys:
            if key not in given:
                raise ParameterError(
                    f"{where} have no {key!r}, only {brief(list(given))}; {', '.join(keys)} are needed"
                )
        try:
            parts = {key: torch.as_tensor(given[key]) for key in (*keys, *({"ignore"} & given.keys()))}
        except (TypeError, ValueError, RuntimeError):
            raise ParameterError(f"{where} must be tensors, or lists of numbers") from None
        n = parts["labels"].numel()
        for key, part in parts.items():
            if part.shape != ((n, 4) if key == "boxes" else (n,)) and (n or part.numel()):
                shape = tuple(part.shape)
                raise ParameterError(f"{where}: {key} have shape {shape}, but it has {n} labels; boxes are (n, 4)")
            if not part.isfinite().all():
                raise ParameterError(f"{where}: {key} must be finite, but they hold {part[~part.isfinite()][0]:g}")
        if (parts["labels"] % 1).any():
            raise ParameterError(f"{where}: labels must be whole numbers")


def default_backend() -> str:
    """The faster backend where it is installed (it has no build for some processors), else pycocotools."""
    return "faster" if find_spec("faster_coco_eval") else "pycocotools"


def precision_recall(objects: Columns, found: Columns, classes: int, iou: float = 0.5) -> list[Curve]:
    """The curve of each class over all images.

    Best score first, equal scores in their order, each detection looks at the object of its class that it
    overlaps most. It is right if their IoU is at least `iou` and no better detection took the object; it
    does not count if the object is ignored.

    objects: the truth.
    found: the detections of the same images.
    classes: labels are 0 to `classes` - 1.
    iou: the least overlap.
    """
    objects = objects.take(np.lexsort((objects.image, objects.label)))
    found = found.take(np.lexsort((-found.score, found.image, found.label)))
    verdicts = _verdicts(objects, found, iou)
    order = np.lexsort((-found.score, found.label))
    order = order[~np.isnan(verdicts[order])]
    ends = np.searchsorted(found.label[order], np.arange(1, classes))
    counts = np.bincount(objects.label[~objects.ignore], minlength=classes).tolist()
    curves = []
    parts = np.split(verdicts[order], ends), np.split(found.score[order], ends), counts
    for verdict, score, count in zip(*parts, strict=True):
        right = np.cumsum(verdict)
        curves.append(Curve(right / max(count, 1), right / np.arange(1, len(right) + 1), score, count))
    return curves


def operating_point(curves: Sequence[Curve]) -> dict[str, float]:
    """The score at which the mean F1 of the classes that occur is highest, and the means of precision and recall there.

    The dict has `precision`, `recall` and `confidence`. Where nothing is left of a class, its precision counts as 0.
    Scores are told apart to the third decimal.

    curves: of every class.
    """
    present = [curve for curve in curves if curve.objects]
    scores = np.concatenate([np.zeros(0), *(curve.score for curve in present)])
    levels = np.unique(np.floor(1000 * scores) / 1000)  # of 5,000 images each score would be too many
    if not len(levels):
        return {"precision": nan, "recall": 0.0 if present else nan, "confidence": nan}
    rows = []
    for curve in present:
        kept = np.searchsorted(-curve.score, -levels, side="right")  # how many reach each level
        rows.append([np.concatenate([[0.0], column])[kept] for column in (curve.precision, curve.recall)])
    precision, recall = np.array(rows).transpose(1, 0, 2)  # (classes, levels) each
    f1 = 2 * precision * recall / np.maximum(precision + recall, 1e-12)
    best = int(f1.mean(axis=0).argmax())
    means = {"precision": precision, "recall": recall}
    return {key: float(value[:, best].mean()) for key, value in means.items()} | {"confidence": float(levels[best])}


def _verdicts(objects: Columns, found: Columns, iou: float) -> np.ndarray:
    """Each detection: 1 right, 0 wrong, NaN does not count. Both sides by class, then image, the best first."""
    verdicts = np.zeros(len(found.label))
    images = max(side.image.max(initial=0) for side in (objects, found)) + 1
    place, key = (side.label * images + side.image for side in (objects, found))
    first, end = np.searchsorted(place, key), np.searchsorted(place, key, side="right")
    some = np.flatnonzero(end > first)  # the detections with objects of their class in their image
    if not len(some):
        return verdicts
    sizes = (end - first)[some]
    starts = np.cumsum(sizes) - sizes
    # one row for each pair of a detection and an object: their overlap, then for each detection the first best
    pair = np.arange(sizes.sum()) - np.repeat(starts - first[some], sizes)
    pairs = found.boxes[np.repeat(some, sizes)], objects.boxes[pair]
    overlap = paired_iou(*map(torch.from_numpy, pairs)).numpy()
    best = np.maximum.reduceat(overlap, starts)
    nearest = np.minimum.reduceat(np.where(overlap == np.repeat(best, sizes), pair, len(place)), starts)
    hit, nearest = some[best >= iou], nearest[best >= iou]
    _, takes = np.unique(nearest, return_index=True)
    verdicts[hit[takes]] = 1
    verdicts[hit[objects.ignore[nearest]]] = nan
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


def _mean(scores: np.ndarray) -> float:
    """The mean over classes that occur."""
    known = scores[~np.isnan(scores)]
    return float(known.mean()) if len(known) else nan


def _truths(truth, classes: Sequence[str] | None) -> tuple[Sequence[dict], Sequence[str] | None]:
    """Any accepted ground truth as dicts of boxes, labels and ignore, and the names of its classes if known."""
    coco = truth.coco() if hasattr(truth, "coco") else truth
    if not isinstance(coco, dict):
        return coco, classes
    categories = sorted(coco["categories"], key=lambda category: category["id"])
    label = {category["id"]: i for i, category in enumerate(categories)}
    notes: dict[int, list[dict]] = {image["id"]: [] for image in coco["images"]}
    for note in coco["annotations"]:
        notes[note["image_id"]].append(note)
    images = []
    for found in notes.values():
        boxes = torch.tensor([note["bbox"] for note in found], dtype=torch.float64).reshape(-1, 4)
        labels = torch.tensor([label[note["category_id"]] for note in found], dtype=torch.int64)
        ignore = torch.tensor([bool(note.get("iscrowd", 0)) for note in found], dtype=torch.bool)
        images.append({"boxes": box_convert(boxes, "xywh", "xyxy"), "labels": labels, "ignore": ignore})
    return images, [category["name"] for category in categories]


def _coco(objects: Columns, found: Columns, images: int, classes: int, backend: str) -> dict[str, np.ndarray]:
    """COCO's ap, ap50 and ap75 of every class (classes,), NaN where a class does not occur."""
    coco, cocoeval, evaluator = BACKENDS[backend]
    try:
        index_class, eval_class = import_module(coco).COCO, getattr(import_module(cocoeval), evaluator)
    except ImportError:
        package = coco.split(".")[0].replace("_", "-")
        raise ParameterError(f"backend {backend!r} needs the package {package}, not installed here") from None
    categories = [{"id": label + 1, "name": str(label)} for label in range(classes)]
    listed = [{"id": i, "width": 1, "height": 1} for i in range(images)]
    with contextlib.redirect_stdout(io.StringIO()):  # both libraries print their progress
        indices = []
        for side in (objects, found):
            index = index_class()
            index.dataset = {"images": listed, "categories": categories, "annotations": _annotations(side)}
            index.createIndex()
            indices.append(index)
        run = eval_class(*indices, "bbox")
        run.params.areaRng, run.params.areaRngLbl, run.params.maxDets = [[0, 1e10]], ["all"], [100]
        run.evaluate()
        run.accumulate()
    precision = run.eval["precision"].reshape(10, 101, classes)  # IoU, recall, class; -1 where undefined
    precision = np.where(precision < 0, nan, precision).mean(axis=1)
    return {"ap": precision.mean(axis=0), "ap50": precision[0], "ap75": precision[5]}


def _annotations(side: Columns) -> list[dict]:
    """Truths or detections as COCO annotations."""
    sizes = side.boxes[:, 2:] - side.boxes[:, :2]
    keys = ("id", "image_id", "category_id", "bbox", "area", "iscrowd", "score")
    numbers = (np.arange(len(sizes)) + 1, side.image, side.label + 1, np.hstack([side.boxes[:, :2], sizes]))
    rest = (sizes.prod(axis=1), side.ignore.astype(int), side.score)
    rows = zip(*(column.tolist() for column in (*numbers, *rest)), strict=True)
    return [dict(zip(keys, row, strict=True)) for row in rows]
