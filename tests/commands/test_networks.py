"""`nasedu count` and `nasedu measure` say of any network what the library says."""

from __future__ import annotations

import re

import pytest
import torchvision

from nasedu import hardware, spaces
from nasedu.__main__ import main
from nasedu.spaces.plainnet import CIFAR_SEED

OWN = "import torch\nnetwork = torch.nn.Conv2d(3, 4, 3)\ndef make():\n    return torch.nn.Conv2d(3, 8, 1)\n"


@pytest.fixture
def own(tmp_path, monkeypatch):
    (tmp_path / "my_networks.py").write_text(OWN + "broken = 1 / 1\nnothing = lambda: None\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))


def counted(capsys, *arguments) -> tuple[int, int]:
    assert main(["count", *arguments]) == 0
    macs, params = re.match(r"([\d,]+) MACs, ([\d,]+) parameters", capsys.readouterr().out.splitlines()[-1]).groups()
    return int(macs.replace(",", "")), int(params.replace(",", ""))


def expected(network, shape) -> tuple[int, int]:
    cost = hardware.count(network, shape)
    return cost.macs, cost.params


def test_a_space_with_the_hand_designed_a_random_and_a_given_network(capsys, tmp_path):
    space = spaces.create("yolo:course")
    assert counted(capsys, "yolo:course") == expected(space.build(space.hand_designed), space.input_shape)
    arch = (0,) * len(space.choices)
    (tmp_path / "arch.yaml").write_text(space.format(arch))
    smallest = expected(space.build(arch), space.input_shape)
    assert counted(capsys, "yolo:course", "--arch", str(tmp_path / "arch.yaml")) == smallest
    assert counted(capsys, "yolo:course", "--arch", space.format(arch)) == smallest
    assert counted(capsys, "yolo:course", "--arch", "random") > smallest
    few = spaces.create("fbnet:course", num_classes=7)
    first = few.format([0] * len(few.choices))
    made = expected(few.build(few.parse(first)), few.input_shape)
    assert counted(capsys, "fbnet:course", "-p", "num_classes=7", "--arch", first) == made


def test_a_structure_string(capsys):
    space = spaces.create("plainnet", input_size=32, num_classes=100)
    text = str(CIFAR_SEED)
    made = expected(space.build(space.parse(text)), space.input_shape)
    assert counted(capsys, text, "--image-size", "32", "-p", "num_classes=100") == made


def test_torchvision_and_ones_own(capsys, own):
    assert counted(capsys, "torchvision:resnet18") == expected(torchvision.models.resnet18(), (3, 224, 224))
    assert counted(capsys, "my_networks:network", "--image-size", "10") == (64 * 3 * 9 * 4, 112)
    assert counted(capsys, "my_networks:make", "--image-size", "10") == (100 * 3 * 8, 32)


def test_every_layer_can_be_listed(capsys, own):
    assert main(["count", "my_networks:network", "--layers", "--image-size", "10"]) == 0
    assert "Conv2d" in capsys.readouterr().out


def test_a_latency_is_the_librarys(capsys, own, monkeypatch):
    asked = []

    def measure(network, shape, **options):
        asked.append((type(network).__name__, shape, options))
        return hardware.Latency(1.0, 0.9, 1.1, 30, 2)

    monkeypatch.setattr(hardware, "measure", measure)
    assert main(["measure", "my_networks:make", "--image-size", "9", "--batch", "2", "--backend", "onnxruntime"]) == 0
    (call,) = asked
    assert call[:2] == ("Conv2d", (3, 9, 9)) and (call[2]["batch"], call[2]["backend"]) == (2, "onnxruntime")
    assert "1 ms" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["count", "resnet18"], "names no network"),
        (["count", "torchvision:resnet19"], "did you mean"),
        (["count", "my_networks:nothin"], "no network can be made"),
        (["count", "my_networks:broken"], "no network can be made"),
        (["count", "my_networks:nothing"], "no torch.nn.Module"),
        (["count", "no_module:x"], "ModuleNotFoundError"),
        (["count", "fbnet:course"], "--arch"),
        (["count", "fbnet:course", "--arch", "[]"], "fbnet"),
        (["count", "SuperRes(3,8,1)"], ""),
        (["measure", "my_networks:make", "--backend", "tensorrt"], "backend"),
        (["measure", "my_networks:make", "--batch", "0"], "batch"),
    ],
)
def test_a_mistake_is_one_sentence(capsys, own, arguments, told):
    assert main(arguments) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert told in line and len(line) < 400
