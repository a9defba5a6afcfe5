"""The built-in scenes: reproducible, disjoint by source digit, tightly boxed, and as hard as asked."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torchvision import tv_tensors

from nasedu.data import detection
from nasedu.data.digits import BOUNDS, INK, KNOBS, _glyphs, _Painter, _turned, draw, sources

CHECKSUMS = Path(__file__).parents[2] / "datasets" / "digits.sha256"


@pytest.fixture(scope="module")
def sets():
    return {split: detection("digits", split) for split in BOUNDS}


@pytest.fixture(scope="module")
def train(sets):
    return sets["train"]


def test_default_sizes(sets):
    assert {split: len(dataset) for split, dataset in sets.items()} == {
        "train": 1500,
        "val": 200,
        "test": 300,
    }


def test_an_item_has_the_promised_types(train):
    image, target = train[3]
    assert isinstance(image, tv_tensors.Image)
    assert (image.shape, image.dtype) == ((3, 128, 128), torch.uint8)
    boxes = target["boxes"]
    assert isinstance(boxes, tv_tensors.BoundingBoxes)
    assert (boxes.dtype, boxes.canvas_size) == (torch.float32, (128, 128))
    assert boxes.format is tv_tensors.BoundingBoxFormat.XYXY
    assert (target["labels"].dtype, target["ignore"].dtype) == (torch.int64, torch.bool)
    assert not target["ignore"].any()
    assert target["image_id"] == 3


def test_what_a_caller_does_to_an_item_stays_there(train):
    image, target = train[0]
    image.zero_()
    target["boxes"].zero_()
    again, fresh = train[0]
    assert again.any()
    assert fresh["boxes"].any()


def test_every_source_digit_is_in_exactly_one_split():
    parts = [sources(split) for split in BOUNDS]
    assert sorted(np.concatenate(parts)) == list(range(1797))
    labels = _glyphs()[1]
    for part, share in zip(parts, (0.7, 0.1, 0.2), strict=True):
        for digit in range(10):
            assert abs((labels[part] == digit).sum() - share * (labels == digit).sum()) < 1.01


def test_scenes_draw_only_from_their_own_split_whatever_the_seed():
    for split in BOUNDS:
        used = {s for seed in (0, 1) for i in range(40) for s in draw(split, i, seed=seed).sources}
        assert len(used) > 50
        assert used <= set(sources(split).tolist())


def test_labels_are_the_source_digits_classes():
    labels = _glyphs()[1]
    for index in range(20):
        scene = draw("train", index)
        assert scene.labels == [labels[source] for source in scene.sources]


def test_same_seed_same_bytes_and_a_scene_does_not_depend_on_the_size(train):
    again = detection("digits", "train", size=20)
    for index in range(20):
        assert torch.equal(train[index][0], again[index][0])
        assert torch.equal(train[index][1]["boxes"], again[index][1]["boxes"])


@pytest.mark.parametrize("change", [{"seed": 1}, {"difficulty": 0.6}])
def test_another_seed_or_difficulty_gives_other_bytes(train, change):
    other = detection("digits", "train", size=5, **change)
    assert not any(torch.equal(train[i][0], other[i][0]) for i in range(5))


def test_splits_and_indices_give_different_scenes(train):
    val = detection("digits", "val", size=5)
    assert not any(torch.equal(train[i][0], val[i][0]) for i in range(5))
    assert len({train[i][0].numpy().tobytes() for i in range(100)}) == 100


def test_the_generator_still_makes_the_published_bytes(sets):
    stored = dict(reversed(line.split()) for line in CHECKSUMS.read_text().splitlines())
    assert {f"digits-{split}-seed0-128px": ds.sha256() for split, ds in sets.items()} == stored


def test_boxes_lie_inside_the_image_and_have_the_promised_sizes(train):
    boxes = torch.cat([sample.boxes for sample in train.samples])
    assert boxes.min() >= 0
    assert boxes.max() <= 128
    sides = boxes[:, 2:] - boxes[:, :2]
    assert sides.min() >= 2
    assert 50 < sides.amax(1).quantile(0.99) < 80  # 56 high before a turn
    assert 14 < sides.amax(1).quantile(0.02) < 20


def test_all_classes_are_common_and_scenes_hold_one_to_six(train):
    counts = torch.bincount(torch.cat([sample.labels for sample in train.samples]), minlength=10)
    assert counts.min() > 0.08 * counts.sum()
    per_scene = torch.tensor([len(sample.labels) for sample in train.samples])
    assert per_scene.min() >= 1
    assert per_scene.max() == 6
    assert 3.5 < per_scene.float().mean() < 4.1


@pytest.mark.parametrize("image_size", [96, 128, 320])
def test_boxes_are_tight_around_visible_ink(image_size):
    """Against the plain definition: the extreme rows and columns that a digit still owns."""
    for seed in range(5):
        painter = _painter(seed, 0.6, image_size)
        for _ in range(4):
            painter.digit(sources("train"))
        for _ in range(6):
            painter.stroke(in_front=True)
        for k, (x1, y1, x2, y2) in enumerate(painter.boxes()):
            rows, columns = np.nonzero(painter.owner == k)
            assert (x1, y1, x2, y2) == (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)


def test_a_lone_digits_box_is_where_the_image_changed():
    """Read from the pixels: without noise, only the digit differs from the background."""
    for seed in range(10):
        painter = _painter(seed, 0.0)
        before = painter.canvas.copy()
        painter.digit(sources("train"))
        rows, columns = np.nonzero((painter.canvas != before).any(0))
        seen = np.array([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1])
        assert np.abs(seen - painter.boxes()[0]).max() <= 1


@pytest.mark.parametrize("difficulty", [0.0, 0.4, 1.0])
def test_no_digit_is_hidden_by_more_than_the_difficulty_allows(difficulty):
    least = 1.0
    for seed in range(15):
        painter = _painter(seed, difficulty)
        for _ in range(6):
            painter.digit(sources("train"))
        for _ in range(8):
            painter.stroke(in_front=True)
        for k, ink in enumerate(painter.ink):
            least = min(least, (painter.owner == k).sum() / ink)
    allowed = 1 - painter.knobs["hidden"]
    assert allowed - 1e-9 <= least <= allowed + 0.2, "occlusion stays within the limit, and makes use of it"


def test_a_turn_moves_ink_as_a_rotation_does():
    """A quarter turn swaps width and height; half a turn is the glyph upside down."""
    for source in (0, 5, 17):
        upright, quarter, half = (_turned(source, 40, turn) >= INK for turn in (0, np.pi / 2, np.pi))
        assert np.abs(np.subtract(quarter.shape, upright.shape[::-1])).max() <= 1
        assert half.shape == upright.shape
        assert (half[::-1, ::-1] == upright).mean() > 0.97
        assert abs(upright.shape[0] - 40) <= 1


def test_digits_still_look_like_their_sources():
    """Shrunk back to 8x8, an enlarged digit correlates with the bundled image."""
    from sklearn.datasets import load_digits

    small = load_digits().images
    for source in range(0, 1797, 97):
        back = _glyphs()[0][source].reshape(10, 8, 10, 8).mean((1, 3))[1:-1, 1:-1]
        assert np.corrcoef(back.ravel(), small[source].ravel())[0, 1] > 0.97


def test_difficulty_raises_what_makes_a_scene_hard():
    def hardness(difficulty):
        scenes = [draw("train", i, difficulty=difficulty) for i in range(40)]
        return np.mean([_contrast(scene) for scene in scenes]), np.mean([_roughness(s) for s in scenes])

    levels = [hardness(difficulty) for difficulty in (0.0, 0.4, 1.0)]
    contrast, roughness = zip(*levels, strict=True)
    assert contrast[0] > 1.3 * contrast[1] > 1.3 * 1.3 * contrast[2]
    assert roughness[2] > 1.5 * roughness[1] > 1.5 * 1.5 * roughness[0]


def test_digits_scale_with_the_image():
    small, large = (detection("digits", "test", size=40, image_size=size) for size in (96, 288))
    heights = [torch.cat([s.boxes[:, 3] - s.boxes[:, 1] for s in ds.samples]).mean() for ds in (small, large)]
    assert 2.7 < heights[1] / heights[0] < 3.3
    assert large[0][0].shape == (3, 288, 288)


def _painter(seed: int, difficulty: float, size: int = 128) -> _Painter:
    knobs = {name: easy + (hard - easy) * difficulty for name, (easy, hard) in KNOBS.items()}
    return _Painter(np.random.default_rng(seed), size, knobs)


def _contrast(scene) -> float:
    """Mean over digits of the spread of brightness inside the box over the noise of neighbouring pixels."""
    grey = scene.image.astype(float).mean(0)
    noise = np.abs(np.diff(grey, axis=1)).mean()
    return np.mean([grey[y1:y2, x1:x2].std() for x1, y1, x2, y2 in scene.boxes]) / noise


def _roughness(scene) -> float:
    return float(np.abs(np.diff(scene.image.astype(float), axis=2)).mean())
