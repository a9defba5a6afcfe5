"""Makes `ablation_searches.csv.gz`: what eight searches of one arm found, trained with two seeds each, for two arms.

    python datasets/ablation_searches.py            # goes on where it was; `--share 0/2` and `--share 1/2` side by side
    python datasets/ablation_searches.py --finish   # writes the table and its provenance beside this script

So the variance of a search can be told from that of a training: without a warm-up, and with the published one, both
with NASWOT's map and the latency term. Trained as the detectors of `detectors_digits`.
"""

from dataclasses import replace

import pandas as pd
from ablation_trained import FOUND
from detectors_digits import TRUTH
from truth import each_once

from nasedu import spaces

ARMS, EVERY = {"none, latency": "none", "train, latency": "train"}, 5  # of forty searches each


def chosen(space: spaces.SearchSpace) -> dict[str, list[str]]:
    """What every fifth search of an arm found, half of them on each of two supernets."""
    frame = pd.read_csv(FOUND, dtype={"arch": str})
    frame = frame[(frame.proxy == "naswot") & (frame.semantics == "sliced") & frame.latency_term]
    kept = {}
    for name, warmup in ARMS.items():
        texts = frame[frame.warmup == warmup].sort_values("seed").arch[::EVERY]
        kept[name] = [space.in_line(tuple(map(int, text))) for text in texts]
    return kept


if __name__ == "__main__":
    like = (TRUTH.name, "ablation_trained")
    replace(TRUTH, name="ablation_searches", archs=each_once(chosen), chosen=chosen, seeds=(0, 1), like=like).main(
        __doc__
    )
