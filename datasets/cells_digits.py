"""Makes `cells_digits.csv.gz`: every cell of a small space, trained to the end on real digits with three seeds.

    python datasets/cells_digits.py            # goes on where it was; about 40 minutes on one core in all
    python datasets/cells_digits.py --finish   # writes the table and its provenance beside this script

One line per training goes to `runs/cells_digits/trained.csv` as soon as it is done, so it can be killed at any moment.
"""

from __future__ import annotations

import argparse
import csv
import datetime
import gzip
import io
import itertools
import json
import time
from pathlib import Path

import pandas as pd
import torch
from torch.nn import functional as F

from nasedu import data, spaces
from nasedu.files import write_atomically
from nasedu.hardware.latency import describe_device
from nasedu.modules import evaluation_mode
from nasedu.randomness import stream
from nasedu.tables import LookupTable

HERE = Path(__file__).parent
DONE = HERE.parent / "runs" / "cells_digits" / "trained.csv"
SPACE = {
    "operations": ["none", "skip_connect", "nor_conv_3x3"],
    "reduction": "pool",
    "input_size": 8,
    "width": 0.25,
    "depth": 0.2,
}
TASK = {"image_size": 8, "distortion": 1.0, "noise": 0.2}
TRAINING = {"images": 1000, "epochs": 12, "batch_size": 64, "optimizer": "AdamW", "lr": 0.02, "betas": [0.9, 0.99]}
BUDGETS = (3, 6, 12)  # epochs after which the network is judged
SEEDS = (0, 1, 2)
COLUMNS = ["arch", "seed", *(f"{part}_{epochs}" for part in ("val", "test") for epochs in BUDGETS), "seconds"]


def correct(network: torch.nn.Module, images: data.ImageSet) -> int:
    """How many images the network gets right."""
    with evaluation_mode(network), torch.inference_mode():
        return int((network(images.images).argmax(1) == images.labels).sum())


def train_one(space: spaces.SearchSpace, text: str, seed: int, parts: dict[str, data.ImageSet]) -> list:
    """Train one network; the row of the table."""
    network = space.build(space.parse(text), seed=seed)
    steps = len(parts["train"]) // TRAINING["batch_size"]
    optimizer = torch.optim.AdamW(network.parameters(), TRAINING["lr"], betas=TRAINING["betas"], fused=True)
    one_cycle = torch.optim.lr_scheduler.OneCycleLR(optimizer, TRAINING["lr"], steps * TRAINING["epochs"] + 1)
    generator = stream(seed, "order")
    start, scores = time.perf_counter(), {}
    for epoch in range(1, TRAINING["epochs"] + 1):
        order = torch.randperm(len(parts["train"]), generator=generator)
        for batch in order[: steps * TRAINING["batch_size"]].view(steps, -1):
            loss = F.cross_entropy(network(parts["train"].images[batch]), parts["train"].labels[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            one_cycle.step()
        if epoch in BUDGETS:
            scores |= {f"{part}_{epoch}": correct(network, parts[part]) for part in ("val", "test")}
    seconds = round(time.perf_counter() - start, 3)
    return [text, seed, *(scores[column] for column in COLUMNS[2:-1]), seconds]


def load_parts() -> dict[str, data.ImageSet]:
    """The three splits of the task."""
    size = {"train": TRAINING["images"], "val": None, "test": None}
    return {part: data.classification("digits", part, size=size[part], **TASK) for part in size}


def whole_rows(path: Path) -> list[str]:
    """The lines of the table so far, which is begun where there is none; a row that a kill cut short is taken out."""
    lines = path.read_text().splitlines(keepends=True) if path.exists() else []
    whole = [line for line in lines[1:] if line.endswith("\n") and line.count(",") == len(COLUMNS) - 1]
    kept = [",".join(COLUMNS) + "\n", *whole]
    if kept != lines:
        write_atomically(path, "".join(kept))
    return kept


def go_on(minutes: float) -> None:
    """Train what is not in DONE yet, for at most so many minutes."""
    torch.set_num_threads(1)
    space, parts = spaces.create("nasbench201", **SPACE), load_parts()
    finished = {(row["arch"], int(row["seed"])) for row in csv.DictReader(whole_rows(DONE))}
    every = [space.format(arch) for arch in itertools.product(*map(range, space.choices))]
    end = time.monotonic() + 60 * minutes
    with DONE.open("a", newline="") as out:
        for seed, text in itertools.product(SEEDS, every):
            if (text, seed) not in finished and time.monotonic() < end:
                csv.writer(out).writerow(train_one(space, text, seed, parts))
                out.flush()


def finish() -> None:
    """Write one row per architecture: accuracies of each seed (%), params, MACs, seconds of the fastest training."""
    space, parts = spaces.create("nasbench201", **SPACE), load_parts()
    rows = pd.read_csv(DONE).drop_duplicates(["arch", "seed"]).sort_values(["arch", "seed"])
    counts = rows.groupby("arch").seed.count()
    if len(counts) != space.size or set(counts) != {len(SEEDS)}:
        raise SystemExit(f"{len(rows)} of {space.size * len(SEEDS)} trainings are done: run without --finish first")
    tables = {metric: LookupTable.build(space, metric) for metric in ("params", "macs")}
    table = []
    for text, group in rows.groupby("arch", sort=False):
        row = {"arch": text} | {metric: int(t(space.parse(text))) for metric, t in tables.items()}
        for column in COLUMNS[2:-1]:
            size = len(parts[column.split("_")[0]])
            row |= {f"{column}_s{s}": f"{100 * n / size:.2f}" for s, n in zip(group.seed, group[column], strict=True)}
        table.append(row | {"seconds": round(group.seconds.min(), 2)})  # others shared the machine
    text = pd.DataFrame(table).sort_values("arch").to_csv(index=False)
    packed = io.BytesIO()
    with gzip.GzipFile(fileobj=packed, mode="wb", mtime=0) as file:
        file.write(text.encode())
    write_atomically(HERE / "cells_digits.csv.gz", packed.getvalue())
    made = {"made_by": "datasets/cells_digits.py", "date": datetime.date.today().isoformat(), "threads": 1}
    provenance = {"space": SPACE, "fingerprint": space.fingerprint, "task": {"name": "digits", **TASK}}
    provenance |= {"training": TRAINING, "budgets": BUDGETS, "seeds": SEEDS, "provenance": made | describe_device()}
    write_atomically(HERE / "cells_digits.json", json.dumps(provenance, indent=1) + "\n")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--finish", action="store_true", help="write the table")
    parser.add_argument("--minutes", type=float, default=1e9, help="stop after so long")
    arguments = parser.parse_args()
    finish() if arguments.finish else go_on(arguments.minutes)
