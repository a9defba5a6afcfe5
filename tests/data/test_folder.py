"""Folders of images by class: labels and splits, what is cut out and how it is scaled, and what cannot be read."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from PIL import Image

from nasedu.data import classification
from nasedu.errors import DataError, ParameterError

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
    with pytest.warns(UserWarning, match="of 24 images are skipped; first: .*n0"):
        assert len(classification("folder", "train", root=root)) == 1
    half = classification("folder", "test", root=root, size=6, seed=1)
    assert half.labels.bincount().tolist() == [2, 2, 2]
    with pytest.raises(DataError, match=r"none of 6 images can be read; first: .*cannot be read"):
        classification("folder", "val", root=root)


def test_an_image_that_is_skipped_takes_its_label_along(root):
    (root / "val" / "n01" / "2.png").write_bytes(b"no image")
    with pytest.warns(UserWarning, match="1 of 12 images are skipped"):
        s = classification("folder", "test", root=root)
    assert s.labels.tolist() == [0] * 3 + [1] * 4 + [2] * 4 and levels(s)[2:4] == [103, 120]


def test_postscript_named_jpg_is_not_handed_to_another_program(root):
    (root / "val" / "n01" / "0.png").unlink()
    (root / "val" / "n01" / "0.jpg").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\nshowpage\n")
    with pytest.warns(UserWarning, match="1 of 12 images are skipped; first: .*0.jpg"):
        assert len(classification("folder", "test", root=root)) == 11


def test_what_is_missing_is_said(root):
    with pytest.raises(DataError, match="give root="):
        classification("folder", "train")
    with pytest.raises(DataError, match="nowhere/train/CLASS"):
        classification("folder", "train", root=root / "nowhere")
    (root / "val" / "n03").mkdir()
    with pytest.raises(DataError, match="other class folders"):
        classification("folder", "test", root=root)
    with pytest.raises(ParameterError, match="24"):
        classification("folder", "train", root=root, size=25)


def test_more_images_than_memory_holds_are_refused(root, monkeypatch):
    monkeypatch.setattr("nasedu.data.folder.MEMORY", 10 * 12 * 32**2)
    with pytest.raises(ParameterError, match="ask for size=10 or fewer"):
        classification("folder", "train", root=root)
    assert len(classification("folder", "train", root=root, size=10)) == 10
