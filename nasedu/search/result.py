"""What every search ends in."""

from __future__ import annotations

from dataclasses import dataclass, field

from nasedu.spaces.base import Arch


@dataclass
class SearchResult:
    """`best` architecture, its `score` (higher is better), and one record per step in `history`."""

    best: Arch
    score: float
    history: list[dict] = field(default_factory=list)
    seconds: float = 0.0

    def frame(self):
        """The history as a pandas DataFrame, one row per record."""
        import pandas as pd

        return pd.DataFrame(self.history)
