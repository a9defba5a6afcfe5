"""What an annotation states of its image against the image: orientation, size, units of boxes, depth of pixels."""

from __future__ import annotations

import json
import warnings

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps

from nasedu.data import detection
from nasedu.data.images import UNREADABLE, read_image
from nasedu.errors import DataError

BOX = (120, 20, 180, 60)  # of the white rectangle in a photo of 240 x 120, upright


def photo(path, orientation: int, size=(240, 120), box=BOX, **options):
    """A black photo with a white rectangle where `box` is once it stands upright, stored as `orientation` says.

    Returns (width, height) as stored, and the box there.
    """
    canvas = np.zeros((size[1], size[0], 3), np.uint8)
    canvas[box[1] : box[3], box[0] : box[2]] = 255
    exif = Image.Exif()
    exif[0x0112] = {6: 8, 8: 6}.get(orientation, orientation)  # turned back: all but the quarter turns undo themselves
    turned = Image.fromarray(canvas)
    turned.info["exif"] = exif.tobytes()
    turned.getexif()[0x0112] = exif[0x0112]
    stored = ImageOps.exif_transpose(turned)
    exif[0x0112] = orientation
    path.parent.mkdir(parents=True, exist_ok=True)
    stored.save(path, exif=exif, **options)
    rows, columns = np.nonzero(np.asarray(stored)[..., 0] > 127)
    return stored.size, (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)


def write(root, layout: str, name: str, stated, boxes, label="dog") -> None:
    """Label an image, which is of the whole set: `stated` is (width, height) or None."""
    if layout == "voc":
        size = f"<size><width>{stated[0]}</width><height>{stated[1]}</height></size>" if stated else ""
        things = "".join(
            f"<object><name>{label}</name><bndbox><xmin>{x1 + 1}</xmin><ymin>{y1 + 1}</ymin><xmax>{x2}</xmax>"
            f"<ymax>{y2}</ymax></bndbox></object>"
            for x1, y1, x2, y2 in boxes
        )
        (root / "Annotations").mkdir(parents=True, exist_ok=True)
        (root / "ImageSets" / "Main").mkdir(parents=True, exist_ok=True)
        (root / "Annotations" / f"{name}.xml").write_text(f"<annotation>{size}{things}</annotation>")
        names = sorted(path.stem for path in (root / "Annotations").iterdir())
        for part in ("train", "val", "test"):
            (root / "ImageSets" / "Main" / f"{part}.txt").write_text("\n".join(names if part != "train" else []))
        return
    image = next(path.name for path in (root / "images").iterdir() if path.stem == name)
    path = root / "annotations" / "instances_train.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    every = json.loads(path.read_text()) if path.exists() else {"images": [], "annotations": []}
    number = len(every["images"]) + 1
    size = {"width": int(stated[0]), "height": int(stated[1])} if stated else {}
    every["images"].append({"id": number, "file_name": image, **size})
    for x1, y1, x2, y2 in boxes:
        box = [float(x1), float(y1), float(x2 - x1), float(y2 - y1)]
        every["annotations"].append(
            {"id": len(every["annotations"]), "image_id": number, "category_id": 1, "bbox": box}
        )
    every["categories"] = [{"id": 1, "name": label}]
    for part in ("train", "val", "test"):
        path.with_name(f"instances_{part}.json").write_text(json.dumps(every))


FOLDERS = {"voc": "JPEGImages", "coco": "images"}


def read(root, layout: str):
    """The only split in which no image is missing from training as well; its findings are asked for, not warned of."""
    with warnings.catch_warnings(action="ignore"):
        return detection(layout, "val", root=root, image_size=240)


def white(image) -> torch.Tensor:
    rows, columns = torch.nonzero(image[0] > 127, as_tuple=True)
    return torch.stack([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]).float()


def kinds(data) -> dict[str, int]:
    return dict(data.report()[["kind", "count"]].itertuples(index=False))


@pytest.mark.parametrize("layout", ["voc", "coco"])
@pytest.mark.parametrize("suffix", ["jpg", "png", "tif"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_photo_stands_upright_and_its_box_stays_on_the_object(tmp_path, layout, suffix, orientation):
    """Annotated upright in a, and as it is stored in b, where the size that is stated tells."""
    for name in "ab":
        size, box = photo(tmp_path / FOLDERS[layout] / f"{name}.{suffix}", orientation)
    write(tmp_path, layout, "a", (240, 120), [BOX])
    as_stored = (size, [box]) if orientation >= 5 else ((240, 120), [BOX])
    write(tmp_path, layout, "b", *as_stored)
    data = read(tmp_path, layout)
    for image, target in data:
        assert (target["boxes"][0] - torch.tensor([120.0, 80, 180, 120])).abs().max() < 1e-4
        assert (white(image) - target["boxes"][0]).abs().max() <= 1
    assert kinds(data).get("repaired: boxes turned upright with their photo", 0) == int(orientation >= 5)
    assumed = {1: 0, 2: 2, 3: 2, 4: 2}.get(
        orientation, 0
    )  # nothing tells how a mirrored or overturned one was annotated
    assert kinds(data).get("noted: boxes taken to be those of the upright photo", 0) == assumed


@pytest.mark.parametrize(("size", "stated"), [((240, 120), None), ((160, 160), (160, 160))])
def test_where_nothing_tells_a_photo_is_taken_to_be_annotated_upright(tmp_path, size, stated):
    box = (100, 20, 150, 60)
    photo(tmp_path / "JPEGImages" / "a.png", 6, size, box)
    write(tmp_path, "voc", "a", stated, [box])
    data = read(tmp_path, "voc")
    assert (white(data[0][0]) - data[0][1]["boxes"][0]).abs().max() <= 1.5
    assert kinds(data) == {"noted: boxes taken to be those of the upright photo": 1}


@pytest.mark.parametrize("layout", ["voc", "coco"])
@pytest.mark.parametrize("factor", [4, 2.5, 0.5])
@pytest.mark.parametrize("orientation", [1, 8])
def test_boxes_follow_an_image_that_was_scaled_after_it_was_annotated(tmp_path, layout, factor, orientation):
    size, box = photo(tmp_path / FOLDERS[layout] / "a.png", orientation)
    write(tmp_path, layout, "a", [round(side * factor) for side in size], [[value * factor for value in box]])
    data = read(tmp_path, layout)
    assert (data[0][1]["boxes"][0] - torch.tensor([120.0, 80, 180, 120])).abs().max() < 1e-3
    assert kinds(data)["repaired: boxes scaled, since the image was after it was annotated"] == 1
    assert f"{round(240 * factor)}x{round(120 * factor)}" in data.report()["first"].str.cat() or orientation == 8


def test_a_stated_size_that_its_boxes_exceed_is_not_believed(tmp_path):
    photo(tmp_path / "JPEGImages" / "a.png", 1)
    write(tmp_path, "voc", "a", (120, 60), [BOX])
    data = read(tmp_path, "voc")
    assert data[0][1]["boxes"].tolist() == [[120, 80, 180, 120]]
    assert kinds(data) == {"noted: a stated size that is wrong, since the boxes reach beyond it": 1}


@pytest.mark.parametrize("stated", [(240, 121), (241, 120), (0, 0), (1, 1)])
def test_a_size_that_is_off_by_a_pixel_or_not_given_changes_nothing(tmp_path, stated):
    photo(tmp_path / "JPEGImages" / "a.png", 1)
    write(tmp_path, "voc", "a", stated, [BOX])
    data = read(tmp_path, "voc")
    assert data[0][1]["boxes"].tolist() == [[120, 80, 180, 120]] and kinds(data) == {}


@pytest.mark.parametrize("layout", ["voc", "coco"])
def test_an_image_of_another_shape_than_is_stated_is_left_out_by_name(tmp_path, layout):
    for name in "ab":
        photo(tmp_path / FOLDERS[layout] / f"{name}.png", 1)
    write(tmp_path, layout, "a", (240, 120), [BOX])
    write(tmp_path, layout, "b", (240, 180), [BOX])
    data = read(tmp_path, layout)
    assert [sample.file[-5:] for sample in data.samples] == ["a.png"]
    assert kinds(data) == {"left out: image of another shape than is stated": 1}
    assert "b.png: its annotation states 240x180 px, but it has 240x120" in data.skipped[0]


@pytest.mark.parametrize("layout", ["voc", "coco"])
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda box, i: [v / side for v, side in zip(box, (240, 120) * 2, strict=True)], "between 0 and 1, as shares"),
        (lambda box, i: [3.5 * v + i for v in box], r"6 of 6 boxes lie outside of their images"),
        (lambda box, i: [v + 1000 for v in box], r"6 of 6 boxes lie outside of their images"),
    ],
)
def test_boxes_in_other_units_are_refused(tmp_path, layout, change, message):
    for i in range(6):
        photo(tmp_path / FOLDERS[layout] / f"{i}.png", 1)
        box = np.array(change(BOX, i), float)
        box = (
            box - (1, 1, 0, 0) if layout == "voc" and "shares" in message else box
        )  # the file has the shares themselves
        write(tmp_path, layout, str(i), None, [box])
    with pytest.raises(DataError, match=message) as refused:
        read(tmp_path, layout)
    assert len(str(refused.value)) < 300 and "0.png" in str(refused.value)


def test_boxes_that_all_lie_in_the_upper_left_are_told_of(tmp_path):
    for i in range(10):
        photo(tmp_path / "JPEGImages" / f"{i}.png", 1)
        write(tmp_path, "voc", str(i), None, [[v / 2 for v in BOX], (0, 0, 30, 30)])
    assert kinds(read(tmp_path, "voc")) == {"noted: all boxes lie in the upper left of their images": 1}
    write(tmp_path, "voc", "3", None, [BOX, (0, 0, 30, 30)])
    assert kinds(read(tmp_path, "voc")) == {}, "one box elsewhere is enough"


def test_a_box_that_is_cut_by_more_than_rounding_is_told_of(tmp_path):
    for name in "ab":
        photo(tmp_path / "JPEGImages" / f"{name}.png", 1)
    write(tmp_path, "voc", "a", None, [(-1, 20, 180, 121)])
    write(tmp_path, "voc", "b", None, [(-20, 20, 180, 60)])
    data = read(tmp_path, "voc")
    assert data[0][1]["boxes"].tolist() == [[0, 80, 180, 180]] and data[1][1]["boxes"].tolist() == [[0, 80, 180, 120]]
    assert kinds(data) == {"repaired: box cut at the image's edge": 1} and data.skipped == []


x, y = np.meshgrid(np.linspace(0, 1, 240), np.linspace(0, 1, 180))
GREY = (255 * (0.5 + 0.5 * np.sin(9 * x) * np.cos(7 * y))).astype(np.uint8)
DEEP = {
    "16 bits": GREY.astype(np.uint16) * 257,
    "14 bits": GREY.astype(np.uint16) * 64,
    "12 bits": GREY.astype(np.uint16) * 16,
    "8 bits of 16": GREY.astype(np.uint16),
    "32 bits": GREY.astype(np.int32) * 257,
    "shares": (GREY / 255).astype(np.float32),
    "float levels": GREY.astype(np.float32),
    "floats of 16 bits": GREY.astype(np.float32) * 257,
}


@pytest.mark.parametrize("suffix", ["png", "tif"])
@pytest.mark.parametrize("values", DEEP.values(), ids=DEEP)
def test_grey_of_more_than_8_bits_is_the_same_picture(tmp_path, values, suffix):
    suffix = suffix if values.dtype == np.uint16 else "tif"  # PNG has no floats
    Image.fromarray(GREY).save(tmp_path / "a.png")
    Image.fromarray(values).save(tmp_path / f"b.{suffix}")
    right, got = (read_image(tmp_path / name, 96).float() for name in ("a.png", f"b.{suffix}"))
    assert (got - right).abs().max() <= 1.0


@pytest.mark.parametrize("values", [[-1.0, 0.5], [float("nan"), 1.0], [0.0, 1e9], [0.0, float("inf")]])
def test_grey_levels_that_mean_nothing_known_are_refused(tmp_path, values):
    Image.fromarray(np.array([values] * 9, np.float32)).save(tmp_path / "a.tif")
    with pytest.raises(UNREADABLE, match=r"its grey levels reach from .* 0 to 1, or 0 to at most 65,535"):
        read_image(tmp_path / "a.tif", 64)


def test_a_deep_image_is_told_of(tmp_path):
    (tmp_path / "JPEGImages").mkdir()
    Image.fromarray(DEEP["16 bits"]).save(tmp_path / "JPEGImages" / "a.png")
    write(tmp_path, "voc", "a", (240, 180), [(10, 10, 60, 60)])
    assert kinds(read(tmp_path, "voc")) == {"repaired: grey levels of more than 8 bits scaled": 1}


SCRIPT = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 60 40\n(ran) = showpage\n"


@pytest.mark.parametrize(("name", "content"), [("a.jpg", SCRIPT), ("a.png", b"GIF89a" + bytes(40)), ("a.bmp", b"")])
def test_only_known_formats_are_decoded_whatever_a_file_is_called(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UNREADABLE, match="it is no JPEG, PNG, BMP, WEBP, PPM or TIFF"):
        read_image(tmp_path / name, 64)


def test_a_small_file_that_claims_to_be_a_huge_image_is_refused(tmp_path):
    Image.new("1", (12000, 9000)).save(tmp_path / "a.png")
    with warnings.catch_warnings(action="ignore"), pytest.raises(UNREADABLE, match=r"12000x9000 pixels; at most"):
        read_image(tmp_path / "a.png", 64)
