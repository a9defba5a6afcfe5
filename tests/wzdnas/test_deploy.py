"""The exported detector: the whole of it, head included, says what the network says."""

from __future__ import annotations

import sys

import pytest
import torch

from nasedu import spaces, wzdnas
from nasedu.detection import Metrics, detect, suppress
from nasedu.hardware.export import onnx_session


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    space = spaces.create("yolo:course", num_classes=3, image_size=64)
    torch.manual_seed(0)
    network, images = space.build([0] * len(space.choices)).train(), torch.rand(2, 3, 64, 64)
    before = [value.clone() for value in network.state_dict().values()]
    deployed = wzdnas.deploy(space, network, tmp_path_factory.mktemp("out") / "detector.onnx", images)
    assert network.training, "the network's mode has changed"
    for old, new in zip(before, network.state_dict().values(), strict=True):
        assert torch.equal(old, new)
    return space, network.eval(), images, deployed


def test_the_file_finds_what_the_network_finds(exported):
    space, network, images, deployed = exported
    assert deployed.difference < 1e-4
    boxes, scores = onnx_session(deployed.file).run(["y0", "y1"], {"x0": images[:1].numpy()})
    assert boxes.shape == (1, scores.shape[1], 4) and scores.shape[2] == space.num_classes
    with torch.inference_mode():
        expected = detect(network(images[:1]), space.anchors, space.strides, confidence=0.0, max_detections=20)
    (found,) = suppress(torch.from_numpy(boxes), torch.from_numpy(scores), confidence=0.0, max_detections=20)
    torch.testing.assert_close(found["boxes"], expected[0]["boxes"], atol=1e-3, rtol=0)


def test_a_file_of_another_network_differs(exported, monkeypatch):
    """The difference is measured against the network, not against the file itself."""
    space, _, images, deployed = exported
    other = space.build([1] * len(space.choices))
    module = sys.modules[wzdnas.deploy.__module__]
    monkeypatch.setattr(module, "export_onnx", lambda *_, **__: None)  # the old file stays where it is
    assert wzdnas.deploy(space, other, deployed.file, images).difference > 1e-2


def test_the_report_has_the_files_latency_beside_the_others(exported):
    space, _, _, deployed = exported
    arch = space.validate([0] * len(space.choices))
    metrics = {"searched": Metrics(0.5, 0.6, 0.4, 0.5, 0.5, {})}
    frame = wzdnas.report(space, {"searched": arch}, metrics, deployed={"searched": deployed})
    assert frame.loc["searched", "onnx_ms"] == deployed.latency.median > 0
    assert "onnx_ms" not in wzdnas.report(space, {"searched": arch}, metrics)
