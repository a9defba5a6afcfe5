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
from dataclasses import dataclass, fields

import torch

from nasedu.errors import ParameterError, check_name
from nasedu.sampling import softmax, uniform_logits
from nasedu.tables.budget import Budget
from nasedu.tables.losses import create
from nasedu.tables.table import LookupTable
from nasedu.wzdnas.target import Goal


@dataclass(frozen=True)
class LossWeights:
    """Weights of the four terms, in units of the uniform architecture; see the module's docstring."""

    flops: float = 24.5
    zero_cost: float = 0.04
    depth: float = 0.0505
    latency: float = 0.542


PUBLISHED = LossWeights()


def four_terms(tables: Mapping[str, LookupTable], target: float | Goal, weights: LossWeights = PUBLISHED) -> Budget:
    """The loss as a budget of `linear` terms and a `squared` one, in the order of `tables`.

    With another goal than FLOPs each target has a squared term and each upper bound a hinge, in the weight of FLOPs, in
    place of its linear one; FLOPs and parameters without any have none.

        tables: by the terms' names (zero_cost, flops, params, depth, latency); a term without a table is left out.
        target: F* in the unit of the flops table (MACs; the ratio is the same for FLOPs), or a goal.
        weights: of the terms.

    Raises `ParameterError` for a target that is not positive, `UnknownName`.
    """
    targets, most = (target.targets, target.most) if isinstance(target, Goal) else ({"flops": target}, {})
    terms = []
    for name, table in tables.items():
        check_name("term of the loss", name, [*(f.name for f in fields(weights)), "params"])
        if name in targets:
            terms.append((table, targets[name], create("squared", weight=weights.flops)))
        if name in most:
            terms.append((table, most[name], create("hinge", weight=weights.flops)))
        if name in targets or name in most:
            continue
        if name == "zero_cost":
            terms.append((table, 1.0, create("linear", weight=-weights.zero_cost)))
        elif name not in ("flops", "params"):
            uniform = float(table.expected(softmax(uniform_logits(table.space.choices))))
            terms.append((table, uniform, create("linear", weight=getattr(weights, name))))
    return Budget(terms)


def objective(tables: Mapping[str, LookupTable], goal: Goal, weights: LossWeights = PUBLISHED) -> LookupTable:
    """The linear terms of the loss as one table, higher is better: what is wanted of those that reach the goal.

    So `goal.constraint.best(objective(tables, goal))` is the exact optimum, by which a search can be judged, and
    evolution takes the table for its evaluator.

        tables: by the terms' names, as in `four_terms`.
        goal: what has a target or an upper bound is no term.
        weights: of the terms.

    Raises `ParameterError` where nothing is left to want.
    """
    terms = []
    for name, table in tables.items():
        if name in goal.targets or name in goal.most or name in ("flops", "params"):
            continue
        uniform = float(table.expected(softmax(uniform_logits(table.space.choices))))
        share = weights.zero_cost if name == "zero_cost" else -getattr(weights, name) / uniform
        terms.append((share, table))
    if not terms:
        raise ParameterError("beside the goal there is no table of what is wanted")
    groups = zip(*(table.entries for _, table in terms), strict=True)
    shares = [share for share, _ in terms]
    entries = [torch.stack([s * e for s, e in zip(shares, group, strict=True)]).sum(0) for group in groups]
    fixed = sum(share * table.fixed for share, table in terms)
    return LookupTable(terms[0][1].space, "objective", "loss", fixed, entries, own=True)
