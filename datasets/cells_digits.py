"""Makes `cells_digits.csv.gz`: every cell of a small space, trained to the end on real digits with three seeds.

    python datasets/cells_digits.py            # goes on where it was; about 40 minutes on one core in all
    python datasets/cells_digits.py --finish   # writes the table and its provenance beside this script

One line per training goes to `cells_digits.rows.csv` as soon as it is done, so it can be killed at any moment.
"""

import itertools

from truth import Truth

SPACE = {
    "operations": ["none", "skip_connect", "nor_conv_3x3"],
    "reduction": "pool",
    "input_size": 8,
    "width": 0.25,
    "depth": 0.2,
}

TRUTH = Truth(
    "cells_digits",
    ("nasbench201", SPACE),
    lambda space: [space.format(arch) for arch in itertools.product(*map(range, space.choices))],
    {"image_size": 8, "distortion": 1.0, "noise": 0.2},
    {"images": 1000, "epochs": 12, "batch_size": 64, "optimizer": "AdamW", "lr": 0.02, "betas": [0.9, 0.99]},
    (3, 6, 12),
)

if __name__ == "__main__":
    TRUTH.main(__doc__)
