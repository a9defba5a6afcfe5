"""The search of WZDNAS, moved by its target and its latency weight."""

from __future__ import annotations

import base64
import html
from collections.abc import Mapping
from dataclasses import replace

import ipywidgets

from nasedu import plots
from nasedu.errors import BudgetError
from nasedu.search.descent import DescentConfig, descend
from nasedu.spaces.base import Path
from nasedu.tables import Derived, derive
from nasedu.tables.table import LookupTable
from nasedu.wzdnas import PUBLISHED, four_terms


class SearchWidget(ipywidgets.VBox):
    """Moves the FLOPs target and the latency weight of WZDNAS's phase 2 and searches again at once.

    `tables` maps the terms zero_cost, flops (in MACs), depth and, where there is one, latency to tables; all stay as
    they are, the zero-cost map too, so that a search of `steps` steps takes about a second. Sliders: `target`, the
    FLOPs in % of the reachable range, and `latency`, a multiple of the published weight. `derived` and `figure` hold
    the latest result, or None where the target is out of reach; `view` shows them.
    """

    def __init__(self, tables: Mapping[str, LookupTable], *, target: float = 40.0, seed: int = 0, steps: int = 3000):
        self.tables, self.seed = dict(tables), seed
        self.config = DescentConfig(steps=steps, every=max(1, steps // 40))
        wide = {"continuous_update": False, "style": {"description_width": "14em"}, "layout": {"width": "34em"}}
        self.target = ipywidgets.FloatSlider(
            target, min=0, max=100, step=1, description="FLOPs target (% of range)", readout_format=".0f", **wide
        )
        self.latency = ipywidgets.FloatSlider(
            1.0, min=0, max=10, step=0.5, description="latency weight (× published)", readout_format=".1f", **wide
        )
        self.latency.disabled = "latency" not in self.tables
        self.view = ipywidgets.HTML()
        self.derived, self.figure = None, None
        for slider in (self.target, self.latency):
            slider.observe(self._search, names="value")
        self._search()
        super().__init__([self.target, self.latency, self.view])

    def _search(self, _change: object = None) -> None:
        """Descend over the stored tables, derive, and draw what came of it."""
        flops = self.tables["flops"]
        low, high = flops.bounds()
        target = low + self.target.value / 100 * (high - low)
        weights = replace(PUBLISHED, latency=self.latency.value * PUBLISHED.latency)
        budget = four_terms(self.tables, target, weights)
        path = descend(budget, self.config, seeds=[self.seed]).path(self.config.temperature[1])
        try:
            self.derived = derive(path, flops, target)
        except BudgetError as error:
            self.derived, self.figure = None, None
            self.view.value = f'<p role="status">{html.escape(str(error))}</p>'
            return
        self.figure = plots.architectures(flops.space, {"derived architecture": self.derived.arch})
        self.view.value = self._page(self._costs(path, self.derived))

    def _costs(self, path: Path, derived: Derived) -> str:
        """Expected and derived costs in one sentence or two."""
        text = (
            f"Target {2e-9 * derived.target:.4g} GFLOPs: {2e-9 * derived.expected:.4g} expected, "
            f"{2e-9 * derived.cost:.4g} derived{' after repair' * derived.repaired}."
        )
        if "latency" not in self.tables:
            return text
        table = self.tables["latency"]
        return f"{text} Latency: {float(table.expected(path)):.3g} ms expected, {table(derived.arch):.3g} ms derived."

    def _page(self, costs: str) -> str:
        """The costs and the picture, with the architecture in words for those who cannot see it."""
        words = html.escape(self.tables["flops"].space.format(self.derived.arch).replace("\n", "; "))
        png = base64.b64encode(self.figure.png()).decode()
        image = f'<img alt="{words}" style="max-width: 100%" src="data:image/png;base64,{png}"/>'
        return f'<p role="status">{costs}</p>{image}'
