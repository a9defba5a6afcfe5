"""Lookup tables in other projects' formats."""

from __future__ import annotations

import math
import re
from pathlib import Path

import torch
import yaml

from nasedu.errors import TableError
from nasedu.hardware.table import UNITS, LookupTable
from nasedu.spaces.base import SearchSpace

_KEY = re.compile(r"stage:(\d+)-gamma:(\d+(?:\.\d+)?)-depth:(\d+)")


def read_wzdnas(path: str | Path, space: SearchSpace) -> LookupTable:
    """WZDNAS's YAML: `stage:S-gamma:G-depth:N` to a mapping whose `mean` is milliseconds; stage 1 is the first slot.

    The format covers the searchable blocks alone, so the fixed part is 0, and records neither device settings nor
    template. Raises `TableError` unless stages, width ratios and depths are exactly those of `space`.
    """
    try:
        stored = yaml.safe_load(Path(path).read_text())
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise TableError(f"no lookup table can be read from {path}: {error}") from None
    if not isinstance(stored, dict):
        raise TableError(f"{path} is no WZDNAS table: it holds no mapping")
    found = {_read_key(key, path): _read_mean(key, value, path) for key, value in stored.items()}
    entries, expected = [], set()
    for stage, slot in enumerate(space.slots, 1):
        widths, depths = (decision.choices for decision in slot.decisions)
        keys = [[(stage, float(w), int(n)) for n in depths] for w in widths]
        expected |= {key for row in keys for key in row}
        entries.append([[found.get(key, math.nan) for key in row] for row in keys])
    _check_keys(set(found), expected, path, space)
    tensors = [torch.tensor(entry, dtype=torch.float64) for entry in entries]
    provenance = {"how": f"read from {Path(path).name} (WZDNAS's format; only searchable blocks)"}
    return LookupTable(space, "latency_ms", UNITS["latency_ms"], 0.0, tensors, provenance)


def _read_key(key: object, path: str | Path) -> tuple[int, float, int]:
    match = _KEY.fullmatch(str(key))
    if not match:
        raise TableError(f"{path}: the key {key!r} does not read stage:S-gamma:G-depth:N")
    return int(match[1]), float(match[2]), int(match[3])


def _read_mean(key: object, value: object, path: str | Path) -> float:
    mean = value.get("mean") if isinstance(value, dict) else None
    if isinstance(mean, bool) or not isinstance(mean, (int, float)) or not 0 <= mean < math.inf:
        raise TableError(f"{path}: {key} needs a mean of at least 0 ms, got {mean!r}")
    return float(mean)


def _check_keys(found: set, expected: set, path: str | Path, space: SearchSpace) -> None:
    for what, keys in (("lacks", expected - found), ("has, beyond this space,", found - expected)):
        if keys:
            stage, gamma, depth = min(keys)
            raise TableError(
                f"{path} was made for another template than {space.name}: it {what} {len(keys)} entries, "
                f"such as stage:{stage}-gamma:{gamma:g}-depth:{depth}"
            )
