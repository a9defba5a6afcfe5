"""A search under a budget, moved by its loss, the loss's weight and the target."""

from __future__ import annotations

import ipywidgets

from nasedu import plots
from nasedu.errors import check_name
from nasedu.search.descent import DescentConfig, descend
from nasedu.tables.budget import Budget
from nasedu.tables.derive import Derived, derive
from nasedu.tables.losses import create
from nasedu.tables.table import LookupTable
from nasedu.tables.within import TOLERANCE
from nasedu.widgets.base import LAYOUT, PictureWidget, slider

LOSSES = ("proxylessnas_add", "single_path", "squared", "hinge", "lagrange")  # a weight on each but the last
QUICK = DescentConfig(steps=800, every=8, lr=0.02)


class BudgetWidget(PictureWidget):
    """Descends again each time a control is moved, and shows where expected and derived cost fall in the range.

    Controls: `loss`, a dropdown, `weight` from 0.01 to 100 (it rests for a Lagrange multiplier), and `target` in % of
    the reachable range. `derived` holds the latest result, None where nothing can be built at the target.

    Args:
        objective: a table, higher is better.
        cost: a table of the same space.
        loss: at first.
        target: at first.
        config: of the descents; one should take well under a second.
        seed: of the descents.

    Raises `UnknownName`.
    """

    def __init__(
        self, objective: LookupTable, cost: LookupTable, loss="hinge", *, target: float = 30.0, seed=0, config=QUICK
    ):
        self.objective, self.cost, self.seed, self.config = objective, cost, seed, config
        first = check_name("loss with a weight", loss, LOSSES)
        self.loss = ipywidgets.Dropdown(options=LOSSES, value=first, description="loss", **LAYOUT)
        self.weight = slider("weight", 1.0, -2, 2, 0.1, powers=True)
        self.target = slider("target (% of range)", float(target), 0, 100)
        super().__init__(self.loss, self.weight, self.target)

    def draw(self) -> tuple[plots.Picture, str]:
        """Search as the controls say; where the costs end, and a sentence."""
        self.weight.disabled = self.loss.value == "lagrange"
        options = {} if self.weight.disabled else {"weight": self.weight.value}
        low, high = self.cost.bounds()
        target = low + self.target.value / 100 * (high - low)
        budget = Budget([(self.cost, target, create(self.loss.value, **options))], self.objective)
        path = descend(budget, self.config, seeds=[self.seed]).path()
        self.derived = None  # until there is one
        found = self.derived = derive(path, self.cost, target)
        words, unit, room = self._words(found), self.cost.unit, 0.04 * (high - low)
        ends = {"expected": found.expected, "most probable": found.argmax_cost, "derived": found.cost}
        picture = plots.dots(ends, xlabel=unit, xlim=(low - room, high + room), alt=words)
        picture.guide(x=(low, high), color="0.95", label="reachable")
        around = target * (1 - TOLERANCE), target * (1 + TOLERANCE)
        return picture.guide(x=around, color="0.8", label=f"target ± {TOLERANCE:.0%}"), words

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
