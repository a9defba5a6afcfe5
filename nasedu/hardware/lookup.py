"""The latency table that a search should use: stored with the project, read from a file, or measured here and now."""

from __future__ import annotations

from pathlib import Path

import torch

from nasedu.errors import TableError
from nasedu.hardware.foreign import read_wzdnas
from nasedu.hardware.table import LookupTable
from nasedu.spaces.base import SearchSpace

STORED = Path(__file__).parents[2] / "lookup"


def latency_table(space: SearchSpace, source: str = "auto", keep: str | Path | None = None, **options):
    """A latency table of `space` in ms, or None for the source "none".

    `source`: "auto" takes the stored table made for this very space, which was measured on a CPU, and measures where
    there is none or the device is another; "measure" measures the machine that runs this (`options` as in `measure`);
    otherwise a file, nasedu's JSON or WZDNAS's YAML. A measured table is
    written to `keep`, and read from there the next time, so that a search that goes on prices with the same figures.
    Raises `TableError`.
    """
    if source == "none":
        return None
    if source not in ("auto", "measure"):
        table = read_table(source, space)
        if table.metric != "latency_ms":
            raise TableError(f"{source} holds {table.metric}, not latency_ms")
        if table.fixed < 0 or any(bool((entry < 0).any()) for entry in table.entries):
            raise TableError(f"{source} holds latencies below 0 ms")
        return table
    stored = STORED / f"{stem(space)}-latency_ms.json"
    on_cpu = torch.device(options.get("device", "cpu")).type == "cpu"
    if source == "auto" and on_cpu and stored.exists():
        try:
            return LookupTable.load(stored, space)
        except TableError:
            pass  # made for another number of classes, say: measure instead
    if keep and Path(keep).exists():
        return LookupTable.load(keep, space)
    table = LookupTable.build(space, "latency_ms", **options)
    if keep:
        table.save(keep)
    return table


def read_table(path: str | Path, space: SearchSpace) -> LookupTable:
    """A table in a file: nasedu's JSON, or WZDNAS's YAML by its ending. Raises `TableError`.

    A relative path is looked for from here, then from the project's folder.
    """
    path = Path(path) if Path(path).is_file() else STORED.parent / path
    if not path.is_file():
        raise TableError(f"there is no lookup table {path.name}; lookup takes auto, measure, none or a file")
    return read_wzdnas(path, space) if path.suffix in (".yaml", ".yml") else LookupTable.load(path, space)


def stem(space: SearchSpace) -> str:
    """The file name, without metric and ending, under which a space's tables are stored: `yolo-course-128`."""
    return f"{space.name.replace(':', '-')}-{space.input_shape[-1]}"
