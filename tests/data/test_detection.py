"""The one entrance to all data sets, the COCO ground truth, and the export that reads back."""

from __future__ import annotations

import contextlib
import io

import pytest
import torch

from nasedu.data import detection, export, names
from nasedu.errors import OutputError, ParameterError, UnknownName


def test_names():
    assert names() == ["digits", "voc", "coco", "yolo"]


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        (("digit", "train"), {}, "unknown dataset 'digit': did you mean 'digits'"),
        (("digits", "tets"), {}, "unknown split 'tets': did you mean 'test'"),
        (
            ("digits", "train"),
            {"dificulty": 1},
            "unknown option of digits 'dificulty': did you mean 'difficulty'",
        ),
        (("digits", "train"), {"classes": ["1"]}, "unknown option of digits 'classes'"),
        (("coco", "train"), {"difficulty": 1}, "unknown option of coco 'difficulty'"),
    ],
)
def test_misspelt_names(arguments, options, message):
    with pytest.raises(UnknownName, match=message):
        detection(*arguments, **options)


@pytest.mark.parametrize(
    "options",
    [
        {"image_size": 16},
        {"image_size": 9999},
        {"seed": -1},
        {"size": 0},
        {"difficulty": 1.01},
        {"difficulty": -1},
        {"difficulty": float("nan")},
        {"root": "somewhere"},
    ],
)
def test_values_out_of_range(options):
    with pytest.raises(ParameterError):
        detection("digits", "train", **options)


def test_indices_follow_the_rules_of_a_sequence():
    dataset = detection("digits", "val", size=3)
    assert torch.equal(dataset[-1][0], dataset[2][0])
    assert len(list(dataset)) == 3
    with pytest.raises(IndexError):
        dataset[3]


def test_the_ground_truth_satisfies_pycocotools():
    """Detections that repeat the ground truth have an average precision of 1."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO()
        truth.dataset = detection("digits", "val", size=20).coco()
        truth.createIndex()
        found = [{**annotation, "score": 1.0} for annotation in truth.dataset["annotations"]]
        evaluation = COCOeval(truth, truth.loadRes(found), "bbox")
        for step in (evaluation.evaluate, evaluation.accumulate, evaluation.summarize):
            step()
    assert evaluation.stats[0] == pytest.approx(1.0)
    assert {c["id"]: c["name"] for c in truth.dataset["categories"]}[1] == "0", "category id = label + 1"


def test_export_reads_back(tmp_path, fingerprint):
    sets = {split: detection("digits", split, size=4, image_size=96) for split in ("train", "val", "test")}
    for split, dataset in sets.items():
        assert export(dataset, tmp_path / "scenes") == tmp_path / "scenes/annotations" / f"instances_{split}.json"
    for split, dataset in sets.items():
        again = detection("coco", split, root=tmp_path / "scenes", image_size=96)
        assert again.classes == dataset.classes
        assert fingerprint(again) == fingerprint(dataset)
        assert [s.image_id for s in again.samples] == [s.image_id for s in dataset.samples]


def test_export_keeps_ignore_flags(voc_folder, tmp_path, fingerprint):
    voc_folder.add("a", ("dog", 5, 5, 20, 20, 1), ("dog", 5, 5, 30, 30))
    for split in ("train", "val"):
        export(detection("voc", split, root=voc_folder.root, image_size=60), tmp_path / "out")
    original = detection("voc", "train", root=voc_folder.root, image_size=60)
    again = detection("coco", "train", root=tmp_path / "out", image_size=60)
    assert again.samples[0].ignore.tolist() == [True, False]
    assert fingerprint(again) == fingerprint(original)


def test_export_to_a_place_that_is_not_a_folder(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot write to"):
        export(detection("digits", "val", size=1), tmp_path / "file")
