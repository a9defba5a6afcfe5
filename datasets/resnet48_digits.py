"""Makes `resnet48_digits.csv.gz`: 150 networks of the ranking space at course size, trained on real digits.

    python datasets/resnet48_digits.py            # goes on where it was; about two hours on one core in all
    python datasets/resnet48_digits.py --finish   # writes the table and its provenance beside this script

Random networks of this space are alike, so 25 are drawn from each of six equal ranges of multiply-accumulates. One line
per training goes to `resnet48_digits.rows.csv` as soon as it is done, so it can be killed at any moment; `--share 0/2`
and `--share 1/2` train side by side.
"""

from truth import Truth

from nasedu import spaces
from nasedu.randomness import rng
from nasedu.tables import LookupTable, within

RANGES, EACH = 6, 25


def archs(space: spaces.SearchSpace) -> list[str]:
    """The networks, each range's in turn, so that a part of the table is spread as the whole."""
    macs = LookupTable.build(space, "macs")
    (low, high), found = macs.bounds(), {}
    width = (high - low) / RANGES
    draws = [rng(0, "networks", i) for i in range(RANGES)]
    middles = [low + (i + 0.5) * width for i in range(RANGES)]
    parts = [within(macs, middle, width / 2 / middle) for middle in middles]
    while len(found) < RANGES * EACH:
        for part, draw in zip(parts, draws, strict=True):
            found[space.format(part.sample(draw))] = None
    return list(found)


TRUTH = Truth(
    "resnet48_digits",
    ("resnet48:course", {}),
    archs,
    {"image_size": 32, "distortion": 1.0, "noise": 0.3},
    {"images": 1000, "epochs": 10, "batch_size": 64, "optimizer": "AdamW", "lr": 0.01, "betas": [0.9, 0.99]},
    (3, 6, 10),
    draws={"train": 2, "test": 4},
)

if __name__ == "__main__":
    TRUTH.main(__doc__)
