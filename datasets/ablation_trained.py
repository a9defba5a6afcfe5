"""Makes `ablation_trained.csv.gz`: detectors that arms of the ablation found, trained with four seeds each.

    python datasets/ablation_trained.py            # goes on where it was; `--share 0/2` and `--share 1/2` side by side
    python datasets/ablation_trained.py --finish   # writes the table and its provenance beside this script

Of every warm-up, with the latency term and without, the architecture that most searches with NASWOT's map found; beside
them the fastest network of equal FLOPs, the hand-designed one and ten random ones. Trained and tested as the detectors
of `detectors_digits`, two of whose seeds are taken over, but on four seeds.
"""

from dataclasses import replace
from itertools import product
from pathlib import Path

import pandas as pd
from ablation_wzdnas import LATENCY, WARMUPS
from detectors_digits import TRUTH
from detectors_digits import archs as known
from truth import each_once

from nasedu import spaces, tables, wzdnas

FOUND, RANDOM = Path(__file__).with_name("ablation_wzdnas.csv.gz"), 10


def favourites(space: spaces.SearchSpace) -> dict[str, list[str]]:
    """The most frequent architecture of every arm that is trained, by warm-up and latency term."""
    frame = pd.read_csv(FOUND, dtype={"arch": str})
    frame = frame[(frame.proxy == "naswot") & (frame.semantics == "sliced")]
    kept: dict[str, list[str]] = {}
    for warmup, term in product(WARMUPS, LATENCY):
        texts = frame.arch[(frame.warmup == warmup) & (frame.latency_term == term)]
        if len(texts):
            name = f"{warmup}, latency" if term else warmup
            kept[name] = [space.in_line(tuple(map(int, texts.mode()[0])))]
    return kept


def chosen(space: spaces.SearchSpace) -> dict[str, list[str]]:
    """What is trained, by the arm that found it or the reason why."""
    latency = tables.stored(space, "latency_ms")
    goal = wzdnas.read_goal("hand", wzdnas.cost_tables(space, latency))
    faster = replace(latency, metric="speed", own=True, entries=[-entry for entry in latency.entries])
    rivals = {"fastest": [goal.constraint.best(faster)], "hand-designed": [space.hand_designed]}
    found = {name: [space.in_line(arch) for arch in some] for name, some in rivals.items()}
    return favourites(space) | found | {"random": known(space)[1 : RANDOM + 1]}  # the first is the hand-designed one


if __name__ == "__main__":
    rivals = {"archs": each_once(chosen), "chosen": chosen, "seeds": (0, 1, 2, 3), "like": (TRUTH.name,)}
    replace(TRUTH, name="ablation_trained", **rivals).main(__doc__)
