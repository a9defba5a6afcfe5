"""A table of energy: what a meter at the device's plug wrote down while a kit ran on it."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import scipy

from nasedu.deploy.kit.read import block_table, contents, read_results, read_rows
from nasedu.errors import KitError, check_kind, check_number
from nasedu.tables.file import number
from nasedu.tables.table import LookupTable

COLUMNS = ["seconds", "watts"]  # of a log; seconds since 1970, as the device's clock has them
FEWEST = 3  # readings while one file runs


def energy_kit(
    folder: str | Path, log: str | Path, results: str | Path | None = None, idle: float = 0.0
) -> LookupTable:
    """A table of mJ, of the power that a meter read while a kit's blocks ran.

    The power is taken to change evenly between two readings. What is beside the kit's work, or uses power at rest,
    counts as well, unless `idle` takes it off. Raises `KitError` as `import_kit` does, and for a log that begins too
    late, ends too early or has less than 3 readings for some file.

    folder: the kit's.
    log: a CSV with the columns `seconds` (since 1970, by the device's clock) and `watts`.
    results: what the runner measured, best with `--seconds 5` or more; by default the folder's `results.jsonl`.
    idle: watts of the device at rest, that are taken off.
    """
    folder = Path(check_kind("the kit's folder", folder, (str, os.PathLike), "a path"))
    check_number("idle, in watts,", idle)
    manifest, space = contents(folder)
    path = Path(results) if results else folder / "results.jsonl"
    header, lines = read_results(path, manifest)
    seconds, watts = _readings(Path(log))
    spent = {name: _millijoules(line, seconds, watts, idle, Path(log)) for name, line in lines.items()}
    table = block_table(space, manifest, header, lines, spent)
    table.provenance.update(how="measured by a meter while run_kit.py ran", meter=Path(log).name, idle_watts=idle)
    return table


def _readings(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Seconds and watts of a log, in the order of time. Raises `KitError`."""
    found = []
    for where, row in read_rows(path, COLUMNS):
        try:
            second, watt = (number(float(cell), where) for cell in row)
        except ValueError as error:
            raise KitError(f"{where}: {error}") from None
        if watt < 0 or (found and second <= found[-1][0]):
            raise KitError(f"{where}: watts are 0 or more and seconds go up, got {second:.3f} and {watt:g}")
        found.append((second, watt))
    if len(found) < FEWEST:
        raise KitError(f"{path} has {len(found)} readings, too few")
    seconds, watts = np.array(found).T
    return seconds, watts


def _millijoules(line: dict, seconds: np.ndarray, watts: np.ndarray, idle: float, log: Path) -> float:
    """What one run of a file took, above `idle`. Raises `KitError`."""
    name, (began, ended, calls) = line["id"], (line[key] for key in ("began", "ended", "calls"))
    if seconds[0] > began or seconds[-1] < ended:
        raise KitError(
            f"{log} does not cover {name!r}, which ran from {began:.3f} to {ended:.3f}: it goes from "
            f"{seconds[0]:.3f} to {seconds[-1]:.3f} (are both clocks alike?)"
        )
    inside = (seconds > began) & (seconds < ended)
    if inside.sum() < FEWEST:
        raise KitError(
            f"{log} has {inside.sum()} readings while {name!r} ran, {FEWEST} are needed: measure with "
            "run_kit.py --seconds 5, say"
        )
    times = np.array([began, *seconds[inside], ended])
    joules = scipy.integrate.trapezoid(np.interp(times, seconds, watts) - idle, times)
    return max(0.0, 1e3 * float(joules) / calls)
