"""Makes `power_digits.csv`: what sharpens a comparison of detectors, tried on three of equal FLOPs and three seeds.

    python datasets/power_digits.py            # goes on where it was; two at once share the work
    python datasets/power_digits.py --finish   # writes the table and its provenance beside this script

The usual training is that of `detectors_digits`: networks of one seed see the same batches. Beside it: twice as many
epochs, and initial weights that are slices of one supernet's. Every network is tested with its averaged weights and
its last ones, on 300 images and on 1,000.
"""

from __future__ import annotations

import argparse
import datetime
import json
import time
from itertools import product
from pathlib import Path

import pandas as pd
import torch
from detectors_digits import TRUTH, archs
from filelock import FileLock, Timeout

from nasedu import data, spaces, wzdnas
from nasedu.detection import evaluate
from nasedu.files import write_atomically
from nasedu.hardware.about import describe_device
from nasedu.task import fit

HERE = Path(__file__).parent
RUNS = HERE.parent / "runs" / "power_digits"
WAYS, NETWORKS, SEEDS = ("usual", "longer", "inherited"), 3, range(3)
FEW, MANY = 300, 1000  # images of a test


def trained(space: spaces.SearchSpace, parts: dict, way: str, text: str, seed: int) -> dict:
    """A row of the table: one training, and what came of it (AP, %)."""
    arch, start, training = space.parse(text), time.perf_counter(), TRUTH.training
    if way == "longer":
        training = training | {"epochs": 2 * training["epochs"]}
    recipe = wzdnas.recipe("short", flip=False, **training)
    task = wzdnas.detection_task(space, recipe, parts["train"], test=parts["test"], seed=seed)
    inherited = way == "inherited"
    network = space.inherit(space.supernet(seed=seed), arch) if inherited else space.build(arch, seed=seed)
    made, scores = fit(network, task, recipe.training, seed=seed), {}
    for weights, net in (("averaged", made.ema), ("last", made.model)):
        found = task.find(net, "test")
        scores |= {
            f"{weights}_{len(images)}": 100 * evaluate(images, found[: len(images)]).ap
            for images in (parts["few"], parts["test"])
        }
    seconds = round(time.perf_counter() - start, 1)
    return {"way": way, "arch": text, "seed": seed} | {k: round(v, 3) for k, v in scores.items()} | {"seconds": seconds}


def go_on(end: float) -> None:
    """Train what is not trained yet, one file each."""
    space = TRUTH.made_space()
    parts = TRUTH.parts()
    for name, size in (("few", FEW), ("test", MANY)):
        parts[name] = data.detection("digits", "test", size=size, seed=0, **TRUTH.options)
    for seed, way, (place, text) in product(SEEDS, WAYS, enumerate(archs(space)[:NETWORKS])):
        file = RUNS / f"{way}-{place}-{seed}.json"
        try:
            with FileLock(file.with_suffix(".lock"), timeout=0):
                if not file.exists() and time.monotonic() < end:
                    write_atomically(file, json.dumps(trained(space, parts, way, text, seed)))
        except Timeout:  # another process has it
            continue


def finish() -> None:
    """Write the table and its provenance."""
    rows = [json.loads(file.read_text()) for file in sorted(RUNS.glob("*.json"))]
    wanted = len(WAYS) * NETWORKS * len(SEEDS)
    if len(rows) != wanted:
        raise SystemExit(f"{len(rows)} of {wanted} trainings are done: go on first")
    write_atomically(HERE / "power_digits.csv", pd.DataFrame(rows).to_csv(index=False))
    made = {"made_by": "datasets/power_digits.py", "date": datetime.date.today().isoformat(), "threads": 1}
    meta = {"space": TRUTH.space, "task": TRUTH.task, "training": TRUTH.training}
    write_atomically(
        HERE / "power_digits.json", json.dumps(meta | {"provenance": made | describe_device()}, indent=1) + "\n"
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--finish", action="store_true", help="write the table")
    parser.add_argument("--minutes", type=float, default=1e9, help="begin nothing after so long")
    given = parser.parse_args()
    torch.set_num_threads(1)
    RUNS.mkdir(parents=True, exist_ok=True)
    finish() if given.finish else go_on(time.monotonic() + 60 * given.minutes)
