"""Makes `detectors_digits.csv.gz`: 100 detectors of the course's space, trained on scenes of real digits.

    python datasets/detectors_digits.py            # goes on where it was
    python datasets/detectors_digits.py --finish   # writes the table and its provenance beside this script

60 networks lie within 3 % of the hand-designed one's FLOPs, where a search has to choose, and 40 over the whole range,
5 from each of eight equal parts of it. One line per training goes to `detectors_digits.rows.csv` as soon as it is
done, so it can be killed at any moment; `--share 0/2` and `--share 1/2` train side by side.
"""

from truth import DetectorTruth

from nasedu import spaces
from nasedu.randomness import rng
from nasedu.tables import LookupTable, within

ALIKE, RANGES, EACH = 60, 8, 5


def anchors(template: str, size: int) -> list:
    """A template's anchors for images of another size."""
    usual = spaces.create(f"yolo:{template}")
    return (usual.anchors * size / usual.image_size).tolist()


def archs(space: spaces.SearchSpace) -> list[str]:
    """The networks; those of equal FLOPs first, the hand-designed one before all."""
    macs = LookupTable.build(space, "macs")
    found = {space.in_line(space.hand_designed): None}
    alike, draw = within(macs, macs(space.hand_designed)), rng(0, "alike")
    while len(found) < ALIKE:
        found[space.in_line(alike.sample(draw))] = None
    low, high = macs.bounds()
    width = (high - low) / RANGES
    for i in range(RANGES):
        middle = low + (i + 0.5) * width
        part, draw, most = within(macs, middle, width / 2 / middle), rng(0, "range", i), len(found) + EACH
        while len(found) < most:
            found[space.in_line(part.sample(draw))] = None
    return list(found)


SIZE = 96
TRUTH = DetectorTruth(
    "detectors_digits",
    ("yolo:course", {"image_size": SIZE, "anchors": anchors("course", SIZE)}),
    archs,
    {"image_size": SIZE, "difficulty": 0.0, "train": 1500, "val": 300, "test": 600},
    {"epochs": 5, "batch_size": 16},
    (5,),
    seeds=(0, 1),
)

if __name__ == "__main__":
    TRUTH.main(__doc__)
