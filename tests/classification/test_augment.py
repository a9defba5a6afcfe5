"""Augmentation draws from its generator alone, and changes images and labels as its paper says."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch.nn import functional as F
from torchvision.transforms import v2

from nasedu.classification import augment, batches, error, label_loss, mixup, published_augment
from nasedu.classification.augment import (
    PCA_VALUES,
    PCA_VECTORS,
    Augmentation,
    auto_augment,
    crop_and_flip,
    from_torchvision,
    in_turn,
    lighting,
    random_erasing,
)
from nasedu.data import ImageSet, classification
from nasedu.errors import ParameterError, UnknownName
from nasedu.task import Classification

MEAN, STD = (0.4, 0.5, 0.6), (0.2, 0.3, 0.25)
shift, scale = (torch.tensor(v)[:, None, None] for v in (MEAN, STD))


def drawn(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def pictures(n: int = 8, side: int = 16) -> tuple[torch.Tensor, torch.Tensor]:
    """8-bit images, and the same normalised."""
    pixels = torch.randint(256, (n, 3, side, side), generator=drawn(1), dtype=torch.uint8)
    return pixels, (pixels.float() / 255 - shift) / scale


AUGMENTS = {
    "autoaugment": auto_augment(mean=MEAN, std=STD),
    "erasing": random_erasing(),
    "lighting": lighting(STD),
    "normal noise": from_torchvision(lambda image: image + torch.randn(image.shape)),
    "in turn": in_turn(crop_and_flip(2), auto_augment("svhn", mean=MEAN, std=STD), random_erasing(1.0)),
}


@pytest.mark.parametrize("name", AUGMENTS)
def test_draws_come_from_the_generator_and_leave_the_global_state_alone(name):
    change, (_, x) = AUGMENTS[name], pictures(16)
    kept = x.clone()
    torch.manual_seed(5)
    before = torch.get_rng_state()
    first = change(x, drawn(3))
    assert torch.equal(torch.get_rng_state(), before) and torch.equal(x, kept)
    torch.manual_seed(6)
    assert torch.equal(change(x, drawn(3)), first)
    assert not torch.equal(change(x, drawn(4)), first)
    generator = drawn(3)
    assert torch.equal(change(x, generator), first) and not torch.equal(change(x, generator), first)
    assert first.shape == x.shape and first.dtype == x.dtype


def test_the_global_state_comes_back_after_an_error_too():
    before = torch.get_rng_state()
    with pytest.raises(TypeError):
        from_torchvision(lambda image: torch.rand(3).tolist() / 0)(torch.zeros(1, 3, 4, 4), drawn())
    assert torch.equal(torch.get_rng_state(), before)


def test_threads_do_not_draw_from_one_another():
    _, x = pictures(16)
    change = AUGMENTS["in turn"]
    alone = [change(x, drawn(seed)) for seed in range(12)]
    with ThreadPoolExecutor(4) as executor:
        together = list(executor.map(lambda seed: change(x, drawn(seed)), range(12)))
    assert all(torch.equal(a, b) for a, b in zip(alone, together, strict=True))


def test_every_image_has_draws_of_its_own():
    x = torch.ones(64, 3, 8, 8)
    erased = random_erasing(0.5)(x, drawn())
    touched = (erased == 0).flatten(1).any(1)
    assert 16 < int(touched.sum()) < 48
    assert len({tuple(image.flatten().tolist()) for image in erased[touched]}) > 5


class Fixed(v2.AutoAugment):
    """A policy of one operation, always applied."""

    operation = ("Brightness", 1.0, 0)

    def _get_policies(self, policy):
        return [(self.operation, ("Invert", 0.0, None))]


def fixed(monkeypatch, *operation):
    monkeypatch.setattr(v2, "AutoAugment", type("One", (Fixed,), {"operation": operation}))
    return auto_augment(mean=MEAN, std=STD)


def test_operations_that_change_nothing_leave_the_image_to_the_last_bit(monkeypatch):
    _, x = pictures()
    x = x + 0.001  # not on the grid of 8-bit values
    assert torch.equal(fixed(monkeypatch, "Brightness", 1.0, 0)(x, drawn()), x)
    assert torch.equal(fixed(monkeypatch, "TranslateX", 1.0, 0)(x, drawn()), x)
    assert torch.equal(fixed(monkeypatch, "Invert", 0.0, None)(x, drawn()), x)


def test_operations_work_on_the_pixels_before_normalisation(monkeypatch):
    pixels, x = pictures()
    inverted = fixed(monkeypatch, "Invert", 1.0, None)(x, drawn())
    assert torch.allclose(inverted, ((255 - pixels).float() / 255 - shift) / scale, atol=1e-6)
    moved = fixed(monkeypatch, "TranslateX", 1.0, 9)(x, drawn())
    grey = ((128 / 255 - shift) / scale).expand(3, 16, 1)
    assert torch.allclose(moved[0, :, :, :1], grey, atol=1e-6) or torch.allclose(moved[0, :, :, -1:], grey, atol=1e-6)


def test_digits_are_never_mirrored(monkeypatch):
    names = {op for kind in v2.AutoAugmentPolicy for pair in v2.AutoAugment(kind)._policies for op, _, _ in pair}
    assert "Rotate" in names and not [name for name in names if "flip" in name.lower()]
    monkeypatch.setattr(augment, "auto_augment", lambda *args, **kwargs: lambda x, generator: x)
    monkeypatch.setattr(augment, "random_erasing", lambda *_: lambda x, generator: x)
    brighter_left = torch.tensor([1.0] * 8 + [0.0] * 8).expand(100, 3, 16, 16)
    for name, mirrors in (("digits", False), ("cifar10", True)):
        images = ImageSet(name, "train", ["0"], brighter_left, torch.zeros(100, dtype=torch.long))
        x = published_augment(images)(brighter_left, drawn())
        assert bool((x[:, 0, 8, 12] > x[:, 0, 8, 4]).any()) == mirrors


def test_a_mixture_is_convex_and_labels_move_with_images():
    classes, n = 5, 10
    y = torch.arange(n) % classes
    x = F.one_hot(y, classes).float()[:, :, None, None].expand(n, classes, 2, 2).contiguous()
    mixed, shares = mixup(classes, 1.0)(x, y, drawn(1))
    assert shares.shape == (n, classes) and torch.allclose(shares.sum(1), torch.ones(n)) and (shares >= 0).all()
    assert torch.allclose(mixed[:, :, 0, 0], shares) and torch.equal(y, torch.arange(n) % classes)
    assert (shares > 0).sum(1).max() == 2
    top = [float(mixup(classes, 0.2)(x, y, drawn(seed))[1][0].max()) for seed in range(200)]
    assert sum(value > 0.9 for value in top) > 100  # Beta(.2, .2): most mixtures are nearly one image


def test_mixup_draws_from_the_generator():
    _, x = pictures(6)
    y = torch.arange(6)
    before = torch.get_rng_state()
    first = mixup(6)(x, y, drawn(2))
    assert torch.equal(torch.get_rng_state(), before)
    torch.rand(3)
    again, other = mixup(6)(x, y, drawn(2)), mixup(6)(x, y, drawn(3))
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True)) and not torch.equal(first[1], other[1])


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_the_loss_takes_shares_as_it_takes_labels(smoothing):
    torch.manual_seed(0)
    loss = Classification(None, label_smoothing=smoothing).loss
    logits, y = torch.randn(6, 3), torch.tensor([0, 1, 2, 2, 1, 0])
    hard, soft = loss(logits, y), loss(logits, F.one_hot(y, 3).float())
    assert torch.allclose(hard["total"], soft["total"], atol=1e-6) and hard["error"] == soft["error"]
    swapped = loss(logits, y.flip(0))["total"]
    mixed = loss(logits, 0.3 * F.one_hot(y, 3) + 0.7 * F.one_hot(y.flip(0), 3))["total"]
    assert torch.allclose(mixed, 0.3 * hard["total"] + 0.7 * swapped, atol=1e-6)


def test_the_greatest_share_is_the_right_answer():
    shares = torch.tensor([[0.7, 0.3, 0.0], [0.0, 0.6, 0.4]])
    assert error(9 * shares, shares) == 0 and error(9 * shares.flip(0), shares) == 1


def test_batches_mix_after_augmenting():
    images = classification("digits", "train", size=40, image_size=16)
    make = batches(images, 20, seed=1, augment=published_augment(images), mix=mixup(10))
    (x, y), (again, shares), (other, _) = next(make(0)), next(make(0)), next(make(1))
    assert x.shape == (20, 3, 16, 16) and y.shape == (20, 10)
    assert torch.equal(x, again) and torch.equal(y, shares) and not torch.equal(x, other)


def test_bad_settings_are_named():
    with pytest.raises(UnknownName, match="did you mean 'cifar10'"):
        auto_augment("cifar", mean=0.5, std=0.5)
    with pytest.raises(ParameterError, match="std above 0"):
        auto_augment(mean=0.5, std=0.0)
    with pytest.raises(ParameterError, match="p=2"):
        random_erasing(2)
    with pytest.raises(ParameterError, match="alpha above 0"):
        mixup(10, 0.0)
    with pytest.raises(ParameterError, match="3 classes got labels from 0 to 3"):
        mixup(3)(torch.zeros(4, 3, 2, 2), torch.arange(4), drawn())
    with pytest.raises(UnknownName, match="image set"):
        published_augment(ImageSet("mine", "train", ["a"], torch.zeros(1, 3, 8, 8), torch.zeros(1)))
    with pytest.raises(ParameterError, match=r"labels of shape \(2, 4\) do not fit"):
        label_loss(torch.zeros(2, 3), torch.zeros(2, 4))


def test_lighting_shifts_along_the_colours_of_imagenet():
    """In pixels from 0 to 1 the shift is V diag(p) a: its covariance is .01 V diag(p^2) V', and is one for an image."""
    x = torch.zeros(20_000, 3, 2, 2)
    shifted = lighting(STD, 0.1)(x, drawn())
    assert (shifted == shifted[:, :, :1, :1]).all(), "one colour for all of an image"
    pixels = shifted[:, :, 0, 0].double() * torch.tensor(STD).double()
    axes = torch.tensor(PCA_VECTORS).double() * torch.tensor(PCA_VALUES).double()
    wanted = 0.01 * axes @ axes.T
    assert torch.allclose(pixels.T.cov(), wanted, atol=0.03 * float(wanted.max()))
    assert abs(float(pixels.mean())) < 1e-3
    vectors = torch.tensor(PCA_VECTORS).double()
    assert torch.allclose(vectors.T @ vectors, torch.eye(3).double(), atol=2e-3), "columns are the axes"


def test_an_augmentation_is_put_together_by_name():
    images = classification("digits", "train", size=32, image_size=16)
    cifar = ImageSet("cifar10", "train", images.classes, images.images, images.labels, images.mean, images.std)
    x = images.images[:8]
    nothing = Augmentation("none", flip=False)
    assert torch.equal(nothing.of(cifar)(x, drawn()), x)
    flips = Augmentation("none").of(cifar)(x, drawn())
    same, mirrored = ((flips == each).flatten(1).all(1) for each in (x, x.flip(3)))
    assert (same | mirrored).all() and not same.all() and not mirrored.all()
    assert torch.equal(Augmentation("none").of(images)(x, drawn()), x), "a mirrored digit is another sign"
    whole = Augmentation("padded", policy="set", erasing=0.5).of(cifar)
    parts = in_turn(crop_and_flip(2), auto_augment("cifar10", mean=images.mean, std=images.std), random_erasing())
    assert torch.equal(whole(x, drawn(3)), parts(x, drawn(3)))
    lit = Augmentation("none", flip=False, lighting=0.1).of(cifar)
    assert torch.equal(lit(x, drawn(3)), lighting(images.std)(x, drawn(3)))
    with pytest.raises(UnknownName, match="image set"):
        Augmentation().of(ImageSet("mine", "train", images.classes, images.images, images.labels))
