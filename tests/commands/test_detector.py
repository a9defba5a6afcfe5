"""A trained detector from the command line: detect, evaluate, export."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from nasedu import data
from nasedu.__main__ import main


@pytest.fixture
def run(detector, tmp_path):
    detector.save(tmp_path / "run" / "detectors" / "searched")
    return tmp_path / "run"


@pytest.fixture
def photo(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (60, 100, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "photo.png")
    return tmp_path / "photo.png"


def test_detect_tells_and_draws_what_it_sees(run, photo, detector, tmp_path, capsys):
    low = ["--confidence", "0.05"]
    assert main(["detect", str(run), str(photo), "--out", str(tmp_path / "seen.png"), *low]) == 0
    told = capsys.readouterr().out
    seen = detector.detect(photo, confidence=0.05)
    assert f"{len(seen)} objects" in told and "Käfer" in told and str(tmp_path / "seen.png") in told
    with Image.open(tmp_path / "seen.png") as picture:
        assert picture.width > picture.height > 100
    assert main(["detect", str(run), str(photo), "--json", *low]) == 0
    (rows,) = json.loads(capsys.readouterr().out).values()
    assert [row["name"] for row in rows] == [one.name for one in seen]
    assert [row["box"] for row in rows] == [list(one.box) for one in seen]


def test_evaluate_agrees_with_the_library_and_with_cocos_tools(run, detector, tmp_path, capsys):
    scenes = data.detection("digits", "test", size=12, image_size=64)
    for sample in scenes.samples:
        sample.labels.remainder_(3)
    scenes.classes, scenes.categories = sorted(detector.classes), [1, 2, 3]
    for split in ("train", "val", "test"):
        scenes.split = split
        data.export(scenes, tmp_path / "coco", "coco")
    results, root = tmp_path / "found.json", tmp_path / "coco"
    assert main(["evaluate", str(run), "--data", str(root), "--coco", str(results)]) == 0
    told = capsys.readouterr().out
    images = data.detection("coco", "test", root=root, image_size=64, classes=detector.classes)
    metrics = detector.evaluate(images)
    for name, value in (("AP ", metrics.ap), ("AP50", metrics.ap50), ("recall", metrics.recall)):
        assert any(line.split()[:2] == [name.strip(), f"{value:.4f}"] for line in told.splitlines())
    truth = COCO(str(root / "annotations" / "instances_test.json"))
    judge = COCOeval(truth, truth.loadRes(str(results)), "bbox")
    judge.evaluate(), judge.accumulate(), judge.summarize()
    assert judge.stats[0] == pytest.approx(metrics.ap, abs=2e-3)  # areas aside, which COCO's tools look at, too
    assert main(["evaluate", str(run), "--data", str(root), "--views"]) == 0
    assert capsys.readouterr().out != told


def test_export_writes_the_file_and_the_script(run, tmp_path, capsys):
    out = tmp_path / "out" / "detector.onnx"
    assert main(["export", str(run), "--out", str(out), "--opset", "12", "--suppress"]) == 0
    assert out.exists() and out.with_name("use_it.py").exists() and "largest difference" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["detect", "nowhere", "photo.png"], "holds no detector"),
        (["detect", "RUN", "nothing.jpg"], "the picture is missing"),
        (["detect", "RUN", "PHOTO", "--network", "serched"], "did you mean 'searched'"),
        (["evaluate", "RUN"], "--data names the folder"),
        (["evaluate", "RUN", "--dataset", "digits"], "the detector knows the classes"),
        (["export", "RUN", "--out", "x.onnx", "--opset", "99"], "opset"),
    ],
)
def test_a_mistake_is_one_sentence(run, photo, capsys, arguments, told):
    named = {"RUN": str(run), "PHOTO": str(photo)}
    assert main([named.get(one, one) for one in arguments]) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert told in line and len(line) < 400
