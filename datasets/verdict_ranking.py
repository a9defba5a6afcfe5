"""Makes `verdict_ranking.csv`: how supernets that were taught five priors' order score every different cell.

    python datasets/verdict_ranking.py --minutes 5   # goes on where it was; about two hours on one core in all
    python datasets/verdict_ranking.py --finish      # writes the provenance beside it, once all is done

Every step trains two networks, and all supernets get equally many forward passes over the images. The forms of the
loss are compared with seeds of their own; with the form that ranks best there, five priors are compared with others.
The table gets a line per supernet once it is scored (validation images that it gets right, cell by cell), so the
script can be killed at any moment.
"""

from __future__ import annotations

import csv
import datetime
import itertools
import json
import math
import time
from dataclasses import asdict

import pandas as pd
import torch
from verdict_sampling import BATCH, HERE, JUDGED, Judge, main

from nasedu import classification, data, randomness, ranking, sampling
from nasedu.files import write_atomically
from nasedu.hardware.about import describe_device
from nasedu.search import ZeroCost
from nasedu.tables import LookupTable
from nasedu.task import Classification, fit

DONE = HERE / "verdict_ranking.csv"
PASSES, TUNED, JUDGING = 120, (100, 101, 102), tuple(range(10))  # seeds that choose a form, and that judge it
PRIORS = ("none", "macs", "naswot", "random", "oracle")
FORMS = {  # of the loss, and of the pairs
    "paper": {},
    "public": {"detach": "first", "ties": "first"},
    "light": {"weight": 0.5},
    "linear": {"schedule": "linear"},
    "stages": {"schedule": "stages"},
    "margin": {"margin": 0.1},
    "wide": {"margin": 0.4},
    "light margin": {"weight": 0.5, "margin": 0.1},
    "light wide": {"weight": 0.5, "margin": 0.4},
    "spared": {"detach": "worse"},
    "apart": {"above": 4},
    "gentle": {"weight": 0.5, "schedule": "stages", "detach": "worse"},
}
COLUMNS = ["prior", "form", "seed"]


class Ranked(Judge):
    """What all supernets have in common, with the priors."""

    def priors(self) -> dict:
        """Evaluators by name; the oracle knows the validation accuracies of the truth."""
        batch = data.classification(split="train", size=32, **self.truth.task)
        return {
            "macs": LookupTable.build(self.space, "macs"),
            "naswot": ZeroCost(self.space, "naswot", batch.images),
            "random": lambda arch: float(randomness.rng(0, "random prior", *arch).random()),
            "oracle": self.truth.evaluator(self.space),
        }

    def taught(self, prior: str, form: str, seed: int) -> torch.nn.Module:
        """The supernet after a training with a prior; its averaged weights."""
        task, options = Classification(self.parts[0], batch_size=BATCH, seed=seed), dict(FORMS.get(form, {}))
        above, loss = options.pop("above", 0), None
        if prior == "none":
            sampler = sampling.Uniform(2)
        else:
            sampler = sampling.Pairs(distance=ranking.hamming, above=above)
            loss = ranking.RankingLoss(self.known[prior], **options)
        step = sampling.supernet_step(self.space, sampler, task, ranking=loss)
        return fit(self.space.supernet(seed=seed), task, classification.recipe(PASSES // 2), step, seed=seed).ema

    def __init__(self):
        super().__init__()
        self.known = {name: ranking.Cached(prior) for name, prior in self.priors().items()}


def asked(rows: pd.DataFrame, judge: Ranked):
    """(prior, form, seed) of all supernets: the forms first, for these choose the form of the priors."""
    yield from (("none", "plain", seed) for seed in (*TUNED, *JUDGING))
    yield from itertools.product(("macs", "naswot"), FORMS, TUNED)
    form = chosen(rows, judge)
    if form:
        yield from itertools.product(PRIORS[1:], dict.fromkeys(("paper", form)), JUDGING)


def chosen(rows: pd.DataFrame, judge: Ranked) -> str | None:
    """The form with the highest mean rank correlation with the truth, over both priors; None before all are done."""
    rows = rows[rows.seed.isin(TUNED) & (rows.prior != "none")]
    if len(rows) < 2 * len(FORMS) * len(TUNED):
        return None
    truth = judge.truth.scores("test")[judge.truth.distinct]
    taus = rows[judge.truth.distinct].apply(
        lambda scores: ranking.correlation(scores, truth, resamples=1).value, axis=1
    )
    return str(taus.groupby(rows.form).mean().idxmax())


def read(judge: Ranked) -> pd.DataFrame:
    """The lines so far, without one that a kill cut short."""
    columns = [*COLUMNS, *judge.truth.distinct]
    lines = DONE.read_text().splitlines(keepends=True) if DONE.exists() else []
    whole = [line for line in lines[1:] if line.endswith("\n") and line.count(",") == len(columns) - 1]
    write_atomically(DONE, "".join([",".join(columns) + "\n", *whole]))
    return pd.read_csv(DONE)


def go_on(minutes: float) -> None:
    """Train and score what is not in DONE yet; begin no supernet after so many minutes."""
    torch.set_num_threads(1)
    judge, end = Ranked(), time.monotonic() + 60 * minutes
    while time.monotonic() < end:
        rows = read(judge)
        finished = set(rows[COLUMNS].itertuples(index=False, name=None))
        todo = next((one for one in asked(rows, judge) if one not in finished), None)
        if todo is None:
            return
        scores = judge.score(judge.taught(*todo), todo[2])
        with DONE.open("a", newline="") as out:
            csv.writer(out, lineterminator="\n").writerow([*todo, *scores])


def finish() -> None:
    """Write how the table was made. Ends with a sentence where it is not whole."""
    judge = Ranked()
    rows = read(judge)
    form, finished = chosen(rows, judge), set(rows[COLUMNS].itertuples(index=False, name=None))
    if form is None or not finished >= set(asked(rows, judge)):
        raise SystemExit(f"{len(finished)} supernets are done, not all: run without --finish first")
    known = [judge.space.parse(text) for text in judge.truth.distinct]
    meta = {
        "benchmark": judge.truth.name,
        "fingerprint": judge.space.fingerprint,
        "passes": PASSES,
        "paths_of_a_step": 2,
    }
    meta |= {"forms": FORMS, "chosen": form, "tuned_on": TUNED, "judged_on": JUDGING}
    asked_of = {name: map(prior, known) for name, prior in judge.known.items()}  # NASWOT fails where nothing flows
    meta |= {"priors": {name: [s if math.isfinite(s) else None for s in scores] for name, scores in asked_of.items()}}
    meta |= {"training": asdict(classification.recipe(PASSES // 2)) | {"batch_size": BATCH}, "judged": JUDGED}
    meta |= {"images": dict(zip(("train", "val"), map(len, judge.parts), strict=True))}
    made = {"made_by": "datasets/verdict_ranking.py", "date": datetime.date.today().isoformat(), "threads": 1}
    text = json.dumps(meta | {"provenance": made | describe_device()}, indent=1)
    write_atomically(HERE / "verdict_ranking.json", text + "\n")


if __name__ == "__main__":
    main(__doc__, go_on, finish)
