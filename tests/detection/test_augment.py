from __future__ import annotations

import colorsys

import numpy as np
import pytest
import torch

from nasedu.detection import Augment
from nasedu.detection.augment import GREY, jitter_hsv
from nasedu.errors import ParameterError

STILL = {"translate": 0.0, "scale": 0.0, "hsv": (0, 0, 0), "flip": 0.0}
SIDE = 64


def rng(seed=0):
    return np.random.default_rng(seed)


def rectangles(seed=0):
    """Four black images: a red, a green and a blue rectangle of classes 0 to 2, and one with nothing."""
    images, targets = torch.zeros(4, 3, SIDE, SIDE, dtype=torch.uint8), []
    for i in range(3):
        x, y, w, h = rng([seed, i]).integers([4, 4, 16, 16], [24, 24, 32, 36]).tolist()
        images[i, i, y : y + h, x : x + w] = 255
        targets.append([i, i, x, y, x + w, y + h])
    return images, torch.tensor(targets).float()


def noise(count=8):
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (count, 3, SIDE, SIDE), dtype=torch.uint8, generator=generator)


def extent(channel):
    """The bounding box of bright pixels; grey fill is darker than half."""
    rows, columns = (channel > 0.5).nonzero(as_tuple=True)
    return torch.stack([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]).float()


@pytest.mark.parametrize("mosaic", [0.0, 0.5, 1.0])
def test_boxes_follow_their_pixels(mosaic):
    seen = 0
    for seed in range(25):
        images, targets = rectangles(seed)
        augment = Augment(mosaic=mosaic, translate=0.2, hsv=(0, 0, 0), min_area=0.3)
        moved, boxes = augment(images, targets, rng(seed), torch.tensor([[0, 1, 2, 3], [2, 3, 0, 1]]))
        for image, label, *box in boxes.tolist():
            pixels = extent(moved[int(image), int(label)])
            torch.testing.assert_close(torch.tensor(box), pixels, atol=1.01, rtol=0)
            seen += 1
    assert seen > (40 if mosaic == 0 else 60)


def test_what_is_dropped_is_hardly_visible():
    dropped = 0
    for seed in range(40):
        images, targets = rectangles(seed)
        augment = Augment(scale=0.0, hsv=(0, 0, 0))
        moved, boxes = augment(images, targets, rng(seed), torch.arange(4)[None])
        for label in {0, 1, 2} - {int(label) for label in boxes[:, 1]}:
            area = (targets[label, 4:] - targets[label, 2:4]).prod()
            assert (moved[0, label] > 0.5).sum() < 0.2 * area + 30  # pixels half covered at the edges
            dropped += 1
    assert dropped > 3


def test_thresholds_decide_what_stays():
    images, targets = rectangles()
    targets[0, 2:] = torch.tensor([22.0, 40.0, 42.0, 60.0])  # the window begins at 32: 10 of 20 columns are left
    tiles = torch.tensor([[0, 3, 3, 3]])
    for name, value, kept in [("area", 0.49, 1), ("area", 0.51, 0), ("size", 9.9, 1), ("size", 10, 0)]:
        _, boxes = Augment(**STILL, **{f"min_{name}": value})(images, targets[:1], rng(), tiles)
        assert len(boxes) == kept, name
    assert Augment(**STILL)(images, targets[:1], rng(), tiles)[1].tolist() == [[0, 0, 0, 8, 10, 28]]


def test_a_mosaic_shows_the_inner_quarters_of_its_four_images():
    images = noise()
    moved, _ = Augment(**STILL)(images, torch.zeros(0, 6), rng(), torch.tensor([[4, 5, 6, 7]]))
    low, high = slice(0, SIDE // 2), slice(SIDE // 2, SIDE)
    for tile, rows, columns in [(4, low, low), (5, low, high), (6, high, low), (7, high, high)]:
        opposite = images[tile, :, high if rows is low else low, high if columns is low else low]
        torch.testing.assert_close(moved[0, :, rows, columns], opposite / 255, atol=1e-5, rtol=0)


def test_flip_mirrors_pixels_and_boxes_and_off_leaves_all_as_it_was():
    images, targets = rectangles()
    same, boxes = Augment(**{**STILL, "mosaic": 0.0})(images, targets, rng())
    torch.testing.assert_close(same, images / 255, atol=1e-5, rtol=0)
    torch.testing.assert_close(boxes, targets)
    flipped, boxes = Augment(**{**STILL, "mosaic": 0.0, "flip": 1.0})(images, targets, rng())
    torch.testing.assert_close(flipped, images.flip(3) / 255, atol=1e-5, rtol=0)
    mirrored = torch.stack([SIDE - targets[:, 4], targets[:, 3], SIDE - targets[:, 2], targets[:, 5]], dim=1)
    torch.testing.assert_close(boxes[:, 2:], mirrored)


def test_without_mosaic_the_surroundings_are_grey():
    white = torch.full((20, 3, SIDE, SIDE), 255, dtype=torch.uint8)
    moved, _ = Augment(mosaic=0.0, translate=0.0, hsv=(0, 0, 0))(white, torch.zeros(0, 6), rng())
    shrunk = moved[moved[:, 0, 0, 0] < 0.9]
    assert len(shrunk) > 3
    torch.testing.assert_close(shrunk[:, :, 0, 0], torch.full((len(shrunk), 3), GREY / 255), atol=1e-5, rtol=0)


def test_colour_gains_agree_with_the_standard_library():
    colours = noise()[:2, :, :4, :4] / 255
    gains = torch.tensor([[1.2, 0.6, 1.5], [0.9, 1.6, 0.7]])
    jittered = jitter_hsv(colours, gains)
    for image in range(2):
        for row, column in np.ndindex(4, 4):
            h, s, v = colorsys.rgb_to_hsv(*colours[image, :, row, column].tolist())
            h, s, v = (np.array([h, s, v]) * gains[image].numpy()).tolist()
            expected = torch.tensor(colorsys.hsv_to_rgb(h % 1, min(s, 1), min(v, 1)))
            torch.testing.assert_close(jittered[image, :, row, column], expected, atol=1e-4, rtol=0)


def test_grey_stays_grey_and_colour_stays_in_range():
    grey = torch.linspace(0, 1, 9).repeat(1, 3, 1, 1).view(1, 3, 3, 3)
    torch.testing.assert_close(jitter_hsv(grey, torch.tensor([[1.01, 1.7, 1.0]])), grey)
    moved, _ = Augment(hsv=(1, 1, 1))(noise(), torch.zeros(0, 6), rng())
    assert moved.isfinite().all()
    assert moved.min() >= 0
    assert moved.max() <= 1.0001


def test_each_output_has_its_own_window_and_colour():
    images = noise(1).repeat(6, 1, 1, 1)
    moved, _ = Augment(mosaic=0.0)(images, torch.zeros(0, 6), rng())
    assert len({image.sum().item() for image in moved}) == 6


def test_the_generator_is_the_only_randomness_and_inputs_stay():
    images, targets = rectangles()
    before, state = (images.clone(), targets.clone()), torch.random.get_rng_state()
    first, second = Augment()(images, targets, rng(5)), Augment()(images, targets, rng(5))
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
    assert not torch.equal(first[0], Augment()(images, targets, rng(6))[0])
    assert torch.equal(images, before[0])
    assert torch.equal(targets, before[1])
    assert torch.equal(torch.random.get_rng_state(), state)


@pytest.mark.parametrize("bad", [{"mosaic": 1.5}, {"flip": -0.1}, {"scale": 1.0}, {"hsv": (0.1, 0.2)}])
def test_settings_out_of_range_are_refused(bad):
    with pytest.raises(ParameterError, match=next(iter(bad))):
        Augment(**bad)


def test_slivers_are_not_taught():
    """A box of 60 x 2.5 px is longer by 24 than it is wide; one of 60 x 4 by 15."""
    images = torch.zeros(1, 3, 64, 64, dtype=torch.uint8)
    boxes = torch.tensor([[0, 0, 2, 2, 62, 4.5], [0, 1, 2, 20, 62, 24]])
    still = {"mosaic": 0.0, "translate": 0.0, "scale": 0.0, "hsv": (0, 0, 0), "flip": 0.0}
    for most, labels in ((20.0, [1]), (30.0, [0, 1])):
        _, targets = Augment(**still, max_aspect=most)(images, boxes, np.random.default_rng(0))
        assert targets[:, 1].tolist() == labels
