"""Proxies to be mixed: choose some, weigh them, and see how well the mixture ranks."""

from __future__ import annotations

from collections.abc import Sequence

import ipywidgets
import numpy as np
import pandas as pd

from nasedu import plots
from nasedu.errors import ParameterError, check_name
from nasedu.ranking import METHODS, combine, spearman
from nasedu.ranking.judge import aligned
from nasedu.widgets.base import LAYOUT, PictureWidget, slider


class ProxyMixWidget(PictureWidget):
    """Combines the proxies that are ticked, by their sliders' weights, and tells how their rank correlation moves.

    Controls: `method`, a dropdown; `boxes` and `sliders`, a checkbox and a weight from 0 to 3 for each proxy by name.
    `combined` holds the latest mixture and `rho` its Spearman with the truth, None where nothing is chosen.

    Args:
        frame: n architectures, one column per proxy; higher is better, failures nan or -inf.
        truth: (n,), with the same index.
        chosen: ticked at first, the first two columns where None.
        method: at first.

    Raises `UnknownName`, `ParameterError`.
    """

    def __init__(
        self, frame: pd.DataFrame, truth: pd.Series, *, chosen: Sequence[str] | None = None, method: str = "log_rank"
    ):
        self.frame, self.truth = frame, aligned(frame.index, truth)
        chosen = [check_name("proxy", n, frame.columns) for n in (frame.columns[:2] if chosen is None else chosen)]
        self.alone = {name: spearman(frame[name], self.truth) for name in frame}
        self.combined, self.rho, first = None, None, check_name("combination", method, METHODS)
        self.method = ipywidgets.Dropdown(options=list(METHODS), value=first, description="combined by", **LAYOUT)
        tick = {"indent": False, "layout": {"width": "12em"}}
        self.boxes = {name: ipywidgets.Checkbox(name in chosen, description=name, **tick) for name in frame}
        self.sliders = {name: slider(f"weight of {name}", 1.0, 0, 3, 0.1) for name in frame}
        super().__init__(self.method, *([self.boxes[name], self.sliders[name]] for name in frame))

    @property
    def weights(self) -> dict[str, float]:
        """What the controls say: a weight for every proxy, 0 for one that is not ticked."""
        return {name: self.sliders[name].value * box.value for name, box in self.boxes.items()}

    def draw(self) -> tuple[plots.Picture, str]:
        """The correlations of the chosen proxies and their combination, and a sentence."""
        for name, box in self.boxes.items():
            self.sliders[name].disabled = not box.value
        before, self.combined, self.rho = self.rho, None, None
        if not any(self.weights.values()):
            raise ParameterError("Tick at least one proxy, and give one a weight above 0.")
        self.combined = combine(self.frame, self.method.value, self.weights)
        self.rho = spearman(self.combined, self.truth)
        words = self._words(before)
        parts = {f"{name} × {weight:g}": self.alone[name] for name, weight in self.weights.items() if weight}
        ends = min([0.0, *self.alone.values()]) - 0.05, 1.05  # the same for all mixtures, so that they can be compared
        look = {"xlabel": "Spearman's ρ with the truth", "xlim": ends, "alt": words}
        return plots.dots(parts | {self.method.value: self.rho}, **look).guide(x=self.rho, linestyle="--"), words

    def _words(self, before: float | None) -> str:
        """The mixture's ρ, how it moved, the best of its parts, and what its pick costs."""
        moved = "" if before is None else f" ({self.rho - before:+.3f} by the last change)"
        alone = pd.Series({name: self.alone[name] for name, weight in self.weights.items() if weight}).fillna(-1)
        best = alone.idxmax()
        pick = self.truth[np.isclose(self.combined, self.combined.max(), rtol=0, atol=1e-12)].mean()
        return (
            f"{self.method.value}: ρ = {self.rho:+.3f}{moved}. The best of its parts, {best}, has "
            f"{self.alone[best]:+.3f} alone. Its pick is {self.truth.max() - pick:.2f} below the best of "
            f"{len(self.truth)}."
        )
