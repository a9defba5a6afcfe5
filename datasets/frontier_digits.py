"""Makes `frontier_digits.csv.gz`: a thousand detectors judged with one supernet's weights, and some of them trained.

    python datasets/frontier_digits.py            # goes on where it was; two at once share the work
    python datasets/frontier_digits.py --finish   # writes the table and its provenance beside this script

Two supernets were trained with equal passes, by the sandwich rule and by WZDNAS's soft warm-up (`ablation_wzdnas.py`
makes them). Each judges the networks of `detectors_digits`, whose trained precision is known: which supernet ranks
better? The one trained by the sandwich rule then judges 1,000 networks, spread evenly over the range of latency, on
validation images. From their front some are trained from scratch, beside random ones of the same latency and the
hand-designed network at several widths, and tested on images on which nothing was chosen.
"""

from __future__ import annotations

import argparse
import csv
import datetime
import gzip
import io
import json
import time
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from ablation_wzdnas import BATCH, supernet
from detectors_digits import TRUTH, line
from detectors_digits import archs as known
from filelock import FileLock, Timeout

from nasedu import spaces, tables, wzdnas
from nasedu.files import write_atomically
from nasedu.hardware.latency import describe_device
from nasedu.randomness import rng
from nasedu.search import SupernetScore
from nasedu.search.pareto import efficient
from nasedu.spaces.base import Arch

HERE = Path(__file__).parent
RUNS = HERE.parent / "runs" / "frontier_digits"
JUDGES, RANGES, EACH = ("sandwich", "train"), 20, 50
CHOSEN, RIVALS, SEEDS = 6, 2, (0, 1)  # networks of the front; random ones beside each; trainings of every one
CALIBRATION = 6  # batches for the statistics of a sub-network


class Frontier:
    """The space, its latency table, and what is judged and trained."""

    def __init__(self):
        self.space: spaces.SearchSpace = TRUTH.made_space()
        self.latency = tables.stored(self.space, "latency_ms")
        self.parts = TRUTH.parts()
        recipe = wzdnas.recipe("short", epochs=1, flip=False, batch_size=BATCH)
        self.task = wzdnas.detection_task(self.space, recipe, self.parts["train"], val=self.parts["val"])

    @cached_property
    def spread(self) -> list[str]:
        """1,000 networks, as many from each of twenty equal parts of the range of latency."""
        low, high = self.latency.bounds()
        found, width = {}, (high - low) / RANGES
        for i in range(RANGES):
            middle = low + (i + 0.5) * width
            part, draw = tables.within(self.latency, middle, width / 2 / middle), rng(0, "frontier", i)
            while len(found) < (i + 1) * EACH:
                found[line(self.space, part.sample(draw))] = None
        return list(found)

    def jobs(self) -> list[tuple[str, str]]:
        """Judge and network, of all that is judged without training."""
        truth = [(judge, text) for judge in JUDGES for text in known(self.space)]
        return truth + [("sandwich", text) for text in self.spread]

    def judged(self) -> pd.DataFrame:
        """What was judged so far: judge, arch, one-shot precision, seconds."""
        files = sorted(RUNS.glob("judged*.csv"))
        rows = [row for file in files for row in csv.reader(file.read_text().splitlines()) if len(row) == 4]
        frame = pd.DataFrame(rows, columns=["judge", "arch", "ap", "seconds"])
        return frame.astype({"ap": float, "seconds": float}).drop_duplicates(["judge", "arch"])

    def judge(self, end: float, share: tuple[int, int]) -> None:
        """Judge what is not judged yet, of every `share[1]` networks the one of `share[0]`."""
        done = set(self.judged()[["judge", "arch"]].itertuples(index=False, name=None))
        judges: dict[str, SupernetScore] = {}
        with (RUNS / f"judged{share[0]}.csv").open("a", newline="") as out:
            for name, text in self.jobs()[share[0] :: share[1]]:
                if (name, text) in done or time.monotonic() > end:
                    continue
                if name not in judges:
                    net = supernet(name, "sliced", 0)
                    judges[name] = SupernetScore(self.space, net, self.task, "val", batches=CALIBRATION)
                start = time.perf_counter()
                ap = judges[name](self.space.parse(text))
                csv.writer(out).writerow([name, text, f"{ap:.5f}", f"{time.perf_counter() - start:.3f}"])
                out.flush()

    def chosen(self) -> dict[str, tuple[str, Arch]]:
        """What is trained: some of the front, evenly by latency, each with random rivals; hand-designed ones."""
        seen = self.judged()
        seen = seen[(seen.judge == "sandwich") & seen.arch.isin(set(self.spread))]
        cost = seen.arch.map(lambda text: self.latency(self.space.parse(text))).to_numpy()
        front = efficient(cost, seen.ap.to_numpy())
        places = np.unique(np.linspace(0, len(front) - 1, CHOSEN).round().astype(int))
        found: dict[str, tuple[str, Arch]] = {}
        for place in places:
            text = seen.arch.iloc[front[place]]
            arch = self.space.parse(text)
            found[text] = ("front", arch)
            near, draw = tables.within(self.latency, self.latency(arch)), rng(0, "rivals", int(place))
            for _ in range(RIVALS):
                rival = near.sample(draw)
                found.setdefault(line(self.space, rival), ("random", rival))
        for width in ("0.25", "0.5", "0.75"):
            index = self.space.decisions[0].choices.index(width)
            hand = tuple(index if i % 2 == 0 else d for i, d in enumerate(self.space.hand_designed))
            found[line(self.space, hand)] = ("hand-designed", hand)
        return found

    def train(self, end: float) -> None:
        """Train what was chosen, one file each, so that two processes share the work."""
        for (text, (kind, _)), seed in ((one, seed) for seed in SEEDS for one in self.chosen().items()):
            name = f"{kind}-{seed}-" + "".join(map(str, self.space.parse(text)))
            file = RUNS / f"{name}.json"
            try:
                with FileLock(RUNS / f"{name}.lock", timeout=0):
                    if not file.exists() and time.monotonic() < end:
                        row = TRUTH.train_one(self.space, text, seed, self.parts)
                        write_atomically(file, json.dumps(dict(zip(TRUTH.columns, row, strict=True)) | {"kind": kind}))
            except Timeout:
                continue

    def finish(self) -> None:
        """Write the table: a row per network, judged or trained."""
        seen = self.judged()
        if len(seen) < len(set(self.jobs())):
            raise SystemExit(f"{len(seen)} of {len(set(self.jobs()))} networks are judged: go on first")
        table = seen.pivot(index="arch", columns="judge", values="ap").add_prefix("one_shot_")
        table["seconds"] = seen.groupby("arch").seconds.min()
        trained = pd.DataFrame([json.loads(file.read_text()) for file in sorted(RUNS.glob("*.json"))])
        if len(trained) < len(self.chosen()) * len(SEEDS):
            raise SystemExit(f"{len(trained)} of {len(self.chosen()) * len(SEEDS)} trainings are done: go on first")
        last = f"test_{TRUTH.budgets[-1]}"
        by_seed = trained.pivot(index="arch", columns="seed", values=last).mul(100).round(2).add_prefix("test_s")
        table = table.join(by_seed, how="outer").join(trained.groupby("arch").kind.first())
        table["latency_ms"] = [round(self.latency(self.space.parse(text)), 4) for text in table.index]
        packed = io.BytesIO()
        with gzip.GzipFile(fileobj=packed, mode="wb", mtime=0) as file:
            file.write(table.reset_index().to_csv(index=False).encode())
        write_atomically(HERE / "frontier_digits.csv.gz", packed.getvalue())
        made = {"made_by": "datasets/frontier_digits.py", "date": datetime.date.today().isoformat(), "threads": 1}
        meta = {"space": TRUTH.space, "task": TRUTH.task, "training": TRUTH.training, "seeds": SEEDS}
        text = json.dumps(meta | {"provenance": made | describe_device()}, indent=1)
        write_atomically(HERE / "frontier_digits.json", text + "\n")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--finish", action="store_true", help="write the table")
    parser.add_argument("--minutes", type=float, default=1e9, help="begin nothing after so long")
    parser.add_argument("--share", default="0/1", help="i/n: of every n networks the i-th is judged")
    given = parser.parse_args()
    torch.set_num_threads(1)
    RUNS.mkdir(parents=True, exist_ok=True)
    frontier, stop = Frontier(), time.monotonic() + 60 * given.minutes
    if given.finish:
        frontier.finish()
    else:
        part, of = map(int, given.share.split("/"))
        frontier.judge(stop, (part, of))
        if len(frontier.judged()) == len(set(frontier.jobs())):
            frontier.train(stop)
