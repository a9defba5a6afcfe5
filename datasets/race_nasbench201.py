"""Race the searches of notebook 07 on NAS-Bench-201: `race_nasbench201.csv.gz`.

    NASEDU_DATA=... python datasets/race_nasbench201.py --minutes 5   # goes on where it was; about 15 minutes in all
    NASEDU_DATA=... python datasets/race_nasbench201.py --finish      # writes the table and its provenance

One line per search goes to `runs/race_nasbench201/done.csv` as soon as it has ended, so it can be killed at any moment.
The table holds how the regrets of this project's searches fall, one row per improvement. It holds no architecture and
no accuracy: these are the benchmark's authors' and are not stored.
"""

from __future__ import annotations

import argparse
import datetime
import gzip
import hashlib
import itertools
import json
import os
import time
from dataclasses import replace
from importlib import metadata
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from sklearn.ensemble import RandomForestRegressor
from sklearn.preprocessing import OneHotEncoder

from nasedu import spaces
from nasedu.data import benchmark
from nasedu.files import write_atomically
from nasedu.hardware.about import describe_device
from nasedu.search import EvolutionConfig, SearchConfig, SearchResult, evolution, local_search, random_search

HERE = Path(__file__).parent
DONE = HERE.parent / "runs" / "race_nasbench201" / "done.csv"
SEEDS, BUDGET = range(200), 300
FILE, COLUMNS = HERE / "race_nasbench201.csv.gz", ["strategy", "seed", "evaluation", "regret"]


def forest_search(space, evaluate, settings: SearchConfig, *, seed: int = 0) -> SearchResult:
    """Thompson sampling as notebook 07 writes it: every tree of a forest names one architecture to ask next.

    space: all of its architectures are candidates.
    evaluate: from an architecture to a score.
    settings: of which only the budget counts.
    seed: of the draws.
    """
    rng = np.random.default_rng(seed)
    every = list(itertools.product(*map(range, space.choices)))
    features = OneHotEncoder(dtype=np.float32, sparse_output=False).fit_transform(every)
    start = random_search(space, evaluate, replace(settings, budget=min(20, settings.budget)), seed=seed)
    history, asked = list(start.history), [every.index(record["arch"]) for record in start.history]
    while len(history) < settings.budget:
        forest = RandomForestRegressor(10, random_state=int(rng.integers(2**31)))
        forest.fit(features[asked], [record["score"] for record in history])
        for tree in forest.estimators_[: settings.budget - len(history)]:
            guess = tree.predict(features)
            guess[asked] = -np.inf  # never the same twice
            asked.append(int(rng.choice(np.flatnonzero(guess == guess.max()))))
            history.append({"arch": every[asked[-1]], "score": evaluate(every[asked[-1]])})
    best = max(history, key=lambda record: record["score"])
    return SearchResult(space, best["arch"], best["score"], history)


REGULARISED = EvolutionConfig(20, 1, parents="tournament", k=5, crossover=None, mutation=0.2, ageing=True)
STRATEGIES = {
    "random search": (random_search, SearchConfig()),
    "local search": (local_search, SearchConfig()),
    "evolution": (evolution, EvolutionConfig(20, 10, k=5, mutation=0.2)),
    "regularised evolution": (evolution, REGULARISED),
    "predictor": (forest_search, SearchConfig()),
}


def go_on(minutes: float) -> None:
    """Run what is not in DONE yet; begin no search after so many minutes."""
    torch.set_num_threads(1)
    bench, space, end = benchmark.nasbench201(), spaces.create("nasbench201"), time.monotonic() + 60 * minutes
    evaluate, best = bench.evaluator(space), bench.best()[1]
    lines = DONE.read_text().splitlines(keepends=True) if DONE.exists() else []
    whole = [line for line in lines if line.endswith("\n")]
    write_atomically(DONE, "".join(whole))  # without a row that a kill cut short
    finished = {tuple(line.split(",")[:2]) for line in whole}
    for seed, (name, (strategy, settings)) in itertools.product(SEEDS, STRATEGIES.items()):
        if (name, str(seed)) not in finished and time.monotonic() < end:
            curve = best - np.array(strategy(space, evaluate, replace(settings, budget=BUDGET), seed=seed).anytime())
            falls = np.flatnonzero(np.diff(curve, prepend=np.inf))
            with DONE.open("a") as out:
                out.write(",".join([name, str(seed), *(f"{i + 1}:{curve[i]:.5f}" for i in falls)]) + "\n")


def finish() -> None:
    """Write one row per improvement: after which evaluation the best regret so far fell, and to what."""
    found = {tuple(line.split(",")[:2]): line.split(",")[2:] for line in DONE.read_text().splitlines()}
    every = list(itertools.product(STRATEGIES, SEEDS))
    if lacking := [key for key in every if (key[0], str(key[1])) not in found]:
        raise SystemExit(f"{len(lacking)} of {len(every)} searches are missing: run without --finish first")
    rows = [(*key, *fall.split(":")) for key in every for fall in found[key[0], str(key[1])]]
    text = pd.DataFrame(rows, columns=COLUMNS).to_csv(index=False, lineterminator="\n")
    write_atomically(FILE, gzip.compress(text.encode(), mtime=0))
    table = Path(os.environ["NASEDU_DATA"]) / "nb201" / "nb201.csv.gz"
    made = {"made_by": "datasets/race_nasbench201.py", "date": datetime.date.today().isoformat(), "threads": 1}
    versions = {name: metadata.version(name) for name in ("numpy", "scikit-learn")}
    meta = {
        "searched": "NAS-Bench-201 (Dong and Yang, ICLR 2020), CIFAR-10 test accuracy after 200 epochs, by its authors",
        "sha256": hashlib.sha256(gzip.decompress(table.read_bytes())).hexdigest(),
        "regret": "percentage points below the best of 15,625 cells",
        "seeds": len(SEEDS),
        "budget": BUDGET,
        "strategies": {name: f"{strategy.__name__}: {settings}" for name, (strategy, settings) in STRATEGIES.items()},
        "provenance": made | describe_device() | versions,
    }
    write_atomically(FILE.with_name("race_nasbench201.json"), json.dumps(meta, indent=1) + "\n")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--finish", action="store_true", help="write the table")
    parser.add_argument("--minutes", type=float, default=1e9, help="begin no search after so long")
    arguments = parser.parse_args()
    finish() if arguments.finish else go_on(arguments.minutes)
