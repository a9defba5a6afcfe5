"""Train what zero-shot searches find, and random networks of the same budget: `verdict_zero_shot.csv.gz`.

    python datasets/verdict_zero_shot.py [--state FOLDER]

Ten seeds. For each: three searches that score equally many structures (by Zen, by multiply-accumulates, by two proxies
whose ranks are combined), one random structure within the same budget, and a short training of all four that starts
from the seed's own weights and order of images. About 40 minutes on one core; killed, it goes on where it was.
"""

from __future__ import annotations

import argparse
import datetime
import json
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from nasedu import classification, data, proxies, search, spaces
from nasedu.hardware.about import describe_device
from nasedu.randomness import rng
from nasedu.spaces import plainnet
from nasedu.task import Classification, fit

HERE = Path(__file__).parent
SEEDS = tuple(range(10))
SPACE = {"blocks": "xxbl", "input_size": 16, "num_classes": 10}
BUDGET = {"params": 100_000, "macs": 3_000_000, "layers": 10}
SEARCH = {"budget": 200, "population": 32, "children": 8, "mutation": "uniform"}
SCORE_BATCH, COMBINED = 16, ("synflow", "jacob_cov")
TASK = {"image_size": 16, "distortion": 1.0, "noise": 0.2}
TRAINING = {"images": 1000, "epochs": 20, "batch_size": 64}
FULL = 0.9  # of a limit that a random network uses at least
COLUMNS = ["seed", "kind", "accuracy", "params", "macs", "layers", "arch"]

space = spaces.create("plainnet", **SPACE)
within = search.PlainBudget(space, **BUDGET)
start = space.parse(plainnet.CIFAR_SEED)


def macs(arch: plainnet.PlainArch) -> float:
    """How many multiply-accumulates an architecture needs."""
    return float(space.cost(arch).macs)


def random_network(seed: int) -> plainnet.PlainArch:
    """A walk of mutations within the budget, 100 steps or more, until parameters or MACs are nearly used up."""
    draws, arch = rng(seed, "random network"), start
    for step in range(10_000):
        child = space.mutate(arch, draws)
        arch = child if within(child) else arch
        used = within.values(arch)
        if step >= 100 and max(used[name] / BUDGET[name] for name in ("params", "macs")) >= FULL:
            break
    return arch


def find(kind: str, seed: int, batch: proxies.Batch, state: Path) -> plainnet.PlainArch:
    """What a kind of search finds with a seed."""
    if kind == "random":
        return random_network(seed)
    names = {"zen": "zen", "combined": COMBINED}
    evaluate = macs if kind == "macs" else search.ZeroCost(space, names[kind], batch, seed=seed)
    combine = "log_rank" if kind == "combined" else None
    settings = search.ZenConfig(start=start, feasible=within, combine=combine, **SEARCH)
    return search.zero_shot(space, evaluate, settings, seed=seed, state=state).best


def main() -> None:
    """Search and train whatever is not in the state yet, then write the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--state", type=Path, default=HERE.parent / "runs" / "verdict_zero_shot")
    state = parser.parse_args().state
    torch.set_num_threads(1)
    train = data.classification("digits", "train", size=TRAINING["images"], **TASK)
    test = data.classification("digits", "test", **TASK)
    batch, rows = proxies.Batch(train.images[:SCORE_BATCH], train.labels[:SCORE_BATCH]), []
    for seed in SEEDS:
        task = Classification(train, test=test, batch_size=TRAINING["batch_size"], seed=seed)
        for kind in ("zen", "macs", "combined", "random"):
            arch = find(kind, seed, batch, state / f"search {kind} {seed}.pt")
            network, settings = space.build(arch, seed=seed), classification.recipe(TRAINING["epochs"])
            trained = fit(network, task, settings, seed=seed, state=state / f"training {kind} {seed}.pt")
            accuracy, cost = 100 * task.score(trained.ema, "test"), space.cost(arch)
            rows.append((seed, kind, accuracy, cost.params, cost.macs, space.depth(arch), space.format(arch)))
            print(*rows[-1][:-1], flush=True)
    write(pd.DataFrame(rows, columns=COLUMNS), len(test))


def write(table: pd.DataFrame, images: int) -> None:
    """One row per seed and kind, and how it was made."""
    table["accuracy"] = np.round(table["accuracy"], 2)
    packed = {"method": "gzip", "mtime": 0}
    table.to_csv(HERE / "verdict_zero_shot.csv.gz", index=False, compression=packed)
    made = {"made_by": "datasets/verdict_zero_shot.py", "date": datetime.date.today().isoformat(), "threads": 1}
    found = {"space": SPACE, "fingerprint": space.fingerprint, "budget": BUDGET, "search": SEARCH, "seeds": SEEDS}
    found |= {"start": plainnet.CIFAR_SEED, "score_batch": SCORE_BATCH, "combined": COMBINED}
    found |= {"task": {"name": "digits", **TASK}, "training": TRAINING, "test_images": images}
    text = json.dumps(found | {"provenance": made | describe_device()}, indent=1)
    (HERE / "verdict_zero_shot.json").write_text(text + "\n")


if __name__ == "__main__":
    main()
