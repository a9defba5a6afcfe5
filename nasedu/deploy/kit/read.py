"""The way back: a kit and what was measured with it, as a lookup table, and how well that predicts whole networks."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from nasedu import reading, spaces
from nasedu.deploy.kit.run_kit import KINDS, PRECISIONS, RESULTS, RUNTIMES, intact, is_name
from nasedu.deploy.kit.write import CALL, MANIFEST, read_manifest
from nasedu.errors import KitError, NaseduError, TableError, brief, check_kind
from nasedu.spaces.base import Arch, SearchSpace
from nasedu.tables.additivity import FEWEST, Additivity, Correction, correct, study
from nasedu.tables.metrics import METRICS
from nasedu.tables.pieces import pieces
from nasedu.tables.pricing import add_up
from nasedu.tables.table import LookupTable

_TEXTS = ("device", "machine", "system", "governor", "python", "numpy", "version", "provider", "date")
_COUNTS = ("cores", "threads", "repeats", "warmup")
TOLD = {"celsius": "°C", "mhz": "MHz"}  # what a line says of the device, where the system knows it
_NAMES = {"runtime": RUNTIMES, "precision": PRECISIONS}
_CONTENTS: dict[str, Callable[[Any], bool]] = {  # of a manifest, beside its entries, which the runner reads as well
    "space": lambda value: isinstance(value, dict),
    "fingerprint": is_name,
    "batch": lambda value: type(value) is int and 0 < value <= 1024,
    "versions": lambda value: isinstance(value, dict) and all(map(is_name, value.values())),
    "pieces": lambda value: isinstance(value, list),
}
_PROVENANCE = (*_TEXTS, *_COUNTS, *_NAMES, "timer_ms")  # what the device said of itself and of how it measured


@dataclass(frozen=True)
class KitResult:
    """A kit's latency table in ms, and how it compares with the whole networks that were measured beside it.

    `networks` has a row for each: `arch`, `measured_ms`, the quartiles `low_ms` and `high_ms`, `noisy`, and
    `predicted_ms` by the table. Noisy ones stay out of `study` where at least 10 others are left. `study` is None for
    fewer than 2 networks, `correction` and the table `corrected` with it for fewer than 10 calm ones; `note` says why
    there is no corrected table.
    """

    table: LookupTable
    networks: pd.DataFrame
    noisy: int
    study: Additivity | None = None
    correction: Correction | None = None
    corrected: LookupTable | None = None
    note: str = ""

    def __str__(self) -> str:
        made, (low, high) = self.table.provenance, self.table.bounds()
        judged = self.study.n if self.study else len(self.networks)
        if judged < len(self.networks):
            judged = f"{judged} of {len(self.networks)} (without noisy ones)"
        threads = f"{made['threads']} thread{'s' if made['threads'] != 1 else ''}"
        lines = [
            f"{spoken(self.table.space)} on {made['device']}: {low:.4g} to {high:.4g} ms a batch of {made['batch']} "
            f"({made['backend']}, {made['precision']}, {made['provider']}, {threads}); "
            f"{self.noisy} of {made['measured']} measurements are noisy",
            f"the table as measured, on {judged} whole networks: {self.study or 'too few to say'}",
        ]
        for name, unit in TOLD.items():
            if name in made:
                lines.append(f"the device told of {made[name][0]:g} to {made[name][1]:g} {unit} on the way")
        if self.correction:
            lines.append(f"corrected (cross-validated): {self.correction.after}")
            lines.append(f"the correction: {self.correction}")
        if self.note:
            lines.append(f"no corrected table: {self.note}")
        return "\n".join(lines)


def import_kit(folder: str | Path, results: str | Path | None = None) -> KitResult:
    """Read the kit in `folder` and what its runner measured, by default in the folder's `results.jsonl`.

    Raises `KitError` when either is cut short, damaged or of another kit, holds an id twice or what is no time.
    """
    folder = Path(check_kind("the kit's folder", folder, (str, os.PathLike), "a path"))
    results = Path(results) if results else folder / "results.jsonl"
    manifest, space = contents(folder)
    header, lines = read_results(results, manifest)
    table = block_table(space, manifest, header, lines)
    networks = _networks(manifest, lines, table)
    found = {"table": table, "networks": networks, "noisy": sum(line["noisy"] for line in lines.values())}
    calm = networks[~networks["noisy"].astype(bool)]
    archs, measured = judged_by(manifest, lines)
    if len(archs) >= 2:
        found["study"] = study(table, archs, measured)
    if len(calm) < FEWEST:
        return KitResult(**found, note=f"it is fitted on {FEWEST} calm networks or more, here {len(calm)}")
    correction = correct(table, archs, measured)
    try:
        return KitResult(**found, correction=correction, corrected=correction.apply(table))
    except TableError as error:  # blocks so small that nearly all of their time is that of the call
        return KitResult(**found, correction=correction, note=str(error))


def contents(folder: Path) -> tuple[dict, SearchSpace]:
    """A kit's table of contents, when it is as it was written and holds what it should, and its space.

    Raises `KitError`.
    """
    path = folder / MANIFEST
    if not os.path.isfile(path):
        raise KitError(f"{folder} holds no {MANIFEST}: it is no kit, or its export was not finished")
    manifest = read_manifest(path)
    for name, fine in _CONTENTS.items():
        if not fine(manifest.get(name)):
            raise KitError(f"{path}: {name} cannot be {brief(manifest.get(name))}")
    try:
        space = _space(manifest, folder)
        for entry in manifest["entries"]:
            if entry.get("kind") == "network":
                space.validate(entry.get("arch"))
    except NaseduError as error:
        raise KitError(f"{path}: {error}") from None
    _check_pieces(manifest, space, path)
    return manifest, space


def _check_pieces(manifest: dict, space: SearchSpace, path: Path) -> None:
    """Raise `KitError` unless the manifest lists an empty call and an entry for each of the space's pieces."""
    known = {entry["id"]: entry["file"] for entry in manifest["entries"]}
    if not known.get(CALL):
        raise KitError(f"{path} lists no {CALL!r}")
    listed = [(piece.get("name"), piece.get("entry")) for piece in manifest["pieces"] if isinstance(piece, dict)]
    if [name for name, _ in listed] != [piece.name for piece in pieces(space)] or len(listed) < len(manifest["pieces"]):
        raise KitError(f"{path}: its pieces are not those of {space.name}: make the kit again")
    for name, entry in listed:
        if not is_name(entry) or entry not in known:
            raise KitError(f"{path}: {name} is measured by {brief(entry)}, which is no entry")


def _space(manifest: dict, folder: Path) -> SearchSpace:
    """The space that a kit was made for, as this nasedu makes it. Raises `KitError` where that is another."""
    name, options = manifest["space"].get("name"), manifest["space"].get("options")
    if not isinstance(options, dict):
        raise KitError(f"its space has the options {brief(options)}")
    space = spaces.create(name, **options)
    if not isinstance(space, SearchSpace) or space.fingerprint != manifest["fingerprint"]:
        raise KitError(
            f"{folder} was made by nasedu {manifest['versions'].get('nasedu')} for a {name} with other layers or "
            "choices than this nasedu has: make the kit again"
        )
    return space


def spoken(space: SearchSpace) -> str:
    """A space as `spaces.create` and the command line name it, with its variant: nasbench201:course width=0.5."""
    name, options = space.made[0].args[0], dict(space.made[0].keywords)
    if "template" in options:
        name += f":{options.pop('template')}"
    elif spaces.COURSE.keys() <= options.keys():
        name += ":course"
        options = {k: v for k, v in options.items() if k not in spaces.COURSE or v != spaces.COURSE[k]}
    return " ".join([name, *(f"{k}={v}" for k, v in options.items())])


def read_results(path: Path, manifest: dict, needed: Sequence[str] = KINDS) -> tuple[dict, dict[str, dict]]:
    """The header of a kit's results, and the line of every entry by its id. Raises `KitError`.

    path: the results.
    manifest: of the kit.
    needed: the kinds of entries of which none may be missing.
    """
    try:
        text = reading.text_of(path)
    except ValueError as error:
        raise KitError(f"no results can be read from {path}: {error}") from None
    rows = text.split("\n")[:-1]  # what follows the last line break was cut short
    header = _line(rows[0], 1, path) if rows else {}
    if header.get("schema") != RESULTS:
        raise KitError(f"{path} holds no results of a kit (its first line needs the schema {RESULTS!r})")
    if header.get("kit") != manifest["id"]:
        raise KitError(
            f"{path} was measured with another kit ({brief(header.get('kit'))}, this one is {manifest['id']})"
        )
    _check_header(header, path)
    asked = [entry for entry in manifest["entries"] if entry["file"]]
    wanted = [entry["id"] for entry in asked]
    lines = {}
    for number, row in enumerate(rows[1:], 2):
        line = _line(row, number, path)
        name = line.get("id")
        if name not in wanted:
            raise KitError(f"{path}, line {number}: the kit has no {brief(name)}")
        if name in lines:
            raise KitError(f"{path}, line {number}: {name!r} is there twice")
        lines[name] = _checked(line, number, path)
    asked = [entry for entry in asked if not entry.get("spare")]
    missing = [e["id"] for e in asked if e["kind"] in needed and e["id"] not in lines]
    if missing:
        few = ", ".join(map(repr, missing[:3])) + (" ..." if len(missing) > 3 else "")
        raise KitError(
            f"{path} is cut short: {len(missing)} of {len(asked)} are missing ({few}); "
            "run run_kit.py on the device again, it measures what is missing"
        )
    return header, lines


def _check_header(header: dict, path: Path) -> None:
    """Raise `KitError` unless the device said all that a table records, each of its type."""
    absent = [name for name in _PROVENANCE if name not in header]
    if absent:
        raise KitError(f"{path}, line 1 does not say {', '.join(absent)}")
    good = {name: is_name(header[name]) or header[name] == "" for name in _TEXTS}
    good |= {name: type(header[name]) is int and 0 < header[name] <= 1_000_000 for name in _COUNTS}
    good |= {name: header[name] in some for name, some in _NAMES.items() if isinstance(header[name], str)}
    good |= {name: False for name in _NAMES if name not in good}
    good["timer_ms"] = _is_ms(header["timer_ms"], 0)
    for name in (name for name, fine in good.items() if not fine):
        raise KitError(f"{path}, line 1: {name} cannot be {brief(header[name])}")


def _line(row: str, number: int, path: Path) -> dict:
    """What a line says, when it is as it was written; of another schema nothing is known. Raises `KitError`."""
    try:
        line = reading.parse(row)
    except ValueError:
        line = None
    if not isinstance(line, dict):
        raise KitError(f"{path}, line {number} cannot be read: {brief(row)}")
    if line.get("schema", RESULTS) == RESULTS and not intact(line):
        raise KitError(f"{path}, line {number} was changed after it was written: its hash is not that of what it says")
    return line


def _checked(line: dict, number: int, path: Path) -> dict:
    """The line, if its times are times in their order. Raises `KitError`."""
    where = f"{path}, line {number}:"
    for name in ("low_ms", "median_ms", "high_ms"):
        if not _is_ms(line.get(name), 1e-6):
            raise KitError(f"{where} {name} of {line['id']!r} must be a time above 0 ms, got {brief(line.get(name))}")
    if not line["low_ms"] <= line["median_ms"] <= line["high_ms"]:
        raise KitError(f"{where} the quartiles of {line['id']!r} must lie about its median")
    if type(line.get("noisy")) is not bool:
        raise KitError(f"{where} noisy of {line['id']!r} must be true or false, got {brief(line.get('noisy'))}")
    began, ended, calls = (line.get(name) for name in ("began", "ended", "calls"))
    if not (_is_number(began, 0, 1e11) and _is_number(ended, began, 1e11) and type(calls) is int and calls > 0):
        raise KitError(f"{where} {line['id']!r} does not say from when to when it ran, and how often")
    for name in TOLD:
        if line.get(name) is not None and not _is_number(line[name], -1e3, 1e6):
            raise KitError(f"{where} {name} of {line['id']!r} cannot be {brief(line[name])}")
    return line


def _is_number(value: object, least: float, most: float) -> bool:
    """Whether a value out of a file is a number within these limits."""
    return isinstance(value, int | float) and not isinstance(value, bool) and least <= value <= most


def _is_ms(value: object, least: float) -> bool:
    """Whether a value out of a file is a number of milliseconds: under three hours, and no finer than a nanosecond."""
    return _is_number(value, least, 1e7)


def block_table(
    space: SearchSpace, manifest: dict, header: dict, lines: dict[str, dict], costs: dict[str, float] | None = None
) -> LookupTable:
    """What was measured, at its place: an entry without a file costs nothing.

    What a file costs holds the price of a call, which a network pays once and not for every block.

    space: of the kit.
    manifest: of the kit.
    header: of the results.
    lines: of the results, by id.
    costs: by id, of energy in mJ; None: the medians in ms.
    """
    metric = "latency_ms" if costs is None else "energy_mj"
    costs = costs or {name: line["median_ms"] for name, line in lines.items()}
    call, found = costs[CALL], list(pieces(space))
    files = {piece["name"]: piece["entry"] for piece in manifest["pieces"]}
    each = [costs.get(files[p.name], 0.0) for p in found]
    fixed, entries = add_up(space, found, [max(cost - call, 0.0) for cost in each])
    unit = METRICS[metric].unit
    provenance = provenance_of(manifest, header, lines) | {f"call_{unit.lower()}": call}
    return LookupTable(space, metric, unit, fixed + call, entries, provenance)


def read_rows(path: Path, columns: Sequence[str]) -> list[tuple[str, list[str]]]:
    """The rows of a CSV below its header, each behind its place in words. Raises `KitError`.

    path: the file.
    columns: what the header has to say.
    """
    try:
        rows = list(csv.reader(io.StringIO(reading.text_of(path), newline=""), strict=True))
    except (ValueError, csv.Error) as error:
        raise KitError(f"nothing can be read from {path}: {error}") from None
    rows = [[cell.strip() for cell in row] for row in rows if any(map(str.strip, row))]
    if not rows or rows[0] != list(columns):
        got = brief(",".join(rows[0]) if rows else "")
        raise KitError(f"{path} needs the header {','.join(columns)!r}, got {got}")
    for place, row in enumerate(rows[1:], 2):
        if len(row) != len(columns):
            raise KitError(f"{path}, row {place} has {len(row)} cells, not {' and '.join(columns)}")
    return [(f"{path}, row {place}", row) for place, row in enumerate(rows[1:], 2)]


def provenance_of(manifest: dict, header: dict, lines: dict[str, dict]) -> dict:
    """What a table says of the device, of how it was measured and of the kit.

    manifest: of the kit.
    header: of the results.
    lines: of the results, by id.
    """
    made = {"how": "measured on the device by run_kit.py of a kit", "backend": header["runtime"]}
    made |= {name: header[name] for name in _PROVENANCE if name != "runtime"}
    for name in TOLD:
        told = [line[name] for line in lines.values() if line.get(name) is not None]
        made |= {name: [min(told), max(told)]} if told else {}
    made |= {"batch": manifest["batch"], "kit": manifest["id"], "measured": len(lines)}
    return made | {"exported_with": manifest["versions"]}


def judged_by(manifest: dict, lines: dict[str, dict]) -> tuple[list[Arch], list[float]]:
    """The whole networks and their times in ms; noisy ones stay out where at least 10 others are left."""
    kept = [entry for entry in manifest["entries"] if entry["kind"] == "network" and entry["id"] in lines]
    calm = [entry for entry in kept if not lines[entry["id"]]["noisy"]]
    kept = calm if len(calm) >= FEWEST else kept
    return [tuple(entry["arch"]) for entry in kept], [lines[entry["id"]]["median_ms"] for entry in kept]


def _networks(manifest: dict, lines: dict[str, dict], table: LookupTable) -> pd.DataFrame:
    """The whole networks: what was measured beside what the table says."""
    rows = []
    for entry in manifest["entries"]:
        if entry["kind"] == "network" and entry["id"] in lines:
            line, arch = lines[entry["id"]], tuple(entry["arch"])
            rows.append((arch, *(line[name] for name in ("median_ms", "low_ms", "high_ms", "noisy")), table(arch)))
    columns = ["arch", "measured_ms", "low_ms", "high_ms", "noisy", "predicted_ms"]
    return pd.DataFrame(rows, columns=columns)
