"""What a search hands back, whichever strategy ran it."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field

from nasedu.spaces.base import Arch, SearchSpace


@dataclass
class SearchResult:
    """The best architecture, its score (higher is better) and costs, and the record of the search.

    `history` has a dict per step. Its "score" (-inf for a failure) is what an evaluation said, or what is known of the
    architecture that the search would give if stopped there; gradient search evaluates at its end only, so that only
    the last record has one. Searches that evaluate record index, arch, score, seconds since the start, generation,
    origin ("random", "mutation", "crossover", "neighbour"), error (None or what went wrong) and the value of every
    cost; others add what they like.
    `seconds` is the time of the whole search.
    """

    space: SearchSpace
    best: Arch
    score: float
    history: list[dict] = field(default_factory=list)
    seconds: float = 0.0
    costs: dict[str, float] = field(default_factory=dict)

    def anytime(self) -> list[float]:
        """The best score so far after every step that has one: what the search would have found. Never empty."""
        return list(itertools.accumulate((r["score"] for r in self.history if "score" in r), max)) or [self.score]

    def frame(self):
        """The history as a pandas DataFrame, one row a step; `arch` is one line of text that `space.parse` reads."""
        import pandas as pd

        rows = [r | {"arch": self.space.in_line(r["arch"])} if "arch" in r else r for r in self.history]
        return pd.DataFrame(rows)
