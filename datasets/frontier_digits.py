"""Makes `frontier_digits.csv.gz`: a thousand detectors judged with one supernet's weights.

    python datasets/frontier_digits.py            # goes on where it was
    python datasets/frontier_digits.py --finish   # writes the table and its provenance beside this script

Three supernets are trained with equal passes: by strict fairness, by the sandwich rule and by WZDNAS's soft warm-up.
Each judges the networks of `detectors_digits`, whose trained precision is known: which supernet ranks better? The one
that was trained by strict fairness then judges 1,000 networks, equally many from each part of the range of latency, on
validation images. `frontier_trained.py` trains some of their front.
"""

from __future__ import annotations

import argparse
import datetime
import json
import multiprocessing
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import fields
from functools import partial
from pathlib import Path

import pandas as pd
import torch
from ablation_wzdnas import BATCH, supernet
from detectors_digits import TRUTH, archs
from truth import PACKED

from nasedu import data, sampling, tables, wzdnas
from nasedu.detection import evaluate
from nasedu.files import write_atomically
from nasedu.hardware.about import describe_device
from nasedu.search import StratifiedConfig, SupernetScore, stratified_search
from nasedu.spaces.base import Network
from nasedu.task import Detection, fit
from nasedu.workers import Workers
from nasedu.wzdnas.detector import DetectorConfig

HERE = Path(__file__).parent
RUNS = HERE.parent / "runs" / "frontier_digits"
JUDGES = {"fair": 4, "sandwich": 4, "train": 16}  # epochs: a step of the first two runs four networks
BUDGET, IMAGES, CALIBRATION, WORKERS = 1000, 64, 2, 2  # images that judge, batches for statistics, processes
CONFIDENCE = 0.05  # of detections that count: with .001, as in a test, they take half of a judgement's time


class Quick(Detection):
    """As `Detection`, but scored by its more confident detections."""

    def score(self, model: Network, split: str = "val", forward: Callable | None = None) -> float:
        """As there."""
        return evaluate(self.data(split), self.find(model, split, forward, confidence=CONFIDENCE)).ap


def trained(judge: str, learnt: Detection, recipe: DetectorConfig) -> Network:
    """A supernet; the soft warm-up is that of the ablation, the others learn what the truth's networks learn."""
    if judge == "train":
        return supernet(judge, "sliced", 0, JUDGES[judge])
    space, start = TRUTH.made_space(), time.perf_counter()
    step, state = sampling.supernet_step(space, sampling.create(judge, space), learnt), RUNS / f"{judge}.pt"
    made = fit(space.supernet(seed=0), learnt, recipe.training, step, seed=0, state=state)
    print(f"{judge}: trained in {time.perf_counter() - start:.0f} s", flush=True)
    return made.ema


def evaluator(judge: str) -> SupernetScore:
    """Scores sub-networks on validation images with a supernet's weights."""
    space = TRUTH.made_space()
    recipe = wzdnas.recipe("short", epochs=JUDGES[judge], flip=False, batch_size=BATCH)
    learnt = wzdnas.detection_task(space, recipe, TRUTH.parts()["train"], seed=0)
    judges = data.detection("digits", "val", size=IMAGES, seed=0, **TRUTH.options)
    net = trained(judge, learnt, recipe)
    given = {f.name: getattr(learnt, f.name) for f in fields(learnt)} | {"val": judges}
    return SupernetScore(space, net, Quick(**given), "val", batches=CALIBRATION)


def go_on() -> None:
    """Judge what is not judged yet, the truth's networks first."""
    RUNS.mkdir(parents=True, exist_ok=True)
    space = TRUTH.made_space()
    latency, one_thread = tables.stored(space, "latency_ms"), partial(torch.set_num_threads, 1)
    context = multiprocessing.get_context("spawn")
    torch.set_num_threads(WORKERS)
    for judge in JUDGES:
        evaluate, known = evaluator(judge), RUNS / f"{judge}.json"
        with ProcessPoolExecutor(WORKERS, context, one_thread) as pool:
            if not known.exists():
                texts = archs(space)
                with Workers(evaluate, pool) as workers:
                    scores = list(workers.map(map(space.parse, texts)))
                write_atomically(known, json.dumps(dict(zip(texts, scores, strict=True))))
            if judge == "fair":
                start, config = time.perf_counter(), StratifiedConfig(budget=BUDGET, cost=latency)
                found = stratified_search(space, evaluate, config, executor=pool, state=RUNS / "fair.search")
                print(f"{BUDGET} networks: {time.perf_counter() - start:.0f} s more", flush=True)
                found.frame().to_csv(RUNS / "judged.csv", index=False)


def finish() -> None:
    """Write the table and its provenance."""
    space = TRUTH.made_space()
    known = pd.DataFrame({f"one_shot_{judge}": json.loads((RUNS / f"{judge}.json").read_text()) for judge in JUDGES})
    judged = pd.read_csv(RUNS / "judged.csv")
    seconds = judged.seconds.max()
    spread = judged.set_index("arch").score
    rest = pd.DataFrame({"one_shot_fair": spread}).drop(known.index, errors="ignore")
    table = pd.concat([known.assign(known=True), rest.assign(known=False)]).rename_axis("arch").reset_index()
    latency = tables.stored(space, "latency_ms")
    table["latency_ms"] = [round(latency(space.parse(text)), 4) for text in table.arch]
    table.round(5).to_csv(HERE / "frontier_digits.csv.gz", index=False, compression=PACKED)
    made = {"made_by": "datasets/frontier_digits.py", "date": datetime.date.today().isoformat(), "processes": WORKERS}
    meta = {"space": TRUTH.space, "task": TRUTH.task, "epochs": JUDGES, "images": IMAGES, "seconds": seconds}
    text = json.dumps(meta | {"provenance": made | describe_device()}, indent=1)
    write_atomically(HERE / "frontier_digits.json", text + "\n")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--finish", action="store_true", help="write the table")
    finish() if parser.parse_args().finish else go_on()
