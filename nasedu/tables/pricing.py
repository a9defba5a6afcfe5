"""Where a table's figures come from: every piece of a space counted, or measured, at its place in the network."""

from __future__ import annotations

import datetime
import inspect
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from nasedu import registry
from nasedu.errors import ParameterError
from nasedu.hardware.about import describe_device
from nasedu.hardware.backends import WHOLE_PROGRAMS, usual_backend
from nasedu.hardware.latency import NoisyMeasurement, measure
from nasedu.progress import Progress
from nasedu.randomness import rng, seeded
from nasedu.spaces.base import SearchSpace
from nasedu.tables.metrics import METRICS
from nasedu.tables.pieces import Piece, make_up, pieces, runs


def price(space: SearchSpace, metric: str, progress: Progress, options: dict) -> tuple[float, list[Tensor], dict]:
    """The fixed part, the entries and the provenance of a table.

        space: whose pieces are priced.
        metric: counted, or latency_ms.
        progress: told of every different piece.
        options: those of `measure`, for latency_ms.

    Raises `ParameterError` or `UnknownName` for a metric that is made elsewhere, and for options that it does not take.
    """
    check_options(metric, options)
    if not isinstance(space, SearchSpace):
        raise ParameterError(f"a table prices choices, and an architecture of {space.name} is no list of them")
    found = list(pieces(space))
    if metric == "latency_ms":
        costs, noisy = _measured(found, progress, options)
        provenance = _measuring(options) | {"noisy_pieces": noisy}
    else:
        costs, provenance = _counted(found, metric, progress), {"how": "counted by nasedu"}
    return *add_up(space, found, costs), provenance


def add_up(space: SearchSpace, found: Sequence[Piece], costs: Sequence[float]) -> tuple[float, list[Tensor]]:
    """The fixed part and, per decision group, a tensor with one axis per decision.

    space: what is priced.
    found: its pieces.
    costs: of each of them.
    """
    fixed = 0.0
    entries = [torch.zeros([space.choices[d] for d in group], dtype=torch.float64) for group in space.groups]
    for piece, cost in zip(found, costs, strict=True):
        if piece.group is None:
            fixed += cost
        else:
            entries[piece.group][piece.option] += cost
    return float(fixed), entries


def check_options(metric: str, options: dict) -> None:
    """Raise unless `metric` takes these options: a latency those of `measure`, anything counted none."""
    if metric == "latency_ms":
        registry.check_options("a latency table", options, measure_defaults())
    elif METRICS[metric].count is None:
        raise ParameterError(f"a {metric} table is not counted: {METRICS[metric].made_by} makes it")
    elif options:
        raise ParameterError(f"a {metric} table is counted and takes no options, got {', '.join(options)}")


def _alike(found: Sequence[Piece]) -> list[tuple[nn.Module, list[int]]]:
    """Pieces that are the same module on the same maps, as the cells of a stage are: it, and their indices.

    Fixed layers are kept apart from options. The modules hold no memory.
    """
    groups: dict[object, tuple[nn.Module, list[int]]] = {}
    plans: dict[object, list[int]] = {}
    for i, piece in enumerate(found):
        if (indices := plans.get(piece.plan)) is None:
            module = piece.make("meta")
            key = (piece.group is None, make_up(module, piece.input_shapes) or i)
            indices = plans[piece.plan] = groups.setdefault(key, (module, []))[1]
        indices.append(i)
    return list(groups.values())


def _counted(found: Sequence[Piece], metric: str, progress: Progress) -> list[float]:
    alike, costs = _alike(found), [0.0] * len(found)
    for done, (module, indices) in enumerate(alike, 1):
        cost = METRICS[metric].count(found[indices[0]], module)
        for i in indices:
            costs[i] = cost
        progress(done, len(alike))
    return costs


def _measured(found: Sequence[Piece], progress: Progress, options: dict) -> tuple[list[float], int]:
    """The median latency in ms of every piece, and how many measurements the machine was too busy for.

    In a shuffled order, or a machine that slows down meanwhile would make the last layers look dear. Equal pieces are
    measured once. What runs no operator in a network costs 0 with a backend that makes a program of the whole: alone it
    would be the price of a call.
    """
    whole = (options.get("backend") or usual_backend(options.get("device"))) in WHOLE_PROGRAMS
    alike = [indices for module, indices in _alike(found) if not whole or runs(module)]
    costs, noisy = [0.0] * len(found), []
    with busy_once("pieces", noisy):
        for done, k in enumerate(rng(0, "pieces").permutation(len(alike)).tolist(), 1):
            piece = found[alike[k][0]]
            with seeded(0):  # weights are drawn from PyTorch's own generator
                module = piece.make()
            latency = measure(module, *piece.input_shapes, **options)
            for i in alike[k]:
                costs[i] = latency.median
            noisy.append(latency.noisy)
            progress(done, len(alike))
    return costs, sum(noisy)


@contextmanager
def busy_once(what: str, noisy: list[bool]) -> Iterator[None]:
    """One warning at the end for all measurements whose `noisy` was appended, instead of one for each."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NoisyMeasurement)
        yield
    if any(noisy):
        told = f"the machine was busy while {sum(noisy)} of {len(noisy)} {what} were measured: read them as rough ones"
        warnings.warn(told, NoisyMeasurement, stacklevel=3)


def measure_defaults(device: torch.device | str | None = None) -> dict[str, object]:
    """The options of `measure` with their defaults, those on a device."""
    taken = inspect.signature(measure).parameters.values()
    return {p.name: p.default for p in taken if p.kind is p.KEYWORD_ONLY} | {"backend": usual_backend(device)}


def _measuring(options: dict) -> dict:
    """How the figures are measured: device, software, date and every option of `measure`."""
    settings = measure_defaults(options.get("device")) | options
    about = describe_device(settings.pop("device"), settings["backend"])
    plain = {k: v if isinstance(v, int | str) else str(v) for k, v in settings.items()}
    today = datetime.date.today().isoformat()
    return {"how": "measured by nasedu", "date": today} | about | plain
