"""A detection data set as files that other tools, and nasedu itself, can read."""

from __future__ import annotations

import json
from pathlib import Path

from torchvision.transforms.v2.functional import to_pil_image
from tqdm import tqdm

from nasedu.data.dataset import DetectionDataset
from nasedu.errors import OutputError
from nasedu.files import write_atomically


def export(dataset: DetectionDataset, folder: str | Path) -> Path:
    """Write the letterboxed images as PNG to folder/SPLIT and folder/annotations/instances_SPLIT.json.

    Export train, val and test into one folder, and `detection("coco", split, root=folder)` reads the same
    pixels, boxes, classes and image ids back. Returns the JSON's path. Raises OutputError if it cannot write.
    """
    folder = Path(folder)
    truth = dataset.coco()
    annotations = folder / "annotations" / f"instances_{dataset.split}.json"
    try:
        (folder / dataset.split).mkdir(parents=True, exist_ok=True)
        for index, entry in enumerate(tqdm(truth["images"], desc=f"writing {folder}", delay=2, leave=False)):
            entry["file_name"] = f"{index:06d}.png"
            image = to_pil_image(dataset[index][0])
            image.save(folder / dataset.split / entry["file_name"], compress_level=1)
    except OSError as reason:
        raise OutputError(f"cannot write to {folder}: {reason}") from reason
    write_atomically(annotations, json.dumps(truth))
    return annotations
