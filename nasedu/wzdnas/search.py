"""Phase 2: descent on theta over four tables, the zero-cost map refreshed as theta moves."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from torch import Tensor

from nasedu.progress import Progress, silent
from nasedu.proxies.per_block import zero_cost_map
from nasedu.search.descent import Descent, DescentConfig, descend
from nasedu.spaces.base import Network, SearchSpace
from nasedu.tables.table import LookupTable
from nasedu.wzdnas.loss import PUBLISHED, FourTermLoss, LossWeights

TERMS = {"zero_cost": None, "flops": "macs", "depth": "depth", "latency": "latency_ms"}


def cost_tables(space: SearchSpace, latency: LookupTable | None = None) -> dict[str, LookupTable]:
    """The tables of the loss by term, counted here: flops (in MACs) and depth; and latency, where one is given."""
    tables = {"flops": LookupTable.build(space, "macs"), "depth": LookupTable.build(space, "depth")}
    return tables | ({"latency": latency} if latency else {})


def search(
    space: SearchSpace,
    supernet: Network,
    images: Tensor,
    tables: Mapping[str, LookupTable],
    target: float,
    config: DescentConfig,
    *,
    weights: LossWeights = PUBLISHED,
    proxy: str = "naswot",
    map_loss: Callable | None = None,
    seed: int = 0,
    state: str | Path | None = None,
    progress: Progress = silent,
) -> tuple[Descent, LookupTable]:
    """Search with a frozen supernet in eval mode; returns the descent and the last zero-cost map.

    `images` (B, C, H, W) is the fixed batch of the map, `target` F* in MACs, `map_loss(model, path)` what snip
    differentiates. Raises as `descend` and `zero_cost_map` do.
    """
    device = images.device

    def refreshed(descent: Descent, temperature: float) -> LookupTable:
        path = [p.to(device) for p in descent.path(temperature)]
        loss = (lambda model: map_loss(model, path)) if map_loss else None
        return zero_cost_map(space, supernet, path, images, proxy, loss)

    def refresh(descent: Descent, temperature: float) -> list[LookupTable]:
        latest[0] = refreshed(descent, temperature)
        return [latest[0], *tables.values()]

    start = Descent(space, torch.zeros(1, len(space.choices), max(space.choices)), [])
    latest = [refreshed(start, config.temperature[0])]
    loss = FourTermLoss({"zero_cost": latest[0], **tables}, target, weights)
    descent = descend(
        [latest[0], *tables.values()],
        loss,
        config,
        seeds=[seed],
        refresh=refresh,
        state=state,
        progress=progress,
    )
    return descent, refreshed(descent, config.temperature[1])


def terms_of(descent: Descent, loss: FourTermLoss, seed: int = 0) -> dict[str, list[float]]:
    """The weighted terms of the loss over the recorded steps, by name, for plotting."""
    costs = torch.stack([record["costs"][seed] for record in descent.history])
    return dict(zip(loss.names, loss.terms(costs).T.tolist(), strict=True))
