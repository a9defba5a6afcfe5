"""A table of a device that cannot time a kit's blocks, or on which they do not add up: from its whole networks."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

from nasedu.deploy.kit.read import block_table, contents, judged_by, provenance_of, read_results, read_rows
from nasedu.errors import KitError, brief, check_kind, check_name
from nasedu.tables import Estimate, LookupTable, estimate
from nasedu.tables.file import number

COLUMNS = ["network", "ms"]  # of a CSV


def estimate_kit(folder: str | Path, results: str | Path | None = None) -> Estimate:
    """A latency table estimated from the times of a kit's whole networks.

    The prior are the times of the blocks, where all of them were measured, else their MACs. Raises `KitError` as
    `import_kit` does, and `ParameterError` for fewer than 10 networks.

    folder: the kit's.
    results: what the runner measured, the blocks too or `--only networks`; or a CSV with the columns `network` and
        `ms`, for figures of another tool: a network is called as in the kit, `network 03` or `networks/03.onnx`. By
        default the folder's `results.jsonl`.
    """
    folder = Path(check_kind("the kit's folder", folder, (str, os.PathLike), "a path"))
    results = Path(results) if results else folder / "results.jsonl"
    manifest, space = contents(folder)
    if results.suffix.lower() == ".csv":
        archs, times = _read_csv(results, manifest)
        about = {"batch": manifest["batch"], "kit": manifest["id"], "read_from": results.name}
        return _told(estimate(LookupTable.build(space, "macs"), archs, times), about)
    header, lines = read_results(results, manifest, ("network",))
    about = provenance_of(manifest, header, lines)
    every = all(entry["id"] in lines for entry in manifest["entries"] if entry["file"] and entry["kind"] != "network")
    prior = block_table(space, manifest, header, lines) if every else LookupTable.build(space, "macs")
    return _told(estimate(prior, *judged_by(manifest, lines)), about)


def _told(found: Estimate, about: dict) -> Estimate:
    """The estimate with a table that says of what device it is."""
    return replace(found, table=replace(found.table, provenance=about | found.table.provenance))


def _read_csv(path: Path, manifest: dict) -> tuple[list[tuple[int, ...]], list[float]]:
    """The networks of a CSV and their times in ms. Raises `KitError`."""
    networks = {entry["id"]: entry for entry in manifest["entries"] if entry["kind"] == "network"}
    called = {entry["file"].removesuffix(".gz"): name for name, entry in networks.items() if entry["file"]}
    times: dict[str, float] = {}
    for where, row in read_rows(path, COLUMNS):
        name, ms = _time(row, where, called, list(networks))
        if name in times:
            raise KitError(f"{where}: {name!r} is there twice")
        times[name] = ms
    return [tuple(networks[name]["arch"]) for name in times], list(times.values())


def _time(row: list[str], where: str, called: dict[str, str], known: list[str]) -> tuple[str, float]:
    """The network of a row by its id, and its time."""
    name = called.get(row[0].removesuffix(".gz"), row[0])
    try:
        check_name("network of this kit", name, known)
        ms = number(float(row[1]), where)
    except (LookupError, ValueError) as error:  # of the name, and of what is no finite number
        raise KitError(f"{where}: {error}") from None
    if ms <= 0:
        raise KitError(f"{where}: a time is above 0 ms, got {brief(row[1])}")
    return name, ms
