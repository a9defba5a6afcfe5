"""Scores of many architectures by many proxies, from several initialisations: what combinations and judgements read."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence, Sized
from concurrent.futures import Executor
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pandas as pd
from torch import Tensor

from nasedu.errors import ParameterError, ProxyError, check_has, check_kind, check_name, check_whole
from nasedu.progress import Progress, silent
from nasedu.proxies.batch import Batch, as_batch
from nasedu.proxies.registry import MOST_SEED, Scores, info, names, score_all
from nasedu.ranking.combine import COMPOSITES, combine
from nasedu.spaces.base import Arch, SearchSpace
from nasedu.storage import identity, load_state, save_state
from nasedu.workers import LOST, Failed, Workers, lost

SAVE_EVERY = 10


@dataclass(frozen=True)
class PoolScores:
    """`seeds` maps a seed to its scores, one row an architecture's text, one column a proxy; -inf is a failure.

    `errors` maps (seed, architecture's text, proxy) to why it failed.
    """

    seeds: dict[int, pd.DataFrame]
    errors: dict[tuple[int, str, str], str]

    @property
    def frame(self) -> pd.DataFrame:
        """The mean over seeds; -inf where any seed failed."""
        return sum(self.seeds.values()) / len(self.seeds)


def score_pool(
    space: SearchSpace,
    archs: Sequence[Arch],
    batch: Batch | Tensor | tuple[Tensor, Tensor],
    proxies: str | Iterable[str] | Mapping[str, Mapping],
    *,
    seeds: Sequence[int] = (0,),
    executor: Executor | None = None,
    state: str | Path | None = None,
    progress: Progress = silent,
) -> PoolScores:
    """Score every architecture with every proxy, once per seed of the initialisation; a failure is a flagged -inf.

    space: builds the networks.
    archs: one row of the result each.
    batch: images (B, C, H, W), or a pair of images and labels.
    proxies: a name, names, or options by name; composites (te_nas, az_nas) are ranks over this pool, made of parts.
    seeds: of the initialisation and of the proxies' draws.
    executor: scores side by side.
    state: a file from which a killed run goes on.
    progress: `progress(done, total)` hears of networks.

    Raises `UnknownName`, `ParameterError`, `CheckpointError`, `WorkersLost`, and `ProxyError` where a worker fails.
    """
    _check_lists(archs=archs, proxies=proxies, seeds=seeds)
    archs, batch = [space.validate(arch) for arch in archs], as_batch(batch)
    seeds = [check_whole("a seed of a pool", seed, 0, MOST_SEED) for seed in seeds]
    wanted = [proxies] if isinstance(proxies, str) else list(dict.fromkeys(proxies))
    parts, options = _parts(wanted), _options(proxies)
    owner = identity(space, batch, parts, [info(name).function for name in parts], options) if state else ""
    done = (load_state(state, owner) if state else None) or {}
    one = partial(_score, space, batch, parts, options)
    jobs = [(seed, arch) for seed in seeds for arch in archs if (seed, space.format(arch)) not in done]
    try:
        for count, found in enumerate(_scored(one, jobs, len(archs) * len(seeds), executor, progress), start=1):
            done[jobs[count - 1][0], space.format(jobs[count - 1][1])] = found
            if state and count % SAVE_EVERY == 0:
                save_state(state, done, owner)
    except LOST as error:
        raise lost(len(done), "networks", state) from error
    finally:
        if state and jobs:
            save_state(state, done, owner)
    return _collect(done, [space.format(arch) for arch in archs], seeds, wanted)


def _scored(one: Callable, jobs: list[tuple[int, Arch]], total: int, executor: Executor | None, progress: Progress):
    """The scores and errors of every job, in order. Raises `ProxyError`."""
    progress(total - len(jobs), total)
    with Workers(one, executor) as workers, closing(workers.map(jobs)) as answers:
        for left, found in zip(reversed(range(len(jobs))), answers, strict=True):
            if isinstance(found, Failed):
                raise ProxyError(f"a network could not be scored: {found.sentence}"[:300])
            yield found
            progress(total - left, total)


def _check_lists(**given: object) -> None:
    """Raise `ParameterError` unless all of them are lists or the like, and hold anything."""
    for what, some in given.items():
        check_has(f"{what} of a pool", some, ["__iter__"], f"one or more {what} in a list")
        if isinstance(some, Sized) and not len(some):
            raise ParameterError(f"a pool needs at least one of its {what}")


def _parts(wanted: list[str]) -> list[str]:
    """The proxies that these are made of, composites of several. Raises `UnknownName`."""
    for name in wanted:
        check_name("proxy", name, [*names(), *COMPOSITES])
    return list(dict.fromkeys(part for name in wanted for part in COMPOSITES.get(name, ((name,), ""))[0]))


def _options(proxies: Iterable[str] | Mapping[str, Mapping]) -> dict[str, Mapping]:
    """By proxy, the options of those that have any. Raises `ParameterError`."""
    given = {name: options for name, options in proxies.items() if options} if isinstance(proxies, Mapping) else {}
    return {name: check_kind(f"options of {name}", some, Mapping, "values by name") for name, some in given.items()}


def _score(space: SearchSpace, batch: Batch, parts: list[str], options: Mapping, job: tuple[int, Arch]):
    """Scores and errors of one network, as plain dicts."""
    seed, arch = job
    network = space.build(arch, seed=seed).to(batch.images.device)
    found: Scores = score_all(network, batch, parts, seed=seed, options=options)
    return dict(found), found.errors


def _collect(done: dict, texts: list[str], seeds: list[int], wanted: list[str]) -> PoolScores:
    """Frames by seed, composites added."""
    frames, errors = {}, {}
    for seed in seeds:
        frame = pd.DataFrame([done[seed, text][0] for text in texts], index=texts, dtype=float)
        errors |= {(seed, text, name): why for text in texts for name, why in done[seed, text][1].items()}
        for name in wanted:
            if name in COMPOSITES:
                parts, method = COMPOSITES[name]
                failed = (frame[list(parts)] == -math.inf).any(axis=1)
                combined = -math.inf if failed.all() else combine(frame[list(parts)], method)
                frame[name] = pd.Series(combined, frame.index).where(~failed, -math.inf)
        frames[seed] = frame[wanted]
    return PoolScores(frames, errors)
