"""Makes `ablation_bccd.csv.gz`: networks of `ablation_trained`, trained on photographs of blood with two seeds each.

    NASEDU_DATA=... python datasets/ablation_bccd.py            # goes on where it was; `--share 0/2` and `--share 1/2`
    NASEDU_DATA=... python datasets/ablation_bccd.py --finish   # writes the table and its provenance

`NASEDU_DATA` holds `bccd`, the Shenggan/BCCD_Dataset (MIT): 205, 87 and 72 photographs with three classes, as VOC.
"""

import json
import os
from dataclasses import dataclass, replace
from pathlib import Path

from truth import PARTS, DetectorTruth, each_once

from nasedu import data, spaces, wzdnas

CHOSEN = json.loads(Path(__file__).with_name("ablation_trained.json").read_text())["chosen"]
RANDOM, SIZE = 4, 128


def chosen(space: spaces.SearchSpace) -> dict[str, list[str]]:
    """What was chosen on the digits, and the first of its random rivals."""
    return CHOSEN | {"random": CHOSEN["random"][:RANDOM]}


@dataclass(frozen=True)
class PhotographTruth(DetectorTruth):
    """The same on photographs in the layout of VOC."""

    def parts(self) -> dict:
        root = Path(os.environ["NASEDU_DATA"]) / self.task["name"]
        return {part: data.detection("voc", part, root=root, image_size=SIZE) for part in PARTS}


if __name__ == "__main__":
    truth = PhotographTruth(
        "ablation_bccd",
        ("yolo:course", {"image_size": SIZE, "num_classes": 3}),
        each_once(chosen),
        {"name": "bccd", "image_size": SIZE},
        {"epochs": 30, "batch_size": 16},
        (15, 30),
        seeds=(0, 1),
        chosen=chosen,
        flip=True,
    )
    name, options = truth.space
    fitted = wzdnas.anchors_for(truth.parts()["train"], truth.made_space(), wzdnas.recipe("short").ratio)
    replace(truth, space=(name, options | {"anchors": fitted.round(decimals=2).tolist()})).main(__doc__)
