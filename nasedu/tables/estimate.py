"""A latency table from whole networks, for a device that cannot time blocks, or whose blocks do not add up.

Sixty networks do not tell a hundred prices apart, so a table of something known is the prior: the times of blocks, or
their MACs. What it says is scaled to the networks, and every price is then drawn to what the networks say as far as
they can tell it: ridge regression towards the prior.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy
import torch

from nasedu.errors import ParameterError, check_whole
from nasedu.randomness import rng
from nasedu.spaces.base import Arch, SearchSpace
from nasedu.tables import file as table_file
from nasedu.tables.additivity import FEWEST, FOLDS, Additivity, compare
from nasedu.tables.metrics import METRICS
from nasedu.tables.table import LookupTable

STRENGTHS = np.geomspace(1e-4, 1e4, 33)  # of the prior: the variance of a time's error over that of a network's surplus


@dataclass(frozen=True)
class Estimate:
    """A table estimated from whole networks, and how well such a table predicts networks that it was not made from.

    `measured` and `held_out` are in ms, in the order given; `after` compares them. `sum` is the prior as it is, where
    it holds milliseconds, and `scaled` the prior by a line, measured = overhead + scale * prior, held out as well.
    `strength` is the prior's: the larger, the nearer the table stays to that line. `unseen` are the options that no
    network had: they keep what the prior says, moved as options of the same name are. `set_to_0` tells how many prices
    would have been below 0.
    """

    table: LookupTable
    after: Additivity
    scaled: Additivity
    sum: Additivity | None
    strength: float
    unseen: tuple[str, ...]
    measured: tuple[float, ...]
    held_out: tuple[float, ...]
    set_to_0: int

    def __str__(self) -> str:
        made = self.table.provenance["estimate"]
        prior = "the sum of the blocks" if self.sum else f"a line through {made['prior']}"
        before = self.sum or self.scaled
        parts = [f"estimated from {self.after.n} networks: error {self.after.mape:.1%} on networks it has not seen"]
        parts += [f"{prior} {before.mape:.1%}"]
        if self.sum:
            parts.append(f"scaled to the networks {self.scaled.mape:.1%}")
        if self.unseen:
            parts.append(f"{len(self.unseen)} options were in no network, such as {self.unseen[0]}")
        return "; ".join(parts)


def estimate(
    prior: LookupTable,
    archs: Sequence[Arch],
    measured_ms: Sequence[float],
    *,
    folds: int = FOLDS,
    seed: int = 0,
) -> Estimate:
    """A latency table of the prior's space that predicts the measured networks: as far as they tell, else the prior.

    Errors are relative, since that is what a table is judged by. Those that the result tells are of networks that took
    no part: strength, scale and prices are found anew for every fold. No price is below 0; where the sum allows it, a
    constant is moved between decisions instead, which changes no network's price. Raises `ParameterError` for fewer
    than 10 networks, a table of scores or another number of measurements, and `ArchitectureError`.

    prior: times of blocks in ms, or a count such as MACs.
    archs: the networks.
    measured_ms: what each of them takes.
    folds: of the cross-validation.
    seed: draws them.
    """
    if prior.own or not METRICS[prior.metric].cost:
        raise ParameterError(f"a prior prices options at 0 or more, as latency_ms or macs do, not {prior.metric}")
    n, measured = len(archs), np.asarray(measured_ms, float)
    if n < FEWEST or not 2 <= check_whole("folds", folds) <= n:
        raise ParameterError(f"an estimate needs {FEWEST} networks and 2 folds or more, got {n} and {folds}")
    sums = compare([prior(arch) for arch in archs], measured)  # refuses what is no measurement
    model = _Model.of(prior, archs)
    fitted, held_out, lines = model.fit(measured, np.arange(n)), np.empty(n), np.empty(n)
    for fold in np.array_split(rng(seed, "folds").permutation(n), folds):
        found = model.fit(measured, np.setdiff1d(np.arange(n), fold))
        held_out[fold], lines[fold] = model.predict(found, fold), model.line(found, fold)
    errors = {"after": compare(held_out, measured), "scaled": compare(lines, measured)}
    errors["sum"] = sums if prior.metric == "latency_ms" else None
    names = [f"{group} {name}" for group, every in table_file.options(prior.space).items() for name in every]
    return Estimate(
        table=_table(prior, fitted, errors),
        **errors,
        strength=fitted.strength,
        unseen=tuple(name for name, times in zip(names, model.taken.sum(0), strict=True) if not times),
        measured=tuple(measured.tolist()),
        held_out=tuple(held_out.tolist()),
        set_to_0=fitted.set_to_0,
    )


@dataclass(frozen=True)
class _Fitted:
    """The prices that some networks, `rows`, tell: what all share, each option's (options,), how they were found."""

    rows: np.ndarray
    fixed: float
    prices: np.ndarray
    overhead: float
    scale: float
    strength: float
    set_to_0: int


@dataclass(frozen=True)
class _Model:
    """Networks as rows: `taken` (n, options) counts each option, `prior` (options,) prices it.

    The prior is scaled to the networks, measured = overhead + scale * prior, with neither below 0. What is left over
    is a sum of three `parts` (options, terms), each times independent terms, and all given the same variance over the
    networks. The strength of the prior is the one with the least squared error when each network is left out, in closed
    form (Craven and Wahba, Smoothing Noisy Data with Spline Functions, 1978, section 3). `starts` are the places at
    which each decision group begins.
    """

    taken: np.ndarray
    prior: np.ndarray
    parts: tuple[np.ndarray, ...]
    starts: np.ndarray

    @classmethod
    def of(cls, prior: LookupTable, archs: Sequence[Arch]) -> _Model:
        """What is known of networks before they are measured: the options that each takes, and their prior prices.

        prior: of the networks' space.
        archs: of the networks. Raises `ArchitectureError` for one that is not of the space.
        """
        space = prior.space
        sizes = [entry.numel() for entry in prior.entries]
        starts = np.concatenate([[0], np.cumsum(sizes)[:-1]]).astype(int)
        taken = np.zeros((len(archs), sum(sizes)))
        for row, arch in zip(taken, map(space.validate, archs), strict=True):
            for group, entry, start in zip(space.groups, prior.entries, starts, strict=True):
                row[start + np.ravel_multi_index([arch[d] for d in group], tuple(entry.shape))] += 1
        prices = np.concatenate([entry.double().flatten().numpy() for entry in prior.entries])
        return cls(taken, prices, _parts(prices, _kinds(space)), starts)

    def fit(self, measured: np.ndarray, rows: np.ndarray) -> _Fitted:
        """The prices by some of the networks."""
        ms, taken = measured[rows], self.taken[rows]
        line = np.stack([np.ones(len(rows)), taken @ self.prior], 1) / ms[:, None]
        overhead, scale = scipy.optimize.nnls(line, np.ones(len(rows)))[0]
        left = 1 - line @ [overhead, scale]
        sizes = [np.sqrt(np.square(taken @ part).sum(1).mean()) or 1.0 for part in self.parts]
        surplus = np.hstack([part / size for part, size in zip(self.parts, sizes, strict=True)])
        design = taken @ surplus * (ms.mean() / ms)[:, None]
        strength = _strength(design, left)
        inverse = design.T @ np.linalg.inv(design @ design.T + strength * np.eye(len(rows)))
        prices = scale * self.prior + ms.mean() * surplus @ inverse @ left
        fixed, kept, clamped = _without_negatives(float(overhead), prices, self.starts)
        return _Fitted(rows, fixed, kept, float(overhead), float(scale), strength, clamped)

    def predict(self, fitted: _Fitted, rows: np.ndarray) -> np.ndarray:
        """Milliseconds of some of the networks (rows,)."""
        return fitted.fixed + self.taken[rows] @ fitted.prices

    def line(self, fitted: _Fitted, rows: np.ndarray) -> np.ndarray:
        """Milliseconds of some of the networks (rows,) by the scaled prior alone."""
        return fitted.overhead + fitted.scale * self.taken[rows] @ self.prior


def _parts(prior: np.ndarray, kinds: Sequence[int]) -> tuple[np.ndarray, ...]:
    """How terms of equal variance move the prices (options, terms), in three ways.

    An option's own surplus, one in proportion to the prior that all options of one name share, and a constant that they
    share. A dear option may be off by more than a cheap one, and a free one by something: an own term's variance grows
    with the price.
    """
    shared = np.eye(max(kinds) + 1)[list(kinds)]
    relative = prior / prior.mean() if prior.any() else np.ones_like(prior)
    return np.diag(np.sqrt(relative + 1)), relative[:, None] * shared, shared


def _strength(design: np.ndarray, left: np.ndarray) -> float:
    """The strength of the prior with the least squared error when each network is left out, by the kernel's inverse."""
    values, vectors = np.linalg.eigh(design @ design.T)
    turned, squares = vectors.T @ left, vectors**2
    errors = []
    for strength in STRENGTHS:
        inverse = 1 / (values.clip(0) + strength)
        errors.append(float(np.square(vectors @ (inverse * turned) / (squares @ inverse)).sum()))
    return float(STRENGTHS[int(np.argmin(errors))])


def _without_negatives(fixed: float, prices: np.ndarray, starts: np.ndarray) -> tuple[float, np.ndarray, int]:
    """The same table with no price below 0, as far as moving constants reaches, and how many prices were cut off.

    A decision's prices all go up by what its cheapest one lacks, and the fixed part down by as much. What that lacks
    is taken off the decisions whose cheapest option costs more than 0.
    """
    lowest = np.minimum.reduceat(prices, starts)
    lack = np.minimum(lowest, 0)
    fixed, spare = fixed + lack.sum(), lowest - lack
    if fixed < 0 and spare.sum() > 0:
        share = min(-fixed / spare.sum(), 1)
        lack, fixed = lack + share * spare, fixed + share * spare.sum()
    sizes = np.diff([*starts, len(prices)])
    prices = prices - np.repeat(lack, sizes)
    below = int((prices < -1e-12).sum() + (fixed < -1e-12))
    return max(float(fixed), 0.0), prices.clip(0), below


def _kinds(space: SearchSpace) -> list[int]:
    """For every option a number that all options of its name share."""
    every = [name for names in table_file.options(space).values() for name in names]
    numbers = {name: i for i, name in enumerate(dict.fromkeys(every))}
    return [numbers[name] for name in every]


def _table(prior: LookupTable, fitted: _Fitted, errors: dict[str, Additivity | None]) -> LookupTable:
    """The prices as a table that says where it comes from; what the prior says of its device is kept."""
    numbers = {"overhead_ms": fitted.overhead, "scale": fitted.scale, "strength": fitted.strength}
    numbers |= {f"mape_{name}": one.mape for name, one in errors.items() if one}
    made = {"networks": len(fitted.rows), "prior": prior.metric, "set_to_0": fitted.set_to_0}
    made |= {name: float(f"{value:.6g}") for name, value in numbers.items()}
    about = (prior.provenance if prior.metric == "latency_ms" else {}) | {"how": "estimated from whole networks"}
    parts = np.split(fitted.prices, np.cumsum([entry.numel() for entry in prior.entries])[:-1])
    entries = [torch.tensor(p).reshape(entry.shape) for p, entry in zip(parts, prior.entries, strict=True)]
    unit = METRICS["latency_ms"].unit
    return LookupTable(prior.space, "latency_ms", unit, fitted.fixed, entries, about | {"estimate": made})
