"""Where a table's figures come from: every piece of a space counted, or measured, at its place in the network."""

from __future__ import annotations

import datetime
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from functools import partial

import torch
from torch import Tensor, nn

from nasedu import registry
from nasedu.errors import ParameterError, check_whole
from nasedu.hardware.backends import WHOLE_PROGRAMS
from nasedu.hardware.latency import Latency, NoisyMeasurement, describe_device, measure_defaults, timer
from nasedu.progress import Progress
from nasedu.randomness import rng, seeded
from nasedu.spaces.base import SearchSpace
from nasedu.tables.metrics import METRICS
from nasedu.tables.pieces import Piece, make_up, pieces, runs

ROUNDS = {"rounds": 1}  # how often every piece is measured, where nobody says


def price(space: SearchSpace, metric: str, progress: Progress, options: dict) -> tuple[float, list[Tensor], dict]:
    """The fixed part, the entries and the provenance of a table.

        space: whose pieces are priced.
        metric: counted, or latency_ms.
        progress: told of every different piece.
        options: for latency_ms those of `measure`, and `rounds`: how often every piece is measured. The fastest counts:
            other programs only slow a piece down, and a slow minute of the machine spoils a round at most.

    Raises `ParameterError` or `UnknownName` for a metric that is made elsewhere, and for options that it does not take.
    """
    check_options(metric, options)
    if not isinstance(space, SearchSpace):
        raise ParameterError(f"a table prices choices, and an architecture of {space.name} is no list of them")
    found = list(pieces(space))
    if metric == "latency_ms":
        costs, noisy = _measured(found, progress, **options)
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
    """Raise unless `metric` takes these options: a latency those of `measure` and `rounds`, anything counted none."""
    if metric == "latency_ms":
        registry.check_options("a latency table", options, measure_defaults() | ROUNDS)
        check_whole("rounds", (ROUNDS | options)["rounds"], 1)
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


def _measured(
    found: Sequence[Piece], progress: Progress, rounds: int = ROUNDS["rounds"], **options
) -> tuple[list[float], int]:
    """The median latency in ms of every piece in its fastest round, and how many the machine was too busy for.

    In a shuffled order, or a machine that slows down meanwhile would make the last layers look dear. Equal pieces are
    measured once a round. What runs no operator in a network costs 0 with a backend that makes a program of the whole:
    alone it would be the price of a call.
    """
    whole = options.get("backend") in WHOLE_PROGRAMS
    alike = [indices for module, indices in _alike(found) if not whole or runs(module)]
    timers = [partial(_timer, found[indices[0]], options) for indices in alike]
    order = [k for i in range(rounds) for k in rng(0, "pieces", i).permutation(len(alike)).tolist()]
    times: list[list[Latency]] = [[] for _ in alike]
    noisy: list[bool] = []
    with busy_once("pieces", noisy), ExitStack() as ready:
        if rounds > 1:  # a piece is made ready once, and a table of a single round holds one piece at a time
            timers = [partial(nullcontext, ready.enter_context(timer())) for timer in timers]
        for done, k in enumerate(order, 1):
            with timers[k]() as time:
                times[k].append(time())
            progress(done, len(order))
        fastest = [min(some, key=lambda latency: latency.median) for some in times]
        noisy += [latency.noisy for latency in fastest]
    costs = [0.0] * len(found)
    for indices, latency in zip(alike, fastest, strict=True):
        for i in indices:
            costs[i] = latency.median
    return costs, sum(noisy)


def _timer(piece: Piece, options: dict) -> AbstractContextManager[Callable[[], Latency]]:
    with seeded(0):  # weights are drawn from PyTorch's own generator
        module = piece.make()
    return timer(module, *piece.input_shapes, **options)


@contextmanager
def busy_once(what: str, noisy: list[bool]) -> Iterator[None]:
    """One warning at the end for all measurements whose `noisy` was appended, instead of one for each."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NoisyMeasurement)
        yield
    if any(noisy):
        told = f"the machine was busy while {sum(noisy)} of {len(noisy)} {what} were measured: read them as rough ones"
        warnings.warn(told, NoisyMeasurement, stacklevel=3)


def _measuring(options: dict) -> dict:
    """How the figures are measured: device, software, date and every option of `measure`."""
    settings = measure_defaults() | ROUNDS | options
    about = describe_device(settings.pop("device"), settings["backend"])
    plain = {k: v if isinstance(v, int | str) else str(v) for k, v in settings.items()}
    today = datetime.date.today().isoformat()
    return {"how": "measured by nasedu", "date": today} | about | plain
