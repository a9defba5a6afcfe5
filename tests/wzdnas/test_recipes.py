"""Recipes, lookup sources and the comparison's rivals: names, refusals, what reaches the loss."""

from __future__ import annotations

import math

import pytest
import torch

from nasedu import data, spaces, tables, wzdnas
from nasedu.errors import ParameterError, TableError, UnknownName
from nasedu.task import fit
from nasedu.training.schedule import schedule
from nasedu.wzdnas.best import BestEpoch, fitness


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


def test_the_recipe_of_the_published_rows():
    """Scaled-YOLOv4's public training with WZDNAS's hyp.finetune, one number after the other."""
    config = wzdnas.recipe("finetune", epochs=300, batch_size=16, images=5011)
    augment, training = config.augment, config.training
    assert (augment.translate, augment.scale, augment.mixup, augment.mosaic) == (0.5, 0.8, 0.2, 1.0)
    assert (augment.hsv, augment.flip) == ((0.015, 0.7, 0.4), 0.5)
    assert (augment.min_size, augment.min_area, augment.max_aspect) == (2.0, 0.2, 20.0)
    assert (training.optimizer, training.lr, training.final_lr) == ("sgd", 0.01, 0.2)
    assert (training.momentum, training.warmup_momentum, training.warmup_bias_lr) == (0.937, 0.9, 0.1)
    assert (training.ema_decay, training.ema_ramp, training.clip) == (0.9999, 2000, math.inf)
    assert (training.accumulate, training.summed, training.weight_decay) == (4, True, 5e-4)
    assert training.warmup_steps == 1000, "3 epochs are 940 batches"
    assert (config.iou, config.box, config.obj, config.cls, config.ratio) == ("ciou", 0.05, 1.0, 0.5, 4.0)
    assert not config.pooled and config.generations == 1000


@pytest.mark.parametrize(
    ("batch_size", "accumulate", "decay"), [(32, 2, 5e-4), (48, 4 / 3, 3.75e-4), (24, 8 / 3, 5.625e-4), (128, 1, 1e-3)]
)
def test_a_public_training_steps_after_about_64_images(batch_size, accumulate, decay):
    for name in ("published", "finetune"):
        training = wzdnas.recipe(name, epochs=1, batch_size=batch_size).training
        assert training.accumulate == pytest.approx(accumulate) and training.weight_decay == pytest.approx(decay)
    assert wzdnas.recipe("short", epochs=1, batch_size=batch_size).training.accumulate == 1


def test_the_public_warm_up_lasts_three_epochs_or_a_thousand_batches():
    steps = [wzdnas.recipe("published", epochs=1, batch_size=16, images=n).training.warmup_steps for n in (100, 16000)]
    assert steps == [1000, 3000] and wzdnas.recipe("published", epochs=1, warmup_steps=7).training.warmup_steps == 7


def test_the_rate_falls_by_the_published_cosine():
    training = wzdnas.recipe("finetune", epochs=300).training
    for epoch in (0, 100, 299):
        expected = 0.01 * (0.2 + 0.8 * (1 + math.cos(math.pi * epoch / 300)) / 2)
        assert schedule(training, 10**6, epoch)[0] == pytest.approx(expected)
    assert schedule(training, 0, 0) == pytest.approx((0.0, 0.1, 0.9))


def test_the_best_epoch_is_chosen_on_its_own_split():
    """Scores rise and fall; the weights kept are those of the highest, and no test image was asked for."""
    asked, scores = [], iter([0.1, 0.5, 0.3, 0.5, 0.2])

    def judge(task, model, split):
        asked.append(split)
        return next(scores)

    scenes = data.detection("digits", "train", size=4, image_size=64)
    val = data.detection("digits", "val", size=2, image_size=64)
    space = spaces.create("yolo:course", image_size=64)
    config = wzdnas.recipe("short", epochs=5, batch_size=4)
    contest = wzdnas.detection_task(space, config, scenes, val=val)
    step, kept = BestEpoch(contest, score=judge), []
    keep = lambda done, total, note: kept.append(step.epoch)  # noqa: E731
    trained = fit(space.build(space.hand_designed, seed=0), contest, config.training, step, progress=keep)
    assert kept == [1, 2, 2, 2, 2] and (step.epoch, step.score) == (2, 0.5) and asked == ["val"] * 5
    assert [record["judged"] for record in trained.history] == [0.1, 0.5, 0.3, 0.5, 0.2]
    last = {name: value.clone() for name, value in trained.ema.state_dict().items()}
    best = step.put_into(trained.ema).state_dict()
    assert any(not torch.equal(best[name], last[name]) for name in last)
    with pytest.raises(ParameterError, match="no data for 'val'"):
        BestEpoch(wzdnas.detection_task(space, config, scenes))


def test_the_public_fitness():
    class Found:
        judge = None

        def data(self, split):
            return [{"boxes": torch.tensor([[0.0, 0, 10, 10]]), "labels": torch.tensor([0])}]

        def find(self, model, split, iou):
            assert iou == 0.6, "the overlap of the public training's tests meanwhile"
            boxes = torch.tensor([[0.0, 0, 10, 8]])  # an IoU of .8: right at .5 to .8, wrong at .85 to .95
            return [{"boxes": boxes, "labels": torch.tensor([0]), "scores": torch.tensor([0.9])}]

    assert fitness(Found(), None, "val") == pytest.approx(0.1 * 1.0 + 0.9 * 0.7, abs=0.01)
