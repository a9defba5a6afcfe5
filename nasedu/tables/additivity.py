"""How additive is latency? Whole networks measured beside the sum of their pieces, and the sum corrected.

A table measures every piece alone: its weights are warm in the cache, and the call around it is paid for each time. A
network hands maps from piece to piece instead, so the sum is off, mostly by about the same for all networks. What is
the same can be fitted on a few measured networks and taken into the table.
"""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import scipy

from nasedu.errors import ParameterError, TableError, check_whole
from nasedu.hardware.backends import export_job, make_job
from nasedu.hardware.latency import Latency, measure, measure_defaults, measure_onnx
from nasedu.progress import Progress, silent
from nasedu.randomness import rng, seeded
from nasedu.spaces.base import Arch, SearchSpace
from nasedu.tables.pricing import busy_once, check_options
from nasedu.tables.table import LookupTable

FOLDS = 5
FEWEST = 10  # networks that a correction is fitted on: 3 terms at most, and some to spare in every fold


@dataclass(frozen=True)
class Additivity:
    """How well predictions meet the measurements of `n` networks.

    `r2` is the share of the variance that the predictions explain as they are, without a fitted line (below 0 where the
    mean of the measurements would do better). `mape` is the mean absolute relative error and `bias` the mean signed one
    (positive: predicted too slow), both as fractions of the measurement; `spread` is the standard deviation of the
    relative error, which is what is left over once a bias is known. `rmse` is in ms, `spearman` a rank correlation (nan
    where one side has no order).
    """

    n: int
    r2: float
    mape: float
    bias: float
    spread: float
    rmse: float
    spearman: float

    def __str__(self) -> str:
        return (
            f"R² = {self.r2:.3f}, error {self.mape:.1%} (bias {self.bias:+.1%}, left over {self.spread:.1%}), "
            f"RMSE {self.rmse:.3g} ms, ρ = {self.spearman:.3f}, n = {self.n}"
        )


@dataclass(frozen=True)
class Correction:
    """measured = `overhead` + `scale` * table + `per_boundary` * boundaries, fitted by least squares.

    No cost may fall below 0 by it, neither what is shared by all networks nor an option's. Terms are ms (the scale has
    no unit); `standard_errors` maps the fitted ones' names to theirs. `per_boundary` is
    None where it was left out, and `note` says why. `before` is the table as it is; `after` is the correction on
    networks that it was not fitted on (cross-validation), whose predictions are `held_out`, in the order given.
    `predicted` are the table's own.
    """

    overhead: float
    scale: float
    standard_errors: dict[str, float]
    before: Additivity
    after: Additivity
    measured: tuple[float, ...]
    predicted: tuple[float, ...]
    held_out: tuple[float, ...]
    metric: str
    fingerprint: str
    per_boundary: float | None = None
    note: str = ""

    def __str__(self) -> str:
        errors = {name: f" ± {error:.2g}" for name, error in self.standard_errors.items()}
        terms = [f"overhead {self.overhead:+.4g}{errors.get('overhead', '')} ms"]
        if self.per_boundary is not None:
            terms.append(f"{self.per_boundary:+.4g}{errors.get('per_boundary', '')} ms a boundary")
        if "scale" in errors:
            terms.append(f"scale {self.scale:.4g}{errors['scale']}")
        note = f"; {self.note}" if self.note else ""
        return f"{', '.join(terms)}; error {self.before.mape:.1%} before, {self.after.mape:.1%} after{note}"

    def apply(self, table: LookupTable) -> LookupTable:
        """The corrected table: the overhead in the fixed part, the rest in every option.

        On another table than it was fitted on, what would cost less than 0 costs 0; the provenance says how much does.
        Raises `TableError` for a table of another space or metric.
        """
        if table.metric != self.metric or table.space.fingerprint != self.fingerprint:
            raise TableError(
                f"this correction was fitted on another {self.metric} table, not on {table.metric} of "
                f"{table.space.name} at {table.space.input_shape}"
            )
        counts = boundaries(table.space)
        each = self.per_boundary or 0.0
        raw = [self.scale * e + each * n for e, n in zip(table.entries, counts.entries, strict=True)]
        fixed = self.overhead + self.scale * table.fixed + each * counts.fixed
        clamped = sum(int((e < 0).sum()) for e in raw) + (fixed < 0)
        made = {"overhead_ms": self.overhead, "per_boundary_ms": self.per_boundary, "scale": self.scale}
        made |= {"networks": self.before.n, "mape_before": self.before.mape, "mape_after": self.after.mape}
        correction = {k: round(v, 6) if isinstance(v, float) else v for k, v in made.items()}
        provenance = table.provenance | {"correction": correction | {"set_to_0": clamped}}
        return replace(table, fixed=max(fixed, 0.0), entries=[e.clamp_min(0) for e in raw], provenance=provenance)


def boundaries(space: SearchSpace) -> LookupTable:
    """How many pieces of an architecture run, each of which takes a map over from another, as a table.

    An identity or a missing connection runs nothing in a network, though a table of PyTorch's eager backend has what
    calling it takes. In spaces without them the number is the same for all networks.
    """
    return LookupTable.build(space, "boundaries")


def study(table: LookupTable, archs: Sequence[Arch], measured_ms: Sequence[float]) -> Additivity:
    """How well a table predicts whole networks that were measured. Raises `ParameterError`, `ArchitectureError`.

    table: a latency table.
    archs: the networks.
    measured_ms: what each of them takes.
    """
    return compare([table(arch) for arch in archs], measured_ms)


def compare(predicted: Sequence[float], measured: Sequence[float]) -> Additivity:
    """Predictions (n,) beside measurements (n,), both in ms. Raises `ParameterError`."""
    p, m = np.asarray(predicted, float), np.asarray(measured, float)
    if p.ndim != 1 or p.shape != m.shape or len(p) < 2:
        raise ParameterError(f"one measurement for each of 2 networks or more, got {p.shape} and {m.shape}")
    if not (np.isfinite(p).all() and np.isfinite(m).all() and (m > 0).all()):
        raise ParameterError("predictions must be finite, and measured latencies positive")
    relative, scatter = (p - m) / m, float(((m - m.mean()) ** 2).sum())
    ordered = len(set(p)) > 1 and len(set(m)) > 1
    return Additivity(
        n=len(p),
        r2=1 - float(((p - m) ** 2).sum()) / scatter if scatter else float("nan"),
        mape=float(np.abs(relative).mean()),
        bias=float(relative.mean()),
        spread=float(relative.std(ddof=1)),
        rmse=float(np.sqrt(((p - m) ** 2).mean())),
        spearman=float(scipy.stats.spearmanr(p, m).statistic) if ordered else float("nan"),
    )


def correct(
    table: LookupTable,
    archs: Sequence[Arch],
    measured_ms: Sequence[float],
    *,
    scale: bool = False,
    folds: int = FOLDS,
    seed: int = 0,
) -> Correction:
    """Fit the overhead and, where the number of boundaries varies, what each costs.

    The error after it is that of cross-validation, since two or three fitted terms flatter themselves on 20 networks.
    Raises `ParameterError` for fewer than 10 networks.

    table: what is corrected.
    archs: the networks that it is fitted on.
    measured_ms: what each of them takes.
    scale: fit a factor too; else the table's own slope of 1 is kept.
    folds: of the cross-validation.
    seed: draws them.
    """
    predicted, measured = np.array([table(arch) for arch in archs]), np.asarray(measured_ms, float)
    before = compare(predicted, measured)
    if before.n < FEWEST or not 2 <= folds <= before.n:
        raise ParameterError(f"a correction needs {FEWEST} networks and 2 folds or more, got {before.n} and {folds}")
    model, note = _Model.of(table, archs, scale)
    held_out, order = np.empty(before.n), rng(seed, "folds").permutation(before.n)
    for fold in np.array_split(order, folds):
        others = np.setdiff1d(order, fold)
        held_out[fold] = model.predict(model.fit(measured, others), fold)
    terms = model.fit(measured, order)
    if (terms == 0).any():
        note = "; ".join(filter(None, [note, "a term stands where a cost reaches 0 ms, below which it may not go"]))
    return Correction(
        **model.terms(terms),
        standard_errors=model.errors(measured, terms),
        before=before,
        after=compare(held_out, measured),
        measured=tuple(measured.tolist()),
        predicted=tuple(predicted.tolist()),
        held_out=tuple(held_out.tolist()),
        metric=table.metric,
        fingerprint=table.space.fingerprint,
        note=note,
    )


@dataclass(frozen=True)
class _Model:
    """measured = a + s * (varying - cheapest * number) + b * number with a, b, s >= 0: the correction in other terms.

    `varying` (n,) is what the searched pieces cost by the table and `number` (n,) how many of them run; `cheapest` is
    the least that one costs. So a is all that networks share, and s * cheapest may be taken off every running piece:
    nothing costs less than 0. Without `scale`, s is 1; without boundaries, `number` is 0 and there is no b.
    """

    varying: np.ndarray
    number: np.ndarray
    cheapest: float
    fixed: float
    fixed_number: float
    counted: bool
    scale: bool

    @classmethod
    def of(cls, table: LookupTable, archs: Sequence[Arch], scale: bool) -> tuple[_Model, str]:
        """The model, and why it leaves boundaries out, if it does."""
        counts = boundaries(table.space)
        number = np.array([counts(arch) for arch in archs]) - counts.fixed
        which = "every network of this space has" if len(set(counts.bounds())) == 1 else "these networks all have"
        counted = len(set(number)) > 1
        note = "" if counted else f"{which} as many boundaries, so what one costs is part of the overhead"
        pairs = zip(table.entries, counts.entries, strict=True)
        each = [float((entry[n > 0] / n[n > 0]).min()) for entry, n in pairs if (n > 0).any()]
        varying = np.array([table(arch) for arch in archs]) - table.fixed
        number, cheapest = number * counted, min(each, default=0.0)
        return cls(varying, number, cheapest, table.fixed, counts.fixed, counted, scale), note

    @property
    def design(self) -> np.ndarray:
        """(n, terms): a, then b and s where they are fitted."""
        columns = [np.ones_like(self.varying)] + [self.number] * self.counted + [self._scaled] * self.scale
        return np.stack(columns, 1)

    @property
    def _scaled(self) -> np.ndarray:
        return self.varying - self.cheapest * self.number

    def fit(self, measured: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """The terms (a, b, s) that are fitted, by least squares on some of the networks."""
        target = measured if self.scale else measured - self._scaled
        return scipy.optimize.nnls(self.design[rows], target[rows])[0]

    def predict(self, terms: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """Milliseconds of some of the networks."""
        return self.design[rows] @ terms + (0 if self.scale else self._scaled[rows])

    def terms(self, fitted: np.ndarray) -> dict[str, float]:
        """Overhead, scale and, where it is fitted, what a boundary costs."""
        scale = float(fitted[-1]) if self.scale else 1.0
        each = float(fitted[1]) - scale * self.cheapest if self.counted else 0.0
        found = {"overhead": float(fitted[0]) - scale * self.fixed - each * self.fixed_number, "scale": scale}
        return found | ({"per_boundary": each} if self.counted else {})

    def errors(self, measured: np.ndarray, fitted: np.ndarray) -> dict[str, float]:
        """The standard errors of what was fitted (those of ordinary least squares)."""
        rest = measured - self.predict(fitted, np.arange(len(measured)))
        variance = rest @ rest / max(len(measured) - len(fitted), 1)
        covariance = variance * np.linalg.pinv(self.design.T @ self.design)
        origin = self.terms(np.zeros_like(fitted))  # the terms are linear in what was fitted
        rows = [self.terms(one) for one in np.eye(len(fitted))]
        slopes = {name: np.array([row[name] - origin[name] for row in rows]) for name in origin}
        errors = {name: float(np.sqrt(slope @ covariance @ slope)) for name, slope in slopes.items()}
        return {name: error for name, error in errors.items() if name != "scale" or self.scale}


def random_networks(space: SearchSpace, n: int, seed: int = 0) -> list[Arch]:
    """Different architectures, drawn uniformly. Raises `ParameterError` where the space has fewer.

    space: where they are drawn from.
    n: how many.
    seed: of the draws.
    """
    if not 1 <= n <= space.size:
        raise ParameterError(f"{space.name} has {space.size} networks, {n} different ones are asked for")
    draws, drawn = rng(check_whole("seed", seed, 0), "networks"), {}
    while len(drawn) < n:
        drawn[space.sample(draws)] = None
    return list(drawn)


def measure_networks(
    space: SearchSpace,
    archs: Sequence[Arch],
    *,
    rounds: int = 3,
    seed: int = 0,
    progress: Progress = silent,
    **options,
) -> list[float]:
    """The latency in ms of every network, in order: the median of those measurements in which the machine was not busy.

    Every round takes the networks in another order, so that a machine that slows down meanwhile slows no network in
    particular. Raises as `measure` and `ArchitectureError`.

    space: of the networks.
    archs: the networks.
    rounds: how often each is measured.
    seed: of the orders.
    progress: hears of every measurement.
    options: of `measure`.
    """
    check_whole("rounds", rounds)
    check_options("latency_ms", options)
    archs, draws = [space.validate(arch) for arch in archs], rng(seed, "order")
    times: list[list[Latency]] = [[] for _ in archs]
    order = [i for _ in range(rounds) for i in draws.permutation(len(archs)).tolist()]
    noisy: list[bool] = []
    with busy_once("networks", noisy), tempfile.TemporaryDirectory() as folder:
        for i in order:
            latency = _latency_of(space, archs[i], options, Path(folder) / f"{i}.onnx")
            times[i].append(latency)
            noisy.append(latency.noisy)
            progress(len(noisy), len(order))
    undisturbed = ([t for t in each if not t.noisy] or each for each in times)  # all where there is none
    return [statistics.median(t.median for t in each) for each in undisturbed]


def _latency_of(space: SearchSpace, arch: Arch, options: dict, exported: Path) -> Latency:
    """One measurement of a network, which ONNX Runtime reads from `exported` once it was written there."""
    onnx = options.get("backend") == "onnxruntime"
    if not exported.exists():
        with seeded(0):  # weights are drawn from PyTorch's own generator
            network = space.build(arch)
        if not onnx:
            return measure(network, space.input_shape, **options)
        how = measure_defaults() | options
        settings = [how[name] for name in ("batch", "threads", "precision", "device")]
        export_job(make_job("onnxruntime", network, [space.input_shape], *settings), exported)
    left = {name: value for name, value in options.items() if name not in ("backend", "precision", "device")}
    return measure_onnx(exported, space.input_shape, **left)
