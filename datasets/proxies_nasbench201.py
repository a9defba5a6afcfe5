"""Score 200 random cells of NAS-Bench-201 with zero-cost proxies: `proxies_nasbench201.csv.gz`.

    NASEDU_DATA=... python datasets/proxies_nasbench201.py [--state FOLDER] [--columns NAME ...]

One batch of 64 real CIFAR-10 images, three initialisations a cell, the benchmark's own network (16 channels, 15 cells).
The scores are this project's; the accuracies that judge them are the benchmark's and are not stored. Killed, it goes on
where it was, group by group. With `--columns`, only these are scored, and replace those in the stored table.
"""

from __future__ import annotations

import argparse
import datetime
import json
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from tqdm import tqdm

from nasedu import data, proxies, spaces
from nasedu.data import benchmark
from nasedu.files import content_hash
from nasedu.hardware.about import describe_device

HERE = Path(__file__).parent
FILE = HERE / "proxies_nasbench201.csv.gz"
CELLS, SEEDS, BATCH = 200, (0, 1, 2), 64
# What shares passes stands together. NTK, GradSign and linear regions take seconds a network and are left out.
GROUPS = {
    "gradients": (
        *("params", "macs", "l2_norm", "grad_norm", "snip", "plain", "fisher", "jacob_cov", "naswot", "synflow"),
    ),
    "second_order": ("grasp", "epe_nas", "swap"),
    "own_passes": (
        *("zen", "zico", "meco", "deepmad_entropy", "az_expressivity", "az_progressivity", "az_trainability"),
    ),
}


def main() -> None:
    """Score the columns asked for, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--state", type=Path, default=HERE.parent / "runs" / "proxies_nasbench201")
    every = [name for group in GROUPS.values() for name in group]
    parser.add_argument("--columns", nargs="*", choices=every, default=every, metavar="NAME", help=", ".join(every))
    options = parser.parse_args()
    torch.set_num_threads(1)
    space, images = spaces.create("nasbench201"), data.classification("cifar10", "train", size=BATCH)
    texts = benchmark.nasbench201().frame.index
    archs = [space.parse(texts[i]) for i in np.random.default_rng(0).choice(len(texts), CELLS, replace=False)]
    found = {}
    for name, group in GROUPS.items():
        columns = [column for column in group if column in options.columns]
        if not columns:
            continue
        with tqdm(total=CELLS * len(SEEDS), desc=name) as bar:
            found[name] = proxies.score_pool(
                space,
                archs,
                (images.images, images.labels),
                columns,
                seeds=SEEDS,
                state=options.state / f"{name}_{content_hash(columns)}.pt",
                progress=lambda done, total, note="", bar=bar: bar.update(done - bar.n),
            )
    write(found, every)


def write(found: dict[str, proxies.PoolScores], every: list[str]) -> None:
    """One row per cell and seed, one column per proxy, six digits; and how it was made."""
    frames = [pd.concat([pool.seeds[seed] for pool in found.values()], axis=1).assign(seed=seed) for seed in SEEDS]
    table = pd.concat(frames).rename_axis("cell").reset_index()
    if kept := [name for name in every if name not in table]:
        stored = pd.read_csv(FILE)
        if not table[["cell", "seed"]].equals(stored[["cell", "seed"]]):
            raise SystemExit(f"{FILE.name} holds other cells: score all columns")
        table = table.join(stored[kept])
    table[["cell", *every, "seed"]].to_csv(
        FILE,
        index=False,
        float_format="%.6g",
        compression={"method": "gzip", "mtime": 0},
    )
    space = spaces.create("nasbench201")
    meta = {
        "cells": CELLS,
        "seeds": SEEDS,
        "batch": BATCH,
        "images": "CIFAR-10, training",
        "input_shape": space.input_shape,
        "precision": "float32 (SynFlow float64)",
        "threads": 1,
        "space": space.fingerprint,
        "failures": int((~np.isfinite(table[every])).sum().sum()),
        "date": datetime.date.today().isoformat(),
    }
    text = json.dumps(meta | describe_device(), indent=1)
    (HERE / "proxies_nasbench201.json").write_text(text + "\n")


if __name__ == "__main__":
    main()
