from __future__ import annotations

import os
import sys
from dataclasses import asdict
from math import isnan
from pathlib import Path

import pytest
import torch

from nasedu.detection import evaluate
from nasedu.detection.average_precision import average_precision_11, average_precision_all, precision_recall
from nasedu.errors import ParameterError, UnknownName


def truth(*boxes, labels=None, ignore=None):
    found = {"boxes": torch.tensor(boxes).float().view(-1, 4)}
    found["labels"] = torch.tensor(labels if labels else [0] * len(boxes), dtype=torch.int64)
    return found if ignore is None else {**found, "ignore": torch.tensor(ignore)}


def detected(*boxes, scores, labels=None):
    return {**truth(*boxes, labels=labels), "scores": torch.tensor(scores)}


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
    curve = precision_recall(truths, found, 0)
    assert curve.precision.tolist() == pytest.approx([0, 1 / 2, 2 / 3])
    assert curve.recall.tolist() == pytest.approx([0, 0.5, 1])


def test_a_second_detection_of_an_object_is_wrong():
    found = [detected(A, A, scores=[0.9, 0.8])]
    assert precision_recall([truth(A, B)], found, 0).precision.tolist() == [1, 0.5]
    assert evaluate([truth(A, B)], found).voc_all_50 == pytest.approx(0.5)


@pytest.mark.parametrize(("rows", "ap75", "ap"), [(62, 0, 0.3), (73, 0, 0.5), (78, 1, 0.6)])
def test_the_overlap_decides(rows, ap75, ap):
    """Of 100 rows of the object 62 are found: right at IoU .50, .55 and .60, wrong from .65 on."""
    metrics = evaluate([truth((0, 0, 100, 100))], [detected((0, 0, 100, rows), scores=[0.9])])
    assert (metrics.ap50, metrics.ap75, metrics.ap) == pytest.approx((1, ap75, ap))
    curve = precision_recall([truth((0, 0, 10, 10))], [detected((0, 0, 10, 5), scores=[0.9])], 0, iou=0.5)
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
    curve = precision_recall([truth(*boxes)], [detected(*boxes[:3], scores=[0.9, 0.8, 0.7])], 0)
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


def test_the_faster_backend_agrees():
    pytest.importorskip("faster_coco_eval", reason="faster-coco-eval is optional and not installed")
    found = [detected(A, FAR, B, scores=[0.9, 0.8, 0.7]), detected(scores=[])]
    truths = [truth(A, B, ignore=[False, False]), truth(FAR, ignore=[True])]
    one, other = evaluate(truths, found, backend="faster"), evaluate(truths, found)
    assert (one.ap, one.ap50, one.ap75) == pytest.approx((other.ap, other.ap50, other.ap75), abs=1e-12)


def test_bad_arguments_are_refused(monkeypatch):
    with pytest.raises(ParameterError, match="1 images, but the truth has 2"):
        evaluate([truth(A), truth(B)], [detected(A, scores=[0.9])])
    with pytest.raises(ParameterError, match=r"label 3 .* 2 classes"):
        evaluate([truth(A)], [detected(A, scores=[0.9], labels=[3])], classes=["ant", "bee"])
    with pytest.raises(UnknownName, match="did you mean 'faster'"):
        evaluate([truth(A)], [detected(A, scores=[0.9])], backend="fast")
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
    curve = precision_recall(truths, found, 0, iou=0.3)
    assert average_precision_11(curve) == pytest.approx(0.2683982684, abs=1e-10)
    assert average_precision_all(curve) == pytest.approx(0.2456866805, abs=1e-10)
