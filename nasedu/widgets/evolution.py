"""Evolution on a table of truths, moved by its population, its mutation and its parents."""

from __future__ import annotations

import base64
import html
from collections.abc import Callable

import ipywidgets
import numpy as np

from nasedu import plots
from nasedu.search.evolution import EvolutionConfig, evolution
from nasedu.search.random import random_search
from nasedu.search.settings import SearchConfig
from nasedu.spaces.base import Arch, SearchSpace

DEFAULTS = EvolutionConfig()


class EvolutionWidget(ipywidgets.VBox):
    """Runs evolution over `seeds` seeds each time a slider is moved, and draws its any-time curve beside random's.

    `evaluate` has to be quick, as a benchmark table's is: a move takes `seeds` searches of `budget` evaluations. `best`
    is the score of the best architecture, so that curves are regrets. Sliders: `population`, `mutation` (probability
    of a gene), `parents` (how many of the best breed; never more than the population) and `ageing`. `regrets` holds
    the latest curves by name, (seeds, budget); `view` shows them.
    """

    def __init__(
        self,
        space: SearchSpace,
        evaluate: Callable[[Arch], float],
        *,
        best: float,
        budget: int = 100,
        seeds: int = 10,
        config: EvolutionConfig = DEFAULTS,
    ):
        self.space, self.evaluate, self.best, self.budget, self.seeds = space, evaluate, best, budget, seeds
        wide = {"continuous_update": False, "style": {"description_width": "14em"}, "layout": {"width": "34em"}}
        box = {name: wide[name] for name in ("style", "layout")}
        self.population = ipywidgets.IntSlider(
            min(config.population, budget), min=2, max=min(60, budget), description="population", **wide
        )
        self.mutation = ipywidgets.FloatSlider(
            config.mutation, min=0.02, max=1.0, step=0.02, description="mutation (per gene)", **wide
        )
        self.parents = ipywidgets.IntSlider(config.k, min=1, max=30, description="parents (the best k)", **wide)
        self.ageing = ipywidgets.Checkbox(config.ageing, description="ageing: the oldest dies", **box)
        self.view = ipywidgets.HTML()
        self.regrets = {"random": self._curves(self._random)}
        controls = [self.population, self.mutation, self.parents, self.ageing]
        for control in controls:
            control.observe(self._search, names="value")
        self._search()
        super().__init__([*controls, self.view])

    @property
    def config(self) -> EvolutionConfig:
        """What the sliders say."""
        size = self.population.value
        return EvolutionConfig(
            population=size,
            children=max(1, size // 2),
            k=min(self.parents.value, size),
            mutation=self.mutation.value,
            budget=self.budget,
            ageing=self.ageing.value,
        )

    def _random(self, seed: int) -> list[float]:
        return random_search(self.space, self.evaluate, SearchConfig(budget=self.budget), seed=seed).anytime()

    def _curves(self, search: Callable[[int], list[float]]) -> np.ndarray:
        """Regret after every evaluation, (seeds, budget)."""
        return self.best - np.array([search(seed) for seed in range(self.seeds)])

    def _search(self, _change: object = None) -> None:
        """Run evolution as the sliders say, and draw."""
        config = self.config

        def run(seed: int) -> list[float]:
            return evolution(self.space, self.evaluate, config, seed=seed).anytime()

        self.regrets["evolution"] = self._curves(run)
        picture = plots.anytime({"regret of what the search sees": self.regrets}, first=5)
        png = base64.b64encode(picture.png()).decode()
        words = html.escape(self._words())
        image = f'<img alt="{words}" style="max-width: 100%" src="data:image/png;base64,{png}"/>'
        self.view.value = f'<p role="status">{words}</p>{image}'

    def _words(self) -> str:
        medians = {name: float(np.median(curves[:, -1])) for name, curves in self.regrets.items()}
        best = min(self.parents.value, self.population.value)
        return (
            f"Median regret after {self.budget} evaluations, {self.seeds} seeds: evolution {medians['evolution']:.2f}, "
            f"random {medians['random']:.2f} percentage points. The best {best} of {self.population.value} breed."
        )
