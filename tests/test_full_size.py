"""The published recipes with the published networks at the published sizes, for a step or two on made-up pictures."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from nasedu import data, spaces, wzdnas
from nasedu.__main__ import main
from nasedu.classification import classifier_recipe
from nasedu.data import ImageSet
from nasedu.task import Classification, fit


def test_cifar_with_its_million_parameter_network():
    """Two steps, the second of them after the first of two epochs of warm-up."""
    draws = torch.Generator().manual_seed(0)
    x, y = torch.randn(8, 3, 32, 32, generator=draws), torch.arange(8)
    images = ImageSet("cifar10", "train", list("abcdefghij"), x, y, (0.5,) * 3, (0.2,) * 3)
    config = classifier_recipe("zen_cifar", epochs=2, batch_size=8, warmup_epochs=1)
    space, arch = spaces.published("plainnet", "ZenNet-1.0M")
    network = config.start(space.build(arch), draws)
    before = [p.clone() for p in network.parameters()]
    trained = fit(network, Classification(images, **config.task(images)), config.training(8))
    assert len(trained.history) == 2 and trained.history[0]["total"] > 1
    moved = [not torch.equal(a, b) for a, b in zip(before, network.parameters(), strict=True)]
    assert sum(moved) > len(moved) / 2


def test_imagenet_with_a_teacher_at_320_pixels(tmp_path):
    for part, count in (("train", 4), ("val", 2)):
        for label in range(2):
            folder = tmp_path / "images" / part / f"n{label}"
            folder.mkdir(parents=True)
            for i in range(count // 2):
                pixels = np.random.default_rng(i).integers(256, size=(360, 480, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(folder / f"{i}.jpg")
    asked = ["--recipe", "zen_imagenet", "--data", tmp_path / "images", "--teacher", "torchvision:resnet18"]
    few = ["--epochs", 1, "--set", "warmup_epochs=0", "--set", "batch_size=2", "--device", "cpu"]
    assert main(["train", "ZenNet-400M-SE", *map(str, [*asked, *few, "--out", tmp_path / "run"])]) == 0
    kept = json.loads((tmp_path / "run" / "classifier.json").read_text())
    assert kept["read"] == {"image_size": 320, "scaling": "bicubic", "stream": True} and kept["size"] == 224
    assert (
        kept["made"]["options"] | {"input_size": 224, "num_classes": 2, "squeeze_excite": True}
        == kept["made"]["options"]
    )


@pytest.mark.parametrize("name", ["voc2007", "coco"])
def test_detection_with_yolov4_tiny_at_416_pixels(name):
    scenes = data.detection("digits", "train", size=2, image_size=416)
    config = wzdnas.recipe(name, epochs=1, batch_size=1, precision="float32")
    space = spaces.create("yolo", template="tiny", image_size=416, num_classes=len(scenes.classes))
    network = space.build(space.hand_designed, seed=0)
    trained = fit(network, wzdnas.detection_task(space, config, scenes), config.training)
    assert 0 < trained.history[0]["total"] < 1e4


def test_the_rows_of_voc_and_coco_are_resolved_as_published():
    voc, coco = wzdnas.recipe("voc2007", images=5011), wzdnas.recipe("coco", images=117_266)
    for config in (voc, coco):
        training = config.training
        assert (training.epochs, training.lr, training.momentum, training.nesterov) == (300, 0.01, 0.937, True)
        assert (training.decay, training.final_lr, training.ema_decay, training.ema_ramp) == (
            "cosine",
            0.2,
            0.9999,
            2000,
        )
        assert (config.augment.translate, config.augment.scale, config.augment.mixup) == (0.5, 0.8, 0.2)
        assert (config.box, config.obj, config.cls, config.iou, config.ratio) == (0.05, 1.0, 0.5, "ciou", 4.0)
    assert (voc.batch_size, voc.training.accumulate, voc.training.warmup_steps) == (32, 2, 1000)
    assert voc.autoanchor and voc.generations == 1000 and voc.training.weight_decay == 5e-4
    assert not coco.autoanchor and coco.training.warmup_steps == round(3 * 117_266 / 48)
    assert replace(voc.training, precision="float32").summed
