"""A detection data set as files that other tools, and nasedu itself, can read."""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from xml.etree import ElementTree

import torch
import yaml
from torchvision.ops import box_convert
from torchvision.transforms.v2.functional import to_pil_image
from tqdm import tqdm

from nasedu.data.dataset import DetectionDataset
from nasedu.data.images import header, opened, unletterbox, upright_size
from nasedu.errors import OutputError, brief
from nasedu.files import write_atomically
from nasedu.registry import Registry

PLACES = {"coco": "{split}", "voc": "JPEGImages", "yolo": "images/{split}"}  # of the images


def export(dataset: DetectionDataset, folder: str | Path, layout: str = "coco") -> Path:
    """Write a set's letterboxed images as PNG, and its labels, in one of the layouts that `detection` reads.

    Export train, val and test into one folder, and `detection(layout, split, root=folder)` reads the same pixels, boxes
    and class names back, of COCO files the image ids, too. VOC sorts the names of the classes that occur; YOLO has no
    mark for objects that do not count: they are left out, with a warning. Returns the file that describes the split.
    Raises UnknownName for a layout, OutputError if it cannot write.

    dataset: what is written.
    folder: where; made if it is missing.
    layout: "coco", "voc" or "yolo".
    """
    write, folder = WRITERS[layout], Path(folder)
    images = folder / PLACES[layout].format(split=dataset.split)
    names = [f"{dataset.split}_{index:06d}" if layout == "voc" else f"{index:06d}" for index in range(len(dataset))]
    others = {path.name for path in images.glob(f"{dataset.split}_*.png" if layout == "voc" else "*.png")}
    if others - {f"{name}.png" for name in names}:
        raise OutputError(f"{images} holds more images than this set has: they would be taken for its own; empty it")
    for name in dataset.classes:
        if not name.isprintable():
            raise OutputError(f"the class {brief(name)} has characters that such files cannot hold")
    try:
        images.mkdir(parents=True, exist_ok=True)
        for index, name in enumerate(tqdm(names, desc=f"writing {folder}", delay=2, leave=False)):
            to_pil_image(dataset[index][0]).save(images / f"{name}.png", compress_level=1)
    except OSError as reason:
        raise OutputError(f"cannot write to {folder}: {reason}") from reason
    return write(dataset, folder, names)


def coco_results(dataset: DetectionDataset, found: Sequence[Mapping]) -> list[dict]:
    """Detections as COCO's results file lists them, in pixels of the image files; of built-in scenes, of the squares.

    dataset: of the images.
    found: one dict of boxes (k, 4), scores and labels per image, in pixels of its square.
    """
    rows = []
    for sample, image in zip(dataset.samples, found, strict=True):
        boxes = torch.as_tensor(image["boxes"]).float().reshape(-1, 4)
        if os.path.isfile(sample.file):
            with opened(sample.file) as file:
                about = header(file)
            width, height = upright_size(about.size, about.orientation)
            boxes = unletterbox(boxes, (height, width), dataset.image_size)
        boxes = box_convert(boxes, "xyxy", "xywh")
        for box, label, score in zip(boxes.tolist(), image["labels"].tolist(), image["scores"].tolist(), strict=True):
            number = dataset.categories[label]
            rows.append({"image_id": sample.image_id, "category_id": number, "bbox": box, "score": score})
    return rows


def _coco(dataset: DetectionDataset, folder: Path, names: list[str]) -> Path:
    truth = dataset.coco()
    for name, entry in zip(names, truth["images"], strict=True):
        entry["file_name"] = f"{name}.png"
    annotations = folder / "annotations" / f"instances_{dataset.split}.json"
    write_atomically(annotations, json.dumps(truth))
    return annotations


def _voc(dataset: DetectionDataset, folder: Path, names: list[str]) -> Path:
    for name, sample in zip(names, dataset.samples, strict=True):
        root = ElementTree.Element("annotation")
        _nested(root, {"filename": f"{name}.png", "size": {"width": dataset.image_size, "height": dataset.image_size}})
        for (x1, y1, x2, y2), label, ignore in sample.rows():
            corners = {"xmin": x1 + 1, "ymin": y1 + 1, "xmax": x2, "ymax": y2}  # VOC counts pixels from 1
            thing = {"name": dataset.classes[label], "difficult": int(ignore), "bndbox": corners}
            _nested(root, {"object": thing})
        write_atomically(folder / "Annotations" / f"{name}.xml", ElementTree.tostring(root, "unicode"))
    listed = folder / "ImageSets" / "Main" / f"{dataset.split}.txt"
    write_atomically(listed, "".join(f"{name}\n" for name in names))
    return listed


def _nested(parent: ElementTree.Element, parts: dict) -> None:
    for key, value in parts.items():
        child = ElementTree.SubElement(parent, key)
        _nested(child, value) if isinstance(value, dict) else setattr(child, "text", str(value))


def _yolo(dataset: DetectionDataset, folder: Path, names: list[str]) -> Path:
    side, left = dataset.image_size, 0
    for name, sample in zip(names, dataset.samples, strict=True):
        lines = []
        for (x1, y1, x2, y2), label, ignore in sample.rows():
            shares = ((x1 + x2) / 2 / side, (y1 + y2) / 2 / side, (x2 - x1) / side, (y2 - y1) / side)
            lines += [] if ignore else [" ".join(map(str, (label, *shares)))]
            left += ignore
        write_atomically(folder / "labels" / dataset.split / f"{name}.txt", "".join(f"{line}\n" for line in lines))
    if left:
        warnings.warn(f"{left} objects that do not count are left out: YOLO has no mark for them", stacklevel=3)
    splits = {key: f"images/{key}" for key in ("train", "val", "test") if (folder / "images" / key).is_dir()}
    config = folder / "data.yaml"
    write_atomically(config, yaml.safe_dump(splits | {"names": dataset.classes}, sort_keys=False, allow_unicode=True))
    return config


WRITERS = Registry("layout", {"coco": _coco, "voc": _voc, "yolo": _yolo})
