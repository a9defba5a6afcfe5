"""`nasedu train` and `nasedu evaluate`, from a name to a figure."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from nasedu import wzdnas
from nasedu.__main__ import main
from nasedu.commands.named import named
from nasedu.course.bar import Bar
from nasedu.data import ImageSet
from nasedu.deploy.classifier import load_classifier
from nasedu.spaces.plainnet import PUBLISHED

TINY = "SuperConvK3BNRELU(3,8,2,1)SuperResK3K3(8,16,2,8,1)SuperConvK1BNRELU(16,16,1,1)"
FEW = ["--images", "size=128", "--image-size", "16", "--device", "cpu"]


def trained(*arguments) -> int:
    return main(["train", *map(str, arguments)])


def test_a_structure_string_learns_and_is_tested_again(tmp_path, capsys):
    out = tmp_path / "run"
    assert trained(TINY, "--epochs", 8, "--set", "batch_size=32", *FEW, "--out", out) == 0
    line = capsys.readouterr().out.strip().splitlines()[-1]
    result = json.loads((out / "result.json").read_text())
    assert line.startswith(f"top-1 {100 * result['top1']:.2f} %") and result["top1"] > 0.2, "chance is .1"
    assert result["top1"] < result["top5"] <= 1 and result["images"] == 450
    classifier = load_classifier(out)
    assert classifier.made["architecture"] == TINY and len(classifier.classes) == 10
    for precision in ("float32", "bfloat16", "float16"):
        assert main(["evaluate", str(out), "--precision", precision]) == 0
        told = capsys.readouterr().out
        assert f"digits test, {precision}: top-1" in told
        if precision == "float32":
            assert told.strip().endswith(line)
    weights = str(out / "weights.safetensors")  # a network by its name, with weights of a file
    assert main(["evaluate", TINY, "--weights", weights, "--image-size", "16"]) == 0
    assert capsys.readouterr().out.strip().endswith(line)
    before = (out / "weights.safetensors").read_bytes()
    assert trained(TINY, "--epochs", 8, "--set", "batch_size=32", *FEW, "--out", out) == 0  # it is done
    assert (out / "weights.safetensors").read_bytes() == before
    for flags in (["--image-size", "64"], ["--arch", "x"], ["-p", "foo=3"]):
        assert main(["evaluate", str(out), *flags]) == 2
        assert "says that itself" in capsys.readouterr().err
    read_larger = [TINY, "--weights", weights, "--image-size", "16", "--images", "image_size=32"]
    assert main(["evaluate", *read_larger]) == 0  # read at 32 pixels, and shown at 16
    assert "of 450 images" in capsys.readouterr().out
    assert trained(TINY, "--weights", weights, "--set", "init=zen", *FEW, "--out", tmp_path / "other") == 2
    assert "take one of them" in capsys.readouterr().err
    assert main(["evaluate", str(out), "--views"]) == 2
    assert "--views is for detectors" in capsys.readouterr().err


@pytest.mark.parametrize("network", [TINY, "yolo:tiny"])
def test_two_processes_leave_what_one_does(tmp_path, network):
    """One batch is divided, so losses are those of one process as long as both normalise by all of it."""
    detects = network.startswith("yolo")
    few = ["--images", f"size={16 if detects else 128}", "--image-size", "32" if detects else "16", "--device", "cpu"]
    few += ["--epochs", "2", "--set", f"batch_size={8 if detects else 32}", "--set", "sync_bn=true"]
    several = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    for name, start in {"one": [sys.executable], "two": several}.items():
        command = [*start, "-m", "nasedu", "train", network, *few, "--out", str(tmp_path / name)]
        ended = subprocess.run(command, capture_output=True, text=True, timeout=300)
        assert ended.returncode == 0, ended.stderr[-2000:]
        assert ended.stdout.count("nasedu evaluate") == 1, "one process tells"
    one, two = (pd.read_csv(tmp_path / name / "training.csv") for name in ("one", "two"))
    assert len(one) == 2 and np.allclose(one.total, two.total, rtol=1e-4)
    results = [json.loads((tmp_path / name / "result.json").read_text()) for name in ("one", "two")]
    assert results[0].keys() == results[1].keys()


def test_half_precision_computes_in_it(tmp_path):
    assert trained(TINY, "--epochs", 1, *FEW, "--out", tmp_path / "run") == 0
    classifier = load_classifier(tmp_path / "run")
    seen = []
    classifier.network.register_forward_hook(lambda module, inputs, output: seen.append(output.dtype))
    images = torch.randn(4, 3, 16, 16)
    few = ImageSet("digits", "test", list(classifier.classes), images, torch.zeros(4, dtype=torch.long))
    for precision in ("float32", "bfloat16", "float16"):
        classifier.evaluate(few, precision)
    assert seen == [torch.float32, torch.bfloat16, torch.float16]


def test_a_killed_training_goes_on(tmp_path, monkeypatch):
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    asked = [TINY, "--epochs", 3, "--set", "save_seconds=0", *FEW, "--out"]

    def kill(self, done, total=None, note=""):
        if done == 2:
            raise KeyboardInterrupt

    assert trained(*asked, whole) == 0
    with monkeypatch.context() as patch:
        patch.setattr(Bar, "show", kill)
        assert trained(*asked, cut) == 130
    assert not (cut / "classifier.json").exists() and (cut / "state.pt").exists()
    assert trained(*asked, cut) == 0
    assert (cut / "weights.safetensors").read_bytes() == (whole / "weights.safetensors").read_bytes()
    assert (cut / "training.csv").read_text() == (whole / "training.csv").read_text()


@pytest.fixture
def folder(tmp_path):
    for part in ("train", "val"):
        for label, name in enumerate("abc"):
            (tmp_path / "images" / part / name).mkdir(parents=True)
            for i in range(4):
                pixels = np.random.default_rng(i).integers(60 * label, 60 * label + 90, (80, 100, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(tmp_path / "images" / part / name / f"{i}.png")
    return tmp_path / "images"


def test_the_published_imagenet_recipe_runs_with_a_teacher(folder, tmp_path, capsys):
    """All of it at a small size: random crops of pictures, lighting, AutoAugment, a teacher that sees more pixels."""
    out, weights = tmp_path / "run", tmp_path / "teacher.pt"
    torch.save(named(TINY, num_classes=3).network.state_dict(), weights)
    sizes = ["--set", "image_size=32", "--set", "teacher_size=48", "--set", "features=4", "--set", "batch_size=4"]
    how = ["--recipe", "zen_imagenet", "--epochs", 2, "--set", "warmup_epochs=1", *sizes, "--device", "cpu"]
    taught = ["--teacher", TINY, "--teacher-weights", weights]
    assert trained(TINY, "--data", folder, *how, *taught, "--out", out) == 0
    losses = (out / "training.csv").read_text().splitlines()[0].split(",")
    assert {"label", "logit", "feature", "total"} <= set(losses)
    classifier = load_classifier(out)
    assert classifier.read == {"image_size": 48, "scaling": "bicubic", "stream": True} and classifier.size == 32
    assert classifier(torch.zeros(1, 3, 48, 48)).shape == (1, 3)
    assert main(["evaluate", str(out), "--data", str(folder)]) == 0
    assert "12 images" in capsys.readouterr().out


def test_a_network_of_torchvision_keeps_its_classes_and_starts_from_a_file(folder, tmp_path, capsys):
    out, name = tmp_path / "run", "torchvision:mobilenet_v3_small"
    few = ["--data", folder, "--epochs", 1, "--image-size", 32, "--set", "batch_size=6", "--device", "cpu"]
    assert trained(name, *few, "--set", "lr=1e-9", "--out", out) == 0
    network = load_classifier(out).network
    assert network.classifier[-1].out_features == 3
    again = ["--weights", out / "weights.safetensors", "--set", "lr=1e-12", "--set", "warmup_steps=0"]
    assert trained(name, *few, *again, "--out", tmp_path / "again") == 0
    pairs = zip(network.parameters(), load_classifier(tmp_path / "again").network.parameters(), strict=True)
    assert all(torch.allclose(a, b, atol=1e-6) for a, b in pairs)


def test_what_runs_code_is_named_by_the_reader_not_by_the_file(tmp_path, monkeypatch, capsys):
    text = "import torch\ndef make():\n    return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(768, 10))\n"
    (tmp_path / "my_net.py").write_text(text)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    assert trained("my_net:make", "--epochs", 1, *FEW, "--out", "run") == 0
    assert main(["evaluate", "run"]) == 2
    assert "code of somebody's own" in capsys.readouterr().err
    assert main(["evaluate", "run", "--network", "my_net:make"]) == 0


def test_a_detector_is_trained_by_a_recipe_and_tested(tmp_path, capsys):
    out = tmp_path / "run"
    asked = ["-p", "template=tiny", "--images", "size=8", "--image-size", 64, "--epochs", 1, "--device", "cpu"]
    assert trained("yolo", *asked, "--recipe", "voc2007", "--set", "precision=float32", "--out", out) == 0
    result = json.loads((out / "result.json").read_text())
    detector = wzdnas.load(out)
    assert detector.space.num_classes == len(detector.classes) and 0 <= result["ap50"] <= 1
    assert "AP" in capsys.readouterr().out
    assert main(["evaluate", str(out), "--dataset", "digits", "--precision", "bfloat16"]) == 0
    assert trained("yolo", *asked, "--teacher", "torchvision:resnet18", "--out", tmp_path / "no") == 2
    assert "are for classifiers" in capsys.readouterr().err


def test_published_networks_go_by_their_names():
    for name in ("ZenNet-0.5M", "CIFAR seed"):
        found = named(name)
        assert sum(p.numel() for p in found.network.parameters()) == PUBLISHED[name].params
    found = named("ZenNet-400M-SE", image_size=64, num_classes=7)
    assert found.input_shape == (3, 64, 64) and found.made["options"]["squeeze_excite"]
    assert found.network(torch.zeros(2, 3, 64, 64)).shape == (2, 7)
    assert named("FBNet-A", num_classes=5, image_size=32).made["space"] == "fbnet"


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        (["--recipe", "zen_cifr"], "did you mean 'zen_cifar'"),
        (["--set", "mixupp=1"], "did you mean 'mixup'"),
        (["--set", "mixup"], "expected name=value"),
        (["--images", "sise=5"], "did you mean 'size'"),
        (["--seed", "-1"], "--seed must be"),
        (["--weights", "nowhere.pt"], "nowhere.pt holds no weights"),
    ],
)
def test_what_is_asked_for_wrongly_is_one_sentence(wrong, told, tmp_path, capsys):
    assert trained(TINY, *FEW, *wrong, "--out", tmp_path / "run") == 2
    assert told in capsys.readouterr().err
