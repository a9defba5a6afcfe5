"""A lookup table as JSON: what it is a table of, how its figures came about, and one line of figures per group.

    {"schema": "nasedu-lookup-2", "space": "fbnet", "input_shape": [3, 32, 32], "fingerprint": "...",
     "metric": "macs", "unit": "MACs", "provenance": {...}, "hash": "...", "fixed": 123,
     "entries": {"stage1_1": {"k3e1": 456, "skip": 0}, "back1": {"0.25, 1": 789}}}

Options are named by their choices, in the order of the group's decisions. The hash is of all the rest; a file that was
made by hand may go without.
"""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Mapping
from functools import partial
from pathlib import Path

import torch

from nasedu import reading
from nasedu.errors import TableError, UnknownName, check_name
from nasedu.files import content_hash, write_atomically
from nasedu.spaces.base import SearchSpace
from nasedu.tables.metrics import METRICS

SCHEMA = "nasedu-lookup-2"
KEYS = ("schema", "space", "input_shape", "fingerprint", "metric", "unit", "provenance", "fixed", "entries")


def options(space: SearchSpace) -> dict[str, list[str]]:
    """For every decision group, by name, its options' names in the order of its entry's elements."""
    names = [[space.decisions[d].choices for d in group] for group in space.groups]
    found = [[", ".join(chosen) for chosen in itertools.product(*choices)] for choices in names]
    return dict(zip(space.group_names, found, strict=True))


def write(path: str | Path, space: SearchSpace, table: Mapping) -> None:
    """Write metric, unit, provenance, fixed part and entries of a table of `space`, whole or not at all.

        path: the file.
        space: what the table prices.
        table: what `read` returns.

    Raises `TableError` for a metric in another unit than its own.
    """
    check_unit(table["metric"], table["unit"], f"{path}")
    about = {"schema": SCHEMA, "space": space.name, "input_shape": list(space.input_shape)}
    about |= {"fingerprint": space.fingerprint} | table | {"fixed": plain(table["fixed"]), "entries": {}}
    for (name, names), entry in zip(options(space).items(), table["entries"], strict=True):
        about["entries"][name] = dict(zip(names, map(plain, entry.flatten().tolist()), strict=True))
    about["hash"] = content_hash(json.loads(json.dumps(about)))  # as it will be read
    quoted = partial(json.dumps, ensure_ascii=False)
    lines = [f" {quoted(key)}: {quoted(about[key])}," for key in (*KEYS[:-2], "hash", "fixed")]
    entries = [f"  {quoted(name)}: {quoted(row)}" for name, row in about["entries"].items()]
    write_atomically(path, "\n".join(["{", *lines, ' "entries": {', ",\n".join(entries), " }", "}", ""]))


def read(path: str | Path, space: SearchSpace) -> dict:
    """The arguments of a `LookupTable` from a file. Raises `TableError` naming what is wrong, and where."""
    stored = parse(path)
    if not isinstance(stored, dict) or stored.get("schema") != SCHEMA:
        got = repr(stored.get("schema"))[:40] if isinstance(stored, dict) else "no mapping"
        raise TableError(f"{path} is no lookup table of nasedu: its schema is {got}, not {SCHEMA!r}")
    written = stored.pop("hash", None)
    check_keys(stored, KEYS, f"{path}")
    if written not in (None, content_hash(stored)):
        raise TableError(f"{path} was changed after it was written: its hash is not that of what it holds")
    if stored["fingerprint"] != space.fingerprint:
        raise TableError(
            f"{path} was made for {stored['space']} at {stored['input_shape']} ({stored['fingerprint']}), not for this "
            f"{space.name} at {list(space.input_shape)} ({space.fingerprint}): other layers, choices or classes"
        )
    check_unit(stored["metric"], stored["unit"], f"{path}")
    if not isinstance(stored["provenance"], dict):
        raise TableError(f"{path}: provenance must map what to how, got {stored['provenance']!r:.40}")
    found = {"fixed": number(stored["fixed"], f"{path}: the fixed part")}
    found["entries"] = _entries(stored["entries"], space, path)
    return found | {name: stored[name] for name in ("metric", "unit", "provenance")}


def field(path: str | Path, key: str) -> object:
    """What a file says under a key, or None where it does not or is of another schema. Raises `TableError`."""
    stored = parse(path)
    return stored.get(key) if isinstance(stored, dict) and stored.get("schema") == SCHEMA else None


def check_keys(found: object, wanted: object, where: str) -> None:
    """Raise `TableError` unless a mapping has exactly the keys that it should.

    found: what may be a mapping.
    wanted: the keys.
    where: begins the message.
    """
    if not isinstance(found, dict):
        raise TableError(f"{where} must be a mapping, got {found!r:.40}")
    wanted = list(wanted)
    missing, unknown = [k for k in wanted if k not in found], [k for k in found if k not in wanted]
    for keys, has, end in ((missing, "lacks", ""), (unknown, "has", ", which is unknown here")):
        if keys:
            more = f" and {len(keys) - 1} more" if len(keys) > 1 else ""
            raise TableError(f"{where} {has} {keys[0]!r}{more}{end}")


def number(value: object, where: str, least: float = -math.inf) -> float:
    """`value` as a float. Raises `TableError` unless it is a finite number.

    value: what was read.
    where: begins the message.
    least: the lowest that is right.
    """
    try:
        found = float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else math.nan
    except OverflowError:  # an int of more digits than a float has
        found = math.inf
    if not math.isfinite(found) or found < least:
        bound = "" if least == -math.inf else f" of at least {least:g}"
        raise TableError(f"{where} must be a finite number{bound}, got {value!r:.40}")
    return found


def plain(value: float) -> int | float:
    """A figure as it is written: whole where it is, else to a millionth (of a ms: a nanosecond)."""
    return int(value) if float(value).is_integer() else round(value, 6)


def parse(path: str | Path, as_yaml: bool = False) -> object:
    """What a file in JSON, or in YAML, holds. Raises `TableError`, also where a key stands twice."""
    try:
        return reading.load(path, "yaml" if as_yaml else "json")
    except ValueError as error:
        raise TableError(f"no lookup table can be read from {path}: {error}") from None


def check_unit(metric: object, unit: object, where: str) -> None:
    """Raise `TableError` unless a metric is a registered one, in its unit.

    metric: its name.
    unit: what the figures are in.
    where: begins the message.
    """
    try:
        check_name("metric", metric, METRICS)
    except UnknownName as error:
        raise TableError(f"{where}: {error}") from None
    if unit != METRICS[metric].unit:
        raise TableError(f"{where}: {metric} is in {METRICS[metric].unit}, not in {unit!r:.40}")


def _entries(stored: object, space: SearchSpace, path: str | Path) -> list[torch.Tensor]:
    named, entries = options(space), []
    check_keys(stored, named, f"{path}: entries")
    for (name, names), group in zip(named.items(), space.groups, strict=True):
        check_keys(stored[name], names, f"{path}: {name}")
        row = [number(stored[name][option], f"{path}: {name}, {option}") for option in names]
        entries.append(torch.tensor(row, dtype=torch.float64).reshape([space.choices[d] for d in group]))
    return entries
