from __future__ import annotations

import os
import sys
from dataclasses import asdict
from math import isnan
from pathlib import Path

import pytest
import torch
from torchvision.ops import box_iou

from nasedu.detection import evaluate
from nasedu.detection.average_precision import average_precision_11, average_precision_all, columns, precision_recall
from nasedu.errors import ParameterError, UnknownName


def truth(*boxes, labels=None, ignore=None):
    found = {"boxes": torch.tensor(boxes).float().view(-1, 4)}
    found["labels"] = torch.tensor(labels if labels else [0] * len(boxes), dtype=torch.int64)
    return found if ignore is None else {**found, "ignore": torch.tensor(ignore)}


def detected(*boxes, scores, labels=None):
    return {**truth(*boxes, labels=labels), "scores": torch.tensor(scores)}


def curves(truths, found, classes, iou=0.5):
    return precision_recall(columns(truths), columns(found), classes, iou)


KEYS = ("ap", "ap50", "ap75", "voc11_50", "voc_all_50")
A, B, FAR = (0, 0, 10, 10), (20, 20, 40, 40), (60, 60, 70, 75)


def test_perfect_detections_score_one_everywhere():
    truths = [truth(A, B, labels=[0, 2]), truth(FAR, labels=[2]), truth()]
    found = [detected(B, A, scores=[0.9, 0.3], labels=[2, 0]), detected(FAR, scores=[0.5], labels=[2])]
    metrics = evaluate(truths, [*found, detected(scores=[])], classes=["cat", "ant", "dog"])
    for scores in (asdict(metrics), metrics.per_class["cat"], metrics.per_class["dog"]):
        assert [scores[key] for key in KEYS] == pytest.approx([1] * 5)
    assert all(isnan(value) for value in metrics.per_class["ant"].values())  # NaN, and not in the mean


def test_right_wrong_right_by_hand():
    found = [detected(A, FAR, B, scores=[0.9, 0.8, 0.7])]
    metrics = evaluate([truth(A, B)], found)
    assert metrics.voc_all_50 == pytest.approx(0.5 * 1 + 0.5 * 2 / 3)
    assert metrics.voc11_50 == pytest.approx((6 * 1 + 5 * 2 / 3) / 11)
    assert (metrics.ap, metrics.ap50) == pytest.approx([(51 * 1 + 50 * 2 / 3) / 101] * 2)


def test_scores_are_ranked_over_all_images():
    truths = [truth(A), truth(B)]
    found = [detected(A, scores=[0.2]), detected(FAR, B, scores=[0.9, 0.5])]
    (curve,) = curves(truths, found, 1)
    assert curve.precision.tolist() == pytest.approx([0, 1 / 2, 2 / 3])
    assert curve.recall.tolist() == pytest.approx([0, 0.5, 1])


def test_a_second_detection_of_an_object_is_wrong():
    found = [detected(A, A, scores=[0.9, 0.8])]
    assert curves([truth(A, B)], found, 1)[0].precision.tolist() == [1, 0.5]
    assert evaluate([truth(A, B)], found).voc_all_50 == pytest.approx(0.5)


@pytest.mark.parametrize(("rows", "ap75", "ap"), [(62, 0, 0.3), (73, 0, 0.5), (78, 1, 0.6)])
def test_the_overlap_decides(rows, ap75, ap):
    """Of 100 rows of the object 62 are found: right at IoU .50, .55 and .60, wrong from .65 on."""
    metrics = evaluate([truth((0, 0, 100, 100))], [detected((0, 0, 100, rows), scores=[0.9])])
    assert (metrics.ap50, metrics.ap75, metrics.ap) == pytest.approx((1, ap75, ap))
    (curve,) = curves([truth((0, 0, 10, 10))], [detected((0, 0, 10, 5), scores=[0.9])], 1, iou=0.5)
    assert curve.precision.tolist() == [1]  # an IoU of exactly the threshold is enough


def test_another_class_is_no_match():
    metrics = evaluate([truth(A, labels=[1])], [detected(A, scores=[0.9], labels=[0])])
    assert metrics.ap == metrics.voc11_50 == metrics.voc_all_50 == 0


def test_ignored_objects_count_neither_way():
    truths = [truth(A, B, ignore=[False, True])]
    with_it = evaluate(truths, [detected(B, A, scores=[0.9, 0.8])])
    without = evaluate(truths, [detected(A, scores=[0.8])])
    twice = evaluate(truths, [detected(B, B, A, scores=[0.9, 0.85, 0.8])])
    for metrics in (with_it, without, twice):
        assert (metrics.ap, metrics.voc11_50, metrics.voc_all_50) == pytest.approx((1, 1, 1))
    only = evaluate([truth(A, ignore=[True])], [detected(A, scores=[0.9])])
    assert isnan(only.ap)
    assert isnan(only.voc11_50)


def test_eleven_points_include_a_recall_just_reached():
    """3 of 10 objects: recalls 0, .1, .2 and .3, though 3 / 10 < 3 * .1 in floating point."""
    boxes = [(20 * i, 0, 20 * i + 10, 10) for i in range(10)]
    (curve,) = curves([truth(*boxes)], [detected(*boxes[:3], scores=[0.9, 0.8, 0.7])], 1)
    assert average_precision_11(curve) == pytest.approx(4 / 11)
    assert average_precision_all(curve) == pytest.approx(0.3)


def test_no_detections_score_zero():
    metrics = evaluate([truth(A), truth(B)], [detected(scores=[]), detected(scores=[])])
    assert metrics.ap == metrics.voc11_50 == metrics.voc_all_50 == 0


def test_a_data_set_and_its_coco_dict_give_what_a_list_gives(capsys):
    coco = {
        "images": [{"id": 7, "width": 80, "height": 80}, {"id": 3, "width": 80, "height": 80}],
        "annotations": [
            {"id": 1, "image_id": 3, "category_id": 2, "bbox": [20, 20, 20, 20], "iscrowd": 1, "area": 400},
            {"id": 2, "image_id": 7, "category_id": 2, "bbox": [0, 0, 10, 10], "iscrowd": 0, "area": 100},
            {"id": 3, "image_id": 3, "category_id": 1, "bbox": [60, 60, 10, 15], "iscrowd": 0, "area": 150},
        ],
        "categories": [{"id": 1, "name": "ant"}, {"id": 2, "name": "bee"}],
    }
    truths = [truth(A, labels=[1], ignore=[False]), truth(B, FAR, labels=[1, 0], ignore=[True, False])]
    found = [
        detected(B, A, scores=[0.9, 0.6], labels=[1, 1]),
        detected(B, A, scores=[0.95, 0.7], labels=[1, 0]),
    ]
    plain = evaluate(truths, found, classes=["ant", "bee"])
    data = type("Data", (), {"coco": lambda self: coco})()
    assert evaluate(data, found) == evaluate(coco, found) == plain
    assert plain.per_class["ant"]["ap"] == 0
    assert plain.per_class["bee"]["voc_all_50"] == pytest.approx(0.5)
    assert plain.ap == pytest.approx(plain.per_class["bee"]["ap"] / 2)
    assert capsys.readouterr().out == ""


def many(seed):
    """Images with objects of 4 classes, some ignored, and detections near them with equal scores among them."""
    rng = torch.Generator().manual_seed(seed)

    def draw(*shape):
        return torch.rand(*shape, generator=rng)

    truths, found = [], []
    for number in range(30):
        n, m = number % 4, 5 * (number % 3)
        corner = 40 * draw(n, 2)
        boxes = torch.cat([corner, corner + 5 + 20 * draw(n, 2)], dim=1)
        truths.append({"boxes": boxes, "labels": (4 * draw(n)).long(), "ignore": draw(n) < 0.2})
        near = boxes[(n * draw(m)).long()] + 6 * draw(m, 4) - 3 if n else 40 * draw(m, 4)
        found.append({"boxes": near, "labels": (4 * draw(m)).long(), "scores": (10 * draw(m)).round() / 10})
    return truths, found


def literally(truths, found, label, iou):
    """Recall and precision of one class as the rule says it, one detection after another."""
    objects, verdicts, taken = 0, [], set()
    for number, (truth, image) in enumerate(zip(truths, found, strict=True)):
        mine = (truth["labels"] == label).nonzero().flatten().tolist()
        objects += sum(not truth["ignore"][j] for j in mine)
        theirs = (image["labels"] == label).nonzero().flatten().tolist()
        for i in sorted(theirs, key=lambda i: -image["scores"][i]):
            overlaps = [box_iou(image["boxes"][[i]].double(), truth["boxes"][[j]].double()).item() for j in mine]
            best = max(range(len(mine)), key=overlaps.__getitem__, default=None)
            score, verdict = image["scores"][i].item(), 0
            if best is not None and overlaps[best] >= iou:
                key = number, mine[best]
                verdict = None if truth["ignore"][mine[best]] else int(key not in taken)
                taken |= {key} if verdict else set()
            verdicts.append((score, verdict))
    ranked = [verdict for _, verdict in sorted(verdicts, key=lambda pair: -pair[0]) if verdict is not None]
    right = [sum(ranked[: i + 1]) for i in range(len(ranked))]
    return [r / max(objects, 1) for r in right], [r / (i + 1) for i, r in enumerate(right)], objects


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("iou", [0.3, 0.5])
def test_all_classes_at_once_are_what_the_rule_gives_one_by_one(seed, iou):
    truths, found = many(seed)
    judged = curves(truths, found, 5, iou)
    assert sum(curve.recall[-1] > 0 for curve in judged if len(curve.recall)) >= 3  # something is found
    assert [[curve.recall.tolist(), curve.precision.tolist(), curve.objects] for curve in judged] == [
        list(literally(truths, found, label, iou)) for label in range(5)
    ]


@pytest.mark.parametrize("seed", range(3))
def test_the_faster_backend_agrees_and_is_taken_where_it_is_there(seed, monkeypatch):
    pytest.importorskip("faster_coco_eval", reason="faster-coco-eval has no build for this machine")
    truths, found = many(seed)
    one, other = evaluate(truths, found), evaluate(truths, found, backend="pycocotools")
    assert (one.backend, other.backend) == ("faster", "pycocotools")
    for name, scores in one.per_class.items():  # one class is NaN
        assert scores == pytest.approx(other.per_class[name], abs=1e-15, nan_ok=True)
    assert "faster" not in str(one)


def test_without_the_faster_package_pycocotools_is_taken(monkeypatch):
    monkeypatch.setitem(sys.modules, "faster_coco_eval", None)
    assert evaluate([truth(A)], [detected(A, scores=[0.9])]).backend == "pycocotools"


def test_bad_arguments_are_refused(monkeypatch):
    with pytest.raises(ParameterError, match="1 images, but the truth has 2"):
        evaluate([truth(A), truth(B)], [detected(A, scores=[0.9])])
    with pytest.raises(ParameterError, match=r"label 3 .* 2 classes"):
        evaluate([truth(A)], [detected(A, scores=[0.9], labels=[3])], classes=["ant", "bee"])
    with pytest.raises(UnknownName, match="did you mean 'faster'"):
        evaluate([truth(A)], [detected(A, scores=[0.9])], backend="fast")
    with pytest.raises(ParameterError, match=r"label -1 .* 1 classes"):
        evaluate([truth(A)], [detected(A, scores=[0.9], labels=[-1])])
    monkeypatch.setitem(sys.modules, "faster_coco_eval.core.coco", None)
    with pytest.raises(ParameterError, match="needs the package faster-coco-eval"):
        evaluate([truth(A)], [detected(A, scores=[0.9])], backend="faster")


def read(path, scored):
    """Rows `class [score] x y width height`; that data counts both corners in, hence one pixel more."""
    lines = [line.split() for line in path.read_text().splitlines()]
    rows = torch.tensor([[float(value) for value in line[1:]] for line in lines])
    corner, size = rows[:, -4:-2], rows[:, -2:]
    found = {"boxes": torch.cat([corner, corner + size + 1], dim=1), "labels": torch.zeros(len(rows)).long()}
    return {**found, "scores": rows[:, 0]} if scored else found


def test_known_average_precision_of_published_detections():
    if not os.environ.get("NASEDU_DATA"):
        pytest.skip("NASEDU_DATA does not name a folder with od_metrics")
    folder = Path(os.environ["NASEDU_DATA"]) / "od_metrics"
    truths = [read(path, False) for path in sorted((folder / "groundtruths").glob("*.txt"))]
    found = [read(path, True) for path in sorted((folder / "detections").glob("*.txt"))]
    assert (len(truths), sum(len(image["scores"]) for image in found)) == (7, 24)
    (curve,) = curves(truths, found, 1, iou=0.3)
    assert average_precision_11(curve) == pytest.approx(0.2683982684, abs=1e-10)
    assert average_precision_all(curve) == pytest.approx(0.2456866805, abs=1e-10)


NAN, INF = float("nan"), float("inf")
GOOD = {"boxes": [[0.0, 0, 10, 10]], "scores": [0.9], "labels": [0]}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"boxes": [[0, 0, NAN, 10]]}, "boxes must be finite, but they hold nan"),
        ({"boxes": [[0, -INF, 10, 10]]}, "boxes must be finite, but they hold -inf"),
        ({"scores": [NAN]}, "scores must be finite"),
        ({"labels": [NAN]}, "labels must be finite"),
        ({"scores": [0.9, 0.8]}, r"scores have shape \(2,\), but it has 1 labels"),
        ({"labels": [0, 0]}, r"boxes have shape \(1, 4\), but it has 2 labels"),
        ({"boxes": [[0, 0, 10]]}, r"boxes have shape \(1, 3\)"),
        ({"boxes": [0, 0, 10, 10]}, r"boxes have shape \(4,\)"),
        ({"boxes": []}, r"boxes have shape \(0,\), but it has 1 labels"),
        ({"labels": 0}, "labels have shape"),
        ({"labels": [0.5]}, "labels must be whole numbers"),
        ({"labels": ["dog"]}, "must be tensors, or lists of numbers"),
        ({"boxes": None}, "must be tensors, or lists of numbers"),
    ],
)
@pytest.mark.parametrize("side", ["detections", "objects"])
def test_what_is_not_finite_or_of_the_wrong_length_is_refused(side, change, message):
    """A corner that is not-a-number had an average precision of 1."""
    if side == "objects" and "scores" in change:
        return
    sides = {"objects": [truth(B), GOOD], "detections": [detected(B, scores=[0.5]), GOOD]}
    sides[side] = [sides[side][0], GOOD | change]
    with pytest.raises(ParameterError, match=f"{side} of image 1.*{message}") as refused:
        evaluate(sides["objects"], sides["detections"])
    assert len(str(refused.value)) < 300


@pytest.mark.parametrize(
    ("found", "message"),
    [
        ([{"boxes": [], "labels": []}], "detections of image 0 have no 'scores', only"),
        ([{"box": [], "scores": [], "labels": []}], "detections of image 0 have no 'boxes', only"),
        ([None], "detections of image 0 must be a dict of boxes, labels, scores"),
        (None, "detections must be a list with a dict for each image"),
        (GOOD, "detections must be a list with a dict for each image"),
    ],
)
def test_wrong_keys_are_refused(found, message):
    with pytest.raises(ParameterError, match=message):
        evaluate([truth(A)], found)
    with pytest.raises(ParameterError, match="the truth is no COCO dict"):
        evaluate({"images": [], "annotations": [{"image_id": 3}], "categories": []}, [])


def test_lists_and_empty_images_are_fine():
    empty = {"boxes": [], "scores": [], "labels": []}
    assert evaluate([GOOD, empty], [GOOD, empty]).ap == pytest.approx(1)


def test_precision_and_recall_are_those_at_the_best_mean_f1():
    """Two classes: at .6 one has 2 of 2 right of 2, the other 1 of 1 of 2; below, a wrong one more for each."""
    truths = [truth(A, B, FAR, (80, 80, 90, 90), labels=[0, 0, 1, 1])]
    boxes = (A, B, FAR, (1, 50, 9, 58), (50, 1, 58, 9))
    found = [detected(*boxes, scores=[0.9, 0.7, 0.65, 0.3, 0.2], labels=[0, 0, 1, 0, 1])]
    metrics = evaluate(truths, found)
    assert (metrics.precision, metrics.recall) == (1.0, 0.75) and 0.3 < metrics.confidence <= 0.65
    worse = [detected(*boxes, scores=[0.1, 0.1, 0.65, 0.3, 0.2], labels=[0, 0, 1, 0, 1])]
    metrics = evaluate(truths, worse)  # nothing of class 0 is above .3, and there it is wrong
    assert 0.09 < metrics.confidence < 0.11 and metrics.recall == 0.75
    assert metrics.precision == pytest.approx((2 / 3 + 1 / 2) / 2)


def test_precision_and_recall_without_detections_or_objects():
    nothing = detected(scores=[])
    metrics = evaluate([truth(A)], [nothing])
    assert isnan(metrics.precision) and metrics.recall == 0 and isnan(metrics.confidence)
    metrics = evaluate([truth()], [detected(A, scores=[0.5])], classes=["cat"])
    assert isnan(metrics.precision) and isnan(metrics.recall)
