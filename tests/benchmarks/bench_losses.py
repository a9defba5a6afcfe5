"""Which hardware loss holds a budget: every loss, three spaces, a tight and a loose latency target, 5 seeds.

Objective: a NASWOT map on the untrained supernet with digits; cost: the stored latency table, or one measured here and
kept. Targets: lowest + .2 and .6 of the range of latencies. A loss with a weight gets WEIGHT, the same everywhere: as
the task loss runs from 0 to 1, it is what makes a cost 10 % over its target as bad as losing the whole objective in the
squared form (weight .01 = 1), and a like slope in the others. Published defaults are kept where there are some; "x 10"
has ten times the published weight. Results are stored in `NASEDU_BENCH` (default: runs/bench_losses), one file for each
loss, space and gradient, so that a killed run goes on. `python tests/benchmarks/bench_losses.py [steps]` does the same.
"""

from __future__ import annotations

import itertools
import json
import os
import sys
import time
from dataclasses import replace
from pathlib import Path

import pandas as pd
import torch

from nasedu import spaces
from nasedu.data import classification
from nasedu.files import content_hash, write_atomically
from nasedu.hardware.latency import fixed_threads
from nasedu.proxies import zero_cost_map
from nasedu.sampling import softmax, uniform_logits
from nasedu.search import DescentConfig, pareto_sweep
from nasedu.search.pareto import SWEEP
from nasedu.tables import LookupTable, latency_table, losses, within

SPACES, SHARES = ("yolo:course", "proxylessnas:course", "fbnet:course"), (0.2, 0.6)
SEEDS = range(5, 10)  # the defaults of `lagrange` and `SWEEP` were chosen on seeds 0 to 4
OUT = Path(os.environ.get("NASEDU_BENCH", "runs/bench_losses"))
CONFIGS = {"sampled": SWEEP, "relaxed": DescentConfig()}  # a sweep's own settings, and WZDNAS's
STEPS, UPDATES, WEIGHT = 8_000, 400, 100.0
LOSSES = {
    "lagrange": ("lagrange", {}),
    "lagrange, no penalty": ("lagrange", {"penalty": 0.0}),
    "fbnet": ("fbnet", {}),
    "fbnet x 10": ("fbnet", {"alpha": 2.0}),
    "proxylessnas_multiply": ("proxylessnas_multiply", {}),
    "proxylessnas_add": ("proxylessnas_add", {}),
    "proxylessnas_add x 10": ("proxylessnas_add", {"weight": 1.0}),
    "single_path": ("single_path", {}),
    "single_path x 10": ("single_path", {"weight": 0.2}),
    "mnasnet": ("mnasnet", {}),
    "tunas": ("tunas", {}),
    "tunas x 10": ("tunas", {"beta": -0.7}),
    "linear": ("linear", {"weight": 1.0}),
    "squared": ("squared", {"weight": WEIGHT}),
    "hinge": ("hinge", {"weight": WEIGHT / 10}),
    "log_barrier": ("log_barrier", {}),
}


def score_map(space) -> LookupTable:
    """NASWOT of every option on what the soft, untrained supernet feeds its slot; higher is better."""
    images = classification("digits", "train", image_size=space.input_shape[-1], size=16).images
    images = images.expand(-1, space.input_shape[0], -1, -1)
    return zero_cost_map(space, space.supernet(seed=0), softmax(uniform_logits(space.choices)), images)


def tables(name: str) -> tuple[LookupTable, LookupTable]:
    space = spaces.create(name)
    stem = name.replace(":", "-")
    kept = OUT / f"{stem}-map.json"
    if not kept.exists():
        score_map(space).save(kept)
    return LookupTable.load(kept, space), latency_table(space, keep=OUT / f"{stem}-latency.json")


def run(label: str, space: str, gradient: str, steps: int) -> pd.DataFrame:
    """The rows of one loss in one space: error, hit, and objectives against the best within the budget (1)."""
    name, options = LOSSES[label]
    objective, cost = tables(space)
    identity = content_hash(
        [
            name,
            options,
            steps,
            vars(CONFIGS[gradient]),
            list(SEEDS),
            [e.tolist() for e in cost.entries + objective.entries],
        ]
    )
    kept = OUT / f"{space.replace(':', '-')}-{gradient}-{label.replace(' ', '_')}-{identity}.json"
    if not kept.exists():
        low, high = cost.bounds()
        targets = [low + share * (high - low) for share in SHARES]
        config = replace(CONFIGS[gradient], steps=steps, every=max(1, steps // UPDATES))
        loss = losses.create(name, **options)
        frame = pareto_sweep(objective, cost, targets, SEEDS, loss=loss, config=config).frame()
        floor = objective.bounds()[0]
        span = frame["target"].map({t: objective(within(cost, t).best(objective)) - floor for t in targets})
        rows = pd.DataFrame({
            "loss": label, "space": space, "gradient": gradient,
            "budget": frame["target"].map(dict(zip(targets, ("tight", "loose"), strict=True))),
            "hit": frame["hit"], "error": (frame["cost"] / frame["target"] - 1).abs(),
            "repaired": (frame["derived_cost"] / frame["target"] - 1).abs() <= 0.03,
            "objective": (frame["objective"] - floor) / span,
            "derived": (frame["derived_objective"] - floor) / span,
        })  # fmt: skip
        write_atomically(kept, rows.to_json(orient="records"))
    return pd.DataFrame(json.loads(kept.read_text()))


def measure(steps: int = STEPS, gradients=tuple(CONFIGS)) -> pd.DataFrame:
    """Every loss in every space with both gradients."""
    start, parts = time.perf_counter(), []
    for gradient, label, space in itertools.product(gradients, LOSSES, SPACES):
        parts.append(run(label, space, gradient, steps))
    print(f"\n{len(parts)} sweeps of {steps:,} steps: {time.perf_counter() - start:.0f} s")
    return pd.concat(parts, ignore_index=True)


def summary(rows: pd.DataFrame) -> pd.DataFrame:
    """A line for each gradient and loss: hits in %, all and by space and budget, and what the objective came to."""
    groups = rows.groupby(["gradient", "loss"], sort=False)
    table = pd.DataFrame({"within 3 %": 100 * groups["hit"].mean()})
    for space, budget in itertools.product(SPACES, ("tight", "loose")):
        part = rows[(rows["space"] == space) & (rows["budget"] == budget)].groupby(["gradient", "loss"], sort=False)
        table[f"{space.split(':')[0][:5]} {budget}"] = 100 * part["hit"].mean()
    table["repaired"] = 100 * groups["repaired"].mean()
    table["error %"] = 100 * groups["error"].median()
    hit = rows[rows["hit"]].groupby(["gradient", "loss"], sort=False)
    table["objective of hits"] = 100 * hit["objective"].mean()
    table["after repair"] = 100 * groups["derived"].mean()
    return table.round(1)


def test_which_loss_holds_a_budget():
    with fixed_threads(2), pd.option_context("display.width", 250, "display.max_columns", 20):
        print(summary(measure()).to_string())


if __name__ == "__main__":
    torch.set_num_threads(2)
    print(summary(measure(int(sys.argv[1]) if len(sys.argv) > 1 else STEPS)).to_string())
