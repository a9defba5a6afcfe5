"""Makes `frontier_trained.csv.gz`: some of the front that one supernet drew, trained from scratch.

    python datasets/frontier_trained.py            # goes on where it was; `--share 0/2` and `--share 1/2` side by side
    python datasets/frontier_trained.py --finish   # writes the table and its provenance beside this script

Networks of the front of `frontier_digits`, by one table of latency and by another one, evenly spread over it; beside
each, random ones of the same latency; and the hand-designed network at several widths. They are trained and tested as
the detectors of `detectors_digits`; nothing was chosen on the images that test them.
"""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
from detectors_digits import TRUTH
from truth import each_once

from nasedu import spaces, tables
from nasedu.randomness import rng
from nasedu.search.pareto import efficient

JUDGED, BACKENDS = Path(__file__).with_name("frontier_digits.csv.gz"), ("torch", "onnxruntime")
CHOSEN, RIVALS = 6, 1  # networks of a front; random ones beside each: more networks tell more than more seeds


def chosen(space: spaces.SearchSpace) -> dict[str, list[str]]:
    """What is trained, by kind: "front torch", "random torch", ..., "hand-designed".

    space: of all of them.
    """
    judged = pd.read_csv(JUDGED)
    judged = judged[~judged.known]
    found: dict[str, list[str]] = {}
    for backend in BACKENDS:
        latency = tables.stored(space, "latency_ms", backend)
        costs = [latency(space.parse(text)) for text in judged.arch]
        front = efficient(costs, judged.one_shot_fair)
        places = np.linspace(0, len(front) - 1, CHOSEN).round().astype(int)
        best = [judged.arch.iloc[front[place]] for place in places]
        draw = rng(0, "rivals", backend)
        alike = [tables.within(latency, latency(space.parse(text))) for text in best]
        found[f"front {backend}"] = best
        found[f"random {backend}"] = [space.in_line(c.sample(draw)) for c in alike for _ in range(RIVALS)]
    depths, widths = space.hand_designed[1::2], range(space.choices[0])
    hands = [tuple(x for depth in depths for x in (width, depth)) for width in widths]
    return found | {"hand-designed": [space.in_line(hand) for hand in hands]}


if __name__ == "__main__":
    replace(TRUTH, name="frontier_trained", archs=each_once(chosen), chosen=chosen, like=(TRUTH.name,)).main(__doc__)
