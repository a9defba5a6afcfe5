"""A lookup table as a plain matrix in CSV, layers x choices: what a spreadsheet or any other program can write."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Sequence
from pathlib import Path

import torch

from nasedu import reading
from nasedu.errors import TableError, check_name
from nasedu.files import write_atomically
from nasedu.spaces.base import SearchSpace, check_decided
from nasedu.tables.file import number, options, plain
from nasedu.tables.metrics import METRICS
from nasedu.tables.table import LookupTable

_ABOUT = re.compile(r"group \[(.+) (\S+)\]")
FIXED = "fixed"  # the name of a last row with one figure: what all networks of the space cost


def write_csv(table: LookupTable, path: str | Path) -> None:
    """A row per decision group with its name and a figure per option, under a header; the fixed part comes last.

    The header has the options' names where those of every group are the first of the longest one's, else numbers. Its
    first cell tells what the figures are, `group [METRIC FINGERPRINT]`, with the space's fingerprint. The provenance is
    lost: `LookupTable.save` keeps it.
    """
    text, named = io.StringIO(), options(table.space)
    longest = max(named.values(), key=len)
    same = all(names == longest[: len(names)] for names in named.values())
    writer = csv.writer(text, lineterminator="\n")
    about = f"group [{table.metric} {table.space.fingerprint}]"
    writer.writerow([about, *(longest if same else (f"option {i + 1}" for i in range(len(longest))))])
    for name, entry in zip(named, table.entries, strict=True):
        writer.writerow([name, *(plain(v) for v in entry.flatten().tolist())])
    writer.writerow([FIXED, plain(table.fixed)])
    write_atomically(path, text.getvalue())


def read_csv(path: str | Path, space: SearchSpace, metric: str = "latency_ms") -> LookupTable:
    """A matrix with a row per decision group, in order, and a column per option.

    path: the file.
    space: what it prices.
    metric: what the figures are, in its unit.

    A header, row names and a last row `fixed` may be there (else the fixed part is 0); cells may be empty only beyond a
    row's options. Names of this space in another order than its own are refused, and so are another metric or space
    where the header names them, as `write_csv` does. Raises `TableError`, `UnknownName`.
    """
    check_name("metric", metric, METRICS)
    check_decided("read_csv", space)
    rows = _rows(path)
    _check_about(rows[0][0], path, space, metric)
    header, names, cells, fixed = _parts(rows, path)
    named = options(space)
    if len(cells) != len(named):
        raise TableError(f"{path} has {len(cells)} rows of figures, {space.name} has {len(named)} decision groups")
    _check_order(header, max(named.values(), key=len), f"{path}: columns")
    _check_order(names, list(named), f"{path}: rows")
    entries = []
    for i, (row, (name, wanted), group) in enumerate(zip(cells, named.items(), space.groups, strict=True), 1):
        where = f"{path}, row {i} of figures ({name})"
        if any(cell for cell in row[len(wanted) :]):
            raise TableError(f"{where} has {_filled(row)} figures, the group has {len(wanted)} options")
        row = row[: len(wanted)] + [""] * (len(wanted) - len(row))
        values = [_figure(cell, f"{where}, {option}") for cell, option in zip(row, wanted, strict=True)]
        entries.append(torch.tensor(values, dtype=torch.float64).reshape([space.choices[d] for d in group]))
    provenance = {"how": f"read from {Path(path).name} (a matrix of groups x options)"}
    return LookupTable(space, metric, METRICS[metric].unit, _figure(fixed, f"{path}: {FIXED}"), entries, provenance)


def _rows(path: str | Path) -> list[list[str]]:
    """The cells of all rows that are not empty, without surrounding blanks."""
    try:
        text = reading.text_of(path)
        rows = [[cell.strip() for cell in row] for row in csv.reader(io.StringIO(text, newline=""), strict=True)]
    except (ValueError, csv.Error) as error:
        raise TableError(f"no lookup table can be read from {path}: {error}") from None
    rows = [row for row in rows if any(row)]
    if not rows:
        raise TableError(f"{path} is no lookup table: it is empty")
    return rows


def _parts(rows: list[list[str]], path: str | Path) -> tuple[list[str], list[str], list[list[str]], str]:
    """Header, row names (both empty where there are none), cells, and the fixed part ("0" where there is none)."""
    has_header = rows[0][0] == "group" or _ABOUT.fullmatch(rows[0][0]) or not any(map(_is_number, rows[0]))
    header = rows[0] if has_header else []
    rows = rows[1:] if header else rows
    fixed = "0"
    if rows and rows[-1][0].lower() == FIXED:
        if _filled(rows[-1]) != 2:
            raise TableError(f"{path}: the row {FIXED!r} must hold one figure, got {_filled(rows[-1]) - 1}")
        fixed, rows = next(cell for cell in rows[-1][1:] if cell), rows[:-1]
    if rows and not any(_is_number(row[0]) or not row[0] for row in rows):
        return header[1:], [row[0] for row in rows], [row[1:] for row in rows], fixed
    return header, [], rows, fixed


def _check_about(cell: str, path: str | Path, space: SearchSpace, metric: str) -> None:
    """Refuse figures of another metric or space than those asked for, where the header's first cell names any."""
    about = _ABOUT.fullmatch(cell)
    if about and about[1] != metric:
        raise TableError(f"{path} holds {about[1]}, not {metric}")
    if about and about[2] != space.fingerprint:
        raise TableError(
            f"{path} was made for another space ({about[2]}) than this {space.name} at {list(space.input_shape)} "
            f"({space.fingerprint})"
        )


def _check_order(found: Sequence[str], wanted: Sequence[str], where: str) -> None:
    """Refuse names of this space that stand at another's place; names of the writer's own are not looked at."""
    for i, name in enumerate(found):
        if name in wanted and (i >= len(wanted) or wanted[i] != name):
            place = wanted[i] if i < len(wanted) else "nothing"
            raise TableError(f"{where} have {name!r} at place {i + 1}, where this space has {place!r}")


def _figure(cell: str, where: str) -> float:
    if not cell:
        raise TableError(f"{where}: the cell is empty")
    return number(float(cell) if _is_number(cell) else cell, where, least=0)


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _filled(row: Sequence[str]) -> int:
    return sum(1 for cell in row if cell)
