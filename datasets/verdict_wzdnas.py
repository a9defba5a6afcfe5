"""Makes `verdict_wzdnas.csv`: what notebook 14 finds with three seeds, beside random and hand-designed networks.

    python datasets/verdict_wzdnas.py --minutes 30   # goes on where it was; two at once share the work; see below
    python datasets/verdict_wzdnas.py --finish       # times all networks in turns, and writes the table: 10 minutes

A seed does what the notebook does at preset quick: it makes its own images, warms up its own supernet, searches by the
stored PyTorch latency table, and trains the searched, the hand-designed and a random network of equal FLOPs. Two more
descend with a latency that weighs ten times as much: `fast`, and `onnx`, which is priced in ONNX Runtime. Random
networks beyond the seeds' own are timed alone. About 35 minutes a seed on one core; `fast` is trained last, 10 minutes
more each, and may be left out. Whatever runs keeps a state, so it can be killed at any moment.
"""

from __future__ import annotations

import argparse
import datetime
import json
import statistics
import time
import warnings
from dataclasses import replace
from pathlib import Path

import pandas as pd
import torch
from filelock import FileLock, Timeout

from nasedu import data, deploy, spaces, tables, wzdnas
from nasedu.course.parameters import read_presets
from nasedu.detection import evaluate
from nasedu.files import write_atomically
from nasedu.hardware.about import describe_device
from nasedu.hardware.latency import NoisyMeasurement, measure, measure_onnx
from nasedu.randomness import rng
from nasedu.search import DescentConfig, descend
from nasedu.spaces.base import Arch
from nasedu.task import fit

HERE = Path(__file__).parent
SEEDS, TRAINED, EXTRA = (0, 1, 2), ("hand-designed", "random", "searched"), ("fast",)
FAST = 10  # times the published weight of latency
DESCENT = {"steps": 3000, "every": 300}  # of `fast` and `onnx`, on the last map of the seed's search
RANDOM = 9  # networks of equal FLOPs that are timed, the seeds' own among them
ROUNDS, REPEATS = 12, 10  # each round times every network once; a time is the median of so many runs
IMAGE = 128  # pixels, where the preset leaves them to the data


class Seed:
    """The images, space, tables and target of one seed, as the notebook makes them."""

    def __init__(self, seed: int, cfg: dict, runs: Path):
        self.seed, self.cfg, self.runs = seed, cfg, runs
        options = {"seed": seed, "image_size": cfg["image_size"] or IMAGE}
        self.train, self.test = (
            data.detection(cfg["dataset"], part, size=cfg[f"{part}_size"], **options) for part in ("train", "test")
        )
        options = {"template": cfg["template"], "semantics": cfg["semantics"], "image_size": options["image_size"]}
        options["num_classes"] = len(self.train.classes)
        ratio = wzdnas.RECIPES[cfg["recipe"]].ratio
        anchors = wzdnas.anchors_for(self.train, spaces.create("yolo", **options), ratio=ratio)
        self.space = spaces.create("yolo", **options, anchors=anchors.tolist())
        self.latency = {b: tables.stored(self.space, "latency_ms", b) for b in ("torch", "onnxruntime")}
        self.costs = wzdnas.cost_tables(self.space, self.latency["torch"])
        self.goal = wzdnas.read_goal(cfg["target"], self.costs)
        self.target = self.goal.value

    def recipe(self, epochs: int, **changes) -> wzdnas.detector.DetectorConfig:
        """The preset's, for digits."""
        return wzdnas.recipe(self.cfg["recipe"], epochs=epochs, flip=False, precision=self.cfg["precision"], **changes)

    def search(self) -> dict[str, Arch]:
        """What the seed's supernet finds, by kind."""
        cfg, state = self.cfg, {"seed": self.seed}
        warm = self.recipe(cfg["warmup_epochs"], batch_size=cfg["warmup_batch_size"], iou="iou")
        task = wzdnas.detection_task(self.space, warm, self.train, seed=self.seed)
        supernet = self.space.supernet(seed=self.seed)
        state["state"] = self.runs / f"warm-up {self.seed}.pt"
        wzdnas.warm_up(self.space, supernet, task, warm.training, mode=cfg["warmup"], **state)
        images, _ = next(replace(task, batch_size=cfg["map_batch_size"]).batches("train", 0))
        steps = {"steps": cfg["search_steps"], "every": cfg["map_every"]}
        config = wzdnas.WZDNASConfig(**steps, target=self.target, proxy=cfg["proxy"])
        state["state"] = self.runs / f"search {self.seed}.pt"
        descent, scores = wzdnas.search(self.space, supernet, images, self.costs, config, **state)
        found = {"searched": self.derive(descent, config), "fast": self.descend(scores, self.costs)}
        if onnx := self.latency["onnxruntime"]:
            found["onnx"] = self.descend(scores, self.costs | {"latency": onnx})
        return found

    def descend(self, scores: tables.LookupTable, costs: dict) -> Arch:
        """What descends on a map that stays as it is, with a latency that weighs more."""
        weights = replace(wzdnas.PUBLISHED, latency=FAST * wzdnas.PUBLISHED.latency)
        budget = wzdnas.four_terms({"zero_cost": scores, **costs}, self.target, weights)
        return self.derive(descend(budget, DescentConfig(**DESCENT), seeds=[self.seed]), DescentConfig())

    def derive(self, descent, config: DescentConfig) -> Arch:
        """The network of a descent, within 3 % of the target."""
        return self.goal.derive(descent.path(config.temperature[1])).arch

    def rivals(self, seed: int) -> dict[str, Arch]:
        """The hand-designed network and a random one that is drawn with a seed."""
        both = wzdnas.contestants(self.space.hand_designed, self.goal, seed=seed)
        return {name: both[name] for name in ("hand-designed", "random")}

    def test_trained(self, arch: Arch, state: Path) -> dict[str, float]:
        """AP and AP50 on the seed's test images after the preset's training."""
        final = self.recipe(self.cfg["train_epochs"], batch_size=self.cfg["batch_size"])
        task = wzdnas.detection_task(self.space, final, self.train, test=self.test, seed=self.seed)
        network = self.space.build(arch, seed=self.seed)
        trained = fit(network, task, final.training, seed=self.seed, state=state)
        scores = evaluate(self.test, task.find(trained.ema, "test"))
        return {"AP": scores.ap, "AP50": scores.ap50}


class Work:
    """The jobs of all seeds: each leaves a JSON file, and only one process at a time does it."""

    def __init__(self, preset: str):
        self.cfg = read_presets("14_wzdnas")[preset]
        self.runs = HERE.parent / "runs" / "verdict_wzdnas" / preset
        self.runs.mkdir(parents=True, exist_ok=True)
        self.made: dict[int, Seed] = {}

    def of(self, seed: int) -> Seed:
        """What belongs to a seed, made once."""
        if seed not in self.made:
            self.made[seed] = Seed(seed, self.cfg, self.runs)
        return self.made[seed]

    def read(self, name: str, seed: int) -> dict | None:
        """What a job has left, if it is done."""
        file = self.runs / f"{name} {seed}.json"
        return json.loads(file.read_text()) if file.exists() else None

    def jobs(self) -> list[tuple[str, int]]:
        """In the order in which they are wanted: a seed's search first, so that another process trains meanwhile."""
        return [(k, s) for s in SEEDS for k in ("search", *TRAINED)] + [(k, s) for k in EXTRA for s in SEEDS]

    def do(self, name: str, seed: int) -> dict:
        """Do a job."""
        one = self.of(seed)
        if name == "search":
            return one.search()
        arch = one.rivals(seed).get(name) or tuple(self.read("search", seed)[name])
        return one.test_trained(arch, self.runs / f"training {name} {seed}.pt")

    def ready(self, name: str, seed: int) -> bool:
        """Whether a job is not done yet, and what it needs is."""
        needs_search = name not in ("search", "hand-designed", "random")
        return self.read(name, seed) is None and not (needs_search and self.read("search", seed) is None)

    def go_on(self, end: float) -> None:
        """Do what is free until nothing is; begin nothing after `end`."""
        while any(self.attempt(*job) for job in self.jobs() if time.monotonic() < end):
            pass

    def attempt(self, name: str, seed: int) -> bool:
        """Do a job unless it is done, not ready, or another process has it."""
        try:
            with FileLock(self.runs / f"{name} {seed}.lock", timeout=0):
                if not self.ready(name, seed):
                    return False
                got = self.do(name, seed)
                write_atomically(self.runs / f"{name} {seed}.json", json.dumps(got))
                print(f"{datetime.datetime.now():%H:%M} seed {seed}, {name}: {got}", flush=True)
                return True
        except Timeout:
            return False

    def networks(self) -> dict[tuple[str, int], Arch]:
        """Every network that is timed, by kind and seed."""
        found = {("random", seed): self.of(SEEDS[0]).rivals(seed)["random"] for seed in range(RANDOM)}
        for seed in SEEDS:
            found["hand-designed", seed] = self.of(seed).rivals(seed)["hand-designed"]
            found |= {(kind, seed): tuple(arch) for kind, arch in self.read("search", seed).items()}
        return found

    def times(self, archs: list[Arch]) -> list[dict[str, list[float]]]:
        """Per round and architecture the milliseconds in PyTorch and of its ONNX file, one thread, in an order drawn
        anew for each round, so that a machine that slows down slows all alike."""
        one, file = self.of(SEEDS[0]), self.runs / "times.json"
        rounds = json.loads(file.read_text()) if file.exists() else []
        networks = {"-".join(map(str, arch)): one.space.build(arch, seed=0) for arch in archs}
        for (name, network), arch in zip(networks.items(), archs, strict=True) if len(rounds) < ROUNDS else ():
            if not (self.runs / f"{name}.onnx").exists():
                image = torch.zeros(1, *one.space.input_shape)
                detector = wzdnas.Detector(one.space, arch, one.train.classes, network)
                deploy.export_detector(detector, self.runs / f"{name}.onnx", image)
        while len(rounds) < ROUNDS:
            times = {}
            for i in rng(0, "order of a round", len(rounds)).permutation(len(networks)):
                name, network = list(networks.items())[i]
                torch_ms = measure(network, one.space.input_shape, repeats=REPEATS)
                onnx_ms = measure_onnx(self.runs / f"{name}.onnx", one.space.input_shape, repeats=REPEATS)
                times[name] = [*(round(x.median, 4) for x in (torch_ms, onnx_ms)), torch_ms.noisy + onnx_ms.noisy]
            rounds.append(times)
            write_atomically(file, json.dumps(rounds))
        return rounds

    def finish(self, out: Path) -> None:
        """Time the networks, and write the table and how it was made."""
        missing = [job for job in self.jobs() if job[0] not in EXTRA and self.read(*job) is None]
        if missing:
            raise SystemExit(f"not done yet: {missing}. Run without --finish first")
        kinds = TRAINED + tuple(kind for kind in EXTRA if all(self.read(kind, seed) for seed in SEEDS))
        networks, rows = self.networks(), []
        for kind in kinds:
            for seed in SEEDS:
                rows += [(kind, seed, name, 0, round(value, 4)) for name, value in self.read(kind, seed).items()]
        rounds = self.times(sorted(set(networks.values())))
        for (kind, seed), arch in networks.items():
            for i, times in enumerate(rounds):
                got = times["-".join(map(str, arch))]
                rows += [(kind, seed, "torch_ms", i, got[0]), (kind, seed, "onnx_ms", i, got[1])]
        table = pd.DataFrame(rows, columns=["kind", "seed", "quantity", "repeat", "value"])
        write_atomically(out / "verdict_wzdnas.csv", table.to_csv(index=False, lineterminator="\n"))
        write_atomically(out / "verdict_wzdnas.json", json.dumps(self.meta(networks, rounds), indent=1) + "\n")

    def setting(self) -> dict:
        """The preset, without what a seed or a machine sets."""
        return {k: v for k, v in self.cfg.items() if v is not None and k not in ("seed", "device", "lookup")}

    def meta(self, networks: dict[tuple[str, int], Arch], rounds: list[dict]) -> dict:
        """How the table was made, and what the networks cost."""
        one, described = self.of(SEEDS[0]), {}
        params = tables.LookupTable.build(one.space, "params")
        for (kind, seed), arch in networks.items():
            cost = {"gflops": round(2e-9 * one.costs["flops"](arch), 6), "params": int(params(arch))}
            cost |= {f"{b}_table_ms": round(table(arch), 4) for b, table in one.latency.items() if table}
            described[f"{kind} {seed}"] = {"arch": "-".join(map(str, arch)), **cost}
        shares = [times[name][2] / 2 for times in rounds for name in times]
        made = {"made_by": "datasets/verdict_wzdnas.py", "date": datetime.date.today().isoformat(), "threads": 1}
        meta = {"space": one.space.name, "fingerprint": one.space.fingerprint, "seeds": SEEDS, "preset": self.setting()}
        meta |= {"target_gflops": 2e-9 * one.target, "test_images": len(one.test), "rounds": ROUNDS, "runs": REPEATS}
        meta |= {"fast_latency_weight": FAST, "descent_of_fast_and_onnx": DESCENT, "random_networks_timed": RANDOM}
        meta |= {"priced_with": {b: table.provenance for b, table in one.latency.items() if table}}
        meta |= {"networks": described, "noisy_share_of_times": round(statistics.mean(shares), 3)}
        return meta | {"provenance": made | describe_device(backend="onnxruntime")}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--finish", action="store_true", help="time the networks and write the table")
    parser.add_argument("--minutes", type=float, default=1e9, help="begin nothing after so long")
    parser.add_argument("--preset", default="quick", help="smoke: a try, which leaves its table in runs/")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore", NoisyMeasurement)  # their share is told
    work = Work(arguments.preset)
    if arguments.finish:
        work.finish(HERE if arguments.preset == "quick" else work.runs)
    else:
        work.go_on(time.monotonic() + 60 * arguments.minutes)
