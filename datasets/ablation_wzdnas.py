"""Makes `ablation_wzdnas.csv.gz` and `ablation_maps.csv.gz`: zero-cost maps of all arms, what searches on them find.

    python datasets/ablation_wzdnas.py            # goes on where it was; `--share 0/2` and `--share 1/2` side by side
    python datasets/ablation_wzdnas.py --finish   # writes the table and its provenance beside this script

An arm is a warm-up, a proxy, a semantics of the supernet, and the latency term on or off. A supernet is warmed up once
for each warm-up, semantics and initialisation, and kept below runs/; a zero-cost map is made of it under the uniform
architecture; then twenty seeds descend on the map and the tables at once, to the hand-designed network's FLOPs. The map
stays as it is meanwhile, so that a search takes seconds. `datasets/ablation_trained.py` trains what some arms found.
"""

from __future__ import annotations

import argparse
import datetime
import itertools
import json
import time
from dataclasses import replace
from functools import cache
from pathlib import Path

import pandas as pd
import torch
from detectors_digits import TRUTH
from truth import PACKED

from nasedu import sampling, spaces, tables, wzdnas
from nasedu.errors import TableError
from nasedu.files import write_atomically
from nasedu.hardware.latency import describe_device
from nasedu.search import DescentConfig, descend
from nasedu.spaces.base import Network
from nasedu.storage import load_state, save_state
from nasedu.task import fit

HERE = Path(__file__).parent
RUNS = HERE.parent / "runs" / "ablation_wzdnas"
WARMUPS = ("none", "bn_only", "train", "factorised", "sandwich")
PROXIES = ("naswot", "snip", "synflow", "zico", "random", "none")
SEMANTICS, LATENCY, SUPERNETS, SEEDS = ("sliced", "faithful"), (False, True), 2, 20
EPOCHS, BATCH = {"sandwich": 1}, 16  # of a warm-up; a step of the sandwich rule runs four networks
USUAL = 4  # epochs of all others
MAP_BATCH, DESCENT = 16, DescentConfig(steps=3000, every=3000)


@cache
def space(semantics: str) -> spaces.SearchSpace:
    name, options = TRUTH.space
    return spaces.create(name, **options, semantics=semantics)


@cache
def images() -> dict:
    return TRUTH.parts()


def task(semantics: str, seed: int, batch_size: int = BATCH, epochs: int = USUAL) -> tuple:
    """The recipe of a warm-up, and what it learns."""
    recipe = wzdnas.recipe("short", epochs=epochs, flip=False, batch_size=batch_size, iou="iou")
    return recipe, wzdnas.detection_task(space(semantics), recipe, images()["train"], seed=seed)


def supernet(warmup: str, semantics: str, seed: int, epochs: int | None = None) -> Network:
    """A supernet after its warm-up, from a file where it was made before.

    epochs: of its warm-up; None: as many as in the ablation.
    """
    epochs = epochs or EPOCHS.get(warmup, USUAL)
    made, file = space(semantics).supernet(seed=seed), RUNS / f"{warmup}-{semantics}-{seed}-{epochs}.pt"
    if file.exists():
        made.load_state_dict(load_state(file, "supernet"))
        return made.eval()
    recipe, learnt = task(semantics, seed, epochs=epochs)
    start = time.perf_counter()
    if warmup == "sandwich":
        step = sampling.supernet_step(space(semantics), sampling.create("sandwich", space(semantics)), learnt)
        made.load_state_dict(fit(made, learnt, recipe.training, step, seed=seed).ema.state_dict())
        wzdnas.warm_up(space(semantics), made, learnt, recipe.training, mode="bn_only")
    else:
        wzdnas.warm_up(space(semantics), made, learnt, recipe.training, mode=warmup, seed=seed)
    print(f"{datetime.datetime.now():%H:%M} {file.stem}: {time.perf_counter() - start:.0f} s", flush=True)
    save_state(file, made.state_dict(), "supernet")
    return made.eval()


def scores(warmup: str, semantics: str, seed: int, proxy: str) -> tables.LookupTable:
    """The zero-cost map of a supernet under the uniform architecture."""
    net, (_, learnt) = supernet(warmup, semantics, seed), task(semantics, seed, MAP_BATCH)
    pixels, objects = next(learnt.batches("train", 0))
    path = sampling.softmax(sampling.uniform_logits(space(semantics).choices))
    half = len(pixels) // 2

    def loss(model: Network) -> torch.Tensor:
        if proxy != "zico":
            return learnt.loss(model(pixels, path), objects)["total"]
        second = objects[objects[:, 0] >= half].clone()
        second[:, 0] -= half
        halves = ((pixels[:half], objects[objects[:, 0] < half]), (pixels[half:], second))
        return torch.stack([learnt.loss(model(x, path), y)["total"] for x, y in halves])

    return wzdnas.zero_cost_map(space(semantics), net, path, pixels, proxy, loss, seed=seed)


def search(owner: tables.LookupTable, latency: bool, seed: int) -> list[dict]:
    """What twenty seeds of a descent on a map find."""
    made = owner.space
    priced = wzdnas.cost_tables(made, tables.stored(space("sliced"), "latency_ms"))
    goal = wzdnas.read_goal("hand", priced)
    kept = {name: replace(table, space=made) for name, table in priced.items() if latency or name != "latency"}
    start = time.perf_counter()
    budget = wzdnas.four_terms({"zero_cost": owner, **kept}, goal)
    descent = descend(budget, DESCENT, seeds=range(seed * SEEDS, (seed + 1) * SEEDS))
    seconds = (time.perf_counter() - start) / SEEDS
    rows = []
    for i, name in enumerate(range(seed * SEEDS, (seed + 1) * SEEDS)):
        derived = goal.derive(descent.path(DESCENT.temperature[1], seed=i))
        costs = {key: f"{table(derived.arch):.6g}" for key, table in priced.items()}
        found = {"seed": name, "arch": "".join(map(str, derived.arch)), **costs, "score": f"{owner(derived.arch):.6g}"}
        rows.append({"latency_term": latency} | found | {"seconds": f"{seconds:.3f}"})
    return rows


def go_on(end: float, share: int, shares: int) -> None:
    """Search with what was not searched with yet; one file for each supernet and proxy."""
    RUNS.mkdir(parents=True, exist_ok=True)
    supernets = list(itertools.product(range(SUPERNETS), SEMANTICS, WARMUPS))[share::shares]
    for (seed, semantics, warmup), proxy in itertools.product(supernets, PROXIES):
        file = RUNS / f"{warmup}-{semantics}-{seed}-{proxy}.json"
        if file.exists() or time.monotonic() > end:
            continue
        arm: dict = {"warmup": warmup, "semantics": semantics, "supernet": seed, "proxy": proxy}
        try:
            made = scores(warmup, semantics, seed, proxy)
        except TableError as error:  # a score is not finite, as the published ones are not without a warm-up
            arm["error"] = str(error)
        else:
            arm["map"] = [[float(f"{v:.6g}") for v in entry.flatten().tolist()] for entry in made.entries]
            arm["found"] = [row for latency in LATENCY for row in search(made, latency, seed)]
        write_atomically(file, json.dumps(arm))


def finish() -> None:
    """Write both tables and their provenance."""
    arms = [json.loads(file.read_text()) for file in sorted(RUNS.glob("*.json"))]
    wanted = SUPERNETS * len(SEMANTICS) * len(WARMUPS) * len(PROXIES)
    if len(arms) != wanted:
        raise SystemExit(f"{len(arms)} of {wanted} arms are done: go on first")
    own = [{key: arm[key] for key in ("warmup", "semantics", "supernet", "proxy")} for arm in arms]
    found = [name | row for name, arm in zip(own, arms, strict=True) for row in arm.get("found", [])]
    maps = []
    for name, arm in zip(own, arms, strict=True):
        for group, entry in enumerate(arm.get("map", [])):
            maps += [name | {"group": group, "option": i, "score": value} for i, value in enumerate(entry)]
    for stem, rows in (("ablation_wzdnas", found), ("ablation_maps", maps)):
        pd.DataFrame(rows).to_csv(HERE / f"{stem}.csv.gz", index=False, compression=PACKED)
    made = {"made_by": "datasets/ablation_wzdnas.py", "date": datetime.date.today().isoformat()}
    meta = {
        "space": TRUTH.space,
        "task": TRUTH.task,
        "warm-up epochs": {"usual": USUAL} | EPOCHS,
        "batch": BATCH,
        "map batch": MAP_BATCH,
    }
    failed = [name | {"error": arm["error"]} for name, arm in zip(own, arms, strict=True) if "error" in arm]
    meta |= {"descent": {"steps": DESCENT.steps}, "failed": failed, "provenance": made | describe_device()}
    write_atomically(HERE / "ablation_wzdnas.json", json.dumps(meta, indent=1) + "\n")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--finish", action="store_true", help="write the table")
    parser.add_argument("--minutes", type=float, default=1e9, help="begin nothing after so long")
    parser.add_argument("--share", default="0/1", help="which part of the supernets: 0/2 and 1/2 run side by side")
    given = parser.parse_args()
    torch.set_num_threads(1)
    finish() if given.finish else go_on(time.monotonic() + 60 * given.minutes, *map(int, given.share.split("/")))
