"""The search of WZDNAS, moved by its target and its latency weight."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from nasedu import plots
from nasedu.search.descent import DescentConfig, descend
from nasedu.tables import derive
from nasedu.tables.table import LookupTable
from nasedu.widgets.base import PictureWidget, slider
from nasedu.wzdnas import PUBLISHED, four_terms


class SearchWidget(PictureWidget):
    """Moves the FLOPs target and the latency weight of WZDNAS's phase 2 and searches again at once.

    Sliders: `target`, the FLOPs in % of the reachable range, and `latency`, a multiple of the published weight.
    `derived` holds the latest result, None where the target is out of reach.

    Args:
        tables: for the terms zero_cost, flops (in MACs), depth and, where there is one, latency; all stay as they are,
            the zero-cost map too, so that a search of 3,000 steps takes about a second.
        target: at first.
        seed: of the search.
        steps: of the search.
    """

    def __init__(self, tables: Mapping[str, LookupTable], *, target: float = 40.0, seed: int = 0, steps: int = 3000):
        self.tables, self.seed = dict(tables), seed
        self.config = DescentConfig(steps=steps, every=max(1, steps // 40))
        self.target = slider("FLOPs target (% of range)", float(target), 0, 100)
        self.latency = slider("latency weight (× published)", 1.0, 0, 10, 0.5)
        self.latency.disabled = "latency" not in self.tables
        super().__init__(self.target, self.latency)

    def draw(self) -> tuple[plots.Picture, str]:
        """Search as the sliders say; the derived architecture, and a sentence."""
        flops = self.tables["flops"]
        low, high = flops.bounds()
        target = low + self.target.value / 100 * (high - low)
        weights = replace(PUBLISHED, latency=self.latency.value * PUBLISHED.latency)
        found = descend(four_terms(self.tables, target, weights), self.config, seeds=[self.seed])
        path = found.path(self.config.temperature[1])
        self.derived = None  # until there is one
        derived = self.derived = derive(path, flops, target)
        words = (
            f"Target {2e-9 * derived.target:.4g} GFLOPs: {2e-9 * derived.expected:.4g} expected, "
            f"{2e-9 * derived.cost:.4g} derived{' after repair' * derived.repaired}."
        )
        if "latency" in self.tables:
            table = self.tables["latency"]
            words += f" Latency: {float(table.expected(path)):.3g} ms expected, {table(derived.arch):.3g} ms derived."
        picture = plots.architectures(flops.space, {"derived architecture": derived.arch})
        picture.alt = flops.space.format(derived.arch).replace("\n", "; ")
        return picture, words
