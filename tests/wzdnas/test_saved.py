"""A detector in a folder: what is loaded sees what was saved, in pixels of the reader's own picture."""

from __future__ import annotations

import json
import pickle

import numpy as np
import pytest
import torch
from PIL import Image

from nasedu import data, detection, spaces, wzdnas
from nasedu.data.images import letterbox, unletterbox
from nasedu.errors import CheckpointError, DataError, ParameterError, UnknownName

LOW = {"confidence": 0.05}


def test_what_is_loaded_sees_what_was_saved(detector, photo, tmp_path):
    loaded = wzdnas.load(detector.save(tmp_path / "own"))
    seen = detector.detect(photo, **LOW)
    assert seen and loaded.detect(photo, **LOW) == seen and loaded.classes == detector.classes
    assert loaded.arch == detector.arch and loaded.space.fingerprint == detector.space.fingerprint
    assert torch.equal(loaded.space.anchors, detector.space.anchors)
    told = json.loads((tmp_path / "own" / "detector.json").read_text())
    assert told["classes"][2] == "Käfer" and told["strides"] == [8, 16, 32]
    assert told["input"]["size"] == [64, 64] and told["input"]["letterbox"]["grey"] == 114


def test_the_same_picture_in_any_form_is_seen_alike(detector, photo, tmp_path):
    Image.fromarray(photo).save(tmp_path / "photo.png")
    tensor = torch.from_numpy(photo).permute(2, 0, 1)
    seen = detector.detect(photo, **LOW)
    for form in (tmp_path / "photo.png", str(tmp_path / "photo.png"), Image.fromarray(photo), tensor):
        assert detector.detect(form, **LOW) == seen
    scores = [one.score for one in seen]
    assert scores == sorted(scores, reverse=True) and min(scores) > 0.05
    for _, _, (left, top, right, bottom) in seen:
        assert 0 <= left <= right <= 100 and 0 <= top <= bottom <= 60
    assert max(one.box[2] for one in seen) > 64, "boxes are in pixels of the picture, not of the network's square"


def test_boxes_come_back_from_the_square_where_they_were(detector):
    boxes = torch.tensor([[10.0, 20.0, 30.0, 50.0], [0.0, 0.0, 100.0, 60.0]])
    inner = letterbox(boxes, (60, 100), 64)
    assert inner[1].tolist() == [0, 13, 64, 51], "38 rows of 64 are the picture's"
    torch.testing.assert_close(unletterbox(inner, (60, 100), 64), boxes)
    wide = torch.tensor([[-5.0, 0.0, 70.0, 64.0]])
    assert unletterbox(wide, (60, 100), 64).tolist() == [[0, 0, 100, 60]], "cut at the picture's edges"


@pytest.mark.parametrize(
    "picture",
    [
        None,
        3,
        np.zeros((0, 10, 3), np.uint8),
        np.zeros((4, 4)),
        np.zeros((4, 4, 3)),
        torch.zeros(1, 3, 4, 4),
        "none.jpg",
    ],
)
def test_what_is_no_picture_is_told(detector, picture):
    with pytest.raises(DataError) as told:
        detector.detect(picture)
    assert len(str(told.value)) < 300


def test_a_run_holds_several_detectors(detector, tmp_path):
    for name in ("searched", "random"):
        detector.save(tmp_path / "detectors" / name)
    assert wzdnas.load(tmp_path).classes == wzdnas.load(tmp_path, "random").classes
    with pytest.raises(UnknownName, match="did you mean 'random'"):
        wzdnas.load(tmp_path, "randm")
    with pytest.raises(CheckpointError, match="holds no detector"):
        wzdnas.load(tmp_path / "nowhere")
    with pytest.raises(CheckpointError, match="is one detector"):
        wzdnas.load(tmp_path / "detectors" / "random", "searched")


@pytest.mark.parametrize(
    "options",
    [{"template": "elan"}, {"depths": "hand", "widths": (0.5, 1)}, {"depths": ((1, 2), (0, 1)), "act": "relu"}],
)
def test_every_kind_of_space_comes_back(options, tmp_path):
    space = spaces.create("yolo", num_classes=2, image_size=64, **options)
    arch = space.sample(np.random.default_rng(0))
    wzdnas.Detector(space, arch, ["a", "b"], space.build(arch, seed=0)).save(tmp_path)
    loaded = wzdnas.load(tmp_path)
    assert loaded.arch == arch and loaded.space.fingerprint == space.fingerprint and loaded.space.act == space.act


def broken(text: str, name: str, value: object) -> str:
    return json.dumps(json.loads(text) | {name: value})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("format", "nasedu-detector-9"),
        ("space", {"template": "course", "evil": 1}),
        ("space", {"template": "course", "num_classes": 10**9}),
        ("space", []),
        ("architecture", "back1: {width: 9, depth: 1}"),
        ("architecture", 5),
        ("classes", ["one"]),
        ("classes", [1, 2, 3]),
    ],
)
def test_settings_of_another_kind_are_refused_in_a_sentence(detector, tmp_path, name, value):
    path = detector.save(tmp_path) / "detector.json"
    path.write_text(broken(path.read_text(), name, value))
    with pytest.raises(CheckpointError) as told:
        wzdnas.load(tmp_path)
    assert len(str(told.value)) < 400


def test_weights_hold_no_code_and_must_fit(detector, tmp_path):
    weights = detector.save(tmp_path) / "weights.safetensors"
    weights.write_bytes(pickle.dumps({"a": 1}))
    with pytest.raises(CheckpointError, match="no weights that can be read"):
        wzdnas.load(tmp_path)
    detector.save(tmp_path)
    path = tmp_path / "detector.json"
    told = json.loads(path.read_text())
    told["space"]["num_classes"], told["classes"] = 2, ["a", "b"]
    path.write_text(json.dumps(told))
    with pytest.raises(CheckpointError, match="is of another network"):
        wzdnas.load(tmp_path)


def test_a_message_says_what_is_unknown_and_not_that_it_is_missing(detector, tmp_path):
    path = detector.save(tmp_path) / "detector.json"
    told = json.loads(path.read_text())
    told["space"]["act"] = "foo"
    path.write_text(json.dumps(told))
    with pytest.raises(CheckpointError, match="unknown activation 'foo'") as error:
        wzdnas.load(tmp_path)
    assert "it has no" not in str(error.value)


@pytest.mark.parametrize(
    "options", [{"confidence": 2}, {"iou": -1}, {"iou": "a"}, {"views": ()}, {"max_detections": 0}]
)
def test_settings_out_of_range_are_refused(detector, photo, options):
    with pytest.raises(ParameterError):
        detector.detect(photo, **options)


def test_names_and_classes_must_agree(detector):
    with pytest.raises(ParameterError, match="2 names for 3 classes"):
        wzdnas.Detector(detector.space, detector.arch, ["a", "b"], detector.network)
    with pytest.raises(ParameterError, match="the detector knows the classes"):
        detector.evaluate(data.detection("digits", "test", size=4, image_size=64))


def test_it_is_tested_as_the_task_tests_it(detector):
    scenes = data.detection("digits", "test", size=6, image_size=64)
    scenes.classes = list(detector.classes)
    for sample in scenes.samples:
        sample.labels.remainder_(3)
    config = wzdnas.recipe("short", epochs=1)
    task = wzdnas.detection_task(detector.space, config, scenes, test=scenes)
    assert detector.evaluate(scenes) == detection.evaluate(scenes, task.find(detector.network, "test"))
    three = detector.find(scenes, detection.THREE_VIEWS)
    assert not torch.equal(three[0]["scores"], detector.find(scenes)[0]["scores"])
    assert detector.evaluate(scenes, detection.THREE_VIEWS) == detection.evaluate(scenes, three)
