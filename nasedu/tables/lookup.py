"""The table that a search should use: stored with the project, read from a file, or measured here and now."""

from __future__ import annotations

import os
from pathlib import Path

import torch

from nasedu import resources
from nasedu.errors import ParameterError, TableError, check_name
from nasedu.hardware.backends import BACKENDS
from nasedu.hardware.latency import measure_defaults
from nasedu.progress import Progress, silent
from nasedu.spaces.base import SearchSpace
from nasedu.tables import file as table_file
from nasedu.tables.csv import read_csv
from nasedu.tables.foreign import read_mapping, read_ofa, read_wzdnas
from nasedu.tables.metrics import METRICS
from nasedu.tables.pricing import check_options
from nasedu.tables.table import LookupTable

STORED = resources.folder("lookup")
# options of a measurement that ask for another latency
SETTINGS = ("batch", "threads", "backend", "precision", "device_type")


def latency_table(
    space: SearchSpace,
    source: str = "auto",
    keep: str | Path | None = None,
    *,
    progress: Progress = silent,
    **options,
) -> LookupTable | None:
    """A latency table of `space` in ms, or None for the source "none".

    space: what it prices.
    source: "auto" takes the stored table made for this very space, which was measured on a CPU, and measures where
        there is none or `options` ask for another device, batch, threads, backend or precision; "measure" measures the
        machine that runs this; "none"; otherwise a file, as in `read_table`.
    keep: where a measured table is written, and read from the next time, so that a search that goes on prices with the
        same figures.
    progress: as in `LookupTable.build`.
    options: as in `measure`.

    Raises `UnknownName`, `ParameterError`, and `TableError`, also for a kept table that was measured otherwise or has
    no hash, by which a damaged figure is found.
    """
    check_options("latency_ms", options)
    asked = measure_defaults() | options | {"device_type": _device_type(options)}
    if source == "none":
        return None
    if source not in ("auto", "measure"):
        table = read_table(source, space)
        if table.metric != "latency_ms":
            raise TableError(f"{source} holds {table.metric}, not latency_ms")
        return table
    if source == "auto" and (table := stored(space, "latency_ms")) and not _otherwise(table, asked):
        return table
    if keep and os.path.exists(keep):
        return _kept(keep, space, asked)
    table = LookupTable.build(space, "latency_ms", progress=progress, **options)
    table.provenance["device_type"] = asked["device_type"]
    if not keep:
        return table
    table.save(keep)
    return LookupTable.load(keep, space)  # rounded as it was written, so that a run that goes on has the same figures


def _kept(keep: str | Path, space: SearchSpace, asked: dict) -> LookupTable:
    table = LookupTable.load(keep, space)
    if not table_file.field(keep, "hash"):
        raise TableError(f"{keep} has no hash, so nobody knows whether it is as it was written: delete it")
    if other := _otherwise(table, asked):
        raise TableError(f"{keep} was measured with {other}: delete it, or name another file to keep the table in")
    return table


def _device_type(options: dict) -> str:
    """The kind of device that is asked for; where none is, the one that the backend measures on."""
    usual = "cuda" if options.get("backend") == "cuda" else "cpu"
    try:
        return torch.device(options.get("device") or usual).type
    except (RuntimeError, TypeError):
        wrong = f"{options['device']!r:.40}"
        raise ParameterError(f"unknown device {wrong}: valid ones are cpu, cuda, cuda:1 ...") from None


def _otherwise(table: LookupTable, asked: dict) -> str:
    """In which settings that change a latency a table differs from what is asked for; "" where in none.

    What its provenance does not name was measured before there was a choice: at the default.
    """
    made = table.provenance
    usual = measure_defaults() | {"device_type": _device_type({"backend": made.get("backend")})}
    settings = [(name, made.get(name, usual[name]), asked[name]) for name in SETTINGS]
    return " and ".join(f"{name} {was}, not {wanted}" for name, was, wanted in settings if was != wanted)


def stored(space: SearchSpace, metric: str, backend: str = "torch") -> LookupTable | None:
    """The table that the project stores for this very space, or None.

    space: what it prices.
    metric: of the table.
    backend: what it was measured with.

    A space is known by its fingerprint, so a file made for other layers, choices or classes is passed over, whatever
    its name. Raises `UnknownName`, and `TableError` for a file that cannot be read.
    """
    check_name("metric", metric, METRICS)
    check_name("backend", backend, BACKENDS)
    for path in sorted(STORED.glob(file_name(f"{space.name}*", space.input_shape[-1], metric, backend))):
        if table_file.field(path, "fingerprint") == space.fingerprint:
            return LookupTable.load(path, space)
    return None


def file_name(space: str, pixels: int, metric: str, backend: str = "torch") -> str:
    """Under which a table is stored: SPACE-PIXELS-METRIC.json, as in `fbnet-course-32-macs.json` for fbnet:course.

    space: its name.
    pixels: of its input's side.
    metric: of the table.
    backend: stands behind where it is not "torch": `fbnet-course-32-latency_ms-cuda.json`.
    """
    behind = "" if backend == "torch" else f"-{backend}"
    return f"{space.replace(':', '-')}-{pixels}-{metric}{behind}.json"


def read_table(path: str | Path, space: SearchSpace, metric: str = "latency_ms") -> LookupTable:
    """A table in a file: nasedu's JSON, a matrix in CSV, or ProxylessNAS's or WZDNAS's format in YAML or JSON.

    path: the file; a relative one is looked for from here, then from the project's folder.
    space: what it prices.
    metric: what a CSV must hold, and is taken to hold where it does not say.

    Raises `TableError`.
    """
    if not isinstance(path, str | Path):
        raise TableError(f"lookup takes auto, measure, none or a file, got {path!r:.40}")
    given, path = path, Path(path) if os.path.isfile(path) else STORED.parent / path
    if not os.path.isfile(path):
        raise TableError(f"there is no lookup table {given}; lookup takes auto, measure, none or a file")
    kind = path.suffix.lower()
    if kind == ".csv":
        return read_csv(path, space, metric)
    if kind not in (".json", ".yaml", ".yml"):
        raise TableError(f"{path.name} is no lookup table: their names end in .json, .yaml, .yml or .csv")
    keys = [str(key) for key in read_mapping(path)]
    if any("-input:" in key for key in keys):
        return read_ofa(path, space)
    return LookupTable.load(path, space) if kind == ".json" else read_wzdnas(path, space)
