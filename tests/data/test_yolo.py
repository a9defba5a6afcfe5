"""YOLO text labels: where images, labels and names are found, what a line says, what is told and refused."""

from __future__ import annotations

import os
import warnings

import pytest
import torch
from PIL import Image

from nasedu.data import detection, export, guess
from nasedu.errors import DataError, UnknownName

LINES = "1 0.5 0.5 0.5 0.25\n0 0.25 0.5 0.5 1\n"


def put(root, image: str, label: str | None, text: str = LINES) -> None:
    """A 60 x 40 image, and its labels."""
    for path in filter(None, (image, label)):
        (root / path).parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (60, 40)).save(root / image)
    if label:
        (root / label).write_text(text)


def whole(root, config: str | None = "names: [cat, dog]\n", images="images/{}", labels="labels/{}", counts=(3, 1, 1)):
    for split, count in zip(("train", "val", "test"), counts, strict=True):
        for i in range(count):
            put(root, f"{images.format(split)}/{split}{i}.jpg", f"{labels.format(split)}/{split}{i}.txt")
    if config is not None:
        (root / "data.yaml").write_text(config)
    return root


def quietly(root, split="train", **options):
    with warnings.catch_warnings(action="ignore"):
        return detection("yolo", split, root=root, image_size=120, **options)


def kinds(data) -> dict[str, int]:
    return dict(data.report()[["kind", "count"]].itertuples(index=False))


def names(data) -> list[str]:
    return [os.path.basename(sample.file).split(".")[0] for sample in data.samples]


SPLITS = "train: images/train\nval: images/val\ntest: images/test\n"


@pytest.mark.parametrize(
    "config",
    [
        "names: [cat, dog]\n",
        SPLITS + "names: {0: cat, 1: dog}\n",
        "path: .\n" + SPLITS + "names:\n  1: dog\n  0: cat\nnc: 2\n",
        "path: /somewhere/else\n" + SPLITS + "names: [cat, dog]\n",
        "path: images\ntrain: train\nval: [val]\ntest: images/test\nnames: [cat, dog]\n",
        "train: ../images/train\nval: ./images/val\ntest: ../images/test\nnames: [cat, dog]\n",
        "﻿names: [cat, dog]\ntrain: images/train/\nvalid: images/val\ntest: images/test\n",
    ],
)
def test_splits_and_names_of_a_configuration(tmp_path, config):
    sets = {split: quietly(whole(tmp_path, config), split) for split in ("train", "val", "test")}
    assert {split: len(data) for split, data in sets.items()} == {"train": 3, "val": 1, "test": 1}
    data = sets["train"]
    assert data.classes == ["cat", "dog"] and data[0][1]["labels"].tolist() == [1, 0]
    assert data[0][1]["boxes"].tolist() == [[30, 50, 90, 70], [0, 20, 60, 100]]
    told = (
        {"repaired: name with ../"}
        if "../" in config
        else {"noted: path of another place"}
        if "/some" in config
        else set()
    )
    assert set(kinds(data)) == told and guess(tmp_path) == "yolo"


@pytest.mark.parametrize(
    ("images", "labels"),
    [("images/{}", "labels/{}"), ("{}/images", "{}/labels"), ("{}", "{}"), ("images/{}2017", "labels/{}2017")],
)
@pytest.mark.parametrize("file", ["classes.txt", "obj.names", "labels/classes.txt", "a.names"])
def test_folders_without_a_configuration(tmp_path, images, labels, file):
    whole(tmp_path, None, images, labels)
    (tmp_path / file).parent.mkdir(exist_ok=True)
    (tmp_path / file).write_text("cat\ndog\n\n")
    for split, count in zip(("train", "val", "test"), (3, 1, 1), strict=True):
        data = quietly(tmp_path, split)
        assert len(data) == count and data.classes == ["cat", "dog"] and kinds(data) == {}


@pytest.mark.parametrize(("images", "labels"), [("images", "labels"), (".", "."), ("obj_train_data", "obj_train_data")])
def test_one_folder_is_divided(tmp_path, images, labels):
    for i in range(10):
        put(tmp_path, f"{images}/{i}.jpg", f"{labels}/{i}.txt")
    (tmp_path / "classes.txt").write_text("cat\ndog\n")
    sets = [quietly(tmp_path, split) for split in ("train", "val", "test")]
    assert [len(data) for data in sets] == [7, 1, 2] and len({name for data in sets for name in names(data)}) == 10
    assert all(kinds(data) == {} for data in sets)


@pytest.mark.parametrize("line", ["images/train/{}.jpg", "./images/train/{}.jpg", "data/images/train/{}.jpg", "{}.JPG"])
def test_lists_of_images(tmp_path, line):
    whole(tmp_path, "train: images/train/list.txt\nval: images/val\nnames: [cat, dog]\n")
    (tmp_path / "images" / "train" / "list.txt").write_text(
        "".join(line.format(f"train{i}") + "\r\n" for i in (2, 0, 2))
    )
    data = quietly(tmp_path)
    assert names(data) == ["train2", "train0"] and kinds(data) == {"left out: labels without an image": 1}


def test_without_a_validation_split_one_is_held_out_and_training_itself_is_none(tmp_path):
    whole(tmp_path, "train: images/train\nval: images/train\nnames: [cat, dog]\n", counts=(10, 0, 0))
    train, val = quietly(tmp_path), quietly(tmp_path, "val")
    assert (len(train), len(val)) == (8, 2) and not set(names(train)) & set(names(val))
    assert kinds(train) == {"noted: a split that is the training set": 1}


@pytest.mark.parametrize(
    "written", ["[7, yes, 1.0, 010]", "{0: 7, 1: yes, 2: 1.0, 3: 010}", '["7", "yes", "1.0", "010"]']
)
def test_names_are_what_is_written(tmp_path, written):
    """YAML 1.1 reads yes as true and 010 as 8."""
    assert quietly(whole(tmp_path, f"names: {written}\n")).classes == ["7", "yes", "1.0", "010"]
    assert quietly(tmp_path, classes=["7"])[0][1]["labels"].tolist() == [0]
    with pytest.raises(UnknownName):
        quietly(tmp_path, classes=["8"])


def test_what_a_line_may_say(tmp_path):
    polygon = "0 0.1 0.2 0.5 0.2 0.5 0.6 0.3 0.9"
    broken = ["2 0.5 0.5 0.5 0.5", "-1 0.5 0.5 0.5 0.5", "0.5 0.5 0.5 0.5 0.5", "0 0.5 0.5 0.5", "0 0.5 0.5 nan 0.5"]
    broken += ["cat 0.5 0.5 0.5 0.5", "0 0.5 0.5 0.5 0.5 0.9", "0 0.5 0.5 " + "9" * 400 + " 1", "0," * 3000]
    whole(tmp_path)
    lines = ["1.0 0.5 0.5 0.5 0.5", "", polygon, "0 0.5 0.5 0 0.5", *broken]
    (tmp_path / "labels/train/train0.txt").write_text("\n".join(lines))
    data = quietly(tmp_path)
    boxes = torch.tensor([[30.0, 40, 90, 80], [12, 36, 60, 92]])
    assert (data[0][1]["boxes"] - boxes).abs().max() < 1e-4 and data[0][1]["labels"].tolist() == [1, 0]
    assert kinds(data) == {"left out: object": len(broken), "left out: box": 1}
    assert all(len(line) < 300 for line in data.skipped)


def test_key_points_follow_the_box(tmp_path):
    whole(tmp_path, "kpt_shape: [2, 2]\nnames: [cat, dog]\n")
    (tmp_path / "labels/train/train0.txt").write_text("1 0.5 0.5 0.5 0.5 0.1 0.1 0.9 0.9")
    assert quietly(tmp_path)[0][1]["boxes"].tolist() == [[30, 40, 90, 80]]


def test_labels_without_an_image_and_images_without_labels_are_told_of(tmp_path):
    whole(tmp_path)
    (tmp_path / "labels/train/train0.txt").rename(tmp_path / "labels/train/gone.txt")
    (tmp_path / "labels/train/train1.txt").write_text("")
    data = quietly(tmp_path)
    assert [len(sample.labels) for sample in data.samples] == [0, 0, 2]
    assert kinds(data) == {"left out: labels without an image": 1, "noted: image without a label file": 1}


def test_labels_of_a_sideways_photo_are_of_the_upright_one(tmp_path):
    whole(tmp_path, counts=(2, 1, 1))
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (60, 40)).save(tmp_path / "images/train/train0.jpg", exif=exif)
    assert quietly(tmp_path)[0][1]["boxes"][0].tolist() == [40, 45, 80, 75] and kinds(quietly(tmp_path)) == {}


def test_boxes_in_pixels_are_refused(tmp_path):
    whole(tmp_path)
    for i in range(3):
        (tmp_path / f"labels/train/train{i}.txt").write_text("0 30 20 10 10\n1 20 10 8 8\n")
    with pytest.raises(DataError, match=r"6 of 6 boxes lie outside of their images, up to 35 times their size"):
        quietly(tmp_path)


DEEP = 20_000


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ("names: []\n", "gives no names"),
        ("train: images/train\n", "gives no names"),
        ("[1, 2]\n", "must map names to values"),
        ("names: [cat, dog]\ntrain: ../../etc\n", "only files within its own folder"),
        ("names: [cat, dog]\ntrain: /etc\n", "only files within its own folder"),
        ("names: [cat, dog]\ntrain: images/gone\n", "there is no 'images/gone'"),
        ("names: [cat, dog]\ntrain: " + "a" * 5000 + "\n", "there is no 'aaa"),
        ("names: [cat, dog]\ntrain: {a: b}\n", "must be a folder or a list file"),
        ("names: [cat, dog]\nval: images/val\n", "says where val are, but not train"),
        ("names: {one: cat}\n", "must be a class name of a number"),
        ("names: {" + "9" * 400 + ": cat}\n", "must be a class name of a number"),
        ("names: [cat, [dog]]\n", "must be a class name of a number"),
        ("[" * DEEP, "cannot be read"),
        ("names: [cat\n", "cannot be read"),
        ("\0", "cannot be read"),
        ("#" * 2_000_000, "cannot be read"),
    ],
)
def test_a_configuration_that_cannot_be_followed_is_refused(tmp_path, config, message):
    with pytest.raises(DataError, match=message) as refused:
        quietly(whole(tmp_path, config))
    assert len(str(refused.value)) < 300 and str(refused.value).isprintable()


def test_tags_run_nothing_and_aliases_are_not_spelt_out(tmp_path):
    whole(tmp_path, f"names: !!python/object/apply:os.mkdir [{tmp_path}/made]\n")
    assert quietly(tmp_path).classes == [f"{tmp_path}/made"] and not (tmp_path / "made").exists()
    levels = "".join(f"a{i + 1}: &a{i + 1} [{', '.join([f'*a{i}'] * 20)}]\n" for i in range(20))
    for last in ("path: *a20\nnames: [cat, dog]\n", "names: *a20\n"):
        (tmp_path / "data.yaml").write_text("a0: &a0 x\n" + levels + last)
        with pytest.raises(DataError, match=r"data\.yaml: the file cannot be read \(it has an alias, \*a0"):
            quietly(tmp_path)


def test_a_list_may_not_leave_the_folder(tmp_path):
    whole(tmp_path, "train: list.txt\nval: images/val\nnames: [cat, dog]\n")
    (tmp_path / "list.txt").write_text("images/train/train0.jpg\n../secret.jpg\n")
    with pytest.raises(DataError, match=r"list\.txt names '\.\./secret\.jpg': only files within its own folder"):
        quietly(tmp_path)


def test_a_folder_of_no_layout_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"no YOLO data in .*: expected data\.yaml or classes\.txt"):
        quietly(tmp_path)


def same(one, other) -> None:
    """Equal pixels, and of every image the same boxes, classes and marks."""
    assert len(one) == len(other)
    for (image, target), (again, found) in zip(one, other, strict=True):
        assert torch.equal(image, again)
        assert (
            (target["boxes"] - found["boxes"]).abs().max().item() < 1e-4
            if len(target["labels"])
            else not len(found["labels"])
        )
        assert [one.classes[i] for i in target["labels"]] == [other.classes[i] for i in found["labels"]]
        assert torch.equal(target["ignore"], found["ignore"])


@pytest.mark.parametrize("layout", ["coco", "voc", "yolo"])
@pytest.mark.parametrize(("name", "folder"), [("voc", "bccd"), ("coco", "coco128")])
def test_real_photographs_are_the_same_in_every_layout(real_data, tmp_path, name, folder, layout):
    options = {"image_size": 640, "size": 12}
    with warnings.catch_warnings(action="ignore"):
        sets = {split: detection(name, split, root=real_data / folder, **options) for split in ("train", "val", "test")}
        for data in sets.values():
            kept = [i for i, sample in enumerate(data.samples) if not sample.ignore.any() or layout != "yolo"]
            sets[data.split] = data.take(kept, data.split)
            export(sets[data.split], tmp_path, layout)
        for split, data in sets.items():
            again = detection(layout, split, root=tmp_path, image_size=640)
            same(data, again)
            assert again.notes == [] and sum(len(sample.labels) for sample in data.samples) > 30


def test_yolo_has_no_mark_for_ignored_objects_and_the_export_says_so(voc_folder, tmp_path):
    voc_folder.add("a", ("dog", 5, 5, 20, 20, 1), ("dog", 5, 5, 30, 30))
    data = detection("voc", "train", root=voc_folder.root, image_size=60)
    with pytest.warns(UserWarning, match="1 objects that do not count are left out"):
        assert export(data, tmp_path / "out", "yolo") == tmp_path / "out" / "data.yaml"
    assert [len(sample.labels) for sample in quietly(tmp_path / "out").samples] != [2, 2, 2]
    with pytest.raises(UnknownName, match="did you mean 'yolo'"):
        export(data, tmp_path / "out", "yollo")
