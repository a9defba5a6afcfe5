"""Folders as people have them: links, capitals, copies, other tools' exports. No box is lost or moved silently."""

from __future__ import annotations

import json
import os
import time
import unicodedata
import warnings

import pytest
import yaml
from PIL import Image

from nasedu.course.words import words
from nasedu.data import classification, detection, guess
from nasedu.errors import DataError

OUTSIDE = ("//tmp/secret", "\\\\server\\secret", "//../secret", "/tmp/secret", "C:\\secret", "../secret")


def image(path, size=(60, 40)):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (90, 90, 90)).save(path)
    return path


def voc(root, stem, boxes=((5, 5, 30, 30),), size=None, filename="", suffix="jpg"):
    """An image with its annotation; it is in no list."""
    image(root / "JPEGImages" / f"{stem}.{suffix}")
    (root / "Annotations").mkdir(exist_ok=True)
    told = f"<size><width>{size[0]}</width><height>{size[1]}</height></size>" if size else ""
    things = "".join(
        f"<object><name>dog</name><bndbox><xmin>{a + 1}</xmin><ymin>{b + 1}</ymin><xmax>{c}</xmax><ymax>{d}</ymax>"
        "</bndbox></object>"
        for a, b, c, d in boxes
    )
    text = f"<annotation><filename>{filename}</filename>{told}{things}</annotation>"
    (root / "Annotations" / f"{stem}.xml").write_text(text)


def lists(root, **parts):
    main = root / "ImageSets" / "Main"
    main.mkdir(parents=True, exist_ok=True)
    for part, names in parts.items():
        (main / f"{part}.txt").write_text("\n".join(names))


def coco(root, count=4, name="instances_train.json", **changes):
    """An instances file of `count` images with a box each, and its images."""
    rows = [{"id": i, "file_name": f"{i}.jpg", "width": 60, "height": 40} for i in range(count)]
    boxes = [{"id": i, "image_id": i, "category_id": 1, "bbox": [5, 5, 20, 20]} for i in range(count)]
    content = {"images": rows, "annotations": boxes, "categories": [{"id": 1, "name": "dog"}]} | changes
    for row in content["images"]:
        image(root / "images" / row["file_name"])
    (root / "annotations").mkdir(exist_ok=True)
    (root / "annotations" / name).write_text(json.dumps(content))
    return content


def yolo(root, images, config="names: [dog]\n", label="0 0.5 0.5 0.4 0.4\n"):
    for name in images:
        image(root / name)
        place = root / name.replace("images/", "labels/", 1)
        place.parent.mkdir(parents=True, exist_ok=True)
        place.with_suffix(".txt").write_text(label)
    (root / "data.yaml").write_text(config)


def read(name, root, split="train", **options):
    with warnings.catch_warnings(action="ignore"):
        return detection(name, split, root=root, image_size=64, **options)


def kinds(data):
    return dict(data.report()[["kind", "count"]].itertuples(index=False))


def boxes(data):
    return sum(len(sample.boxes) for sample in data.samples)


def stems(data):
    return sorted(os.path.basename(sample.file).split(".")[0] for sample in data.samples)


@pytest.mark.parametrize("name", OUTSIDE)
def test_nothing_outside_of_the_folder_is_read(tmp_path, name):
    coco(tmp_path / "coco", images=[{"id": 0, "file_name": "0.jpg"}])
    path = tmp_path / "coco" / "annotations" / "instances_train.json"
    path.write_text(path.read_text().replace("0.jpg", name.replace("\\", "\\\\")))
    voc(tmp_path / "voc", "a")
    lists(tmp_path / "voc", train=[name])
    yolo(tmp_path / "yolo", ["images/a.jpg"], yaml.safe_dump({"names": ["dog"], "train": name}))
    yolo(tmp_path / "listed", ["images/a.jpg"], "names: [dog]\ntrain: list.txt\n")
    (tmp_path / "listed" / "list.txt").write_text(name)
    for kind, folder in (("coco", "coco"), ("voc", "voc"), ("yolo", "yolo"), ("yolo", "listed")):
        with pytest.raises(DataError, match=r"only files within its own folder|there is no"):
            read(kind, tmp_path / folder)


@pytest.mark.parametrize(
    "called", [("Train", "Val", "Test"), ("training", "validation", "testing"), ("TRAIN", "valid", "test")]
)
def test_splits_are_known_by_their_usual_names_in_any_case(tmp_path, called):
    for part in called:
        for name in ("cat", "dog"):
            image(tmp_path / "folder" / part / name / f"{part}.png")
    yolo(tmp_path / "inner", [f"images/{part}/{part}{i}.jpg" for part in called for i in range(2)])
    yolo(tmp_path / "outer", [f"{part}/images/{part}{i}.jpg" for part in called for i in range(2)])
    for split, part in zip(("train", "val", "test"), called, strict=True):
        made = classification("folder", split, root=tmp_path / "folder")
        assert made.classes == ["cat", "dog"] and len(made) == 2
        for layout in ("inner", "outer"):
            assert stems(read("yolo", tmp_path / layout, split)) == [f"{part}0", f"{part}1"]


def test_links_are_followed_but_never_round_in_a_circle(tmp_path):
    for name in ("cat", "dog"):
        for i in range(3):
            image(tmp_path / "folder" / name / f"{name}{i}.png")
    (tmp_path / "folder" / "cat" / "loop").symlink_to(tmp_path / "folder")
    (tmp_path / "folder" / "dog" / "self").symlink_to(tmp_path / "folder" / "dog")
    parts = [classification("folder", part, root=tmp_path / "folder") for part in ("train", "val", "test")]
    assert sum(map(len, parts)) == 6 and sum(int(part.labels.sum()) for part in parts) == 3
    yolo(tmp_path / "yolo", ["images/train/a.jpg"], "names: [dog]\ntrain: images/train\nval: images/train\n")
    yolo(tmp_path / "other", ["images/b.jpg"])
    (tmp_path / "yolo" / "images" / "train" / "batch").symlink_to(tmp_path / "other" / "images")
    (tmp_path / "yolo" / "labels" / "train" / "batch").symlink_to(tmp_path / "other" / "labels")
    image(tmp_path / "yolo" / "images" / "train" / ".ipynb_checkpoints" / "a-checkpoint.jpg")
    parts = [read("yolo", tmp_path / "yolo", part) for part in ("train", "val")]
    assert sorted(stems(parts[0]) + stems(parts[1])) == ["a", "b"] and sum(map(boxes, parts)) == 2


def test_two_instances_files_of_one_split_are_refused_by_name(tmp_path):
    for name in ("instances_train_part1.json", "instances_train_part2.json", "instances_val.json"):
        coco(tmp_path, name=name)
    with pytest.raises(
        DataError, match=r"two instances files for train, instances_train_part1\.json and instances_train"
    ):
        read("coco", tmp_path)


def test_a_key_that_stands_twice_costs_no_boxes_silently(tmp_path):
    coco(tmp_path)
    path = tmp_path / "annotations" / "instances_train.json"
    path.write_text(path.read_text()[:-1] + ', "annotations": []}')
    with pytest.raises(DataError, match="the key 'annotations' twice"):
        read("coco", tmp_path)


def test_of_two_images_of_one_stem_the_named_one_is_taken(tmp_path):
    voc(tmp_path, "a", size=(100, 80), filename="a.png")
    image(tmp_path / "JPEGImages" / "a.png", (100, 80))
    lists(tmp_path, train=["a"], val=[], test=[])
    (sample,) = read("voc", tmp_path).samples
    assert sample.file.endswith("a.png") and not read("voc", tmp_path).notes
    yolo(tmp_path / "yolo", ["images/train/a.jpg", "images/train/a.png", "images/val/b.jpg"])
    assert kinds(read("yolo", tmp_path / "yolo")) == {"noted: one label file for several images": 1}


def test_a_size_that_was_copied_from_a_template_moves_no_box(tmp_path):
    """One image shows that the stated 30 x 20 is wrong, for its box reaches to 55."""
    for stem, box in {"a": (5, 5, 20, 15), "b": (1, 2, 9, 12), "c": (5, 5, 55, 35)}.items():
        voc(tmp_path, stem, [box], size=(30, 20))
    lists(tmp_path, train=["a", "b", "c"], val=[], test=[])
    data = read("voc", tmp_path)
    assert kinds(data) == {"noted: a stated size that is wrong, since the boxes reach beyond it": 3}
    assert data.samples[0].boxes[0, 2] == pytest.approx(20 * 64 / 60, abs=0.1)


def test_labels_are_found_whatever_their_case_and_accents(tmp_path):
    accented = "Zelle \u00e4"
    yolo(tmp_path, ["images/train/b.jpg", "images/val/v.jpg"])
    image(tmp_path / "images" / "train" / "A.JPG")
    (tmp_path / "labels" / "train" / "A.TXT").write_text("0 0.5 0.5 0.4 0.4\n")
    image(tmp_path / "images" / "train" / f"{unicodedata.normalize('NFD', accented)}.jpg")
    (tmp_path / "labels" / "train" / f"{unicodedata.normalize('NFC', accented)}.txt").write_text("0 0.5 0.5 0.4 0.4\n")
    (tmp_path / "images" / "train" / "moving.gif").write_bytes(b"GIF89a")
    data = read("yolo", tmp_path)
    assert boxes(data) == 3 == len(data)
    assert kinds(data) == {"left out: image of a format that is not read": 1}


def test_objects_that_are_listed_twice_count_once(tmp_path):
    content = coco(tmp_path / "coco")
    coco(tmp_path / "coco", annotations=content["annotations"] * 2)
    voc(tmp_path / "voc", "a", [(5, 5, 30, 30), (5, 5, 30, 30), (5, 5, 30, 31)])
    lists(tmp_path / "voc", train=["a"], val=[], test=[])
    yolo(tmp_path / "yolo", ["images/train/a.jpg", "images/val/b.jpg"], label="0 0.5 0.5 0.4 0.4\n" * 3)
    data = [read("coco", tmp_path / "coco", part) for part in ("train", "val", "test")]
    assert sum(map(boxes, data)) == 4
    assert kinds(read("voc", tmp_path / "voc")) == {"left out: object that is listed twice": 1}
    assert kinds(read("yolo", tmp_path / "yolo")) == {"left out: object that is listed twice": 2}


@pytest.mark.parametrize(
    ("annotation", "told"),
    [
        ({"bbox": "1234"}, "four numbers"),
        ({"bbox": {"0": 1, "1": 2, "20": 3, "30": 4}}, "four numbers"),
        ({"bbox": [1, 2, 3]}, "four numbers"),
        ({"segmentation": {"counts": "abc", "size": [4, 4]}}, "neither a bbox nor polygons"),
        ({"segmentation": [[1, 2, 3]]}, "odd number"),
        ({"bbox": [5, 5, 20, 20], "category_id": 9}, "no category has the id 9"),
    ],
)
def test_what_is_no_box_is_left_out_with_its_reason(tmp_path, annotation, told):
    content = coco(tmp_path)
    rows = [row | {"bbox": None, "image_id": i} | annotation for i, row in enumerate(content["annotations"])]
    coco(tmp_path, annotations=[*rows, *content["annotations"]])
    data = [read("coco", tmp_path, part) for part in ("train", "val", "test")]
    notes = [note for part in data for note in part.notes if note.kind == "left out: object"]
    assert len(notes) == 4 == sum(map(boxes, data)) and all(told in note.text for note in notes)


def test_a_polygon_without_a_box_is_its_extent(tmp_path):
    polygons = [[6, 6, 20, 8, 12, 30], [10, 2, 11, 3, 12, 4]]
    content = coco(tmp_path)
    rows = [{k: v for k, v in row.items() if k != "bbox"} for row in content["annotations"]]
    coco(tmp_path, annotations=[row | {"segmentation": polygons} for row in rows])
    (box,) = read("coco", tmp_path, "test").samples[0].boxes.tolist()
    scale, top = 64 / 60, (64 - 43) // 2  # 40 rows become 43 of the 64
    assert box == pytest.approx([6 * scale, 2 * scale + top, 20 * scale, 30 * scale + top], abs=0.4)


def test_corners_in_place_of_sides_are_refused(tmp_path):
    content = coco(tmp_path)
    rows = [row | {"bbox": [20, 15, 50, 35], "area": 600} for row in content["annotations"]]
    coco(tmp_path, annotations=rows)
    with pytest.raises(DataError, match="the areas are those of corners"):
        read("coco", tmp_path)


def test_images_in_two_splits_are_told_of(tmp_path):
    for stem in "abcdef":
        voc(tmp_path, stem)
    lists(tmp_path, train="abcd", val="cd", test="ef")
    data = read("voc", tmp_path)
    assert stems(data) == ["a", "b"] and kinds(data) == {"noted: training images of another split": 1}
    lists(tmp_path, train="abcd", val="abcd", test="ef")
    data = read("voc", tmp_path)
    assert kinds(data) == {"noted: a split that is the training set": 1} and len(data) == 3


def test_an_image_that_is_listed_twice_takes_no_longer_for_many_annotations(tmp_path):
    rows = [{"id": i, "file_name": "0.jpg", "width": 60, "height": 40} for i in range(2)]
    found = [
        {"id": i, "image_id": i % 2, "category_id": 1, "bbox": [i % 50, i // 50 % 30, 5 + i // 1500, 5]}
        for i in range(12_000)
    ]
    coco(tmp_path, images=rows, annotations=found)
    started = time.process_time()
    assert len(read("coco", tmp_path)) == 1 and time.process_time() - started < 20, "not quadratic: that took minutes"


def test_what_a_folder_looks_made_for_is_told(tmp_path):
    image(tmp_path / "classes" / "cat" / "a.png")
    image(tmp_path / "mixed" / "a.jpg")
    (tmp_path / "mixed" / "a.xml").write_text("<annotation/>")
    for folder, told in (("classes", "folders of images, as classes"), ("mixed", "XML files")):
        with pytest.raises(DataError, match=told):
            guess(tmp_path / folder)


def test_coco_as_roboflow_writes_it(tmp_path):
    content = coco(tmp_path / "made")
    for part in ("train", "valid", "test"):
        for row in content["images"]:
            image(tmp_path / "out" / part / row["file_name"])
        (tmp_path / "out" / part / "_annotations.coco.json").write_text(json.dumps(content))
    assert guess(tmp_path / "out") == "coco"
    for part in ("train", "val", "test"):
        data = read("coco", tmp_path / "out", part)
        assert len(data) == 4 == boxes(data)


def test_sound_yolo_folders_are_not_refused(tmp_path):
    files = ["images/train/a.jpg", "images/val/b.jpg"]
    yolo(tmp_path, files, "train: list.txt\nval: images/val\ntest: null\nnames: [dog]\n")
    (tmp_path / "args.yaml").write_text("epochs: &n 3\nagain: *n\n")  # of another tool, and not read
    (tmp_path / ".pre-commit-config.yaml").write_text("repos: []\n")
    (tmp_path / "list.txt").write_text(str(tmp_path / "images" / "train" / "a.jpg"))
    (tmp_path / "data.yaml").rename(tmp_path / "dataset.yaml")
    assert stems(read("yolo", tmp_path)) == ["a"] and stems(read("yolo", tmp_path, "test")) == ["b"]


def test_names_of_files_reach_no_terminal_as_they_are(tmp_path):
    for name in ("cat", "dog"):
        for i in range(3):
            image(tmp_path / name / f"{i}.png")
    (tmp_path / "cat" / "bad\x1b[31m\n.txt").write_text("")
    with pytest.warns(UserWarning, match="left out") as told:
        report = classification("folder", "train", root=tmp_path).report()
    assert report["first"][0].isprintable() and str(told[0].message).isprintable() and len(str(told[0].message)) < 300


@pytest.mark.parametrize("name", ["rock 'n' roll", "O'Neil #1", '"quoted" & <b>', "a|b*c_d`e"])
def test_quotes_are_shown_as_they_are(name):
    import html

    assert html.unescape(words(name)) == name
    assert not set("<>\"'*_`|#") & set(words(name).replace("&#", "").replace(";", ""))


@pytest.mark.parametrize("value", [None, "x", -5, 2.5, float("nan"), True])
def test_arguments_of_another_type_are_told(tmp_path, value):
    from nasedu.errors import NaseduError

    yolo(tmp_path, ["images/train/a.jpg", "images/val/b.jpg"])
    with pytest.raises(NaseduError):
        read("yolo", tmp_path, cache_bytes=value)
    with pytest.raises(NaseduError):
        read("yolo", tmp_path, classes=5)
    with pytest.raises(NaseduError):
        guess(5)
