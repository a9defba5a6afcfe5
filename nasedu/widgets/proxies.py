"""Proxies to be mixed: choose some, weigh them, and see how well the mixture ranks."""

from __future__ import annotations

import base64
import html
from collections.abc import Sequence

import ipywidgets
import numpy as np
import pandas as pd

from nasedu import plots
from nasedu.errors import ParameterError, check_name
from nasedu.ranking import METHODS, combine, spearman
from nasedu.ranking.judge import aligned

METHOD_NAMES = {
    "log_rank": "log-rank",
    "average_rank": "average rank",
    "min_rank": "worst rank",
    "vote": "vote by pairs",
    "z_log": "z-scores of logs",
}


class ProxyMixWidget(ipywidgets.VBox):
    """Combines the proxies that are ticked, by their sliders' weights, and tells how their rank correlation moves.

    `frame` (n architectures, one column per proxy; higher is better, failures nan or -inf) and `truth` (n,) have the
    same index. Controls: `method`, a dropdown; `boxes` and `sliders`, a checkbox and a weight from 0 to 3 for each
    proxy by name. `chosen` are ticked at first, the first two columns where None. `combined` holds the latest
    mixture, `rho` its Spearman with the truth and `figure` the picture, all None where nothing is chosen; `view` shows
    them. The same figure without a kernel: `plots.proxy_mix(frame, truth, method, weights)`. Raises `UnknownName`,
    `ParameterError`.
    """

    def __init__(
        self, frame: pd.DataFrame, truth: pd.Series, *, chosen: Sequence[str] | None = None, method: str = "log_rank"
    ):
        self.frame, self.truth = frame, aligned(frame.index, truth)
        chosen = list(frame.columns[:2]) if chosen is None else list(chosen)
        for name in chosen:
            check_name("proxy", name, frame.columns)
        self.alone = {name: spearman(frame[name], self.truth) for name in frame}
        self.combined, self.rho, self.figure = None, None, None
        names = [(METHOD_NAMES[name], name) for name in METHODS]
        value = check_name("combination", method, METHODS)
        self.method = ipywidgets.Dropdown(options=names, value=value, description="combined by")
        self.boxes = {name: _box(name, name in chosen) for name in frame}
        self.sliders = {name: _slider(name) for name in frame}
        self.view = ipywidgets.HTML()
        for control in (self.method, *self.boxes.values(), *self.sliders.values()):
            control.observe(self._mix, names="value")
        self._mix()
        rows = [ipywidgets.HBox([self.boxes[name], self.sliders[name]]) for name in frame]
        super().__init__([self.method, *rows, self.view])

    @property
    def weights(self) -> dict[str, float]:
        """What the controls say: a weight for every proxy, 0 for one that is not ticked."""
        return {name: self.sliders[name].value * box.value for name, box in self.boxes.items()}

    def _mix(self, _change: object = None) -> None:
        """Combine as the controls say, and draw."""
        for name, box in self.boxes.items():
            self.sliders[name].disabled = not box.value
        before = self.rho
        try:
            if not any(self.weights.values()):
                raise ParameterError("Tick at least one proxy, and give one a weight above 0.")
            self.combined = combine(self.frame, self.method.value, self.weights)
        except ParameterError as error:
            self.combined, self.rho, self.figure = None, None, None
            self.view.value = f'<p role="status">{html.escape(str(error))}</p>'
            return
        self.rho = spearman(self.combined, self.truth)
        self.figure = plots.proxy_mix(self.frame, self.truth, self.method.value, self.weights)
        words = html.escape(self._words(before))
        png = base64.b64encode(self.figure.png()).decode()
        image = f'<img alt="{words}" style="max-width: 100%" src="data:image/png;base64,{png}"/>'
        self.view.value = f'<p role="status">{words}</p>{image}'

    def _words(self, before: float | None) -> str:
        """The mixture's ρ, how it moved, the best of its parts, and what its pick costs."""
        moved = "" if before is None else f" ({self.rho - before:+.3f} by the last change)"
        alone = pd.Series({name: self.alone[name] for name, weight in self.weights.items() if weight}).fillna(-1)
        best = alone.idxmax()
        pick = self.truth[np.isclose(self.combined, self.combined.max(), rtol=0, atol=1e-12)].mean()
        return (
            f"{METHOD_NAMES[self.method.value]}: ρ = {self.rho:+.3f}{moved}. The best of its parts, {best}, has "
            f"{self.alone[best]:+.3f} alone. Its pick is {self.truth.max() - pick:.2f} below the best of "
            f"{len(self.truth)}."
        )


def _box(name: str, ticked: bool) -> ipywidgets.Checkbox:
    return ipywidgets.Checkbox(ticked, description=name, indent=False, layout={"width": "12em"})


def _slider(name: str) -> ipywidgets.FloatSlider:
    """Draws when it is let go: a picture takes longer than a move."""
    wide = {"style": {"description_width": "12em"}, "layout": {"width": "30em"}}
    return ipywidgets.FloatSlider(
        1.0, min=0, max=3, step=0.1, description=f"weight of {name}", continuous_update=False, **wide
    )
