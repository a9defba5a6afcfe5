"""Folders of images by class: labels and splits, what is cut out and how it is scaled, and what cannot be read."""

from __future__ import annotations

import itertools
import os
import pickle
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from nasedu.classification import accuracy, published_augment
from nasedu.classification.augment import crop_and_flip
from nasedu.data import classification, folder, splits
from nasedu.data.image_set import Streamed
from nasedu.data.notes import Notes
from nasedu.errors import DataError, ParameterError
from nasedu.storage import identity
from nasedu.task import Classification

CLASSES = ["n01", "n02", "n10"]
MEAN, STD = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])


def level(part: str, label: int, i: int) -> int:
    """The grey level of an image, its own among all."""
    return {"train": 0, "val": 100, "test": 200}[part] + 20 * label + i


def write(root, part: str, each: int):
    for label, name in enumerate(CLASSES):
        (root / part / name).mkdir(parents=True)
        for i in range(each):
            Image.new("RGB", (30, 20), (level(part, label, i),) * 3).save(root / part / name / f"{i}.png")


@pytest.fixture
def root(tmp_path):
    write(tmp_path, "train", 10)
    write(tmp_path, "val", 4)
    return tmp_path


def levels(images) -> list[int]:
    """The grey levels, back from the normalised pixels."""
    pixels = (images.images.mean((2, 3)) * STD + MEAN) * 255
    assert torch.allclose(pixels, pixels[:, :1].expand(-1, 3), atol=1e-3)
    return pixels[:, 0].round().int().tolist()


def test_labels_are_the_class_folders_in_order(root):
    s = classification("folder", "test", root=root, image_size=16)
    assert s.classes == CLASSES and s.images.shape == (12, 3, 16, 16) and s.images.dtype == torch.float32
    expected = [(label, level("val", label, i)) for label, i in itertools.product(range(3), range(4))]
    assert list(zip(s.labels.tolist(), levels(s), strict=True)) == expected


def test_without_a_test_folder_val_is_the_test_and_a_fifth_of_train_is_held_out(root):
    parts = {part: set(levels(classification("folder", part, root=root))) for part in ("train", "val", "test")}
    assert {part: len(found) for part, found in parts.items()} == {"train": 24, "val": 6, "test": 12}
    assert parts["train"] | parts["val"] == {level("train", c, i) for c in range(3) for i in range(10)}


def test_with_a_test_folder_every_part_is_its_own(root):
    write(root, "test", 2)
    for part, each in (("train", 10), ("val", 4), ("test", 2)):
        found = levels(classification("folder", part, root=root))
        assert sorted(found) == sorted(level(part, c, i) for c in range(3) for i in range(each))


def test_the_middle_is_cut_out_of_the_upright_image(tmp_path):
    """A wide image whose middle square is white: 224 of 256 of its height, whatever side is asked for."""
    for part in ("train", "val"):
        (tmp_path / part / "a").mkdir(parents=True)
    wide = np.zeros((256, 512, 3), np.uint8)
    wide[:, 128:384] = 255
    Image.fromarray(wide).save(tmp_path / "val" / "a" / "0.png")
    turned = Image.fromarray(wide.transpose(1, 0, 2))  # stored on its side, and said so
    exif = Image.Exif()
    exif[0x0112] = 6
    turned.save(tmp_path / "val" / "a" / "1.png", exif=exif)
    white = (1 - MEAN) / STD
    for side in (32, 224):
        s = classification("folder", "test", root=tmp_path, image_size=side)
        assert torch.allclose(s.images, white[:, None, None].expand_as(s.images[0]), atol=0.02)


def test_only_as_many_images_as_are_asked_for_are_opened(root):
    for path in sorted((root / "train").glob("*/*.png"))[:29]:
        path.write_bytes(b"no image")
    with pytest.warns(UserWarning, match="of 24 files are left out; first: .*n0"):
        assert len(classification("folder", "train", root=root)) == 1
    half = classification("folder", "test", root=root, size=6, seed=1)
    assert half.labels.bincount().tolist() == [2, 2, 2]
    with pytest.raises(DataError, match=r"none of 6 images can be read; first: .*cannot be read"):
        classification("folder", "val", root=root)


def test_an_image_that_is_skipped_takes_its_label_along(root):
    (root / "val" / "n01" / "2.png").write_bytes(b"no image")
    with pytest.warns(UserWarning, match="1 of 12 files are left out"):
        s = classification("folder", "test", root=root)
    assert s.labels.tolist() == [0] * 3 + [1] * 4 + [2] * 4 and levels(s)[2:4] == [103, 120]


def test_postscript_named_jpg_is_not_handed_to_another_program(root):
    (root / "val" / "n01" / "0.png").unlink()
    (root / "val" / "n01" / "0.jpg").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\nshowpage\n")
    with pytest.warns(UserWarning, match="1 of 12 files are left out; first: .*0.jpg"):
        assert len(classification("folder", "test", root=root)) == 11


def test_what_is_missing_is_said(root):
    with pytest.raises(DataError, match="give root="):
        classification("folder", "train")
    with pytest.raises(DataError, match="nowhere/train/CLASS"):
        classification("folder", "train", root=root / "nowhere")
    (root / "val" / "n03").mkdir()
    with pytest.raises(DataError, match="has the class folder 'n03', which train has not"):
        classification("folder", "test", root=root)
    with pytest.raises(ParameterError, match="24"):
        classification("folder", "train", root=root, size=25)


@pytest.fixture
def small_memory(monkeypatch):
    """Room for ten images of 32 px."""
    monkeypatch.setattr("nasedu.data.image_set.MEMORY", 10 * 12 * 32**2)


def test_what_memory_does_not_hold_is_streamed_and_is_the_same(root, monkeypatch, small_memory):
    Path(folder.listed(root, "train", Notes())[0][2][0]).write_bytes(b"no image")
    with pytest.warns(UserWarning, match="1 of 24 files are left out"):
        streamed = classification("folder", "train", root=root)
    monkeypatch.undo()
    with pytest.warns(UserWarning, match="1 of 24 files are left out"):
        held = classification("folder", "train", root=root)
    assert isinstance(streamed.images, Streamed) and len(streamed) == 23 and streamed.report().equals(held.report())
    assert streamed.images.shape == held.images.shape and torch.equal(streamed.images[3:9], held.images[3:9])
    assert torch.equal(streamed.labels, held.labels)
    for a, b in zip(streamed.halves(1), held.halves(1), strict=True):
        assert torch.equal(a.take(torch.tensor([4, 0])).images[:], b.images[[4, 0]]) and torch.equal(a.labels, b.labels)
    augment, tasks = crop_and_flip(2), [Classification(s, val=s, batch_size=4) for s in (streamed, held)]
    tasks = [replace(task, augment=augment) for task in tasks]
    for split, count in (("train", 5), ("weights", 2), ("val", 6)):
        batches = [list(task.batches(split, epoch=1)) for task in tasks]
        assert [len(part) for part in batches] == [count] * 2
        for (x, y), (a, b) in zip(*batches, strict=True):
            assert torch.equal(x, a) and torch.equal(y, b)
    model = nn.Sequential(nn.Flatten(), nn.Linear(3072, 3))
    assert accuracy(model, streamed, batch_size=5) == accuracy(model, held)
    assert torch.equal(pickle.loads(pickle.dumps(streamed.to("cpu"))).images[-2:], held.images[-2:])


def test_a_stored_state_notices_that_a_streamed_file_has_changed(root, small_memory):
    found = [identity(classification("folder", "train", root=root)) for _ in range(2)]
    path = max((root / "train" / "n01").glob("*.png"))
    os.utime(path, (1, 1))
    found.append(identity(classification("folder", "train", root=root)))
    found.append(identity(classification("folder", "train", root=root, image_size=33)))
    assert found[0] == found[1] and len(set(found)) == 3


def test_of_what_is_streamed_a_fault_that_shows_late_is_told(root, truncate, small_memory):
    noise = np.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=np.uint8)
    for path in (root / "val").glob("*/0.png"):
        Image.fromarray(noise).save(path)
        truncate(path)
    s = classification("folder", "test", root=root)
    with pytest.raises(DataError, match=r"0\.png: the image cannot be read .* its header was sound"):
        list(s.parts(4))
    with pytest.raises(ParameterError, match="ask for size=10 or fewer"):
        classification("folder", "test", root=root, noise=0.1)


PEAKS = """
import re, resource, sys
from pathlib import Path
from nasedu.data import classification, image_set
def peak():
    status = Path("/proc/self/status")
    if status.exists():  # there ru_maxrss begins with what the parent process had
        return int(re.search(r"VmHWM:\\s+(\\d+)", status.read_text())[1]) // 2**10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // (2**20 if sys.platform == "darwin" else 2**10)
def read(side):
    for x, y in classification("folder", "train", root=sys.argv[1], image_size=side).parts(4):
        assert len(x) == len(y)
    return peak()
image_set.MEMORY = 20 << 20
before, streamed = read(16), read(512)
image_set.MEMORY = 1 << 40
print(streamed - before, read(512) - before)
"""


def test_a_set_larger_than_its_limit_needs_no_more_memory_than_its_batches(tmp_path):
    """134 images of 512 px are 402 MiB as numbers; the limit is a twentieth of that."""
    pytest.importorskip("resource")
    for i in range(192):
        path = tmp_path / "ab"[i % 2] / f"{i}.bmp"
        path.parent.mkdir(exist_ok=True)
        Image.new("RGB", (40, 40), (i, 9, 9)).save(path)
    done = subprocess.run([sys.executable, "-c", PEAKS, str(tmp_path)], capture_output=True, text=True, check=True)
    streamed, held = map(int, done.stdout.split())
    assert streamed < 200 and held > 380, (streamed, held)


def test_one_level_of_class_folders_is_shared_out_once_and_for_all(tmp_path):
    for name in ("10", "9", "007", ".ipynb_checkpoints"):
        (tmp_path / name).mkdir()
        for i in range(10):
            Image.new("RGB", (8, 8), (20 * i + len(name),) * 3).save(tmp_path / name / f"{i}.{'JPEG' if i else 'BMP'}")
    for root in (tmp_path, tmp_path / "moved"):
        sets = [
            classification("folder", part, root=root, seed=seed)
            for part, seed in (("train", 0), ("val", 1), ("test", 2))
        ]
        assert [len(s) for s in sets] == [21, 3, 6] and sets[0].classes == ["007", "10", "9"]
        assert sum(torch.stack([s.labels.bincount(minlength=3) for s in sets])).tolist() == [10, 10, 10]
        found = [folder.listed(root, part, Notes())[0] for part in splits.NAMES]
        files = [{path.split("moved/")[-1] for path, _ in items} for items in found]
        assert not files[0] & files[1] and not files[0] & files[2] and not files[1] & files[2]
        if root == tmp_path:
            (tmp_path / "moved").mkdir()
            for name in sets[0].classes:
                (tmp_path / name).rename(tmp_path / "moved" / name)


def test_imagenet_is_read_where_its_archive_puts_it(root, tmp_path, monkeypatch):
    expected = classification("folder", "val", root=root)
    inner = tmp_path / "data" / "imagenet" / "ILSVRC" / "Data" / "CLS-LOC"
    inner.mkdir(parents=True)
    for part in ("train", "val"):
        (root / part).rename(inner / part)
    monkeypatch.setenv("NASEDU_DATA", str(tmp_path / "data"))
    for place in (None, tmp_path / "data" / "imagenet", inner):
        found = classification("imagenet", "val", root=place)
        assert found.name == "imagenet" and torch.equal(found.images, expected.images)
    assert published_augment(found)(found.images, torch.Generator()).shape == found.images.shape


def test_folders_by_other_names_and_with_fewer_classes_are_read(root):
    (root / "val").rename(root / "valid")
    for path in (root / "valid" / "n02").glob("*"):
        path.unlink()
    (root / "valid" / "n02").rmdir()
    s = classification("folder", "test", root=root)
    assert s.labels.tolist() == [0] * 4 + [2] * 4 and s.classes == CLASSES
    for path in (root / "valid").glob("*/*"):
        path.unlink()
    with pytest.raises(DataError, match="no image is left for this split"):
        classification("folder", "test", root=root)


def test_flat_folders_are_no_classes(tmp_path):
    for part in ("train", "val"):
        (tmp_path / part).mkdir()
        Image.new("RGB", (8, 8)).save(tmp_path / part / "0.png")
    with pytest.raises(DataError, match=r"needs .*train/CLASS/\*\.jpg"):
        classification("folder", "train", root=tmp_path)


def test_all_that_is_left_out_is_counted_by_kind(root):
    assert classification("folder", "test", root=root).report().empty
    for name in ("n01/0.png", "n02/1.png"):
        (root / "val" / name).write_bytes(b"no image")
    for name in ("n01/notes.txt", "n10/a.gif", "n10/.DS_Store"):
        (root / "val" / name).write_bytes(b"")
    os.mkfifo(root / "val" / "n10" / "pipe.jpg")
    with pytest.warns(UserWarning, match="5 of 15 files are left out"):
        s = classification("folder", "test", root=root)
    report = s.report()
    assert list(report.columns) == ["kind", "count", "first"] and len(s) == 10
    assert dict(zip(report["kind"], report["count"], strict=True)) == {
        "left out: image": 3,
        "left out: file whose name is none of an image": 2,
    }
    assert "n01/0.png" in report["first"][0] and "n01/notes.txt" in report["first"][1]
    assert s.take(slice(0, 2)).report().equals(report)
