"""Many budgets in one descent: a row of theta for every target and seed, and the front that they draw."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from nasedu.errors import BudgetError, ParameterError
from nasedu.progress import Progress, silent
from nasedu.search.descent import Descent, DescentConfig, descend
from nasedu.tables.budget import Budget
from nasedu.tables.derive import TOLERANCE, derive
from nasedu.tables.losses import HardwareLoss
from nasedu.tables.table import LookupTable

# ours: a start from a lower temperature and an end at a higher one than WZDNAS's meets more budgets, at less loss
SWEEP = DescentConfig(steps=20_000, temperature=(2.0, 0.3), gradient="sampled")


def efficient(costs: Sequence[float], scores: Sequence[float]) -> list[int]:
    """Which points no other beats in cost or score without losing in the other: places, by rising cost.

    Of equal points the first one counts, and what is no number never does.

    costs: lower is better.
    scores: higher is better.
    """
    x, y = np.asarray(costs, dtype=float), np.asarray(scores, dtype=float)
    order = np.lexsort((-y, x))
    order = order[np.isfinite(x[order]) & np.isfinite(y[order])]
    before = np.concatenate([[-np.inf], np.maximum.accumulate(y[order])[:-1]])
    return order[y[order] > before].tolist()


def hypervolume(costs: Sequence[float], scores: Sequence[float], cost: float, score: float) -> float:
    """The area that a front dominates, up to a reference point that all should beat (Zitzler and Thiele 1999).

    costs: lower is better.
    scores: higher is better.
    cost: of the reference; points that cost as much or more add nothing.
    score: of the reference, likewise for points that score no more.
    """
    x, y = np.asarray(costs, dtype=float), np.asarray(scores, dtype=float)
    inside = (x < cost) & (y > score)
    front = np.flatnonzero(inside)[efficient(x[inside].tolist(), y[inside].tolist())]
    steps = np.diff(y[front], prepend=score)
    return float((steps * (cost - x[front])).sum())


@dataclass
class Front:
    """What a sweep found: row i of the descent belongs to (targets x seeds)[i], seeds running fastest."""

    objective: LookupTable
    cost: LookupTable
    targets: list[float]
    seeds: list[int]
    loss: HardwareLoss
    descent: Descent

    def frame(self) -> pd.DataFrame:
        """A row per target and seed: costs in the cost table's unit, objectives in the objective's.

        `arch` is the most probable architecture, `expected_cost` the price of the probabilities, `hit` whether `arch`
        is within 3 % of the target. `derived` is the architecture after repair (`tables.derive`), with its cost and
        objective; None and NaN where no architecture meets the target.
        """
        return self._frame.copy()

    def efficient(self) -> pd.DataFrame:
        """The rows of `frame` whose derived architecture no other beats in cost or objective without losing in one."""
        rows = self._frame.dropna(subset="derived_cost")
        return rows.iloc[efficient(rows["derived_cost"], rows["derived_objective"])].copy()

    @cached_property
    def _frame(self) -> pd.DataFrame:
        pairs = [(target, seed) for target in self.targets for seed in self.seeds]
        return pd.DataFrame([self._row(i, *pair) for i, pair in enumerate(pairs)])

    def _row(self, i: int, target: float, seed: int) -> dict:
        path = self.descent.path(seed=i)
        try:
            kept = derive(path, self.cost, target).arch
        except BudgetError:
            kept = None
        arch = self.cost.space.canonical([int(p.argmax()) for p in path])
        cost = self.cost(arch)
        return {
            "target": target,
            "seed": seed,
            "arch": arch,
            "cost": cost,
            "objective": self.objective(arch),
            "expected_cost": float(self.cost.expected(path)),
            "hit": abs(cost / target - 1) <= TOLERANCE,
            "derived": kept,
            "derived_cost": self.cost(kept) if kept else float("nan"),
            "derived_objective": self.objective(kept) if kept else float("nan"),
        }


def pareto_sweep(
    objective: LookupTable,
    cost: LookupTable,
    targets: Sequence[float],
    seeds: Sequence[int] = (0,),
    *,
    loss: HardwareLoss | str = "lagrange",
    config: DescentConfig = SWEEP,
    state: str | Path | None = None,
    progress: Progress = silent,
) -> Front:
    """Search for every target with every seed, in one batched descent.

        objective: a table whose values are better when higher.
        cost: the table that `targets` are for.
        targets: in the unit of `cost`.
        seeds: a seed's noise is the same for every target.
        loss: what holds the targets, as in `tables.Budget`.
        config: how theta descends.
        state: as in `descend`.
        progress: as there.

    Raises `ParameterError` for no target, no seed, a target that is not positive, or an objective that is the same
    everywhere; `CheckpointError`.
    """
    try:
        targets, seeds = [float(target) for target in targets], [int(seed) for seed in seeds]
    except (TypeError, ValueError, OverflowError):
        raise ParameterError(
            f"targets are numbers and seeds whole ones, got {targets!r:.60} and {seeds!r:.60}"
        ) from None
    if not targets or not seeds:
        raise ParameterError(f"a sweep needs a target and a seed, got {len(targets)} and {len(seeds)}")
    by_row = torch.tensor(targets).repeat_interleave(len(seeds))
    sweep = Budget([(cost, by_row, loss)], objective)
    descent = descend(sweep, config, seeds=seeds * len(targets), state=state, progress=progress)
    return Front(objective, cost, targets, seeds, sweep.terms[0][-1], descent)
