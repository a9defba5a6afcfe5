"""What the scripts of stored truths share: networks trained to the end, one line for each, and the table of them.

A script declares a `Truth` and calls `main`: without options it trains what is not done yet, with `--finish` it writes
the table and its provenance beside itself.
"""

from __future__ import annotations

import argparse
import csv
import datetime
import io
import itertools
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import pandas as pd
import torch
from torch.nn import functional as F

from nasedu import data, spaces, wzdnas
from nasedu.files import content_hash, write_atomically
from nasedu.hardware.about import describe_device
from nasedu.modules import evaluation_mode
from nasedu.randomness import stream
from nasedu.tables import LookupTable
from nasedu.task import Task, fit
from nasedu.wzdnas.best import BestEpoch

HERE = Path(__file__).parent
PARTS = ("train", "val", "test")
PACKED = {"method": "gzip", "mtime": 0}  # the same bytes on every day


@dataclass(frozen=True)
class Truth:
    """Which networks are trained, on what, and how.

    name: of the table and its script.
    space: its name and options.
    archs: from the space to the texts of its networks.
    task: options of `data.classification`.
    training: images, epochs, batch_size, lr and betas of the training.
    budgets: epochs after which networks are judged.
    seeds: one training each.
    draws: of the distortion of every image, by part; more of them, more images.
    like: finished tables of the same training, whose results are taken over.
    chosen: from the space to what its networks were chosen for: texts by name, which join the provenance.
    """

    name: str
    space: tuple[str, dict]
    archs: object
    task: dict
    training: dict
    budgets: tuple[int, ...]
    seeds: tuple[int, ...] = (0, 1, 2)
    draws: dict = field(default_factory=dict)
    like: tuple[str, ...] = ()
    chosen: Callable[[spaces.SearchSpace], dict[str, list[str]]] | None = None

    @property
    def columns(self) -> list[str]:
        scores = [f"{part}_{epochs}" for part in ("val", "test") for epochs in self.budgets]
        return ["arch", "seed", *scores, "seconds"]

    @property
    def done(self) -> Path:
        """The rows so far. They stand beside the script, so that a checkout can take them along; `finish` ends that."""
        return HERE / f"{self.name}.rows.csv"

    def row_files(self) -> list[Path]:
        return sorted(HERE.glob(f"{self.name}.rows*.csv"))

    def rows(self) -> pd.DataFrame:
        """All whole rows so far, of every share. An architecture of digits alone is a text, too."""
        texts = ["".join(self.whole_rows(path)) for path in self.row_files()]
        own = [pd.read_csv(io.StringIO(text), dtype={"arch": str}) for text in texts]
        return pd.concat([*own, *(part for name in self.like for part in self.taken_over(name))])

    def taken_over(self, name: str) -> Iterator[pd.DataFrame]:
        """The rows of a finished table, seed by seed."""
        table = pd.read_csv(HERE / f"{name}.csv.gz", dtype={"arch": str})
        for seed in self.seeds:
            scores = {c: table[f"{c}_s{seed}"] / 100 for c in self.columns[2:-1] if f"{c}_s{seed}" in table}
            if scores:
                yield pd.DataFrame({"arch": table.arch, "seed": seed} | scores | {"seconds": table.seconds})

    def made_space(self) -> spaces.SearchSpace:
        name, options = self.space
        return spaces.create(name, **options)

    def parts(self) -> dict:
        """The three splits of the task."""
        size = {"train": self.training["images"], "val": None, "test": None}
        found = {}
        for part, most in size.items():
            drawn = [
                data.classification("digits", part, size=most, seed=seed, **self.task)
                for seed in range(self.draws.get(part, 1))
            ]
            images, labels = torch.cat([d.images for d in drawn]), torch.cat([d.labels for d in drawn])
            found[part] = replace(drawn[0], images=images, labels=labels)
        return found

    def train_one(self, space: spaces.SearchSpace, text: str, seed: int, parts: dict) -> list:
        """Train one network; the row of the table."""
        start = time.perf_counter()
        scores = self.scores(space, text, seed, parts)
        seconds = round(time.perf_counter() - start, 3)
        return [text, seed, *(scores[column] for column in self.columns[2:-1]), seconds]

    def scores(self, space: spaces.SearchSpace, text: str, seed: int, parts: dict) -> dict[str, float]:
        """What a trained network gets right on validation and test, after every budget."""
        scores: dict[str, float] = {}

        def judge(epoch: int, network: torch.nn.Module) -> None:
            if epoch in self.budgets:
                scores.update({f"{part}_{epoch}": correct(network, parts[part]) for part in ("val", "test")})

        self.trained(space.build(space.parse(text), seed=seed), parts["train"], seed, judge)
        return scores

    def trained(
        self,
        network: torch.nn.Module,
        images: data.ImageSet,
        seed: int,
        after: Callable[[int, torch.nn.Module], None] = lambda epoch, network: None,
    ) -> torch.nn.Module:
        """The network, trained on the images; `after(epoch, network)` is called after every epoch."""
        batch_size = self.training["batch_size"]
        steps, lr = len(images) // batch_size, self.training["lr"]
        optimizer = torch.optim.AdamW(network.parameters(), lr, betas=self.training["betas"], fused=True)
        one_cycle = torch.optim.lr_scheduler.OneCycleLR(optimizer, lr, steps * self.training["epochs"] + 1)
        generator = stream(seed, "order")
        for epoch in range(1, self.training["epochs"] + 1):
            order = torch.randperm(len(images), generator=generator)
            for batch in order[: steps * batch_size].view(steps, -1):
                loss = F.cross_entropy(network(images.images[batch]), images.labels[batch])
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                one_cycle.step()
            after(epoch, network)
        return network

    def percent(self, score: float, part: object) -> float:
        """A score as the table has it."""
        return 100 * score / len(part)

    def whole_rows(self, path: Path) -> list[str]:
        """The lines of a table so far, its head first, without a row that was cut short or is being written."""
        lines = path.read_text().splitlines(keepends=True) if path.exists() else []
        # a line is a row, and what is cut short has fewer cells
        whole = [x for x in lines[1:] if x.endswith("\n") and len(next(csv.reader([x]), [])) == len(self.columns)]
        return [",".join(self.columns) + "\n", *whole]

    def go_on(self, minutes: float, share: tuple[int, int] = (0, 1)) -> None:
        """Train what is not done yet: of every `share[1]` trainings the one of `share[0]`, for so many minutes."""
        torch.set_num_threads(1)
        space, parts, end = self.made_space(), self.parts(), time.monotonic() + 60 * minutes
        done = self.done.with_stem(f"{self.name}.rows_{share[0]}of{share[1]}") if share[1] > 1 else self.done
        write_atomically(done, "".join(self.whole_rows(done)))
        finished = set(self.rows()[["arch", "seed"]].itertuples(index=False, name=None))
        asked = itertools.islice(itertools.product(self.archs(space), self.seeds), share[0], None, share[1])
        with done.open("a", newline="") as out:
            for text, seed in asked:
                if (text, seed) not in finished and time.monotonic() < end:
                    csv.writer(out, lineterminator="\n").writerow(self.train_one(space, text, seed, parts))
                    out.flush()

    def finish(self) -> None:
        """Write one row per network: accuracies of each seed (%), params, MACs, seconds of the fastest training."""
        space, parts = self.made_space(), self.parts()
        wanted = set(self.archs(space))
        rows = self.rows().drop_duplicates(["arch", "seed"]).sort_values(["arch", "seed"])
        rows = rows[rows.arch.isin(wanted)]
        counts = rows.groupby("arch").seed.count()
        if set(counts.index) != wanted or set(counts) != {len(self.seeds)}:
            raise SystemExit(f"{len(rows)} of {len(wanted) * len(self.seeds)} trainings are done: go on first")
        tables = {metric: LookupTable.build(space, metric) for metric in ("params", "macs")}
        table = []
        for text, group in rows.groupby("arch", sort=False):
            row = {"arch": text} | {metric: int(t(space.parse(text))) for metric, t in tables.items()}
            for column in self.columns[2:-1]:
                part = parts[column.split("_")[0]]
                shares = zip(group.seed, group[column], strict=True)
                row |= {f"{column}_s{s}": f"{self.percent(n, part):.2f}" for s, n in shares}
            table.append(row | {"seconds": round(group.seconds.min(), 2)})  # others shared the machine
        frame = pd.DataFrame(table).sort_values("arch")
        frame.to_csv(HERE / f"{self.name}.csv.gz", index=False, compression=PACKED)
        made = {"made_by": f"datasets/{self.name}.py", "date": datetime.date.today().isoformat(), "threads": 1}
        name, options = self.space
        meta = {"space_name": name, "space": options, "fingerprint": space.fingerprint}
        meta |= {"task": {"name": "digits", **self.task}, "training": self.training, "budgets": self.budgets}
        meta |= {"chosen": self.chosen(space)} if self.chosen else {}
        text = json.dumps(meta | {"seeds": self.seeds, "provenance": made | describe_device()}, indent=1)
        write_atomically(HERE / f"{self.name}.json", text + "\n")
        for path in self.row_files():
            path.unlink()

    def main(self, doc: str, argv: list[str] | None = None) -> None:
        """What the script does on the command line."""
        parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
        parser.add_argument("--finish", action="store_true", help="write the table")
        parser.add_argument("--minutes", type=float, default=1e9, help="stop after so long")
        parser.add_argument("--share", default="0/1", help="i/n: every n-th training, from the i-th on")
        given = parser.parse_args(argv)
        part, of = map(int, given.share.split("/"))
        self.finish() if given.finish else self.go_on(given.minutes, (part, of))


@dataclass(frozen=True)
class DetectorTruth(Truth):
    """The same for detectors: average precision (%) of the averaged weights, by the recipe `short`.

    Those stay below runs/, each as a detector that `wzdnas.load` reads.

    flip: whether images may be mirrored; digits may not.
    """

    flip: bool = False

    @property
    def options(self) -> dict:
        """Of the data: what is the task's and not the training's."""
        return {key: value for key, value in self.task.items() if key not in PARTS}

    def parts(self) -> dict:
        return {part: data.detection("digits", part, size=self.task[part], seed=0, **self.options) for part in PARTS}

    def scores(self, space: spaces.SearchSpace, text: str, seed: int, parts: dict) -> dict[str, float]:
        """Average precision on validation and test, after every budget."""
        recipe = wzdnas.recipe("short", flip=self.flip, **self.training)
        task = wzdnas.detection_task(space, recipe, parts["train"], val=parts["val"], test=parts["test"], seed=seed)
        judge, arch = _Budgets(task, self.budgets), space.parse(text)
        trained = fit(space.build(arch, seed=seed), task, recipe.training, judge, seed=seed)
        detector = wzdnas.Detector(space, arch, parts["train"].classes, trained.ema)
        detector.save(self.folder(text, seed))
        return judge.scores

    def folder(self, text: str, seed: int) -> Path:
        """Where the trained detector of an architecture stays."""
        return HERE.parent / "runs" / self.name / content_hash([text, seed])

    def percent(self, score: float, part: object) -> float:
        return 100 * score


class _Budgets(BestEpoch):
    """Judges the averaged network at some epochs, and keeps no weights."""

    def __init__(self, task: Task, budgets: tuple[int, ...]):
        super().__init__(task)
        self.budgets, self.scores = budgets, {}

    def after(self, epoch: int, epochs: int, model: torch.nn.Module) -> dict[str, float]:
        if epoch in self.budgets:
            self.scores |= {f"{part}_{epoch}": self.task.score(model, part) for part in ("val", "test")}
        return {}


def each_once(chosen: Callable) -> Callable[[spaces.SearchSpace], list[str]]:
    """The networks that `chosen` names, those with several reasons once; see `Truth`."""
    return lambda space: list(dict.fromkeys(text for texts in chosen(space).values() for text in texts))


def correct(network: torch.nn.Module, images: data.ImageSet) -> int:
    """How many images the network gets right."""
    with evaluation_mode(network), torch.inference_mode():
        return int((network(images.images).argmax(1) == images.labels).sum())
