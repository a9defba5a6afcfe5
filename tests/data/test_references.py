"""What a file says of others: ids, names, marks, encodings, places; what is degenerate, and what is hostile."""

from __future__ import annotations

import json
import os
import unicodedata
import warnings

import pytest

from nasedu.data import detection
from nasedu.data.reading import flag, number
from nasedu.errors import DataError, UnknownName


@pytest.fixture
def coco(coco_folder):
    """`coco(change, classes=...)`: three images of two boxes each, after `change` of the file's content."""
    root = coco_folder("train", images=3)
    coco_folder("val", images=1, start=50)

    def read(change, split="train", **options):
        for name in ("train", "val"):
            path = root / "annotations" / f"instances_{name}.json"
            content = json.loads(path.read_text())
            if name == "train" or split == "both":
                content = change(content) or content
            path.write_text(json.dumps(content))
        return quietly("coco", split.replace("both", "train"), root=root, **options)

    return read


def quietly(*given, **options):
    with warnings.catch_warnings(action="ignore"):
        return detection(*given, image_size=120, **options)


def kinds(data) -> dict[str, int]:
    return dict(data.report()[["kind", "count"]].itertuples(index=False))


def boxes(data) -> list[int]:
    return [len(sample.labels) for sample in data.samples]


def test_a_file_under_two_ids_is_one_image_with_the_boxes_of_both(coco):
    def twice(content):
        content["images"].append(content["images"][0] | {"id": 9})
        extra = {"id": 70, "image_id": 9, "category_id": 3, "bbox": [30, 10, 20, 20], "iscrowd": 0}
        content["annotations"] += [content["annotations"][0] | {"id": 71, "image_id": 9}, extra]

    data = coco(twice)
    assert [sample.image_id for sample in data.samples] == [1, 2, 3] and boxes(data) == [3, 2, 2]
    assert kinds(data) == {"repaired: image listed twice": 1}


def test_ids_that_stand_for_two_images_or_categories_are_refused(coco):
    with pytest.raises(DataError, match=r"images '001\.jpg' and '002\.jpg' have one id, '2'") as refused:
        coco(lambda content: content["images"].insert(0, content["images"][1] | {"file_name": "001.jpg"}))
    assert len(str(refused.value)) < 300


@pytest.mark.parametrize("other", [7, "7", 7.0])
def test_categories_of_one_id_are_refused(coco, other):
    with pytest.raises(DataError, match=r"categories 'cat' and 'ant' have one id, '7'"):
        coco(lambda content: content["categories"].append({"id": other, "name": "ant"}))


def as_text(content):
    for image in content["images"]:
        image["id"] = str(image["id"])
    for category in content["categories"]:
        category["id"] = f"{category['id']}"


def test_ids_may_be_numbers_here_and_text_there(coco):
    data = coco(as_text, "both")
    assert boxes(data) == [2, 2, 2] and [s.image_id for s in data.samples] == [1, 2, 3] and kinds(data) == {}
    assert data.classes == ["dog", "cat"] and data[0][1]["labels"].tolist() == [1, 0]


def test_ids_that_are_words_keep_every_box(coco):
    def words(content):
        for row in content["images"]:
            row["id"] = f"x{row['id']}"
        for row in content["annotations"]:
            row["image_id"] = f"x{row['image_id']}"

    data = coco(words)
    assert boxes(data) == [2, 2, 2] and [s.image_id for s in data.samples] == [1, 2, 3]
    assert kinds(data) == {"noted: image ids that are no whole numbers": 1}


def test_categories_may_have_words_and_numbers_as_ids(coco):
    def mixed(content):
        content["categories"] = [{"id": "seven", "name": "cat"}, {"id": 3, "name": "dog"}]
        for row in content["annotations"]:
            row["category_id"] = {7: "seven", 3: "3"}[row["category_id"]]

    data = coco(mixed, "both")
    assert boxes(data) == [2, 2, 2] and data.classes == ["dog", "cat"] and data[0][1]["labels"].tolist() == [1, 0]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c.pop("annotations"), "it has no list of 'annotations'"),
        (lambda c: c.update(annotations=None), "it has no list of 'annotations'"),
        (lambda c: c.update(images={}), "it has no list of 'images'"),
        (lambda c: c.update(annotations=[7]), "it has no list of 'annotations'"),
        (lambda c: c["categories"][0].pop("id"), "one of the categories has no id or no name"),
        (lambda c: c["categories"][0].update(name=None), "one of the categories has no id or no name"),
        (lambda c: c["images"][0].update(id=True), "one of the images has no id or no file_name"),
        (lambda c: c["images"][0].update(file_name=["a"]), "one of the images has no id or no file_name"),
        (lambda c: c["images"][0].update(file_name="../train/001.jpg"), "only files within its own folder"),
        (lambda c: c["images"][0].update(file_name="/etc/passwd"), "only files within its own folder"),
        (lambda c: c["images"][0].update(file_name="C:\\a.jpg"), "only files within its own folder"),
        (lambda c: c["images"][0].update(file_name="a" * 5000), "lists 1 images that are not in"),
        (lambda c: c["images"][0].update(file_name="a\0b"), "lists 1 images that are not in"),
    ],
)
def test_a_file_that_does_not_say_what_is_needed_is_refused(coco, change, message):
    with pytest.raises(DataError, match=message) as refused:
        coco(lambda content: change(content) and None)
    assert len(str(refused.value)) < 300 and "instances_train.json" in str(refused.value)


@pytest.mark.parametrize("depth", [300, 700, 900])
def test_values_that_are_nested_deep_are_left_out(coco, depth):
    deep = json.loads("[" * depth + "]" * depth)

    def nested(content):
        content["annotations"] += [
            content["annotations"][0] | {key: deep} for key in ("bbox", "image_id", "category_id")
        ]
        content["annotations"] += [content["annotations"][1] | {"iscrowd": deep, "image_id": 3, "bbox": [1, 1, 9, 9]}]
        content["images"][0] |= {"width": deep}

    data = coco(nested)
    assert boxes(data) == [2, 2, 3]
    assert kinds(data) == {"left out: object": 2, "left out: annotation without an image": 1, "noted: mark": 1}


def test_annotations_without_image_category_or_box_are_counted(coco):
    def stray(content):
        first = content["annotations"][0]
        more = [{"image_id": 999}, {"image_id": None}, {"category_id": 99}, {"category_id": None}, {"bbox": None}]
        more += [{"bbox": [1, 2, 3, "x"]}, {"bbox": [1, 2, 3, int("9" * 400)]}, {"bbox": [5, 5, 0, 9]}]
        content["annotations"] += [first | change for change in more]

    data = coco(stray)
    assert boxes(data) == [2, 2, 2]
    assert kinds(data) == {"left out: object": 5, "left out: annotation without an image": 2, "left out: box": 1}
    assert all(len(line) < 300 for line in data.skipped)


def test_names_that_are_numbers_are_names(coco):
    def numbered(content):
        content["categories"] = [{"id": 7, "name": 7}, {"id": 3, "name": "3"}]

    assert coco(numbered, "both", classes=["7"]).classes == ["7"]
    assert boxes(coco(numbered, "both", classes=[7])) == [1, 1, 1]
    with pytest.raises(UnknownName, match="unknown class '8'"):
        coco(numbered, "both", classes=[8])


@pytest.mark.parametrize(("mark", "ignored"), [("0", 0), ("1", 1), (None, 0), (True, 1), ("false", 0), (0.0, 0)])
def test_marks_of_crowds_may_be_text(coco, mark, ignored):
    data = coco(lambda content: [row.update(iscrowd=mark) for row in content["annotations"]] and None)
    assert sum(int(sample.ignore.sum()) for sample in data.samples) == 6 * ignored
    assert kinds(data) == ({"noted: nothing to find in this split": 1} if ignored else {})


@pytest.mark.parametrize(
    ("mark", "read"),
    [("Unspecified", False), ("True", True), ("False", False), ("", False), (" 1 ", True), ("0", False), ("yes", True)],
)
def test_marks_in_words(mark, read):
    assert flag(mark, pytest.fail) is read


def test_a_mark_that_is_neither_is_told_of():
    told = []
    assert flag("perhaps" * 100, told.append) is False and len(told) == 1 and len(told[0]) < 150


@pytest.mark.parametrize("value", ["9" * 400, "1e400", "nan", "inf", None, True, [1], "x", int("9" * 400)])
def test_what_is_no_finite_number_is_none(value):
    with pytest.raises(ValueError, match="number") as refused:
        number(value)
    assert len(str(refused.value)) < 150


def rename(voc_folder, old: str, new: str, suffix: str = ".jpg") -> None:
    root = voc_folder.root
    (root / "JPEGImages" / f"{old}.jpg").rename(root / "JPEGImages" / f"{new}{suffix}")
    (root / "Annotations" / f"{old}.xml").rename(root / "Annotations" / f"{new}.xml")


@pytest.mark.parametrize("suffix", [".JPEG", ".Jpg", ".PNG", ".bmp", ".webp", ".TIFF"])
def test_suffixes_may_be_written_in_any_case(voc_folder, suffix):
    rename(voc_folder, "b", "b", suffix)  # Pillow looks at the content alone
    data = quietly("voc", "train", root=voc_folder.root)
    assert boxes(data) == [2, 2, 2] and kinds(data) == {} and data.samples[1].file.endswith(f"b{suffix}")


def test_a_coco_file_may_write_a_suffix_otherwise(coco):
    data = coco(lambda content: content["images"][0].update(file_name="001.JPEG"))
    assert boxes(data) == [2, 2, 2] and kinds(data) == {"noted: image of another suffix": 1}


@pytest.mark.parametrize("name", ["my photo 7", "a.b", "straße", "image 1", "Ünï 'x'", "-1"])
@pytest.mark.parametrize("form", ["{}", "{}.jpg", "JPEGImages/{}.jpg", "  {}  "])
def test_lists_may_name_images_in_many_ways(voc_folder, name, form):
    rename(voc_folder, "b", name)
    voc_folder.split("train", ["a -1", form.format(name), "c  1"])
    data = quietly("voc", "train", root=voc_folder.root)
    assert boxes(data) == [2, 2, 2] and kinds(data) == {}


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "latin-1"])
def test_lists_may_be_in_many_encodings(voc_folder, encoding):
    rename(voc_folder, "b", unicodedata.normalize("NFD", "café"))
    path = voc_folder.root / "ImageSets" / "Main" / "train.txt"
    path.write_bytes("a\r\ncafé\r\nc\r\n".encode(encoding))
    data = quietly("voc", "train", root=voc_folder.root)
    assert boxes(data) == [2, 2, 2]
    assert kinds(data) == ({"repaired: text read as Latin-1": 1} if encoding == "latin-1" else {})


@pytest.mark.parametrize(
    ("declared", "written"),
    [("utf-8", "utf-8"), ("iso-8859-1", "latin-1"), ("windows-1251", "cp1251"), ("gbk", "gbk"), ("utf-16", "utf-8")]
    + [("utf-16", "utf-16"), ("shift_jis", "shift_jis"), ("utf-8", "utf-8-sig"), ("klingon", "utf-8")],
)
def test_annotations_may_be_in_many_encodings(voc_folder, declared, written):
    word = {"latin-1": "ché", "cp1251": "кот", "gbk": "猫", "shift_jis": "ねこ"}.get(written, "кот猫é")
    path = voc_folder.root / "Annotations" / "b.xml"
    text = f'<?xml version="1.0" encoding="{declared}"?>' + path.read_text().replace("dog", word)
    path.write_bytes(text.encode(written))
    data = quietly("voc", "train", root=voc_folder.root)
    assert boxes(data) == [2, 2, 2] and data.classes == sorted(["cat", "dog", word]) and kinds(data) == {}


def test_the_file_that_exists_wins_over_the_name_that_is_given(voc_folder):
    root = voc_folder.root
    for stem, named in (("a", "a"), ("b", "other.jpg"), ("c", "moved.jpg")):
        path = root / "Annotations" / f"{stem}.xml"
        path.write_text(path.read_text().replace("<annotation>", f"<annotation><filename>{named}</filename>"))
    (root / "JPEGImages" / "c.jpg").rename(root / "JPEGImages" / "moved.jpg")
    data = quietly("voc", "train", root=root)
    assert [os.path.basename(sample.file) for sample in data.samples] == ["a.jpg", "b.jpg", "moved.jpg"]
    assert kinds(data) == {"noted: <filename> of another name": 2}


def test_the_image_of_one_annotation_is_never_given_to_another(voc_folder):
    path = voc_folder.root / "Annotations" / "b.xml"
    path.write_text(path.read_text().replace("<annotation>", "<annotation><filename>e.jpg</filename>"))
    (voc_folder.root / "JPEGImages" / "b.jpg").unlink()
    data = quietly("voc", "train", root=voc_folder.root)
    assert boxes(data) == [2, 2] and kinds(data)["left out: image"] == 1, "e is a test image"


@pytest.mark.parametrize("line", ["../b", "/etc/passwd", "sub/../b", "C:\\b", "..\\b"])
def test_a_list_may_not_leave_its_folder(voc_folder, line):
    voc_folder.split("train", ["a", line])
    with pytest.raises(DataError, match=r"train\.txt names .* only files within its own folder are read") as refused:
        quietly("voc", "train", root=voc_folder.root)
    assert len(str(refused.value)) < 300


DEEP = 50_000
HOSTILE_XML = {
    "deep": "<annotation>" + "<a>" * DEEP + "</a>" * DEEP + "</annotation>",
    "deep object": "<annotation><object>" + "<a>" * DEEP + "</a>" * DEEP + "</object></annotation>",
    "entities": '<!DOCTYPE a [<!ENTITY b "cccc">]><annotation>&b;</annotation>',
    "outside": '<!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/passwd">]><annotation>&b;</annotation>',
    "number": "<annotation><object><name>dog</name><bndbox><xmin>"
    + "9" * 400
    + "</xmin></bndbox></object></annotation>",
    "name": "<annotation><filename>" + "a" * 5000 + ".jpg</filename></annotation>",
    "root": "<" + "a" * 5000 + "/>",
    "null": "<annotation>\0</annotation>",
}


@pytest.mark.parametrize("kind", HOSTILE_XML)
def test_hostile_annotations_are_left_out_in_one_line(voc_folder, kind):
    (voc_folder.root / "Annotations" / "b.xml").write_text(HOSTILE_XML[kind])
    data = quietly("voc", "train", root=voc_folder.root)
    assert sum(boxes(data)) == 4
    assert all(len(note.text) < 300 and note.text.isprintable() for note in data.notes)
    assert len(data.notes) == 1 or kind == "deep"


@pytest.mark.parametrize(
    "content",
    ["[" * DEEP, '{"a":' * DEEP, '{"images": ' + "9" * 5000 + "}", "\0", "nonsense\x1b[31m" * 400, '{"images": NaN}'],
)
def test_hostile_json_is_refused_in_one_sentence(coco_folder, content):
    root = coco_folder("train")
    (root / "annotations" / "instances_train.json").write_text(content)
    with pytest.raises(DataError, match=r"instances_train\.json") as refused:
        quietly("coco", "train", root=root)
    assert len(str(refused.value)) < 300 and str(refused.value).isprintable()


@pytest.mark.parametrize("part", ["JPEGImages/b.jpg", "Annotations/b.xml", "ImageSets/Main/train.txt"])
@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir, lambda path: os.symlink("/dev/zero", path)])
def test_pipes_devices_and_folders_are_not_opened(voc_folder, part, make):
    """Opening a pipe that nobody writes to blocks for ever, and /dev/zero never ends."""
    path = voc_folder.root / part
    path.unlink()
    make(path)
    if part.endswith("txt"):
        with pytest.raises(DataError, match=r"train\.txt: the list cannot be read \(it is no plain file\)"):
            quietly("voc", "train", root=voc_folder.root)
        return
    data = quietly("voc", "train", root=voc_folder.root)
    assert boxes(data) == [2, 2] and len(data.skipped) == 1 and "no plain file" in data.skipped[0]


def test_control_characters_of_names_never_reach_a_message(voc_folder):
    voc_folder.split("train", ["a", "b\x1b[2Jb", "c‮"])
    data = quietly("voc", "train", root=voc_folder.root)
    assert len(data.skipped) == 2 and all(line.isprintable() for line in data.skipped)
    assert r"\x1b[2J" in data.skipped[0]


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 9])
def test_few_images_are_divided_or_refused(coco_folder, count):
    root = coco_folder("all", images=count)
    (root / "annotations" / "instances_all.json").rename(root / "annotations" / "instances_x.json")
    (root / "all").rename(root / "images")
    sizes = dict(zip(("train", "val", "test"), {1: (1, 0, 0), 2: (1, 0, 1), 9: (6, 1, 2)}.get(count, ()), strict=False))
    for split in ("train", "val", "test"):
        if sizes.get(split) == 0:
            with pytest.raises(DataError, match=rf"coco {split}: no image .* is left for this split"):
                quietly("coco", split, root=root)
        else:
            assert len(quietly("coco", split, root=root)) == sizes.get(split, count - 2 if split == "train" else 1)


def test_a_held_out_image_remains_of_two(voc_folder):
    voc_folder.split("train", ["a", "b"])
    for name in ("val", "test"):
        (voc_folder.root / "ImageSets" / "Main" / f"{name}.txt").unlink()
    sizes = {split: len(quietly("voc", split, root=voc_folder.root)) for split in ("train", "val", "test")}
    assert sizes == {"train": 1, "val": 1, "test": 1}


def test_a_test_split_without_objects_is_a_set(voc_folder):
    voc_folder.add("e")
    with pytest.warns(UserWarning, match="no image has an object"):
        data = detection("voc", "test", root=voc_folder.root)
    assert boxes(data) == [0] and kinds(data) == {"noted: nothing to find in this split": 1}


def test_the_report_counts_by_kind_and_is_empty_for_sound_data(voc_folder):
    voc_folder.add("a", ("dog", 10, 10, 10, 20), ("dog", 10, 10, 10, 30), ("dog", -9, 5, 20, 30))
    report = quietly("voc", "train", root=voc_folder.root).report()
    assert report.columns.tolist() == ["kind", "count", "first"]
    assert report[["kind", "count"]].values.tolist() == [
        ["left out: box", 2],
        ["repaired: box cut at the image's edge", 1],
    ]
    assert "(10, 10, 10, 20)" in report["first"][0]
    empty = detection("digits", "val", size=2).report()
    assert empty.columns.tolist() == report.columns.tolist() and len(empty) == 0
