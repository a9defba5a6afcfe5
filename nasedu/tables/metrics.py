"""What a lookup table can be a table of: metrics by name, each with its unit, and how it is counted where it is."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from torch import nn

from nasedu.blocks import CSP, Bottleneck, Classifier
from nasedu.blocks.elan import ELAN
from nasedu.errors import ParameterError
from nasedu.hardware.count import count
from nasedu.registry import Registry
from nasedu.tables.pieces import Piece, runs


@dataclass(frozen=True)
class Metric:
    """A metric in its `unit`. A cost is never below 0; a score (`cost=False`) may be, and is better when higher.

    `count(piece, module)` tells what a piece costs, made on the meta device as `module`; where it is None, `made_by`
    says what makes such a table.
    """

    unit: str
    count: Callable[[Piece, nn.Module], float] | None = None
    cost: bool = True
    made_by: str = "LookupTable.build"


METRICS: Registry = Registry("metric")


def register(name: str, metric: Metric) -> None:
    """Make `name` a metric of tables; one's own may be made again. Raises `ParameterError` for one of nasedu's."""
    known = METRICS.get(name, metric)
    if known != metric and getattr(known.count, "__module__", "nasedu.").startswith("nasedu."):
        raise ParameterError(f"{name} is a metric already, in {known.unit}")
    METRICS[name] = metric


def depth(piece: Piece, module: nn.Module) -> int:
    """How many blocks run: bottlenecks, or an ELAN's chain, in a detector; elsewhere searched operations with weights.

    Skips, missing connections and pools have none, and fixed layers are the same in all networks. What stands side by
    side, as the edges of a cell do, is counted, too.
    """
    if isinstance(module, ELAN):
        return len(module.chain)
    if piece.group is None or isinstance(module, CSP):
        return sum(isinstance(part, Bottleneck) for part in module.modules())
    return int(any(True for _ in module.parameters()))


def paddle_flops(piece: Piece, module: nn.Module) -> int:
    """What `paddle.flops` counts, for published figures that it made: multiply-accumulates (which it calls FLOPs).

    With them 2 for every element that batch normalisation makes, and for every channel of the global average the
    elements that it sums and one more. Other operations are free.
    """
    found = count(module, *piece.input_shapes)
    norms = sum(2 * math.prod(layer.shape) for layer in found.layers if layer.kind == "BatchNorm2d")
    (channels, *size), *_ = piece.input_shapes
    return found.macs + norms + (channels * (math.prod(size) + 1) if isinstance(module, Classifier) else 0)


register("macs", Metric("MACs", lambda piece, module: count(module, *piece.input_shapes).macs))
register(
    "params", Metric("parameters", lambda _, module: sum(p.numel() for p in module.parameters() if p.requires_grad))
)
register("paddle_flops", Metric("FLOPs as Paddle counts", paddle_flops))
register("depth", Metric("blocks", depth))
register("boundaries", Metric("boundaries", lambda _, module: int(runs(module))))
register("latency_ms", Metric("ms"))
register("energy_mj", Metric("mJ", made_by="deploy.kit.energy_kit"))
_SCORES = {"naswot": "log |det K| per image", "snip": "log saliency", "synflow": "log saliency", "grasp": "saliency"}
for _name, _unit in (_SCORES | {"zico": "log mean / deviation", "random": "noise", "none": "nothing"}).items():
    register(_name, Metric(_unit, cost=False, made_by="proxies.zero_cost_map"))
