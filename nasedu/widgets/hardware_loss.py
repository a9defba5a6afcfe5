"""A search under a budget, moved by its loss, the loss's weight and the target."""

from __future__ import annotations

import base64
import html
from collections.abc import Sequence

import ipywidgets

from nasedu import plots
from nasedu.errors import BudgetError, check_name
from nasedu.search.descent import DescentConfig, descend
from nasedu.tables.budget import Budget
from nasedu.tables.derive import Derived, derive
from nasedu.tables.losses import create
from nasedu.tables.table import LookupTable

WEIGHTED = {
    "proxylessnas_add": "add: weight · (r − 1)",
    "single_path": "log: weight · log r",
    "squared": "squared: weight · (r − 1)²",
    "hinge": "hinge: weight · max(0, r − 1)",
    "lagrange": "Lagrange: finds its own weight",
}


class BudgetWidget(ipywidgets.VBox):
    """Descends again each time a control is moved, and shows where expected and derived cost fall in the range.

    `objective` (higher is better) and `cost` are tables of one space; a descent of `steps` steps takes well under a
    second. Controls: `loss`, a dropdown over `losses` (names in `WEIGHTED`), `weight` from 0.01 to 100, and `target`
    in % of the reachable range. The weight of a Lagrange multiplier rests. `derived` and `figure` hold the latest
    result, None where nothing can be built at the target; `view` shows them. The same figure without a kernel:
    `plots.reach`. Raises `UnknownName`.
    """

    def __init__(
        self,
        objective: LookupTable,
        cost: LookupTable,
        *,
        loss: str = "hinge",
        weight: float = 1.0,
        target: float = 30.0,
        seed: int = 0,
        steps: int = 800,
        lr: float = 0.02,
        losses: Sequence[str] = tuple(WEIGHTED),
    ):
        self.objective, self.cost, self.seed = objective, cost, seed
        self.config = DescentConfig(steps=steps, every=max(1, steps // 100), lr=lr)
        options = [(WEIGHTED[check_name("loss with a weight", name, WEIGHTED)], name) for name in losses]
        wide = {"style": {"description_width": "14em"}, "layout": {"width": "34em"}}
        slow = wide | {"continuous_update": False}  # searches when a slider is let go
        value = check_name("loss with a weight", loss, losses)
        self.loss = ipywidgets.Dropdown(options=options, value=value, description="loss", **wide)
        self.weight = ipywidgets.FloatLogSlider(
            weight, min=-2, max=2, step=0.1, description="weight", readout_format=".2f", **slow
        )
        self.target = ipywidgets.FloatSlider(
            target, min=0, max=100, step=1, description="target (% of range)", readout_format=".0f", **slow
        )
        self.view = ipywidgets.HTML()
        self.derived: Derived | None = None
        self.figure = None
        for control in (self.loss, self.weight, self.target):
            control.observe(self._search, names="value")
        self._search()
        super().__init__([self.loss, self.weight, self.target, self.view])

    def _search(self, _change: object = None) -> None:
        """Descend as the controls say, derive, and draw."""
        self.weight.disabled = self.loss.value == "lagrange"
        options = {} if self.weight.disabled else {"weight": self.weight.value}
        low, high = self.cost.bounds()
        target = low + self.target.value / 100 * (high - low)
        budget = Budget([(self.cost, target, create(self.loss.value, **options))], self.objective)
        path = descend(budget, self.config, seeds=[self.seed]).path()
        try:
            self.derived = derive(path, self.cost, target)
        except BudgetError as error:
            self.derived, self.figure = None, None
            self.view.value = f'<p role="status">{html.escape(str(error))}</p>'
            return
        found = self.derived
        costs = {"expected": found.expected, "most probable": found.argmax_cost, "derived": found.cost}
        self.figure = plots.reach((low, high), target, costs, self.cost.unit)
        words = html.escape(self._words(found))
        png = base64.b64encode(self.figure.png()).decode()
        image = f'<img alt="{words}" style="max-width: 100%" src="data:image/png;base64,{png}"/>'
        self.view.value = f'<p role="status">{words}</p>{image}'

    def _words(self, found: Derived) -> str:
        """Target, costs and what of the objective is kept, in two sentences."""
        low, high = self.objective.bounds()
        kept = {arch: 100 * (self.objective(arch) - low) / (high - low) for arch in (found.argmax, found.arch)}
        unit = self.cost.unit
        repaired = f"; repaired {found.cost:.3g} {unit} and {kept[found.arch]:.0f} %" if found.repaired else ""
        return (
            f"Target {found.target:.3g} {unit}: {found.expected:.3g} {unit} expected. The most probable network costs "
            f"{found.argmax_cost:.3g} {unit} and reaches {kept[found.argmax]:.0f} % of the objective's range{repaired}."
        )
