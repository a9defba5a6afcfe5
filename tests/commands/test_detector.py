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
    with Image.open(tmp_path / "seen.png") as picture, Image.open(photo) as before:
        assert picture.size == before.size == (100, 60), "in its own resolution"
        assert np.asarray(picture).shape == (60, 100, 3) and (np.asarray(picture) != np.asarray(before)).any()
    assert main(["detect", str(run), str(photo), "--json", *low]) == 0
    (rows,) = json.loads(capsys.readouterr().out).values()
    assert [row["name"] for row in rows] == [one.name for one in seen]
    assert [row["box"] for row in rows] == [list(one.box) for one in seen]


def test_no_picture_is_written_over(run, photo, tmp_path, capsys):
    """Neither one of those that are looked at, nor one that was just drawn."""
    other = tmp_path / "other" / "photo.jpg"
    other.parent.mkdir()
    Image.open(photo).save(other)
    before, many = photo.read_bytes(), [str(photo), str(other)]
    assert main(["detect", str(run), *many, "--out", str(tmp_path)]) == 0
    assert (tmp_path / "photo_seen.png").exists() and (tmp_path / "photo_seen2.png").exists()
    assert main(["detect", str(run), str(photo), "--out", str(tmp_path / "new")]) == 0
    assert (tmp_path / "new" / "photo_seen.png").exists() and photo.read_bytes() == before
    assert main(["detect", str(run), str(photo), "--out", str(tmp_path / "seen.jpg")]) == 0
    assert Image.open(tmp_path / "seen.jpg").format == "JPEG"
    capsys.readouterr()
    for out, told in ((photo, "would be written over"), (tmp_path / "seen.doc", "kind of picture")):
        assert main(["detect", str(run), str(photo), "--out", str(out)]) == 2
        assert told in capsys.readouterr().err and photo.read_bytes() == before


def test_a_picture_that_cannot_be_read_does_not_hide_the_others(run, photo, tmp_path, capsys):
    (tmp_path / "text.png").write_text("no picture")
    assert main(["detect", str(run), str(tmp_path / "text.png"), str(photo), "--json", "--confidence", "0.05"]) == 2
    told = capsys.readouterr()
    assert list(json.loads(told.out)) == [str(photo)] and "text.png" in told.err and told.out.isascii()


@pytest.mark.parametrize("size", [(1, 1), (1, 700), (1500, 3)])
def test_pictures_of_any_shape_are_drawn(run, size, tmp_path):
    Image.new("RGB", size, (200, 30, 30)).save(tmp_path / "odd.png")
    command = ["detect", str(run), str(tmp_path / "odd.png"), "--confidence", "0.01"]
    assert main([*command, "--out", str(tmp_path / "seen.png")]) == 0
    assert Image.open(tmp_path / "seen.png").size == size


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
        (["detect", "RUN", "PHOTO", "--confidence", "7"], "confidence must be"),
        (["detect", "RUN", "PHOTO", "--iou", "nan"], "iou, an overlap, must be"),
        (["export", "RUN", "--out", "x.onnx", "--iou", "0.4"], "add --suppress"),
        (["export", "RUN", "--out", "x.onnx", "--suppress", "--iou", "-3"], "iou, an overlap, must be"),
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
