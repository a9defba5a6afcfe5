"""Evolution on a table of truths, moved by its population, its mutation and its parents."""

from __future__ import annotations

from collections.abc import Callable

import ipywidgets
import numpy as np

from nasedu import plots
from nasedu.search.evolution import EvolutionConfig, evolution
from nasedu.search.random import random_search
from nasedu.search.settings import SearchConfig
from nasedu.spaces.base import SearchSpace
from nasedu.widgets.base import LAYOUT, PictureWidget, slider

DEFAULTS = EvolutionConfig()


class EvolutionWidget(PictureWidget):
    """Runs evolution over several seeds each time a control is moved, and draws its any-time curve beside random's.

    Sliders: `population`, `mutation` (probability of a gene), `parents` (how many of the best breed; never more than
    the population) and a box for `ageing`. `regrets` holds the latest curves by name, (seeds, budget).

    Args:
        space: whose architectures are evolved.
        evaluate: quick, as a benchmark table's is: a move takes `seeds` searches of `budget` evaluations.
        best: the score of the best architecture, so that curves are regrets.
        budget: evaluations of each search.
        seeds: how many searches.
        config: where the controls stand at first.
    """

    def __init__(self, space: SearchSpace, evaluate: Callable, *, best: float, budget=100, seeds=10, config=DEFAULTS):
        self.space, self.evaluate, self.best, self.budget, self.seeds = space, evaluate, best, budget, seeds
        self.population = slider("population", min(config.population, budget), 2, min(60, budget))
        self.mutation = slider("mutation (per gene)", config.mutation, 0.02, 1.0, 0.02)
        self.parents = slider("parents (the best k)", config.k, 1, 30)
        self.ageing = ipywidgets.Checkbox(config.ageing, description="ageing: the oldest dies", **LAYOUT)
        self.regrets = {"random": self._curves(random_search, SearchConfig(budget=budget))}
        super().__init__(self.population, self.mutation, self.parents, self.ageing)

    @property
    def config(self) -> EvolutionConfig:
        """What the controls say."""
        size = self.population.value
        changed = {"k": min(self.parents.value, size), "mutation": self.mutation.value, "ageing": self.ageing.value}
        return EvolutionConfig(population=size, children=max(1, size // 2), budget=self.budget, **changed)

    def _curves(self, search: Callable, settings: SearchConfig) -> np.ndarray:
        """Regret after every evaluation, (seeds, budget)."""
        runs = (search(self.space, self.evaluate, settings, seed=seed) for seed in range(self.seeds))
        return self.best - np.array([run.anytime() for run in runs])

    def draw(self) -> tuple[plots.Picture, str]:
        """Search with every seed as the controls say; the curves and a sentence."""
        self.regrets["evolution"] = self._curves(evolution, self.config)
        found, drawn = (float(np.median(self.regrets[name][:, -1])) for name in ("evolution", "random"))
        words = (
            f"Median regret after {self.budget} evaluations, {self.seeds} seeds: evolution {found:.2f}, "
            f"random {drawn:.2f} percentage points. The best {self.config.k} of {self.population.value} breed."
        )
        return plots.anytime({"regret of what the search sees": self.regrets}, first=5, alt=words), words
