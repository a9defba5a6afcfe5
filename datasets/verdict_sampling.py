"""Makes `verdict_sampling.csv`: how supernets that were trained on three samplers' paths score every different cell.

    python datasets/verdict_sampling.py --minutes 5   # goes on where it was; about 25 minutes a seed on one core in all
    python datasets/verdict_sampling.py --finish      # writes the table and its provenance beside this script

One line per supernet goes to `runs/verdict_sampling/scored.csv` as soon as it is scored, and trainings keep a state
there, so it can be killed at any moment. Samplers are compared at equal forward passes over the training images.
"""

from __future__ import annotations

import argparse
import csv
import datetime
import itertools
import json
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import pandas as pd
import torch

from nasedu import classification, data, sampling, spaces
from nasedu.data import benchmark
from nasedu.files import write_atomically
from nasedu.hardware.about import describe_device
from nasedu.search import SupernetScore
from nasedu.task import Classification, fit

HERE = Path(__file__).parent
RUNS = HERE.parent / "runs" / "verdict_sampling"
DONE = RUNS / "scored.csv"
PASSES, SEEDS, FEWEST = (48, 96, 240, 480), (0, 1, 2, 3, 4), 3
BATCH, JUDGED = 64, {"batch_size": 128, "batches": 4}  # of a training step; of the statistics of a cell
CONVOLUTIONS, SKIPS = (2,) * 6, (1,) * 6  # the ends of the sandwich: the smallest cell that passes a signal on
SAMPLERS = {
    "uniform": sampling.Uniform(),
    "fair": sampling.StrictFairness(),
    "sandwich": sampling.Sandwich(CONVOLUTIONS, SKIPS, n=4),
}
PATHS = {"uniform": 1, "fair": 3, "sandwich": 4}  # of a step


class Judge:
    """What all supernets have in common: the cells, the images, and how a cell is scored."""

    def __init__(self):
        self.truth = benchmark.load("cells_digits")
        self.space = spaces.create("nasbench201", **self.truth.space_options)
        size = {"train": self.truth.meta["training"]["images"], "val": None}
        self.parts = [data.classification(split=part, size=size[part], **self.truth.task) for part in size]

    def train(self, sampler: str, passes: int, seed: int) -> torch.nn.Module:
        """The supernet after so many passes over the images; its averaged weights."""
        task = Classification(self.parts[0], batch_size=BATCH, seed=seed)
        step = sampling.supernet_step(self.space, SAMPLERS[sampler], task)
        recipe, state = classification.recipe(passes // PATHS[sampler]), RUNS / f"{sampler}_{passes}_s{seed}.pt"
        return fit(self.space.supernet(seed=seed), task, recipe, step, seed=seed, state=state).ema

    def score(self, net: torch.nn.Module, seed: int) -> list[int]:
        """How many validation images every cell gets right with the supernet's weights and statistics of its own."""
        task = Classification(*self.parts, batch_size=JUDGED["batch_size"], seed=seed)
        score = SupernetScore(self.space, net, task, batches=JUDGED["batches"])
        return [round(score(self.space.parse(text)) * len(self.parts[1])) for text in self.truth.distinct]


def go_on(minutes: float) -> None:
    """Train and score what is not in DONE yet; begin no supernet after so many minutes."""
    torch.set_num_threads(1)
    judge, end = Judge(), time.monotonic() + 60 * minutes
    columns = ["sampler", "passes", "seed", *judge.truth.distinct]
    lines = DONE.read_text().splitlines(keepends=True) if DONE.exists() else []
    whole = [line for line in lines[1:] if line.endswith("\n") and line.count(",") == len(columns) - 1]
    write_atomically(DONE, "".join([",".join(columns) + "\n", *whole]))  # without a row that a kill cut short
    finished = {tuple(line.split(",")[:3]) for line in whole}
    for seed, passes, sampler in itertools.product(SEEDS, PASSES, SAMPLERS):
        if (sampler, str(passes), str(seed)) not in finished and time.monotonic() < end:
            scores = judge.score(judge.train(sampler, passes, seed), seed)
            with DONE.open("a", newline="") as out:
                csv.writer(out, lineterminator="\n").writerow([sampler, passes, seed, *scores])


def finish() -> None:
    """Write one row per cell and one column per supernet: validation images that it gets right, of the number told."""
    judge, rows = Judge(), pd.read_csv(DONE).drop_duplicates(["sampler", "passes", "seed"])
    counts = rows.groupby("seed").size()
    seeds = [seed for seed in SEEDS if counts.get(seed) == len(PASSES) * len(SAMPLERS)]
    if len(seeds) < FEWEST:
        raise SystemExit(f"{len(seeds)} of {FEWEST} seeds are done: run without --finish first")
    rows = rows[rows.seed.isin(seeds)]
    rows.index = rows.sampler + "_" + rows.passes.astype(str) + "_s" + rows.seed.astype(str)
    order = [f"{s}_{p}_s{seed}" for s, p, seed in itertools.product(SAMPLERS, PASSES, seeds)]
    table = rows.loc[order, judge.truth.distinct].T.rename_axis("arch")
    write_atomically(HERE / "verdict_sampling.csv", table.to_csv(lineterminator="\n"))
    made = {"made_by": "datasets/verdict_sampling.py", "date": datetime.date.today().isoformat(), "threads": 1}
    meta = {"benchmark": judge.truth.name, "fingerprint": judge.space.fingerprint, "samplers": PATHS}
    meta |= {"ends_of_the_sandwich": [CONVOLUTIONS, SKIPS], "passes": PASSES, "seeds": seeds}
    meta |= {"training": asdict(classification.recipe(0)) | {"epochs": "passes / paths of a step", "batch_size": BATCH}}
    meta |= {"images": dict(zip(("train", "val"), map(len, judge.parts), strict=True)), "judged": JUDGED}
    text = json.dumps(meta | {"provenance": made | describe_device()}, indent=1)
    write_atomically(HERE / "verdict_sampling.json", text + "\n")


def main(about: str, go_on: Callable[[float], None], finish: Callable[[], None]) -> None:
    """What a script of this kind does on the command line."""
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--finish", action="store_true", help="write the table")
    parser.add_argument("--minutes", type=float, default=1e9, help="begin no supernet after so long")
    arguments = parser.parse_args()
    finish() if arguments.finish else go_on(arguments.minutes)


if __name__ == "__main__":
    main(__doc__, go_on, finish)
