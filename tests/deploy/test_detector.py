"""The exported detector: the whole of it, head included, says what the network says."""

from __future__ import annotations

import sys
import types

import pytest
import torch
from torch import nn

from nasedu import deploy, spaces, wzdnas
from nasedu.blocks import ConvBN
from nasedu.detection import Metrics, detect
from nasedu.detection.postprocess import suppress
from nasedu.hardware import Latency
from nasedu.hardware.export import onnx_session
from nasedu.tables import LookupTable

# What `deploy` asks of a space, small enough to be exported in a second: two scales, two anchors, three classes.
SPACE = types.SimpleNamespace(
    anchors=torch.tensor([[[10.0, 13.0], [30.0, 20.0]], [[40.0, 30.0], [60.0, 50.0]]]),
    strides=(16, 32),
    input_shape=(3, 64, 64),
)


class Detector(nn.Module):
    """Maps (B, 2 anchors, H, W, 5 + 3) at strides 16 and 32."""

    def __init__(self):
        super().__init__()
        self.fine, self.coarse = ConvBN(3, 16, 16, 16), ConvBN(16, 16, 2, 2)

    def forward(self, images):
        fine = self.fine(images)
        maps = [x.unflatten(1, (2, 8)).permute(0, 1, 3, 4, 2) for x in (fine, self.coarse(fine))]
        return [m.contiguous() for m in maps]


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    torch.manual_seed(0)
    network, images = Detector().train(), torch.rand(2, 3, 64, 64)
    before = [value.clone() for value in network.state_dict().values()]
    deployed = deploy.export_detector(SPACE, network, tmp_path_factory.mktemp("out") / "detector.onnx", images)
    assert network.training, "the network's mode has changed"
    for old, new in zip(before, network.state_dict().values(), strict=True):
        assert torch.equal(old, new)
    return network.eval(), images, deployed


def test_the_file_finds_what_the_network_finds(exported):
    network, images, deployed = exported
    assert deployed.difference < 1e-4
    boxes, scores = onnx_session(deployed.file).run(["y0", "y1"], {"x0": images[:1].numpy()})
    assert boxes.shape == (1, scores.shape[1], 4) and scores.shape[2] == 3
    with torch.inference_mode():
        expected = detect(network(images[:1]), SPACE.anchors, SPACE.strides, confidence=0.0, max_detections=20)
    (found,) = suppress(torch.from_numpy(boxes), torch.from_numpy(scores), confidence=0.0, max_detections=20)
    torch.testing.assert_close(found["boxes"], expected[0]["boxes"], atol=1e-3, rtol=0)


def deployed_again(network, images, exported, monkeypatch):
    """Another network deployed, its file being the old one."""
    module = sys.modules[deploy.export_detector.__module__]
    monkeypatch.setattr(module, "export_onnx", lambda *_, **__: None)
    monkeypatch.setattr(module, "measure_onnx", lambda *_, **__: None)
    return deploy.export_detector(SPACE, network, exported[2].file, images)


def test_a_file_of_another_network_differs(exported, monkeypatch):
    """The difference is measured against the network, not against the file itself."""
    assert deployed_again(Detector(), exported[1], exported, monkeypatch).difference > 1e-2


def test_boxes_differ_as_a_share_of_the_image_and_scores_as_they_are(exported, monkeypatch):
    module = sys.modules[deploy.export_detector.__module__]
    for found, difference in (([0.64, 0.002], 0.01), ([0.064, 0.002], 0.002)):
        monkeypatch.setattr(module, "onnx_difference", lambda *_, found=found: found)
        assert deployed_again(exported[0], exported[1], exported, monkeypatch).difference == pytest.approx(difference)


def test_the_report_has_the_files_latency_beside_the_others():
    space = spaces.create("yolo:course", num_classes=3, image_size=64)
    arch = space.validate([0] * len(space.choices))
    metrics = {"searched": Metrics(0.5, 0.6, 0.4, 0.5, 0.5, {})}
    exported = {"searched": Latency(1.5, 1.4, 1.6, 30, 1)}
    kit = LookupTable.build(space, "params")  # any table will do
    frame = wzdnas.report(space, {"searched": arch}, metrics, exported=exported, onnx_latency=kit)
    assert frame.loc["searched", "onnx_ms"] == 1.5 and frame.loc["searched", "onnx_table_ms"] == kit(arch)
    assert "onnx_ms" not in wzdnas.report(space, {"searched": arch}, metrics)
