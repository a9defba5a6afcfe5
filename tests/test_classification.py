"""Training a classifier: batches that depend on (seed, epoch) alone, the accuracy, and a recipe that learns."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from nasedu.classification import accuracy, batches, recipe
from nasedu.classification.augment import crop_and_flip
from nasedu.data import ImageSet, classification
from nasedu.errors import ParameterError, UnknownName
from nasedu.task import Classification, fit


def numbered(n: int, side: int = 4) -> ImageSet:
    """Image i is filled with the number i."""
    images = torch.arange(n).float()[:, None, None, None].expand(n, 3, side, side).contiguous()
    return ImageSet("numbers", "train", ["even", "odd"], images, torch.arange(n) % 2)


def order(epoch_batches) -> list[list[int]]:
    return [x[:, 0, 0, 0].int().tolist() for x, _ in epoch_batches]


def small_net() -> nn.Module:
    def conv(c_in, c_out):
        layers = nn.Conv2d(c_in, c_out, 3, 2, 1, bias=False), nn.BatchNorm2d(c_out), nn.ReLU()
        return nn.Sequential(*layers)

    return nn.Sequential(
        conv(3, 16), conv(16, 32), conv(32, 64), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10)
    )


def test_an_epochs_order_is_its_own_whatever_ran_before():
    make = batches(numbered(20), 5, seed=3)
    first, second = order(make(0)), order(make(1))
    torch.rand(7)
    assert order(make(1)) == second != first and order(batches(numbered(20), 5, seed=4)(0)) != first
    assert sorted(i for batch in first for i in batch) == list(range(20)) and first != [
        [*range(i, i + 5)] for i in range(0, 20, 5)
    ]


def test_labels_stay_with_their_images():
    for x, y in batches(numbered(30), 8)(0):
        assert torch.equal(x[:, 0, 0, 0].long() % 2, y)


def test_the_last_incomplete_batch_is_dropped_unless_alone():
    assert [len(b) for b in order(batches(numbered(23), 5)(0))] == [5] * 4
    assert [len(b) for b in order(batches(numbered(3), 5)(0))] == [3]
    assert [len(b) for b in order(batches(numbered(10), 5)(0))] == [5, 5]
    with pytest.raises(ParameterError, match="must be a whole number from 1"):
        batches(numbered(3), 0)


def test_augmentation_is_drawn_from_the_epoch_and_crops_what_it_says():
    images = numbered(12, side=6)
    images.images[:] = torch.arange(36.0).view(6, 6) + 1
    make = batches(images, 12, augment=crop_and_flip(2))
    (x, _), (again, _), (other, _) = next(make(0)), next(make(0)), next(make(1))
    assert torch.equal(x, again) and not torch.equal(x, other)
    padded = F.pad(images.images[:1], (2,) * 4)
    windows = [padded[0, :, i : i + 6, j : j + 6] for i in range(5) for j in range(5)]
    mirrored = [window.flip(2) for window in windows]
    plain = [any(torch.equal(image, w) for w in windows) for image in x]
    flipped = [any(torch.equal(image, w) for w in mirrored) for image in x]
    assert all(a != b for a, b in zip(plain, flipped, strict=True)) and any(plain) and any(flipped)
    x, _ = next(batches(images, 12, augment=crop_and_flip(2, flip=False))(0))
    assert all(any(torch.equal(image, w) for w in windows) for image in x)


def test_the_loss_is_cross_entropy_with_smoothed_labels():
    logits = torch.tensor([[2.0, 0.0, -1.0], [0.0, 1.0, 0.5]])
    losses = Classification(numbered(2), label_smoothing=0.3).loss(logits, torch.tensor([0, 2]))
    target = torch.tensor([[0.8, 0.1, 0.1], [0.1, 0.1, 0.8]])
    expected = -(target * logits.log_softmax(1)).sum(1).mean()
    assert float(losses["total"].detach()) == pytest.approx(float(expected), abs=1e-6) and losses["error"] == 0.5


def test_accuracy_counts_in_eval_mode_and_puts_every_mode_back():
    images = numbered(10)
    model = nn.Sequential(nn.Flatten(), nn.Dropout(1.0), nn.Linear(48, 2))
    nn.init.zeros_(model[2].weight)
    model[2].bias.data = torch.tensor([0.0, 1.0])
    model[1].eval()
    modes = [m.training for m in model.modules()]
    assert accuracy(model, images, batch_size=3) == 0.5
    assert [m.training for m in model.modules()] == modes and modes == [True, True, False, True]

    def forward(model, x):
        assert not model.training and torch.is_inference_mode_enabled()
        return F.one_hot(x[:, 0, 0, 0].long() % 2, 2)

    assert accuracy(model, images, forward, batch_size=3) == 1.0 and not torch.is_inference_mode_enabled()
    with pytest.raises(ZeroDivisionError):
        accuracy(model, images, lambda model, x: 1 / 0)
    assert [m.training for m in model.modules()] == modes
    with pytest.raises(ParameterError):
        accuracy(model, images.take(slice(0, 0)))


def test_the_recipe_learns_digits_in_ten_epochs():
    images = classification("digits", "train", size=1000)
    torch.manual_seed(0)
    task = Classification(images, test=classification("digits", "test"))
    trained = fit(small_net(), task, recipe(10))
    assert task.score(trained.model, "test") > 0.95 and task.score(trained.ema, "test") > 0.95


def test_a_recipes_settings_are_checked():
    assert recipe(3, lr=0.1).lr == 0.1 and recipe(3).epochs == 3
    with pytest.raises(UnknownName, match="did you mean 'lr'"):
        recipe(3, lrr=0.1)
