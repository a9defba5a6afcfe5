"""The built-in scenes: reproducible, disjoint by source digit, tightly boxed, and as hard as asked."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import ndimage
from sklearn.datasets import load_digits
from torchvision import tv_tensors

from nasedu.data import detection
from nasedu.data.digits import BOUNDS, KNOBS, draw, sources

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
    labels = load_digits().target
    for part, share in zip(parts, (0.7, 0.1, 0.2), strict=True):
        for digit in range(10):
            assert abs((labels[part] == digit).sum() - share * (labels == digit).sum()) < 1.01


def test_scenes_draw_only_from_their_own_split_whatever_the_seed():
    for split in BOUNDS:
        used = {s for seed in (0, 1) for i in range(40) for s in draw(split, i, seed=seed).sources}
        assert len(used) > 50
        assert used <= set(sources(split).tolist())


def test_labels_are_the_source_digits_classes():
    labels = load_digits().target
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


def test_the_generator_still_makes_the_published_bytes(sets, fingerprint):
    stored = dict(reversed(line.split()) for line in CHECKSUMS.read_text().splitlines())
    assert {f"digits-{split}-seed0-128px": fingerprint(ds) for split, ds in sets.items()} == stored


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


@pytest.fixture
def plain(monkeypatch):
    """`plain(knob=value, ...)`: from now on scenes have a flat background and no noise, strokes or turns but those."""

    def turn(**knobs):
        for name, value in (dict.fromkeys(KNOBS, 0) | {"contrast": 130} | knobs).items():
            monkeypatch.setitem(KNOBS, name, (value, value))

    return turn


def apart(scene) -> list[int]:
    """The digits of a scene whose boxes are far from all others."""
    boxes = np.array(scene.boxes)
    near = (boxes[:, None, :2] < boxes[None, :, 2:] + 4).all(2)
    return [k for k, alone in enumerate((near & near.T).sum(1) == 1) if alone]


def ink(scene, k) -> np.ndarray:
    """Where the k-th digit of a plain scene is, (S, S): what differs from the background by half its colour or more."""
    x1, y1, x2, y2 = np.array(scene.boxes[k]) + (-3, -3, 3, 3)
    image = scene.image.astype(float)
    change = np.abs(image - np.median(image, (1, 2), keepdims=True)).sum(0)
    change[: max(y1, 0)] = change[y2:] = change[:, : max(x1, 0)] = change[:, x2:] = 0
    return change >= change.max() / 2


def corners(mask) -> np.ndarray:
    rows, columns = np.nonzero(mask)
    return np.array([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1])


@pytest.mark.parametrize("image_size", [96, 128, 320])
def test_boxes_are_tight_around_ink(image_size, plain):
    plain()
    scenes = [draw("train", i, image_size=image_size) for i in range(15)]
    errors = [np.abs(corners(ink(s, k)) - s.boxes[k]).max() for s in scenes for k in apart(s)]
    assert len(errors) > 15 and max(errors) <= 1


@pytest.mark.parametrize("allowed", [0.0, 0.2, 0.55])
def test_strokes_hide_no_more_than_allowed_and_boxes_are_around_what_is_in_sight(allowed, plain):
    """The same scenes without strokes in front tell what was there."""
    hidden, errors = [], []
    for index in range(60):
        plain(hidden=allowed)
        before = draw("train", index)
        plain(hidden=allowed, occluders=20)
        after = draw("train", index)
        assert before.sources == after.sources
        for k in apart(before):
            whole = ink(before, k)
            seen = whole & ~(before.image != after.image).any(0)
            hidden.append(1 - seen.sum() / whole.sum())
            errors.append(np.abs(corners(seen) - after.boxes[k]).max())
    assert len(hidden) > 40 and allowed - 0.2 <= max(hidden) <= allowed + 0.05, "within the limit, and makes use of it"
    assert np.quantile(errors, 0.9) <= 2  # the soft edge of a stroke is no ink


@pytest.mark.parametrize("rotation", [0, 50])
def test_digits_look_like_their_sources_and_are_turned_as_far_as_asked(rotation, plain):
    """The turn of the bundled image that resembles a digit most, in steps of 10 degrees."""
    plain(rotation=rotation)
    scenes, found = [draw("train", i) for i in range(25)], []
    for scene, k in [(s, k) for s in scenes for k in apart(s)]:
        digit = cropped(ink(scene, k).astype(float))
        small = np.pad(ndimage.zoom(load_digits().images[scene.sources[k]], 8, order=1), 16)
        turned = [cropped(ndimage.rotate(small, a, reshape=False, order=1) / 15) for a in range(-90, 91, 10)]
        found.append(max((likeness(t, digit), abs(a)) for t, a in zip(turned, range(-90, 91, 10), strict=True)))
    likenesses, turns = zip(*found, strict=True)
    assert len(found) > 20 and min(likenesses) > 0.5 and np.median(likenesses) > 0.75
    assert max(turns) <= rotation + 10 and max(turns) >= rotation - 10


def cropped(image) -> np.ndarray:
    x1, y1, x2, y2 = corners(image >= 0.5)
    return image[y1:y2, x1:x2]


def likeness(one, other) -> float:
    """Their correlation, at the size of the other."""
    one = ndimage.zoom(one, np.divide(other.shape, one.shape), order=1)
    return float(np.corrcoef(one.ravel(), other.ravel())[0, 1])


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


def _contrast(scene) -> float:
    """Mean over digits of the spread of brightness inside the box over the noise of neighbouring pixels."""
    grey = scene.image.astype(float).mean(0)
    noise = np.abs(np.diff(grey, axis=1)).mean()
    return np.mean([grey[y1:y2, x1:x2].std() for x1, y1, x2, y2 in scene.boxes]) / noise


def _roughness(scene) -> float:
    return float(np.abs(np.diff(scene.image.astype(float), axis=2)).mean())
