"""The loss of WZDNAS's search: four tables, one number.

L = - zero_cost * ZC + flops * (F / F* - 1)^2 + depth * D / D_u + latency * Lat / Lat_u

ZC, F, D and Lat are the tables' expectations, F* is the target, and _u marks the uniform architecture's expectation,
so that no weight depends on the size of the network or the device; ZC is NASWOT's score per image. The public code
writes the same loss in GFLOPs, bottlenecks and milliseconds, with weights alpha, gamma, omega, theta and a batch of 4;
`PUBLISHED` is its P5 setting in these units: alpha F*^2 = .005 * 70^2, 4 gamma = 4 * .01, omega D_u = .001 * 50.5 and
theta Lat_u = .002 * 271. Maps of snip and synflow, logarithms of sums over weights, enter with the same weight; that is
our choice, as nothing was published for them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from nasedu.errors import ParameterError
from nasedu.sampling import softmax, uniform_logits
from nasedu.tables.table import LookupTable


@dataclass(frozen=True)
class LossWeights:
    """Weights of the four terms, in units of the uniform architecture; see the module's docstring."""

    flops: float = 24.5
    zero_cost: float = 0.04
    depth: float = 0.0505
    latency: float = 0.542


PUBLISHED = LossWeights()


class FourTermLoss:
    """Value and gradient of the loss for expected costs (..., tables), in the order of `tables`.

    `tables` maps term names (zero_cost, flops, depth, latency) to tables; a term without a table is left out.
    `target` is F* in the unit of the flops table (MACs; the ratio is the same for FLOPs).
    Raises `ParameterError` for a target that is not positive.
    """

    def __init__(self, tables: Mapping[str, LookupTable], target: float, weights: LossWeights = PUBLISHED):
        if not target > 0:
            raise ParameterError(f"the FLOPs target must be positive, got {target}")
        self.names, self.target, self.weights = list(tables), float(target), weights
        linear, quadratic = [], []
        for name, table in tables.items():
            uniform = float(table.expected(softmax(uniform_logits(table.space.choices))))
            weight = getattr(weights, name)
            scale = {"zero_cost": -1.0, "flops": 0.0}.get(name, 1 / uniform if uniform else 0.0)
            linear.append(weight * scale)
            quadratic.append(weight if name == "flops" else 0.0)
        self.linear, self.quadratic = torch.tensor(linear), torch.tensor(quadratic)

    def terms(self, costs: Tensor) -> Tensor:
        """The four terms, weighted: (..., tables)."""
        return self.linear * costs + self.quadratic * (costs / self.target - 1).square()

    def value(self, costs: Tensor) -> Tensor:
        """The loss: (...)."""
        return self.terms(costs).sum(-1)

    def gradient(self, costs: Tensor) -> Tensor:
        """d loss / d costs: (..., tables)."""
        return self.linear + (2 / self.target) * self.quadratic * (costs / self.target - 1)
