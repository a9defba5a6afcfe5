"""The way back: a kit and what was measured with it, as a lookup table, and how well that predicts whole networks."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import torch

from nasedu import spaces
from nasedu.errors import KitError, TableError
from nasedu.hardware.additivity import FEWEST, Additivity, Correction, correct, study
from nasedu.hardware.kit.run_kit import KIT, RESULTS
from nasedu.hardware.kit.write import MANIFEST
from nasedu.hardware.table import UNITS, LookupTable
from nasedu.spaces.base import SearchSpace
from nasedu.storage import content_hash

# What the device said of itself and of how it measured, as it goes into a table's provenance.
_PROVENANCE = (
    *("device", "cores", "machine", "system", "governor", "python", "numpy", "onnxruntime"),
    *("provider", "threads", "repeats", "warmup", "timer_ms", "date"),
)


@dataclass(frozen=True)
class KitResult:
    """A kit's latency table in ms, and how it compares with the whole networks that were measured beside it.

    `networks` has a row for each: `arch`, `measured_ms`, the quartiles `low_ms` and `high_ms`, `noisy`, and
    `predicted_ms` by the table. Noisy ones stay out of `study` and `correction` where at least 10 others are left.
    `study` is None for fewer than 2 networks, `correction` and the table `corrected` with it for fewer than 10; `note`
    says why there is no corrected table.
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
            f"{self.table.space.name} on {made['device']}: {low:.4g} to {high:.4g} ms a batch of {made['batch']} "
            f"({made['provider']}, {threads}); {self.noisy} of {made['measured']} measurements are noisy",
            f"the table as measured, on {judged} whole networks: {self.study or 'too few to say'}",
        ]
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
    folder = Path(folder)
    results = Path(results) if results else folder / "results.jsonl"
    manifest = read_manifest(folder)
    space = _space(manifest, folder)
    header, lines = read_results(results, manifest)
    table = _table(space, manifest, header, lines)
    networks = _networks(manifest, lines, table)
    found = {"table": table, "networks": networks, "noisy": sum(bool(line.get("noisy")) for line in lines.values())}
    calm = networks[~networks["noisy"].astype(bool)]
    judged = calm if len(calm) >= FEWEST else networks
    archs, measured = judged["arch"].tolist(), judged["measured_ms"].tolist()
    if len(archs) >= 2:
        found["study"] = study(table, archs, measured)
    if len(archs) < FEWEST:
        return KitResult(**found, note=f"a correction is fitted on {FEWEST} networks or more")
    correction = correct(table, archs, measured)
    try:
        return KitResult(**found, correction=correction, corrected=correction.apply(table))
    except TableError as error:  # blocks so small that nearly all of their time is that of the call
        return KitResult(**found, correction=correction, note=str(error))


def read_manifest(folder: Path) -> dict:
    """A kit's table of contents, when it is as it was written. Raises `KitError`."""
    path = folder / MANIFEST
    if not path.is_file():
        raise KitError(f"{folder} holds no {MANIFEST}: it is no kit, or its export was not finished")
    try:
        manifest = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise KitError(f"{path} cannot be read: {error}") from None
    if not isinstance(manifest, dict) or manifest.get("schema") != KIT:
        raise KitError(f"{path} is no manifest of a kit (schema {KIT!r})")
    if manifest.get("id") != content_hash({k: v for k, v in manifest.items() if k not in ("id", "date")}):
        raise KitError(f"{path} was changed after it was written: its id is not that of what it holds")
    return manifest


def _space(manifest: dict, folder: Path) -> SearchSpace:
    """The space that a kit was made for, as this nasedu makes it. Raises `KitError` where that is another."""
    name, options = manifest["space"]["name"], manifest["space"]["options"]
    space = spaces.create(name, **options)
    if space.fingerprint != manifest["fingerprint"]:
        raise KitError(
            f"{folder} was made by nasedu {manifest['versions']['nasedu']} for a {name} with other layers or choices "
            "than this nasedu has: make the kit again"
        )
    return space


def read_results(path: Path, manifest: dict) -> tuple[dict, dict[str, dict]]:
    """The header of a kit's results, and the line of every entry by its id. Raises `KitError`."""
    try:
        text = path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is no text"
        raise KitError(f"no results can be read from {path}: {reason}") from None
    rows = text.split("\n")[:-1]  # what follows the last line break was cut short
    header = _line(rows[0], 1, path) if rows else {}
    if header.get("schema") != RESULTS:
        raise KitError(f"{path} holds no results of a kit (its first line needs the schema {RESULTS!r})")
    if header.get("kit") != manifest["id"]:
        raise KitError(f"{path} was measured with another kit ({header.get('kit')}, this one is {manifest['id']})")
    absent = [name for name in _PROVENANCE if name not in header]
    if absent:
        raise KitError(f"{path}, line 1 does not say {', '.join(absent)}")
    wanted = [entry["id"] for entry in manifest["entries"] if entry["file"]]
    lines = {}
    for number, row in enumerate(rows[1:], 2):
        line = _line(row, number, path)
        name = line.get("id")
        if name not in wanted:
            raise KitError(f"{path}, line {number}: the kit has no {name!r}")
        if name in lines:
            raise KitError(f"{path}, line {number}: {name!r} is there twice")
        lines[name] = _checked(line, number, path)
    missing = [name for name in wanted if name not in lines]
    if missing:
        few = ", ".join(map(repr, missing[:3])) + (" ..." if len(missing) > 3 else "")
        raise KitError(
            f"{path} is cut short: {len(missing)} of {len(wanted)} are missing ({few}); "
            "run run_kit.py on the device again, it measures what is missing"
        )
    return header, lines


def _line(row: str, number: int, path: Path) -> dict:
    try:
        line = json.loads(row)
    except ValueError:
        line = None
    if not isinstance(line, dict):
        raise KitError(f"{path}, line {number} cannot be read: {row[:40]!r}")
    return line


def _checked(line: dict, number: int, path: Path) -> dict:
    """The line, if its times are times. Raises `KitError`."""
    for name in ("low_ms", "median_ms", "high_ms"):
        value = line.get(name)
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < math.inf:
            raise KitError(f"{path}, line {number}: {name} of {line['id']!r} must be a time above 0 ms, got {value!r}")
    return line


def _table(space: SearchSpace, manifest: dict, header: dict, lines: dict[str, dict]) -> LookupTable:
    """What was measured, at its place: an entry without a file costs nothing."""
    entries = [torch.zeros([space.choices[d] for d in group], dtype=torch.float64) for group in space.groups]
    fixed = 0.0
    for piece in manifest["pieces"]:
        cost = lines[piece["entry"]]["median_ms"] if piece["entry"] in lines else 0.0
        if piece["group"] is None:
            fixed += cost
        else:
            entries[piece["group"]][tuple(piece["option"])] += cost
    provenance = {"how": "measured on the device by run_kit.py of a kit", "backend": "onnxruntime"}
    provenance |= {name: header[name] for name in _PROVENANCE}
    provenance |= {"batch": manifest["batch"], "precision": "float32", "kit": manifest["id"], "measured": len(lines)}
    provenance |= {"exported_with": manifest["versions"]}
    return LookupTable(space, "latency_ms", UNITS["latency_ms"], fixed, entries, provenance)


def _networks(manifest: dict, lines: dict[str, dict], table: LookupTable) -> pd.DataFrame:
    """The whole networks: what was measured beside what the table says."""
    rows = []
    for entry in manifest["entries"]:
        if entry["kind"] == "network" and entry["id"] in lines:
            line, arch = lines[entry["id"]], tuple(entry["arch"])
            times = {"measured_ms": line["median_ms"], "low_ms": line["low_ms"], "high_ms": line["high_ms"]}
            noisy = bool(line.get("noisy"))
            rows.append({"arch": arch} | times | {"noisy": noisy, "predicted_ms": table(arch)})
    columns = ["arch", "measured_ms", "low_ms", "high_ms", "noisy", "predicted_ms"]
    return pd.DataFrame(rows, columns=columns)
