"""PASCAL VOC folders: what is read, what is skipped and reported, and who may train on what."""

from __future__ import annotations

import shutil
import warnings
from pathlib import Path

import pytest
import torch

from nasedu.data import detection
from nasedu.errors import DataError, ParameterError, UnknownName


def read(folder, split="train", **options):
    return detection("voc", split, root=folder if isinstance(folder, Path) else folder.root, image_size=120, **options)


def stems(dataset) -> list[str]:
    return [dataset.samples[i].file.rsplit("/", 1)[1].removesuffix(".jpg") for i in range(len(dataset))]


def test_boxes_classes_and_letterbox(voc_folder):
    """60x40 becomes 120x80 with 20 pixels of grey above and below; VOC counts from 1."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        dataset = read(voc_folder)
    assert dataset.classes == ["cat", "dog"]
    image, target = dataset[0]
    assert target["boxes"].tolist() == [[20, 30, 80, 90], [0, 20, 40, 60]]
    assert target["labels"].tolist() == [1, 0]
    assert (image[:, :20] == 114).all()
    assert (image[:, 100:] == 114).all()
    assert image[:, 20:100].float().std() > 10
    assert dataset.skipped == []


def test_a_box_of_less_than_two_pixels_reaches_to_the_end_of_its_last_one(voc_folder):
    """Written from 1 on, its corners are less than a pixel apart; as an export of small objects writes them."""
    voc_folder.add("a", ("dog", 11.75, 6.5, 12.5, 8.0))
    dataset = read(voc_folder)
    box = dataset[0][1]["boxes"][0].tolist()
    assert box == pytest.approx([21.5, 31, 25, 36]) and not dataset.skipped


def test_an_image_lands_where_its_boxes_do(voc_folder):
    """A white rectangle in the file fills its letterboxed box, also where the JPEG is decoded reduced."""
    from PIL import Image, ImageDraw

    canvas = Image.new("RGB", (801, 503))
    ImageDraw.Draw(canvas).rectangle((200, 100, 599, 299), fill="white")
    voc_folder.add("a", ("dog", 201, 101, 600, 300))
    canvas.save(voc_folder.root / "JPEGImages" / "a.jpg")
    image, target = read(voc_folder)[0]
    rows, columns = torch.nonzero(image[0] > 180, as_tuple=True)
    seen = torch.tensor([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1])
    assert (seen - target["boxes"][0]).abs().max() < 1.2


def test_difficult_is_ignored(voc_folder):
    voc_folder.add("a", ("dog", 5, 5, 20, 20, 1), ("dog", 5, 5, 30, 30))
    dataset = read(voc_folder)
    assert dataset[0][1]["ignore"].tolist() == [True, False]
    assert [a["iscrowd"] for a in dataset.coco()["annotations"][:2]] == [1, 0]


@pytest.mark.parametrize("place", ["VOCdevkit/VOC2007", "VOC2007", "VOC2012"])
def test_official_places_below_the_root(voc_folder, tmp_path, place):
    (tmp_path / "root" / place).parent.mkdir(parents=True)
    shutil.move(voc_folder.root, tmp_path / "root" / place)
    assert len(read(tmp_path / "root")) == 3


@pytest.mark.parametrize("part", ["Annotations", "JPEGImages"])
def test_an_incomplete_folder_is_refused_with_what_is_missing(voc_folder, part):
    shutil.rmtree(voc_folder.root / part)
    with pytest.raises(DataError, match=rf"has no {part}.*expected Annotations/\*\.xml"):
        read(voc_folder)


def test_a_missing_folder_and_a_missing_root_are_refused(tmp_path):
    with pytest.raises(DataError, match=r"no folder .*nowhere: voc expects"):
        read(tmp_path / "nowhere")
    with pytest.raises(DataError, match="voc needs the folder"):
        detection("voc", "train")


def test_a_truncated_image_is_skipped_and_reported(voc_folder, truncate):
    truncate(voc_folder.root / "JPEGImages" / "b.jpg")
    with pytest.warns(UserWarning, match=r"1 findings.*b\.jpg") as caught:
        dataset = read(voc_folder)
    assert len(caught) == 1
    assert stems(dataset) == ["a", "c"]
    assert len(dataset.skipped) == 1
    assert "truncated" in dataset.skipped[0]


def test_a_truncated_image_of_a_set_too_large_for_memory_stops_with_its_path(voc_folder, truncate):
    truncate(voc_folder.root / "JPEGImages" / "b.jpg")
    dataset = read(voc_folder, cache_bytes=2 * 3 * 120 * 120)  # room for two of three
    assert len(dataset) == 3
    with pytest.warns(UserWarning, match="1 findings"):
        in_memory = read(voc_folder)
    assert torch.equal(dataset[0][0], in_memory[0][0])
    assert torch.equal(dataset[2][0], in_memory[1][0])
    with pytest.raises(DataError, match=r"b\.jpg: the image cannot be read"):
        dataset[1]


@pytest.mark.parametrize("text", ["<annotation><object>", "", "<other/>", "no xml"])
def test_an_annotation_that_does_not_parse_is_skipped_and_reported(voc_folder, text):
    (voc_folder.root / "Annotations" / "b.xml").write_text(text)
    with pytest.warns(UserWarning, match=r"b\.xml: the annotation does not parse"):
        dataset = read(voc_folder)
    assert stems(dataset) == ["a", "c"]
    assert len(dataset.skipped) == 1


@pytest.mark.parametrize(("part", "reason"), [("JPEGImages/b.jpg", "image"), ("Annotations/b.xml", "annotation")])
def test_a_missing_file_is_skipped_and_reported(voc_folder, part, reason):
    (voc_folder.root / part).unlink()
    with pytest.warns(UserWarning, match=f"{part}: the {reason} is missing"):
        dataset = read(voc_folder)
    assert stems(dataset) == ["a", "c"]


@pytest.mark.parametrize(
    "box",
    [
        (10, 10, 10, 20),
        (10, 20, 30, 20),
        (30, 10, 20, 20),
        (70, 10, 90, 20),
        (-9, 5, 0, 20),
        ("nan", 5, 9, 9),
    ],
)
def test_a_degenerate_box_is_skipped_and_its_image_kept(voc_folder, box):
    voc_folder.add("b", ("dog", *box), ("cat", 10, 10, 30, 30))
    with pytest.warns(UserWarning, match=r"b\.(xml|jpg): (box|an object)"):
        dataset = read(voc_folder)
    assert stems(dataset) == ["a", "b", "c"]
    assert dataset[1][1]["labels"].tolist() == [0]
    assert len(dataset.skipped) == 1


@pytest.mark.parametrize("thing", ["<name>dog</name>", "<name>dog</name><bndbox><xmin>x</xmin></bndbox>", ""])
def test_an_object_without_a_box_is_reported(voc_folder, thing):
    path = voc_folder.root / "Annotations" / "b.xml"
    path.write_text(path.read_text().replace("</annotation>", f"<object>{thing} </object></annotation>"))
    with pytest.warns(UserWarning, match="without a readable name or box"):
        dataset = read(voc_folder)
    assert len(dataset[1][1]["labels"]) == 2


def test_a_box_that_sticks_out_is_clipped(voc_folder):
    voc_folder.add("a", ("dog", -20, -5, 31, 100))
    assert read(voc_folder)[0][1]["boxes"].tolist() == [[0, 20, 62, 100]]


def test_an_image_without_objects_is_a_negative(voc_folder):
    voc_folder.add("a")
    target = read(voc_folder)[0][1]
    assert target["boxes"].shape == (0, 4)
    assert target["labels"].shape == (0,)


def test_classes_can_be_restricted_and_ordered(voc_folder):
    assert read(voc_folder, classes=["dog"])[0][1]["boxes"].tolist() == [[20, 30, 80, 90]]
    assert read(voc_folder, classes=["dog", "cat"])[0][1]["labels"].tolist() == [0, 1]
    with pytest.raises(UnknownName, match="unknown class 'dgo': did you mean 'dog'"):
        read(voc_folder, classes=["dgo"])


def test_a_class_named_twice_is_refused(voc_folder):
    with pytest.raises(ParameterError, match="twice"):
        read(voc_folder, classes=["dog", "dog"])


def test_classes_are_the_same_in_every_split(voc_folder):
    voc_folder.add("e", ("ant", 5, 5, 20, 20))
    for split in ("train", "val", "test"):
        assert read(voc_folder, split).classes == ["ant", "cat", "dog"]


def test_missing_lists_fall_back_without_mixing_train_and_test(voc_folder):
    main = voc_folder.root / "ImageSets" / "Main"
    for number in range(20):
        voc_folder.add(f"n{number:02d}", ("dog", 5, 5, 30, 30))
    everything = list("abcd") + [f"n{number:02d}" for number in range(20)]
    voc_folder.split("trainval", everything)
    (main / "train.txt").unlink()
    assert stems(read(voc_folder)) == [name for name in everything if name != "d"]
    (main / "val.txt").unlink()
    train, val = stems(read(voc_folder)), stems(read(voc_folder, "val"))
    assert sorted(train + val) == sorted(everything)
    assert len(val) == round(0.2 * len(everything))
    assert stems(read(voc_folder, "val", seed=5)) == val, "a split belongs to the data, not to the run"
    assert stems(read(voc_folder, "test")) == ["e"]
    (main / "test.txt").unlink()
    assert stems(read(voc_folder, "test")) == val
    (main / "trainval.txt").unlink()
    (main / "val.txt").write_text("a\n")
    with pytest.raises(DataError, match=r"neither train\.txt nor trainval\.txt"):
        read(voc_folder)
    shutil.rmtree(main)  # as LabelImg leaves a folder
    parts = [stems(read(voc_folder, part)) for part in ("train", "val", "test")]
    assert sorted(stem for part in parts for stem in part) == sorted([*everything, "e"]) and [
        len(part) for part in parts
    ] == [18, 2, 5]


def test_an_image_listed_for_training_and_test_is_only_tested(voc_folder):
    voc_folder.split("train", ["a", "b", "e"])
    assert stems(read(voc_folder)) == ["a", "b"]


def test_size_draws_by_seed(voc_folder):
    drawn = {tuple(stems(read(voc_folder, size=2, seed=seed))) for seed in range(8)}
    assert len(drawn) > 1
    assert all(len(names) == 2 and list(names) == sorted(names) for names in drawn)
    assert len(read(voc_folder, size=99)) == 3


def test_nothing_readable_is_refused(voc_folder, truncate):
    for stem in "abc":
        truncate(voc_folder.root / "JPEGImages" / f"{stem}.jpg")
    with pytest.raises(DataError, match="none of its 3 images can be used"):
        read(voc_folder)


@pytest.mark.filterwarnings("ignore:voc")
def test_bccd(real_data):
    """364 photographs, 205/87/72; 4,888 boxes of which two are degenerate."""
    sets = {
        split: detection("voc", split, root=real_data / "bccd", image_size=192) for split in ("train", "val", "test")
    }
    assert [len(ds) for ds in sets.values()] == [205, 87, 72]
    assert all(ds.classes == ["Platelets", "RBC", "WBC"] for ds in sets.values())
    assert sum(len(sample.labels) for ds in sets.values() for sample in ds.samples) == 4888 - 2
    reported = [line for ds in sets.values() for line in ds.skipped]
    assert len(reported) == 2
    assert {"00338" in line or "00343" in line for line in reported} == {True}
    boxes = torch.cat([sample.boxes for sample in sets["train"].samples])
    assert boxes[:, 1::2].min() >= 24, "640x480 at 192 px lies between 24 pixels of grey"
    assert boxes[:, 1::2].max() <= 168
