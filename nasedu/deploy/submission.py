"""Rank a file of architectures with a supernet, as the ranking track of a competition asks: one score for each string.

The file is a JSON object: names map to {"arch": the string, "acc": anything}, and what is submitted has the scores as
"acc". A ranking appends a line to its state for every network that is scored, so it can be killed and goes on; it can
be shared among machines, whose states are merged. The public code writes only after all 45,000 evaluations, and splits
and merges its files instead.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote, unquote

from filelock import FileLock, Timeout

from nasedu import reading
from nasedu.errors import (
    ArchitectureError,
    CheckpointError,
    DataError,
    NaseduError,
    OutputError,
    ProxyError,
    brief,
    check_number,
    check_whole,
)
from nasedu.files import write_atomically
from nasedu.progress import Progress, silent
from nasedu.spaces.base import Arch, SearchSpace
from nasedu.storage import identity
from nasedu.workers import LOST, Failed, Workers, lost

MARK = "# nasedu-ranking "
KEPT = "|~+:,;=()[]{}"  # what a string may hold as it is; blanks and line ends stand as %20 and %0A


def rank(
    file: str | Path,
    space: SearchSpace,
    evaluate: Callable[[Arch], float],
    *,
    state: str | Path,
    share: tuple[int, int] = (1, 1),
    executor: Executor | None = None,
    progress: Progress = silent,
) -> dict[str, float]:
    """Score the architectures of a file; returns the scores by name, of this share.

    file: JSON, see above.
    space: whose strings they are.
    evaluate: an evaluator, such as `search.SupernetScore`. A string that occurs again is not scored again.
    state: a file of lines "name string score", from which a killed ranking goes on, also with another file; one of
        another evaluator (other weights, images, code or library versions) is kept as NAME.old, which is said.
    share: (i, n): the i-th of n parts of the file in order, counted from 1; the last one has what is left over.
    executor: scores on its workers, which get the evaluator once each.
    progress: hears of every score.

    Raises `DataError` for what is no such file, `ArchitectureError` for a string that is none of the space's,
    `ParameterError` for a share, `ProxyError` where a network cannot be scored, `WorkersLost`, `OutputError` where
    another process ranks with this state.
    """
    named = _part(read(file), share)
    archs = {text: (name, _parsed(space, name, text)) for name, text in named.items()}
    path = Path(state)
    with _alone(path):
        known = _begun(path, identity(evaluate))
        todo = [(name, text, arch) for text, (name, arch) in archs.items() if text not in known]
        _go_on(path, known, todo, len(archs), Workers(evaluate, executor), progress)
    return {name: known[text] for name, text in named.items()}


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Locks a state: two processes would each lose the other's lines. Raises `OutputError`."""
    lock = FileLock(path.with_name(f".{path.name}.lock"), timeout=0)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except Timeout:
        raise OutputError(f"{path} is in use by another ranking: wait for it, or give another state") from None
    except OSError as error:
        raise OutputError(f"cannot write to {path.parent}: {error.strerror or error}") from None
    try:  # what fails within is not the lock's fault
        yield
    finally:
        lock.release()


def _go_on(path: Path, known: dict, todo: list, total: int, several: Workers, progress: Progress) -> None:
    """Score what is left to do, a line for each; the scores join the known ones."""
    done = total - len(todo)
    with path.open("a", encoding="utf-8") as lines, several as workers:
        try:
            scores = workers.map(arch for *_, arch in todo)
            for (name, text, _), score in zip(todo, scores, strict=True):
                known[text], done = _checked(score, name), done + 1
                lines.write(f"{name} {quote(text, KEPT)} {known[text]!r}\n")
                lines.flush()
                progress(done, total)
        except LOST:
            raise lost(done, "networks", path) from None


def merge(file: str | Path, states: Sequence[str | Path]) -> dict[str, float]:
    """The scores of all shares, by name in the file's order.

    file: JSON, as in `rank`.
    states: of the shares.

    Raises `DataError` where one has no score, `CheckpointError` for what is no state, or states of several evaluators.
    """
    named, parts = read(file), [_lines(Path(state)) for state in states]
    if len({owner for owner, _ in parts}) > 1:
        same = "the same weights, images, code and versions of the libraries"
        raise CheckpointError(f"these states are of several evaluators: all shares must be ranked with {same}")
    found = {text: score for _, scores in parts for text, score in scores.items()}
    missing = [name for name, text in named.items() if text not in found]
    if missing:
        raise DataError(f"{len(missing)} of {len(named)} networks have no score yet, as {missing[0]}: rank their share")
    return {name: found[text] for name, text in named.items()}


def write(file: str | Path, scores: dict[str, float], out: str | Path) -> None:
    """Write what is submitted: the file's content with every "acc" replaced.

    file: JSON, as in `rank`.
    scores: by name, of all networks.
    out: the new file.

    Raises `DataError` where one has none.
    """
    named = _loaded(file)
    if missing := [name for name in named if name not in scores]:
        raise DataError(f"{len(missing)} of {len(named)} networks have no score, as {missing[0]}")
    content = {name: entry | {"acc": scores[name]} for name, entry in named.items()}
    write_atomically(out, json.dumps(content, indent=1) + "\n")


def read(file: str | Path) -> dict[str, str]:
    """The strings of a file by name. Raises `DataError`."""
    return {name: entry["arch"] for name, entry in _loaded(file).items()}


def _loaded(file: str | Path) -> dict[str, dict]:
    try:
        content = reading.load(file)
    except ValueError as error:
        raise DataError(f"{file} is no JSON file of architectures: {error}") from None
    if not isinstance(content, dict) or not content:
        raise DataError(f'{file} must map names to {{"arch": ..., "acc": 0}}, got {brief(content)}')
    for name, entry in content.items():
        if not isinstance(entry, dict) or not isinstance(entry.get("arch"), str):
            raise DataError(f'{file}: {name:.40} must be {{"arch": a string, "acc": 0}}, got {brief(entry)}')
        if len(name.split()) != 1 or not name.isprintable():
            raise DataError(f"{file}: names are single words, got {name!a:.60}")
    return content


def _part(named: dict[str, str], share: tuple[int, int]) -> dict[str, str]:
    of = check_whole("shares", share[1], 1, len(named))
    i, size, names = check_whole("the share's number", share[0], 1, of), len(named) // of, list(named)
    end = len(names) if i == of else i * size
    return {name: named[name] for name in names[(i - 1) * size : end]}


def _parsed(space: SearchSpace, name: str, text: str) -> Arch:
    try:
        return space.parse(text)
    except NaseduError as error:
        raise ArchitectureError(f"{name:.40}: {error}") from None


def _checked(score: object, name: str) -> float:
    if isinstance(score, Failed):
        raise ProxyError(f"{name:.40} cannot be scored: {score.sentence}")
    try:
        value = float(score)  # type: ignore[arg-type]
    except (TypeError, ValueError, RuntimeError):
        value = math.nan
    if not math.isfinite(value):
        raise ProxyError(f"{name:.40} has no finite score, got {brief(score)}")
    return value


def _lines(path: Path) -> tuple[str, dict[str, float]]:
    """Whose state it is, and its scores by string. Raises `CheckpointError`."""
    try:
        first, *lines = reading.text_of(path).splitlines(keepends=True) or [""]
        rows = [line.split() for line in lines if line.endswith("\n")]  # without one that a kill cut short
        found = {unquote(text): check_number("a score", float(score), -math.inf) for _, text, score in rows}
    except ValueError as error:
        raise CheckpointError(f"{path} is no state of a ranking ({error}): delete it to start again") from None
    if not first.startswith(MARK):
        raise CheckpointError(f"{path} is no state of a ranking: it must begin with {MARK.strip()!r}")
    return first.removeprefix(MARK).strip(), found


def _begun(path: Path, owner: str) -> dict[str, float]:
    """The scores so far, by string; the state is begun where there is none, and a line that was cut short taken out."""
    there = os.path.exists(path) and not (path.is_file() and not path.stat().st_size)
    told, known = _lines(path) if there else (owner, {})
    text = path.read_text("utf-8") if there else ""
    if told != owner:
        kept = path.with_name(f"{path.name}.old")
        os.replace(path, kept)
        print(f"{path.name} was stored with other settings, code or data: it is kept as {kept.name}, and begun afresh")
        text, known = "", {}
    whole = text[: text.rfind("\n") + 1] or f"{MARK}{owner}\n"
    write_atomically(path, whole)
    return known
