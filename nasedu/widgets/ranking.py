"""Supernets that were taught a prior's order: choose how, and see whether they rank or copy."""

from __future__ import annotations

import ipywidgets
import pandas as pd

from nasedu import plots
from nasedu.errors import ParameterError
from nasedu.widgets.base import LAYOUT, PictureWidget

SETTINGS = ["prior", "weight", "margin"]


class RankingWidget(PictureWidget):
    """Stored supernets by prior, weight lambda and margin of the ranking loss, beside those without one.

    Controls: `prior`, a dropdown, and `weight` and `margin`, sliders over the values that are stored. `taught` holds
    the supernets of these settings.

    Args:
        trials: a row per supernet: its prior, weight and margin, and a column for each measure, such as Kendall's tau.
            Rows of weight 0 are those of ordinary training; they stand once for every prior.

    Raises `ParameterError` where a prior has no rows of weight 0.
    """

    def __init__(self, trials: pd.DataFrame):
        self.trials, self.taught = trials, trials.iloc[:0]
        self.measures = [column for column in trials if column not in SETTINGS]
        found = {name: sorted(trials[name].unique()) for name in SETTINGS}
        if missing := set(found["prior"]) - set(trials.prior[trials.weight == 0]):
            raise ParameterError(f"there are no supernets without a ranking loss for {', '.join(sorted(missing))}")
        self.prior = ipywidgets.Dropdown(options=found["prior"], description="prior", **LAYOUT)
        slow = LAYOUT | {"continuous_update": False}
        numbers = {name: [(f"{value:g}", value) for value in found[name]] for name in SETTINGS[1:]}
        self.weight = ipywidgets.SelectionSlider(options=numbers["weight"][1:], description="weight λ", **slow)
        self.margin = ipywidgets.SelectionSlider(options=numbers["margin"], description="margin", **slow)
        super().__init__(self.prior, self.weight, self.margin)

    def draw(self) -> tuple[plots.Picture, str]:
        """Every measure of the supernets that were taught so, above those of ordinary ones, and a sentence."""
        own = self.trials[self.trials.prior == self.prior.value]
        self.taught = own[(own.weight == self.weight.value) & (own.margin == self.margin.value)]
        groups = {"taught": self.taught, "ordinary": own[own.weight == 0]}
        told = f"λ = {self.weight.label}, margin {self.margin.label}"
        if self.taught.empty:
            raise ParameterError(f"No supernet was taught {self.prior.value} with {told}.")
        means = {name: rows[self.measures].mean() for name, rows in groups.items()}
        gains = means["taught"] - means["ordinary"]
        parts = [f"{name} {means['taught'][name]:+.2f} ({gains[name]:+.2f})" for name in self.measures]
        words = f"{self.prior.value}, {told}: τ {', '.join(parts)}. Means of {len(self.taught)} supernets; in brackets "
        words += "what they have over ordinary ones."
        rows = {name: {m: rows[m].to_numpy() for m in self.measures} for name, rows in groups.items()}
        values = self.trials[self.measures]
        ends = min(0.0, values.min().min()) - 0.05, values.max().max() + 0.05  # the same for all, to be compared
        return plots.dots(rows, xlabel="Kendall's τ", xlim=ends, alt=words).guide(x=0), words
