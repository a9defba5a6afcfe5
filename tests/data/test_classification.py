"""Images to classify: splits that no seed moves, proportions, normalisation, distortions, and broken files."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from nasedu.data import classification
from nasedu.errors import DataError, ParameterError, UnknownName

SPLITS = ("train", "val", "test")


@pytest.fixture
def folder(tmp_path):
    """A CIFAR-10 in small: every image is one grey level of its own."""
    for part, n in (("train_5k", 50), ("test_1k", 20)):
        x = np.broadcast_to(np.arange(n, dtype=np.uint8)[:, None, None, None], (n, 32, 32, 3))
        np.savez(tmp_path / f"cifar10_{part}_uint8.npz", x=x, y=np.arange(n) % 10)
    return tmp_path


def rows(images) -> set[bytes]:
    return {image.numpy().tobytes() for image in images.images}


def test_digits_are_disjoint_stratified_and_complete():
    sets = {split: classification("digits", split, image_size=8) for split in SPLITS}
    assert [len(s) for s in sets.values()] == [1078, 269, 450]
    assert len(set.union(*map(rows, sets.values()))) == 1797  # all of them, and no two alike
    for a, b in (("train", "val"), ("train", "test"), ("val", "test")):
        assert not rows(sets[a]) & rows(sets[b])
    for s in sets.values():
        counts = s.labels.bincount(minlength=10)
        assert counts.min() >= 0.9 * len(s) / 10 and counts.max() <= 1.1 * len(s) / 10


def test_a_seed_moves_no_digit_to_another_split():
    other = rows(classification("digits", "test", image_size=8, size=100, seed=7))
    assert other <= rows(classification("digits", "test", image_size=8)) and len(other) == 100
    assert other != rows(classification("digits", "test", image_size=8, size=100, seed=8))


@pytest.mark.parametrize("side", [8, 32])
def test_images_are_normalised_float_and_of_the_size_asked(side):
    s = classification("digits", "train", image_size=side)
    assert s.images.shape == (1078, 3, side, side) and s.images.dtype == torch.float32
    assert s.labels.shape == (1078,) and s.labels.dtype == torch.int64 and len(s.classes) == 10
    assert abs(float(s.images.mean())) < 0.05 and abs(float(s.images.std()) - 1) < 0.15  # interpolation smooths
    assert torch.equal(s.images[:, 0], s.images[:, 2])


@pytest.mark.parametrize("size", [10, 55, 1000])
def test_a_subset_keeps_the_proportions(size):
    s = classification("digits", "train", size=size, image_size=8, seed=3)
    whole = classification("digits", "train", image_size=8)
    share = whole.labels.bincount() / len(whole) * size
    assert len(s) == size and len(rows(s)) == size
    assert (s.labels.bincount(minlength=10) - share).abs().max() <= 1.5


def test_noise_and_distortion_depend_on_seed_and_split_alone():
    options = {"distortion": 0.5, "noise": 0.3, "size": 200}
    a = classification("digits", "val", **options)
    torch.manual_seed(5)
    torch.rand(3)
    before = torch.get_rng_state()
    b = classification("digits", "val", **options)
    assert torch.equal(a.images, b.images) and torch.equal(torch.get_rng_state(), before)
    clean = classification("digits", "val", size=200)
    assert torch.equal(a.labels, clean.labels)
    assert not torch.equal(a.images, classification("digits", "val", seed=1, **options).images)
    noisy = classification("digits", "val", size=200, noise=0.3)
    assert float((noisy.images - clean.images).std()) == pytest.approx(0.3, rel=0.02)
    assert abs(float((noisy.images - clean.images).mean())) < 0.01


def test_distortion_moves_the_ink_and_leaves_the_background():
    clean = classification("digits", "val", image_size=8)
    moved = classification("digits", "val", image_size=8, distortion=1.0)
    assert moved.images.amin() == pytest.approx(float(clean.images.amin()), abs=1e-5)
    assert moved.images.amax() <= clean.images.amax() + 1e-5
    assert ((moved.images - clean.images).abs().amax((1, 2, 3)) > 0.1).all()


def test_halves_are_disjoint_and_whole():
    s = classification("digits", "train", image_size=8)
    a, b = s.halves(seed=1)
    assert abs(len(a) - len(b)) <= 1 and rows(a) | rows(b) == rows(s) and not rows(a) & rows(b)
    assert torch.equal(s.to("cpu").images, s.images) and len(s.take(slice(0, 5))) == 5


def test_cifar10_from_a_folder_and_from_the_environment(folder, monkeypatch):
    sets = {split: classification("cifar10", split, root=folder) for split in SPLITS}
    assert [len(s) for s in sets.values()] == [40, 10, 20] and not rows(sets["train"]) & rows(sets["val"])
    s = sets["test"]
    assert s.images.shape == (20, 3, 32, 32) and s.classes[3] == "cat" and s.labels.tolist() == [*range(10)] * 2
    assert s.images[7, :, 0, 0].tolist() == pytest.approx(
        [(7 / 255 - m) / d for m, d in zip((0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616), strict=True)], abs=1e-5
    )
    (folder.parent / "data").mkdir()
    folder.rename(folder.parent / "data" / "cifar10")
    monkeypatch.setenv("NASEDU_DATA", str(folder.parent / "data"))
    assert torch.equal(classification("cifar10", "test").images, s.images)


def test_real_cifar10(real_data):
    s = classification("cifar10", "train", size=1000)
    assert len(s) == 1000 and s.labels.bincount().tolist() == pytest.approx([100] * 10, abs=15)
    assert abs(float(s.images.mean())) < 0.1 and abs(float(s.images.std()) - 1) < 0.1


def test_what_is_missing_or_broken_is_said(folder, tmp_path, monkeypatch):
    monkeypatch.delenv("NASEDU_DATA", raising=False)
    with pytest.raises(DataError, match="give a root"):
        classification("cifar10", "train")
    with pytest.raises(DataError, match="cifar10_test_1k_uint8"):
        classification("cifar10", "test", root=tmp_path / "nowhere")
    path = folder / "cifar10_train_5k_uint8.npz"
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(DataError, match="cannot be read"):
        classification("cifar10", "train", root=folder)
    np.savez(path, x=np.zeros((4, 3, 32, 32), np.uint8), y=np.zeros(4, int))
    with pytest.raises(DataError, match=r"\(N, 32, 32, 3\)"):
        classification("cifar10", "train", root=folder)
    np.savez(path, x=np.array([{}], dtype=object), y=np.zeros(1, int))  # a pickle is not opened
    with pytest.raises(DataError, match="cannot be read"):
        classification("cifar10", "train", root=folder)


def test_bad_parameters():
    with pytest.raises(UnknownName, match="did you mean 'digits'"):
        classification("digit", "train")
    with pytest.raises(UnknownName, match="split"):
        classification("digits", "training")
    for options in ({"image_size": 4}, {"size": 0}, {"size": 5000}, {"noise": -1}, {"distortion": 2}, {"root": "x"}):
        with pytest.raises(ParameterError):
            classification("digits", "train", **options)
