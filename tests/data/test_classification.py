"""Images to classify: splits that no seed moves, proportions, normalisation, distortions, and broken files."""

from __future__ import annotations

import hashlib
import io
import os
import pickle
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from torchvision.datasets import CIFAR10, CIFAR100

from nasedu.data import classification
from nasedu.errors import DataError, ParameterError, UnknownName

SPLITS = ("train", "val", "test")


HUGE = 10**12
PLAIN = {"batch_label": "training batch", "filenames": ["a.png"]}  # what else the archives hold


class Evil:
    """What a pickle may ask for: it makes a folder."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


@pytest.fixture
def official(tmp_path, monkeypatch):
    """`official(name, protocol)`: an archive's layout in small, every image of one level, and its hashes for ours."""

    def write(name: str, protocol: int = 2, **changes) -> Path:
        kind, fine = {"cifar10": (CIFAR10, 10), "cifar100": (CIFAR100, 100)}[name]
        folder, key = tmp_path / "set" / kind.base_folder, "labels" if fine == 10 else "fine_labels"
        folder.mkdir(parents=True)

        def put(file: str, held: object) -> str:
            (folder / file).write_bytes(pickle.dumps(held, protocol=protocol))
            return hashlib.md5((folder / file).read_bytes()).hexdigest()

        def part(first: int, n: int) -> dict:
            rows = np.arange(first, first + n, dtype=np.uint8)[:, None] + np.zeros((1, 3072), np.uint8)
            rows[:, 0] = 255  # of the red channel, the pixel at the upper left
            return PLAIN | {"data": rows, key: [*range(n)], "coarse_labels": [0] * n} | changes

        lists = kind.train_list, kind.test_list
        sums = [[[file, put(file, part(20 * i, 20))] for i, (file, _) in enumerate(files)] for files in lists]
        sums[1] = [[file, put(file, part(200, 10))] for file, _ in kind.test_list]
        names = [f"class {i}" for i in range(20 if fine == 10 else 100)]
        meta = kind.meta | {"md5": put(kind.meta["filename"], {kind.meta["key"]: names})}
        for attribute, value in zip(("train_list", "test_list", "meta"), (*sums, meta), strict=True):
            monkeypatch.setattr(kind, attribute, value)
        return tmp_path / "set"

    return write


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


@pytest.mark.parametrize("protocol", [2, 4])  # as the archives have it, and as Python writes today
@pytest.mark.parametrize(("name", "parts"), [("cifar10", 5), ("cifar100", 1)])
def test_the_official_archives_are_read(name, parts, protocol, official, monkeypatch):
    root = official(name, protocol)
    sets = {split: classification(name, split, root=root) for split in SPLITS}
    n = 20 * parts
    assert [len(s) for s in sets.values()] == [n - n // 5, n // 5, 10]
    assert len(rows(sets["train"]) | rows(sets["val"])) == n and sets["train"].classes[3] == "class 3"
    test = sets["test"]
    assert test.labels.tolist() == [*range(10)]
    pixels = test.images * torch.tensor(test.std).view(3, 1, 1) + torch.tensor(test.mean).view(3, 1, 1)
    assert (pixels[:, :, 5, 5] * 255).round().tolist() == [[200 + i] * 3 for i in range(10)]
    assert (pixels[:, :, 0, 0] * 255).round().tolist() == [[255, 200 + i, 200 + i] for i in range(10)]
    for place in (root / {"cifar10": "cifar-10-batches-py", "cifar100": "cifar-100-python"}[name], root.parent):
        monkeypatch.setenv("NASEDU_DATA", str(place))
        if place == root.parent:
            root.rename(root.parent / name)
        assert torch.equal(classification(name, "test").images, test.images)


def test_papers_divide_by_other_deviations(official):
    root = official("cifar100")
    ours, theirs = (classification("cifar100", "test", root=root, normalise=n) for n in ("measured", "published"))
    assert ours.std == (0.2673, 0.2564, 0.2762) and theirs.std == (0.2023, 0.1994, 0.2010)
    expected = (200 / 255 - np.array((0.4914, 0.4822, 0.4465))) / np.array((0.2023, 0.1994, 0.2010))
    assert theirs.images[0, :, 9, 9].tolist() == pytest.approx(expected.tolist(), abs=1e-6)
    with pytest.raises(UnknownName, match="did you mean 'published'"):
        classification("cifar100", "test", root=root, normalise="publish")
    with pytest.raises(UnknownName, match="option of digits"):
        classification("digits", "test", normalise="published")


def test_an_archive_that_is_not_the_official_one_is_not_opened(official, tmp_path):
    root = official("cifar10")
    file = root / "cifar-10-batches-py" / "data_batch_3"
    file.write_bytes(pickle.dumps(Evil(tmp_path / "made")))
    with pytest.raises(DataError, match="data_batch_3 is not the official file"):
        classification("cifar10", "train", root=root)
    file.unlink()
    os.mkfifo(file)
    with pytest.raises(DataError, match="data_batch_3 is missing"):
        classification("cifar10", "train", root=root)
    assert len(classification("cifar10", "test", root=root)) == 10 and not (tmp_path / "made").exists()


def test_even_with_the_right_hash_nothing_is_run(official, tmp_path):
    root = official("cifar10", data=Evil(tmp_path / "made"))
    with pytest.raises(DataError, match=r"asks for (posix|nt)\.mkdir"):
        classification("cifar10", "test", root=root)
    assert not (tmp_path / "made").exists()


@pytest.mark.parametrize(
    "changes",
    [{"data": 3}, {"data": np.zeros((10, 3072))}, {"labels": [0] * 9}, {"labels": [[0]] * 10}, {"labels": [99] * 10}],
)
def test_what_an_archive_holds_is_looked_at(changes, official):
    with pytest.raises(DataError, match="must hold `data`, uint8"):
        classification("cifar10", "test", root=official("cifar10", **changes))


def header(shape: tuple, dtype: str = "|u1") -> bytes:
    stream = io.BytesIO()
    np.lib.format.write_array_header_1_0(stream, {"shape": shape, "fortran_order": False, "descr": dtype})
    return stream.getvalue()


LYING = {
    "10^12 images": header((HUGE, 32, 32, 3)),
    "10^400 images": header((10**400, 32, 32, 3)),
    "negative": header((-1, 32, 32, 3)),
    "numbers of a gigabyte": header((1,), f"|V{2**30}"),
    "objects": header((1,), "|O") + pickle.dumps([1]),
    "nothing": b"",
    "half a header": header((2, 32, 32, 3))[:20],
    "too few": header((2, 32, 32, 3)) + bytes(3072),
    "brackets": b"\x93NUMPY\x01\x00" + (5000).to_bytes(2, "little") + b"(" * 5000,
    "no array": b"PK, or what you like",
}


@pytest.mark.parametrize("member", LYING.values(), ids=LYING)
def test_a_numpy_file_that_lies_costs_a_sentence_and_no_memory(member, tmp_path):
    path = tmp_path / "cifar10_test_1k_uint8.npz"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x.npy", member)
        archive.writestr("y.npy", header((2,)) + bytes(2))
    tracemalloc.start()
    try:
        with pytest.raises(DataError, match="cannot be read from"):
            classification("cifar10", "test", root=tmp_path)
        assert tracemalloc.get_traced_memory()[1] < 2e7
    finally:
        tracemalloc.stop()


def test_a_zip_whose_index_lies_is_refused(tmp_path):
    path, said = tmp_path / "cifar10_test_1k_uint8.npz", header((600_000, 32, 32, 3))
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x.npy", said)
        archive.writestr("y.npy", header((2,)) + bytes(2))
        archive.getinfo("x.npy").file_size = len(said) + 600_000 * 3072  # as the index at the end will say
    tracemalloc.start()
    with pytest.raises(DataError, match="claims the shape"):
        classification("cifar10", "test", root=tmp_path)
    assert tracemalloc.get_traced_memory()[1] < 2e7
    tracemalloc.stop()


@pytest.mark.parametrize(
    "options",
    [
        *(
            {name: value}
            for name in ("distortion", "noise")
            for value in (float("nan"), float("inf"), -1, True, "1", None)
        ),
        *({"image_size": value} for value in (True, 2.5, float("nan"), 7, 513, "32", None)),
        *({"size": value} for value in (True, 2.5, -3, 1079, "3")),
        *({"seed": value} for value in (True, 2.5, -1, None)),
        {"root": 5},
    ],
)
def test_each_parameter_is_checked_with_its_name(options):
    with pytest.raises(ParameterError, match=next(iter(options))) as told:
        classification("digits", "train", **options)
    assert len(str(told.value)) < 300
