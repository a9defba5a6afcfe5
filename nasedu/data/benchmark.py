"""Tables of architectures that were all trained: the truth that searches and scores are judged against.

`load("cells_digits")` is this project's own: every one of 729 cells, trained to the end on real digits with three
seeds (`datasets/cells_digits.py` made it). `nasbench201()` reads the published accuracies of NAS-Bench-201's 15,625
cells from the folder that NASEDU_DATA names.
"""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from nasedu import resources
from nasedu.errors import ArchitectureError, DataError, ParameterError, check_has, check_kind, check_name

FOLDER = resources.folder("datasets")
STORED = (
    "cells_digits",
    "resnet48_digits",
    "detectors_digits",
    "ablation_trained",
    "ablation_bccd",
    "ablation_searches",
    "frontier_trained",
)
PARTS = ("val", "test")
UNREADABLE = (OSError, ValueError, KeyError, EOFError, zlib.error)  # what a damaged or cut file ends in


@dataclass(frozen=True)
class Benchmark:
    """One row per architecture in `frame`, indexed by its text; accuracies in percent.

    `space_name` and `space_options` make the space (`spaces.create(space_name, **space_options)`), `task` the images
    (`data.classification(**task, split=...)`), `budgets` are the epochs after which networks were judged, `seeds` those
    of their trainings. `meta` is all that is known of how the table was made.
    """

    name: str
    frame: pd.DataFrame
    space_name: str
    space_options: dict
    task: dict
    budgets: tuple[int, ...]
    seeds: tuple[int, ...]
    meta: dict

    def __len__(self) -> int:
        return len(self.frame)

    @property
    def distinct(self) -> list[str]:
        """One architecture's text for every different training, as far as scores tell.

        Cells that differ only in edges from or to a node that nothing reaches compute the same; trained with the same
        seeds they have the same scores to the last digit. In statistics they are copies, not evidence. Those left may
        still be equal but for the random draws: where one has convolutions on edges that lead nowhere, or where two
        are mirror images of one another.
        """
        return list(self.frame[[c for c in self.frame if c.startswith(PARTS)]].drop_duplicates().index)

    def scores(self, part: str = "test", epochs: int | None = None, seed: int | None = None) -> pd.Series:
        """Accuracy (%) of every architecture. Raises `UnknownName`, `ParameterError`.

        part: "val" or "test".
        epochs: trained for so many; None: the longest.
        seed: of one training; None: the mean of all.
        """
        check_name("part", part, PARTS)
        epochs = self.budgets[-1] if epochs is None else epochs
        if epochs not in self.budgets or (seed is not None and seed not in self.seeds):
            raise ParameterError(
                f"{self.name} has scores after {', '.join(map(str, self.budgets))} epochs with the seeds "
                f"{', '.join(map(str, self.seeds))}, got {epochs} epochs and seed {seed}"
            )
        columns = [f"{part}_{epochs}_s{s}" for s in (self.seeds if seed is None else (seed,))]
        return self.frame[columns].mean(axis=1)

    def score(self, text: str, part: str = "test", epochs: int | None = None, seed: int | None = None) -> float:
        """Accuracy (%) of one architecture. Raises `ArchitectureError` for one that is not there.

        text: the architecture.
        part: as in `scores`.
        epochs: likewise.
        seed: likewise.
        """
        return self._known(self.scores(part, epochs, seed), check_kind("an architecture", text, str, "a text").strip())

    def _known(self, values: Mapping[str, float] | pd.Series, text: str) -> float:
        try:
            return float(values[text])
        except KeyError:
            raise ArchitectureError(f"the benchmark {self.name} has no architecture {text[:80]!r}") from None

    def evaluator(
        self, space, part: str = "val", epochs: int | None = None, seed: int | None = None
    ) -> Callable[[Sequence[int]], float]:
        """An evaluator: from an architecture to its accuracy (%). Raises `ParameterError` for a space of other cells.

        space: whose architectures they are.
        part: searches should look at "val" and be judged on "test".
        epochs: as in `scores`.
        seed: likewise.

        An architecture that the table lacks raises `ArchitectureError`.
        """
        check_has("the space of a benchmark's evaluator", space, ["choices", "in_line"], "one of its own kind")
        values = dict(self.scores(part, epochs, seed))
        ends = [0] * len(space.choices), [n - 1 for n in space.choices]
        whole = space.size == len(self) and all(space.in_line(arch) in values for arch in ends)
        if self.meta.get("fingerprint", space.fingerprint if whole else "") != space.fingerprint:
            raise ParameterError(f"the benchmark {self.name} holds another space than this {space.name}")
        return lambda arch: self._known(values, space.in_line(arch))

    def regret(self, text: str) -> float:
        """Percentage points of mean test accuracy below the best architecture of the table."""
        return self.best()[1] - self.score(text)

    def best(self, part: str = "test") -> tuple[str, float]:
        """The best architecture's text, and its mean accuracy (%)."""
        scores = self.scores(part)
        return str(scores.idxmax()), float(scores.max())


def load(name: str = "cells_digits") -> Benchmark:
    """A benchmark that is stored with the project. Raises `UnknownName`, `DataError`."""
    path = FOLDER / f"{check_name('benchmark', name, STORED)}.csv.gz"
    try:
        meta = json.loads(path.with_name(f"{name}.json").read_text())
        frame = pd.read_csv(path, dtype={"arch": str}).set_index("arch")  # digits alone are no number
        space_name, options, task = (meta[key] for key in ("space_name", "space", "task"))
        return Benchmark(name, frame, space_name, options, task, tuple(meta["budgets"]), tuple(meta["seeds"]), meta)
    except UNREADABLE as error:
        raise DataError(f"the benchmark {name} cannot be read from {path.parent}: {error}") from None


def nasbench201(root: str | Path | None = None) -> Benchmark:
    """NAS-Bench-201 (Dong & Yang, ICLR 2020) on CIFAR-10: the authors' mean test accuracies after 200 epochs.

    Read from `nb201/nb201.csv.gz` in `root`, or in the folder that NASEDU_DATA names. The file has no validation
    accuracies: both parts are the test accuracy. Raises `DataError`.
    """
    folder = Path(root or os.environ.get("NASEDU_DATA") or "")
    path = folder / "nb201" / "nb201.csv.gz"
    if not path.is_file():
        raise DataError(f"NAS-Bench-201 needs the file {path}: set NASEDU_DATA to the folder that holds nb201")
    try:
        stored = pd.read_csv(path).set_index("arch")
        figures = stored[["c10_test_200", "c10_params_M", "c10_flops_M"]].astype(float)
        if not len(figures) or not figures.index.is_unique or not np.isfinite(figures.to_numpy()).all():
            raise ValueError("it needs one row for each cell, whose figures are finite")
        frame = pd.DataFrame({f"{part}_200_s0": figures["c10_test_200"] for part in PARTS})
        frame["params"], frame["macs"] = 1e6 * figures["c10_params_M"], 1e6 * figures["c10_flops_M"] - 10
    except UNREADABLE as error:
        raise DataError(f"NAS-Bench-201 cannot be read from {path}: {error}") from None
    source = "NAS-Bench-201's authors, mean over their seeds"
    return Benchmark("nasbench201", frame, "nasbench201", {}, {"name": "cifar10"}, (200,), (0,), {"source": source})


def proxy_scores() -> dict[int, pd.DataFrame]:
    """This project's zero-cost scores of 200 random cells of NAS-Bench-201, by seed of the initialisation.

    One row per cell's text, one column per proxy, -inf for a failure; `datasets/proxies_nasbench201.py` made them, at
    the benchmark's own size. `nasbench201` has the accuracies to judge them by. Raises `DataError`.
    """
    path = FOLDER / "proxies_nasbench201.csv.gz"
    try:
        stored = pd.read_csv(path, index_col="cell")
        return {int(seed): frame.drop(columns="seed") for seed, frame in stored.groupby("seed")}
    except UNREADABLE as error:
        raise DataError(f"the stored scores cannot be read from {path}: {error}") from None
