"""The exported detector: the whole of it, head included, says what the network says, and what it is."""

from __future__ import annotations

import json
import runpy
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from PIL import Image

from nasedu import deploy, spaces, wzdnas
from nasedu.data.images import GREY, read_square, square
from nasedu.detection import Metrics
from nasedu.detection.postprocess import suppress
from nasedu.errors import ParameterError, UnknownName
from nasedu.hardware import Latency
from nasedu.hardware.export import OPSETS, onnx_session
from nasedu.tables import LookupTable

LOW = {"confidence": 0.05, "iou": 0.45}


@pytest.fixture(scope="module")
def exported(detector, tmp_path_factory):
    images, network = torch.rand(2, 3, 64, 64), detector.network
    before = [value.clone() for value in network.state_dict().values()]
    network.train()
    deployed = deploy.export_detector(detector, tmp_path_factory.mktemp("out") / "detector.onnx", images)
    assert network.training, "the network's mode has changed"
    for old, new in zip(before, network.eval().state_dict().values(), strict=True):
        assert torch.equal(old, new)
    return images, deployed


def test_the_file_finds_what_the_network_finds(exported, detector):
    images, deployed = exported
    assert deployed.difference < 1e-5
    boxes, scores = onnx_session(deployed.file).run(["boxes", "scores"], {"image": images[:1].numpy()})
    assert boxes.shape == (1, scores.shape[1], 4) and scores.shape[2] == 3
    with torch.inference_mode():
        expected = suppress(*detector.predictor(images[:1]), confidence=0.0, max_detections=20)
    (found,) = suppress(torch.from_numpy(boxes), torch.from_numpy(scores), confidence=0.0, max_detections=20)
    torch.testing.assert_close(found["boxes"], expected[0]["boxes"], atol=1e-3, rtol=0)


def test_the_file_says_of_itself_how_it_is_used(exported, detector):
    said = onnx_session(exported[1].file).get_modelmeta().custom_metadata_map
    said = {key: json.loads(value) for key, value in said.items()}
    assert said.pop("suppression") == "outside" and said == json.loads(json.dumps(detector.settings()))
    assert said["classes"] == ["ant", "<b>bee</b>", "Käfer"] and said["input"]["colour"] == "RGB"


@pytest.mark.parametrize("opset", [OPSETS[0], 17, 18, OPSETS[-1]])
def test_with_suppression_inside_it_is_what_detect_sees(detector, photo, tmp_path, opset):
    made = deploy.export_detector(detector, tmp_path / "whole.onnx", opset=opset, suppression=LOW)
    session = onnx_session(made.file)
    pixels = square(Image.fromarray(photo), 64)[None].numpy() / np.float32(255)
    boxes, scores, labels = session.run(["boxes", "scores", "labels"], {"image": pixels})
    with torch.inference_mode():
        (seen,) = suppress(*detector.predictor(torch.from_numpy(pixels)), multi_label=False, **LOW)
    assert len(scores) == len(seen["scores"]) > 3 and (np.diff(scores) <= 0).all()
    found, expected = np.column_stack([labels, boxes]), torch.column_stack([seen["labels"], seen["boxes"]]).numpy()
    apart = np.abs(found[:, None] - expected).max(-1)  # scores may be so alike that others come first
    same = apart.argmin(1)
    assert sorted(same) == list(range(len(same))) and apart.min(1).max() < 1e-3
    np.testing.assert_allclose(scores, seen["scores"][same], atol=1e-5)
    few = deploy.export_detector(detector, tmp_path / "few.onnx", opset=opset, suppression=LOW | {"max_detections": 2})
    np.testing.assert_allclose(onnx_session(few.file).run(["scores"], {"image": pixels})[0], scores[:2], atol=1e-6)


def test_what_was_trained_in_branches_is_exported_merged(tmp_path):
    space = spaces.create("yolo", template="elan", num_classes=3, image_size=64)
    detector = wzdnas.Detector(space, space.hand_designed, ["a", "b", "c"], space.build(space.hand_designed, seed=0))
    made = deploy.export_detector(detector, tmp_path / "elan.onnx")
    assert made.difference < 1e-5 and any("added" in name for name in detector.network.state_dict())
    names = [one.name for one in onnx.load(made.file).graph.initializer]
    assert names and not any("added" in name or "factors" in name for name in names)


def test_what_cannot_be_exported_so_is_told(detector, tmp_path):
    for opset in (OPSETS[0] - 1, OPSETS[-1] + 1, 12.5):
        with pytest.raises(ParameterError, match="opset"):
            deploy.export_detector(detector, tmp_path / "x.onnx", opset=opset)
    with pytest.raises(UnknownName, match="did you mean 'confidence'"):
        deploy.export_detector(detector, tmp_path / "x.onnx", suppression={"confidenc": 1})
    assert not list(tmp_path.iterdir())


def test_a_file_of_another_network_differs(exported, detector, monkeypatch):
    """The difference is measured against the network, not against the file itself."""
    module = sys.modules[deploy.export_detector.__module__]
    model, other = module.onnx_model, replace(detector, network=detector.space.build(detector.arch, seed=1))
    monkeypatch.setattr(module, "onnx_model", lambda _, *a, **k: model(detector.predictor, *a, **k))
    assert deploy.export_detector(other, exported[1].file, exported[0]).difference > 1e-2


def test_boxes_differ_as_a_share_of_the_image_and_scores_as_they_are(exported, detector, monkeypatch):
    module = sys.modules[deploy.export_detector.__module__]
    model = module.onnx_model(detector.predictor, (3, 64, 64), opset=17, inputs=["image"], outputs=["boxes", "scores"])
    monkeypatch.setattr(module, "onnx_model", lambda *_, **__: model)
    for found, difference in (([0.64, 0.002], 0.01), ([0.064, 0.002], 0.002)):
        monkeypatch.setattr(module, "onnx_difference", lambda *_, found=found: found)
        again = deploy.export_detector(detector, exported[1].file, exported[0])
        assert again.difference == pytest.approx(difference)


ALONE = """
import runpy, sys
sys.modules["torch"] = sys.modules["nasedu"] = None
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


@pytest.mark.parametrize("suppression", [None, {}])
@pytest.mark.parametrize(
    ("suffix", "size", "orientation"), [("png", (61, 97), 1), ("jpg", (300, 401), 6), ("tif", (61, 97), 8)]
)
def test_without_torch_the_script_sees_the_same(detector, tmp_path, suppression, suffix, size, orientation):
    """`use_it.py`, alone in a process that has neither torch nor this package in its way."""
    made = deploy.export_detector(detector, tmp_path / "detector.onnx", opset=13, suppression=suppression)
    photo = Image.fromarray(np.random.default_rng(2).integers(0, 256, (*size, 3), dtype=np.uint8))
    exif = Image.Exif()
    exif[0x0112] = orientation
    photo.resize((size[1] // 4, size[0] // 4)).resize(photo.size).save(tmp_path / f"photo.{suffix}", exif=exif)
    script = Path(deploy.__file__).with_name("use_it.py")
    run = [sys.executable, "-c", ALONE, script, made.file, tmp_path / f"photo.{suffix}"]
    done = subprocess.run(run, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    seen = detector.detect(tmp_path / f"photo.{suffix}")
    lines = [line.split("\t") for line in done.stdout.splitlines()]
    assert len(lines) == len(seen) > 3
    for (name, score, corners), one in zip(lines, seen, strict=True):
        assert name == one.name and float(score) == pytest.approx(one.score, abs=1e-4)
        np.testing.assert_allclose([float(v) for v in corners.split()], one.box, atol=1e-2)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "P", "I;16", "CMYK", "1"])
def test_the_script_reads_pictures_as_the_package_does(mode, tmp_path):
    grey = np.random.default_rng(0).integers(0, 256, (30, 47), np.uint8)
    image = Image.fromarray(grey.astype(np.uint16) * 16) if mode == "I;16" else Image.fromarray(grey).convert(mode)
    path = tmp_path / ("picture.tif" if mode == "CMYK" else "picture.png")
    image.save(path)
    script = runpy.run_path(str(Path(deploy.__file__).with_name("use_it.py")))
    pixels, size, *_ = script["letterboxed"](path, 64, GREY)
    ours, original = read_square(path, 64)
    np.testing.assert_array_equal((pixels * 255).round(), ours.numpy())
    assert tuple(size) == original[::-1]


def test_the_report_has_the_files_latency_beside_the_others():
    space = spaces.create("yolo:course", num_classes=3, image_size=64)
    arch = space.validate([0] * len(space.choices))
    metrics = {"searched": Metrics(0.5, 0.6, 0.4, 0.5, 0.5, {})}
    exported = {"searched": Latency(1.5, 1.4, 1.6, 30, 1)}
    kit = LookupTable.build(space, "params")  # any table will do
    frame = wzdnas.report(space, {"searched": arch}, metrics, exported=exported, onnx_latency=kit)
    assert frame.loc["searched", "onnx_ms"] == 1.5 and frame.loc["searched", "onnx_table_ms"] == kit(arch)
    assert "onnx_ms" not in wzdnas.report(space, {"searched": arch}, metrics)
