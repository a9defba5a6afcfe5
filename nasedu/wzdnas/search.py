"""Phase 2: descent on theta over four tables, the zero-cost map refreshed as theta moves."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from nasedu.progress import Progress, silent
from nasedu.proxies.per_block import empty_map, zero_cost_map
from nasedu.search.descent import Descent, DescentConfig, descend
from nasedu.spaces.base import Network, SearchSpace
from nasedu.supernet.telling import told
from nasedu.tables.table import LookupTable
from nasedu.wzdnas.loss import PUBLISHED, LossWeights, four_terms
from nasedu.wzdnas.target import Goal

COUNTED = {"flops": "macs", "params": "params", "depth": "depth"}


def cost_tables(space: SearchSpace, latency: LookupTable | None = None) -> dict[str, LookupTable]:
    """The tables of costs by name, counted here: flops (in MACs), params and depth; and latency, where one is given."""
    counted = {name: LookupTable.build(space, metric) for name, metric in COUNTED.items()}
    return counted | ({"latency": latency} if latency else {})


@dataclass(frozen=True, kw_only=True)
class WZDNASConfig(DescentConfig):
    """What theta descends on, and how: the settings of a descent as well.

    target: F* in MACs, or a goal.
    weights: of the terms of the loss.
    proxy: what the map scores with.
    map_loss: `map_loss(model, path)` is what snip differentiates.
    """

    target: float | Goal
    weights: LossWeights = PUBLISHED
    proxy: str = "naswot"
    map_loss: Callable | None = None


def search(
    space: SearchSpace,
    supernet: Network,
    images: Tensor,
    tables: Mapping[str, LookupTable],
    config: WZDNASConfig,
    *,
    seed: int = 0,
    state: str | Path | None = None,
    progress: Progress = silent,
) -> tuple[Descent, LookupTable]:
    """Search with a frozen supernet in eval mode; returns the descent and the last zero-cost map.

        space: what is searched.
        supernet: its trained weights are scored as they are.
        images: the fixed batch (B, C, H, W) of the map.
        tables: by term, those that do not change: see `cost_tables`.
        config: the target, the loss, and how theta descends.
        seed: of the noise.
        state: as in `descend`.
        progress: as there.

    Raises as `descend` and `zero_cost_map` do.
    """

    def refreshed(descent: Descent, temperature: float) -> LookupTable:
        path = [told(p, images.device) for p in descent.path(temperature)]
        loss = (lambda model: config.map_loss(model, path)) if config.map_loss else None
        return zero_cost_map(space, supernet, path, images, config.proxy, loss)

    blank = empty_map(space, config.proxy)  # the map of the first step is made by the first refresh
    budget = four_terms({"zero_cost": blank, **tables}, config.target, config.weights)
    descent = descend(
        budget,
        config,
        seeds=[seed],
        refresh=lambda descent, temperature: [refreshed(descent, temperature), *budget.tables[1:]],
        start=published_start(space),
        state=state,
        progress=progress,
    )
    return descent, refreshed(descent, config.temperature[1])


def terms_of(
    descent: Descent,
    tables: Mapping[str, LookupTable],
    target: float | Goal,
    weights: LossWeights = PUBLISHED,
    seed: int = 0,
) -> dict[str, list[float]]:
    """The weighted terms of the loss over the recorded steps, by name, for plotting.

    descent: what `search`, or a descent on `four_terms(tables, target, weights)`, returned.
    tables: of the loss, by term.
    target: F*.
    weights: of the terms.
    seed: the row of the descent.
    """
    costs, budget = (
        torch.stack([record["costs"][seed] for record in descent.history]),
        four_terms(tables, target, weights),
    )
    names = [name for name, table in tables.items() if any(table is one for one in budget.tables)]
    return dict(zip(names, budget.parts(costs).T.tolist(), strict=True))


def published_start(space: SearchSpace) -> list[torch.Tensor] | None:
    """Where the published search starts: all choices alike, but that an ELAN's chain is read to its end with .818.

    None where that is nowhere.

    space: of a detector.
    """
    if not any(len(slot.decisions) > 2 for slot in space.slots):
        return None
    start = {d.name: torch.full((len(d.choices),), 1 / len(d.choices)) for d in space.decisions}
    for slot in space.slots:
        start[slot.decisions[-1].name] = torch.tensor([0.182, 0.818])
    return list(start.values())
