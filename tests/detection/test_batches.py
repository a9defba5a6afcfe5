from __future__ import annotations

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from nasedu.detection import Augment, Batches
from nasedu.errors import ParameterError

BOXES = [i for i in range(11) if i % 3]  # the scenes that have a box which counts


def epoch(scenes, seed=0, number=0, size=4, **options):
    return list(Batches(scenes, size, seed=seed, epoch=number, **options))


def values(found):
    """Which scene each image of plain batches is."""
    return [round(float(image[0, 0, 0]) * 255) for images, _ in found for image in images]


def same(one, other):
    return all(torch.equal(a, b) for x, y in zip(one, other, strict=True) for a, b in zip(x, y, strict=True))


def test_evaluation_batches_are_every_image_in_order_with_its_boxes(scenes):
    found = epoch(scenes, shuffle=False)
    assert [len(images) for images, _ in found] == [4, 4, 3]
    assert values(found) == list(range(11))
    start, labels = 0, []
    for images, targets in found:
        assert images.dtype == targets.dtype == torch.float32
        for index, label, *box in targets.tolist():
            assert index + start == label
            assert box == [2, 3, 12 + label, 20]
            labels.append(label)
        start += len(images)
    assert labels == BOXES  # one each: the second of two is ignored


def test_a_shuffled_epoch_has_each_image_once_and_drops_the_rest(scenes):
    assert sorted(values(epoch(scenes, size=1))) == list(range(11))
    kept = values(epoch(scenes))
    assert len(kept) == len(set(kept)) == 8


@pytest.mark.parametrize("augment", [None, Augment(), Augment(mosaic=0.0), Augment(mosaic=0.5)])
def test_a_batch_depends_on_seed_and_epoch_and_nothing_else(scenes, augment):
    first = epoch(scenes, seed=3, number=2, augment=augment)
    torch.manual_seed(99)
    epoch(scenes, seed=3, number=1, augment=augment)
    assert same(first, epoch(scenes, seed=3, number=2, augment=augment))
    again = Batches(scenes, 4, seed=3, epoch=2, augment=augment)
    assert same(first[::-1], [again[i] for i in reversed(range(len(again)))])  # whatever was made before
    for other in ({"seed": 3, "number": 3}, {"seed": 2, "number": 2}, {"seed": 3, "number": 2, "split": "other"}):
        assert not same(first, epoch(scenes, augment=augment, **other))


def test_augmented_batches_keep_the_order_and_mosaics_draw_on_the_whole_data_set(scenes):
    still = Augment(translate=0, scale=0, hsv=(0, 0, 0), flip=0)
    plain, mosaics = epoch(scenes), epoch(scenes, augment=still)
    others = []
    for (images, _), (moved, targets) in zip(plain, mosaics, strict=True):
        corners = (moved * 255).round()[:, 0, [0, 0, -1, -1], [0, -1, 0, -1]]
        assert torch.equal(corners[:, 0], (images[:, 0, 0, 0] * 255).round())
        others.append(corners[:, 1:].flatten())
        for index, label, *_ in targets.tolist():
            assert label in corners[int(index)]  # a box belongs to a tile that is there
    assert len(torch.cat(others).unique()) > 8


@pytest.mark.parametrize("size", [0, 12])
def test_a_batch_size_that_gives_no_batch_is_refused_at_once(scenes, size):
    with pytest.raises(ParameterError, match="1 to 11"):
        Batches(scenes, size)


def test_mixup_joins_two_images_and_the_objects_of_both(scenes):
    """Every image is grey of its own level, so a mixed one tells its share; shares are from Beta(8, 8)."""
    still = {"mosaic": 0.0, "translate": 0.0, "scale": 0.0, "hsv": (0, 0, 0), "flip": 0.0}
    for probability, low, high in ((0.0, 0, 0), (0.2, 0.1, 0.3), (1.0, 1, 1)):
        mixed = total = 0
        for number in range(40):
            plain = epoch(scenes, number=number, augment=Augment(**still))
            found = epoch(scenes, number=number, augment=Augment(**still, mixup=probability))
            for (before, few), (after, many) in zip(plain, found, strict=True):
                centre = slice(None), 0, 16, 16
                mixed += int((before[centre] != after[centre]).sum())
                total += len(after)
                own = many[: len(few)]
                assert torch.equal(own, few) and (many[len(few) :, 0] < len(after)).all()
        assert low <= mixed / total <= high + 1e-9 or (probability == 1 and mixed / total > 0.8)


def test_the_shares_of_a_mixture_add_up_to_one():
    white = [(torch.full((3, 64, 64), 255, dtype=torch.uint8), {"boxes": torch.zeros(0, 4)})] * 4
    white = [(i, t | {"labels": torch.zeros(0).long(), "ignore": torch.zeros(0).bool()}) for i, t in white]
    still = {"mosaic": 0.0, "translate": 0.0, "scale": 0.0, "hsv": (0, 0, 0), "flip": 0.0}
    images, _ = Batches(white, 4, augment=Augment(**still, mixup=1.0))[0]
    torch.testing.assert_close(images, torch.ones_like(images))


@pytest.mark.parametrize("augment", [None, Augment(mixup=0.5), Augment(mosaic=0.5), Augment(mosaic=0.0)])
def test_what_travels_is_of_8_bits_and_makes_the_same_batch(scenes, augment):
    made = Batches(scenes, 4, seed=3, augment=augment)
    for i in range(len(made)):
        raw = made.raw(i)
        assert raw.images.dtype == torch.uint8
        assert same([raw.made("cpu")], [made[i]])
        if raw.mixed:
            assert raw.mixed[2].images.dtype == torch.uint8


@pytest.mark.parametrize("augment", [Augment(), Augment(mosaic=0.5)])
def test_pixels_are_changed_without_asking_the_device(scenes, augment):
    """Nothing that is read or whose shape depends on a value may be a tensor that lies with the images."""
    raw = Batches(scenes, 4, augment=augment).raw(0)
    seen = []

    class Watched(TorchDispatchMode):
        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            tensors = [a for a in args if isinstance(a, torch.Tensor)]
            if any(name in str(function) for name in ("_local_scalar_dense", "nonzero")):
                seen.extend(tensors)
            return function(*args, **(kwargs or {}))

    with Watched():
        raw.made()
    assert all(t.numel() <= 4 for t in seen), "what was drawn, which is on the CPU"
