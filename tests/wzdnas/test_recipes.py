"""Recipes, lookup sources and the comparison's rivals: names, refusals, what reaches the loss."""

from __future__ import annotations

import pytest
import torch

from nasedu import data, spaces, tables, wzdnas
from nasedu.errors import TableError, UnknownName


def test_recipes_by_name_with_changes():
    published = wzdnas.recipe("published", epochs=3)
    assert (published.training.epochs, published.training.optimizer, published.augment.mosaic) == (3, "sgd", 1.0)
    short = wzdnas.recipe("short", epochs=2, flip=False, batch_size=4, precision="bfloat16", cls=None)
    assert (short.augment.flip, short.batch_size, short.training.precision) == (0.0, 4, "bfloat16")
    assert short.cls == wzdnas.RECIPES["short"].cls and wzdnas.RECIPES["short"].augment.flip == 0.5
    with pytest.raises(UnknownName, match="did you mean 'short'"):
        wzdnas.recipe("shrt", epochs=1)
    with pytest.raises(UnknownName, match="did you mean 'batch_size'"):
        wzdnas.recipe("short", epochs=1, batchsize=2)


def test_the_recipe_reaches_the_loss():
    space = spaces.create("yolo", num_classes=4)
    config = wzdnas.recipe("short", epochs=1, iou="iou", box=0.7)
    loss = wzdnas.detection_task(space, config, None).judge
    assert loss.weights["box"] == 0.7 and loss.ratio == config.ratio and loss.pooled
    assert loss.weights["cls"] == pytest.approx(config.cls * 4 / 80)


def test_anchors_are_refitted_only_where_they_miss_boxes():
    scenes = data.detection("digits", "train", size=30)
    space = spaces.create("yolo")
    assert wzdnas.anchors_for(scenes, space, ratio=2.0) is space.anchors
    far = spaces.create("yolo", anchors=[[[500.0, 500.0]] * 3] * 3)
    assert wzdnas.anchors_for(scenes, far, ratio=2.0).max() < 128


def test_latency_tables_by_source(tmp_path):
    space = spaces.create("yolo")
    assert tables.latency_table(space, "none") is None
    stored = tables.latency_table(space, "auto")
    assert stored.metric == "latency_ms" and stored.provenance["threads"] == 1 and stored(space.hand_designed) > 0
    other = spaces.create("yolo", template="tiny", num_classes=2, image_size=32)
    keep = tmp_path / "kept.json"
    measured = tables.latency_table(other, "auto", keep=keep, repeats=3, warmup=0)
    again = tables.latency_table(other, "auto", keep=keep, repeats=3, warmup=0)
    assert keep.exists() and all(torch.allclose(a, b) for a, b in zip(measured.entries, again.entries, strict=True))
    assert tables.latency_table(other, str(keep)).provenance == again.provenance
    with pytest.raises(TableError, match="there is no lookup table"):
        tables.latency_table(other, "nowhere.json")
    with pytest.raises(TableError, match="holds macs, not latency_ms"):
        tables.latency_table(space, "lookup/yolo-course-128-macs.json")
    with pytest.raises(TableError, match="was made for yolo:tiny"):
        tables.latency_table(space, str(keep))
