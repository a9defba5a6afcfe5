"""COCO instances files: which file and folder serve a split, what is read, skipped and refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from nasedu.data import dataset, detection
from nasedu.errors import DataError, UnknownName
from nasedu.storage import identity


def read(root, split="train", **options):
    return detection("coco", split, root=root, image_size=120, **options)


def edit(root, name, change) -> None:
    path = root / "annotations" / f"instances_{name}.json"
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def test_an_identity_knows_every_pixel_of_its_files(coco_folder, monkeypatch):
    """A bitmap whose middle changes keeps its size and both ends, at which alone was once looked."""
    root = coco_folder("train2017", images=4)
    path = root / "annotations" / "instances_train2017.json"
    path.write_text(path.read_text().replace(".jpg", ".bmp"))
    for image in (root / "train2017").iterdir():
        noise = np.random.default_rng(0).integers(0, 256, (400, 600, 3), dtype=np.uint8)
        Image.fromarray(noise).save(image.with_suffix(".bmp"))
    before = identity(read(root))
    assert identity(read(root)) == before
    file = Path(read(root).samples[0].file)
    with Image.open(file) as opened:
        pixels = np.array(opened)
    pixels[200:220] = 0
    Image.fromarray(pixels).save(file)
    assert identity(read(root)) != before
    monkeypatch.setattr(dataset.hashlib, "file_digest", None)
    assert identity(read(root)), "a second time, nothing is read that has not changed"


def files(dataset) -> list[str]:
    return [dataset.samples[i].file.rsplit("/", 1)[1] for i in range(len(dataset))]


def test_official_layout(coco_folder):
    root = coco_folder("train2017", images=6)
    coco_folder("val2017", images=3, start=100)
    coco_folder("unlabeled2017", images=1, start=200)
    train, val, test = (read(root, split) for split in ("train", "val", "test"))
    assert (len(train), len(val)) == (6, 3)
    assert files(test) == files(val), "COCO publishes no test annotations"
    assert "train2017/001.jpg" in train.samples[0].file
    assert train[0][1]["image_id"] == 1
    assert train.classes == ["dog", "cat"], "ascending category ids: 3 is dog, 7 is cat"
    assert train[0][1]["labels"].tolist() == [1, 0]
    assert train[0][1]["boxes"].tolist() == [[20, 30, 80, 70], [0, 20, 40, 60]]
    assert train.skipped == []


def test_a_single_file_is_divided_once_and_for_all(coco_folder):
    root = coco_folder("train2017", images=30)
    parts = {split: files(read(root, split)) for split in ("train", "val", "test")}
    assert [len(part) for part in parts.values()] == [21, 3, 6]
    assert len(set().union(*parts.values())) == 30
    assert files(read(root, "test", seed=9)) == parts["test"]
    edit(root, "train2017", lambda content: content["images"].reverse())
    assert sorted(files(read(root, "test"))) == sorted(parts["test"]), "the file's order does not matter"


def test_without_a_validation_file_a_fifth_of_train_is_held_out(coco_folder):
    root = coco_folder("train", images=20)
    coco_folder("test", images=4, start=50)
    train, val = files(read(root)), files(read(root, "val"))
    assert (len(train), len(val)) == (16, 4)
    assert not set(train) & set(val)
    assert len(read(root, "test")) == 4


def test_an_image_in_two_files_is_not_trained_on(coco_folder):
    root = coco_folder("train", images=6, folder="images")
    coco_folder("val", images=2, start=5, folder="images")
    assert files(read(root)) == ["001.jpg", "002.jpg", "003.jpg", "004.jpg"]
    assert files(read(root, "val")) == ["005.jpg", "006.jpg"]


@pytest.mark.parametrize("folder", ["train2017", "images", "images/train2017", "."])
def test_places_of_the_images(coco_folder, folder):
    assert len(read(coco_folder("train2017", images=10, folder=folder))) == 7


def test_crowd_is_ignored(coco_folder):
    crowd = [{"image_id": i, "category_id": 3, "bbox": [1, 1, 30, 30], "iscrowd": i % 2} for i in range(1, 11)]
    dataset = read(coco_folder("train", annotations=crowd))
    for sample in dataset.samples:
        assert sample.ignore.tolist() == [bool(sample.image_id % 2)]


def test_classes_can_be_restricted(coco_folder):
    root = coco_folder("train")
    dataset = read(root, classes=["cat"])
    assert dataset.classes == ["cat"]
    assert dataset[0][1]["boxes"].tolist() == [[20, 30, 80, 70]]
    with pytest.raises(UnknownName, match="did you mean 'cat'"):
        read(root, classes=["cta"])


def test_a_missing_image_is_refused(coco_folder):
    root = coco_folder("train", images=6)
    coco_folder("val", images=2, start=50)
    (root / "train" / "002.jpg").unlink()
    with pytest.raises(DataError, match=r"lists 1 images that are not in .*train, first 002\.jpg"):
        read(root)


def test_truncated_images_are_skipped_with_one_warning(coco_folder, truncate):
    root = coco_folder("train", images=6)
    coco_folder("val", images=2, start=50)
    truncate(root / "train" / "002.jpg")
    truncate(root / "train" / "004.jpg")
    with pytest.warns(UserWarning, match=r"2 findings.*002\.jpg: the image cannot be read") as caught:
        dataset = read(root)
    assert len(caught) == 1
    assert files(dataset) == ["001.jpg", "003.jpg", "005.jpg", "006.jpg"]
    assert [sample.image_id for sample in dataset.samples] == [1, 3, 5, 6]
    assert "004.jpg: the image cannot be read" in dataset.skipped[1]


def test_broken_boxes_are_skipped(coco_folder):
    broken = [
        {"image_id": 1, "category_id": 3, "bbox": [10, 10, 0.5, 20]},
        {"image_id": 1, "category_id": 3, "bbox": [59.5, 10, 20, 20]},
        {"image_id": 1, "category_id": 3, "bbox": [5, 5, 20]},
        {"image_id": 1, "category_id": 3},
        {"image_id": 1, "category_id": 99, "bbox": [5, 5, 20, 20]},
        {"image_id": 1, "category_id": 3, "bbox": [5, 5, 20, 20]},
    ]
    root = coco_folder("train", images=2, annotations=broken)
    coco_folder("val", images=1, start=50)
    with pytest.warns(UserWarning, match="5 findings"):
        dataset = read(root)
    assert dataset[0][1]["boxes"].tolist() == [[10, 30, 50, 70]]
    assert dataset[1][1]["boxes"].shape == (0, 4)


def test_missing_folders_and_files_are_refused(coco_folder, tmp_path):
    with pytest.raises(DataError, match=r"no folder .*instances_train2017\.json"):
        read(tmp_path / "nowhere")
    root = coco_folder("train2017")
    shutil.rmtree(root / "train2017")
    with pytest.raises(DataError, match=r"none of its 10 images is in .*train2017"):
        read(root)
    shutil.rmtree(root / "annotations")
    with pytest.raises(DataError, match=r"no COCO instances file in .*annotations: expected .*instances_train2017"):
        read(root)


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"images": [{"id": 1}]}', '{"images": [{}], "annotations": [{}]}'])
def test_a_file_that_is_no_instances_file_is_refused(coco_folder, text):
    root = coco_folder("train")
    (root / "annotations" / "instances_train.json").write_text(text)
    with pytest.raises(DataError, match=r"instances_train\.json"):
        read(root)


def test_files_whose_categories_differ_are_refused(coco_folder):
    root = coco_folder("train")
    coco_folder("val", start=50)
    edit(root, "val", lambda content: content["categories"].append({"id": 1, "name": "ant"}))
    with pytest.raises(DataError, match="list different categories"):
        read(root)


def test_files_without_a_training_file_are_refused(coco_folder):
    root = coco_folder("val")
    coco_folder("test", start=50)
    with pytest.raises(DataError, match=r"has no instances_train\*\.json"):
        read(root)


def test_coco128(real_data):
    """128 photographs with 939 annotations of 80 classes, 10 of them crowd."""
    sets = {split: detection("coco", split, root=real_data / "coco128") for split in ("train", "val", "test")}
    assert [len(ds) for ds in sets.values()] == [90, 13, 25]
    samples = [sample for ds in sets.values() for sample in ds.samples]
    assert len({sample.image_id for sample in samples}) == 128
    assert sum(len(sample.labels) for sample in samples) == 939
    assert sum(int(sample.ignore.sum()) for sample in samples) == 10
    assert all(len(ds.classes) == 80 and ds.skipped == [] for ds in sets.values())
    assert torch.cat([sample.boxes for sample in samples]).max() <= 128
