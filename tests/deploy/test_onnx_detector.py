"""An exported detector, in float32 and in int8: every runtime sees in it what PyTorch sees."""

from __future__ import annotations

import json
import sys

import numpy as np
import onnx
import pytest
import torch
from PIL import Image

from nasedu import data, deploy
from nasedu.__main__ import main
from nasedu.data.images import square
from nasedu.detection import THREE_VIEWS
from nasedu.errors import BackendError, CheckpointError, ParameterError
from nasedu.hardware.runtimes import RUNTIMES

pytestmark = pytest.mark.filterwarnings("ignore::nasedu.hardware.NoisyMeasurement")
SEEN = {"confidence": 0.2, "iou": 0.45}
OPSET = 17  # of operators that are traced, which takes a fraction of the time


@pytest.fixture(scope="module")
def scenes(detector):
    found = data.detection("digits", "train", size=24, image_size=64)
    for sample in found.samples:
        sample.labels.remainder_(3)
    found.classes = list(detector.classes)
    return found


@pytest.fixture(scope="module")
def calibration(photo, scenes):
    drawn = torch.stack([torch.as_tensor(scenes[i][0]) for i in range(16)] + [square(Image.fromarray(photo), 64)])
    return drawn / 255


@pytest.fixture(scope="module")
def files(detector, calibration, tmp_path_factory):
    folder = tmp_path_factory.mktemp("exported")
    floats = deploy.export_detector(detector, folder / "float.onnx", opset=OPSET)
    whole = deploy.export_detector(detector, folder / "int8.onnx", opset=OPSET, calibration=calibration)
    return floats, whole


def overlap(a, b):
    sides = np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2])
    shared = sides.clip(0).prod()
    return shared / ((a[2:] - a[:2]).prod() + (b[2:] - b[:2]).prod() - shared)


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_a_file_sees_what_the_network_sees(detector, files, photo, scenes, runtime):
    exported = deploy.load_onnx(files[0].file, runtime)
    ours, theirs = exported.detect(photo, **SEEN), detector.detect(photo, **SEEN)
    assert len(ours) == len(theirs) > 3 and {one.name for one in ours} <= set(detector.classes)
    for a, b in zip(ours, theirs, strict=True):
        assert a.name == b.name and a.score == pytest.approx(b.score, abs=1e-4)
        np.testing.assert_allclose(a.box, b.box, atol=1e-2)
    found, expected = exported.evaluate(scenes), detector.evaluate(scenes)
    assert found.ap == pytest.approx(expected.ap, abs=1e-3) and found.recall == pytest.approx(expected.recall, abs=1e-2)


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_an_int8_file_is_small_and_sees_nearly_the_same(detector, files, photo, runtime):
    floats, whole = files
    assert whole.latency.precision == "int8" and floats.latency.precision == "float32"
    assert whole.file.stat().st_size < 0.6 * floats.file.stat().st_size
    assert 1e-4 < whole.difference < 0.3, "the difference is that of int8"
    ours = deploy.load_onnx(whole.file, runtime).detect(photo, **SEEN)
    theirs = detector.detect(photo, **SEEN)
    best = [max(overlap(np.array(a.box), np.array(b.box)) for b in ours if b.name == a.name) for a in theirs[:5]]
    assert min(best) > 0.6 and len(ours) == pytest.approx(len(theirs), abs=0.3 * len(theirs))


def test_an_int8_file_says_how_it_is_used_and_its_head_is_of_floats(detector, files):
    held = [onnx.load(one.file) for one in files]
    said = [{one.key: json.loads(one.value) for one in model.metadata_props} for model in held]
    assert said[0] == said[1] and said[1]["classes"] == list(detector.classes)
    made = {name: node for node in held[1].graph.node for name in node.output}
    convs = [node for node in held[1].graph.node if node.op_type == "Conv"]
    floats = [node for node in convs if node.input[1] not in made]
    assert len(floats) == 3 < len(convs), "the convolution of every scale, behind which boxes are decoded"


@pytest.mark.parametrize("runtime", RUNTIMES)
@pytest.mark.parametrize("whole", [False, True])
def test_a_file_that_suppresses_itself_is_seen_with_but_not_judged(
    detector, calibration, photo, scenes, tmp_path, runtime, whole
):
    file = tmp_path / "inside.onnx"
    given = calibration if whole else None
    deploy.export_detector(detector, file, opset=OPSET, suppression=SEEN, calibration=given)
    exported = deploy.load_onnx(file, runtime)
    ours, theirs = exported.detect(photo, confidence=0.3), detector.detect(photo, confidence=0.3)
    if not whole:
        assert [one.name for one in ours] == [one.name for one in theirs] and len(ours) > 2
        np.testing.assert_allclose([one.box for one in ours], [one.box for one in theirs], atol=1e-2)
    assert len(ours) == pytest.approx(len(theirs), abs=0.4 * len(theirs)) and min(one.score for one in ours) > 0.3
    assert len(exported.detect(photo, confidence=0)) == len(exported.detect(photo, confidence=0.2)) >= len(ours)
    with pytest.raises(ParameterError, match="confidence must be"):
        exported.detect(photo, confidence=7)
    with pytest.raises(ParameterError, match="export it without"):
        exported.evaluate(scenes)


def test_what_an_exported_detector_cannot_do_is_one_sentence(files, detector, scenes, photo, tmp_path):
    exported = deploy.load_onnx(files[0].file)
    with pytest.raises(ParameterError, match="several views need the trained one"):
        exported.evaluate(scenes, views=THREE_VIEWS)
    other = data.detection("digits", "test", size=2, image_size=64)
    with pytest.raises(ParameterError, match="the detector knows the classes"):
        exported.evaluate(other)
    with pytest.raises(CheckpointError, match="cannot be read"):
        deploy.load_onnx(tmp_path / "none.onnx")
    (tmp_path / "text.onnx").write_text("no network")
    with pytest.raises(CheckpointError, match="is no exported detector"):
        deploy.load_onnx(tmp_path / "text.onnx")
    for wrong in (torch.rand(2, 3, 32, 32), torch.zeros(0, 3, 64, 64), 255 * torch.rand(2, 3, 64, 64), "digits"):
        with pytest.raises(ParameterError, match=r"calibration images must be floats \(N, 3, 64, 64\) from 0 to 1"):
            deploy.export_detector(detector, tmp_path / "x.onnx", calibration=wrong)
    with pytest.raises(ParameterError, match="opset 13 or newer, got opset 12"):
        deploy.export_detector(detector, tmp_path / "x.onnx", opset=12, calibration=torch.rand(1, 3, 64, 64))
    assert not (tmp_path / "x.onnx").exists()


@pytest.mark.parametrize(
    ("key", "value", "told"),
    [
        ("classes", None, "it does not say its classes"),
        ("format", '"nasedu-detector-9"', "it is no nasedu-detector-1"),
        ("classes", "[1, 2, 3]", "it is no nasedu-detector-1"),
        ("classes", '["a", "b"]', "2 classes at 64 pixels, which is not what it computes"),
        ("input", '{"size": [96, 96]}', "3 classes at 96 pixels, which is not"),
        ("input", '{"size": []}', "is no exported detector"),
        ("input", "5", "is no exported detector"),
        ("suppression", '{"iou": 0.5}', "which is not what it computes"),
        ("classes", "[" * 50, "is no exported detector"),
    ],
)
def test_what_a_file_says_is_compared_with_what_is_there(files, tmp_path, key, value, told):
    model = onnx.load(files[0].file)
    held = {one.key: one.value for one in model.metadata_props} | {key: value}
    onnx.helper.set_model_props(model, {k: v for k, v in held.items() if v is not None})
    onnx.save(model, tmp_path / "changed.onnx")
    with pytest.raises(CheckpointError, match=told):
        deploy.load_onnx(tmp_path / "changed.onnx")


def test_commands_read_the_file_in_the_runtime_that_is_named(files, detector, photo, tmp_path, capsys):
    Image.fromarray(photo).save(tmp_path / "photo.png")
    file, picture = str(files[0].file), str(tmp_path / "photo.png")
    told = []
    for options in ([], ["--runtime", "openvino"]):
        assert main(["detect", file, picture, "--confidence", "0.2", "--json", *options]) == 0
        (rows,) = json.loads(capsys.readouterr().out).values()
        told.append([(row["name"], round(row["score"], 3)) for row in rows])
    expected = [(one.name, round(one.score, 3)) for one in detector.detect(photo, confidence=0.2)]
    assert [len(rows) for rows in told] == [len(expected)] * 2 and len(expected) > 3
    assert [name for name, _ in told[0]] == [name for name, _ in told[1]] == [name for name, _ in expected]
    for arguments, sentence in (
        (["--runtime", "openvina"], "did you mean 'openvino'"),
        (["--network", "random"], "--network is for a run of several networks"),
    ):
        assert main(["detect", file, picture, *arguments]) == 2
        assert sentence in capsys.readouterr().err


def test_export_in_int8_is_calibrated_on_the_readers_pictures(detector, photo, tmp_path, capsys, monkeypatch):
    detector.save(tmp_path / "run")
    (tmp_path / "photos" / "more").mkdir(parents=True)
    for i, name in enumerate(("b.png", "a.jpg", "more/c.png")):
        Image.fromarray(photo[:, : 90 - i]).save(tmp_path / "photos" / name)
    (tmp_path / "photos" / "notes.txt").write_text("text")
    (tmp_path / "photos" / "broken.png").write_text("no picture")
    given = []
    export = deploy.export_detector
    monkeypatch.setattr(deploy, "export_detector", lambda *a, **k: given.append(k["calibration"]) or export(*a, **k))
    command = ["export", str(tmp_path / "run"), "--out", str(tmp_path / "small.onnx"), "--opset", "17", "--int8"]
    assert main([*command, str(tmp_path / "photos")]) == 0
    assert "int8" in capsys.readouterr().out
    (images,) = given
    assert images.shape == (3, 3, 64, 64) and 0.5 < images.max() <= 1
    (tmp_path / "empty").mkdir()
    assert main([*command, str(tmp_path / "empty")]) == 2
    assert "holds no image that can be read" in capsys.readouterr().err
    assert main(["detect", str(tmp_path / "run"), "x.png", "--runtime", "openvino"]) == 2
    assert "--runtime is for an exported FILE.onnx" in capsys.readouterr().err


def test_pictures_are_taken_evenly_from_a_folder(tmp_path):
    for i in range(10):
        Image.new("RGB", (40, 40), (25 * i, 0, 0)).save(tmp_path / f"{i}.png")
    reds = [int(one[0, 5, 5]) // 25 for one in data.read_squares(tmp_path, 32, 5)]
    assert reds == [0, 2, 4, 6, 8] and len(data.read_squares(tmp_path, 32, 99)) == 10


def test_a_runtime_that_is_missing_is_named(files, monkeypatch):
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(BackendError, match="openvino is not installed here"):
        deploy.load_onnx(files[0].file, "openvino")
