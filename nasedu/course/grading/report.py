"""Marks as a table to read by machine (CSV) and as a page."""

from __future__ import annotations

import csv
import html
import io
from collections.abc import Iterable, Mapping
from pathlib import Path

from nasedu.course.pages.document import document
from nasedu.files import write_atomically

HEADER = ("file", "notebook", "exercise", "title", "state", "sentence")
SIGNS = {"passed": "✓", "failed": "✗", "not tried": "○", "missing": "–", "problem": "!"}
Row = Mapping[str, str]


def write(rows: Iterable[Row], folder: Path) -> Path:
    """Write `grades.csv` and `grades.html` into a folder; returns the page.

    rows: with the columns of `HEADER`; a file with a problem has one row, without an exercise.
    folder: of the two files.
    """
    rows = list(rows)
    text = io.StringIO()
    table = csv.DictWriter(text, HEADER, lineterminator="\n")
    table.writeheader()
    table.writerows({name: _harmless(row[name]) for name in HEADER} for row in rows)
    for name, content in (("grades.csv", text.getvalue()), ("grades.html", document(_page(rows), "grades", {}))):
        # names of files and answers may hold what no encoding has
        write_atomically(folder / name, content.encode("utf-8", "backslashreplace"))
    return folder / "grades.html"


def _harmless(text: str) -> str:
    """A cell that no spreadsheet takes for a formula."""
    return f"'{text}" if text.startswith(("=", "+", "-", "@", "\t", "\r")) else text


def _page(rows: list[Row]) -> str:
    """A section for each file: how much was passed, and each exercise with what the checker said."""
    files: dict[str, list[Row]] = {}
    for row in rows:
        files.setdefault(row["file"], []).append(row)
    keys = ", ".join(f"{sign} {state}" for state, sign in SIGNS.items())
    lines = [f"<h1>Grades</h1><p>{len(files)} files. {keys}.</p>"]
    for name, marks in files.items():
        lines.append(f"<h2>{html.escape(name)}</h2>")
        if marks[0]["exercise"]:
            passed = sum(mark["state"] == "passed" for mark in marks)
            lines.append(f"<p>{html.escape(marks[0]['notebook'])}: {passed} of {len(marks)}</p>")
        cells = [
            (SIGNS[mark["state"]], f"{mark['exercise']} {mark['title']}", mark["sentence"] or mark["state"])
            for mark in marks
        ]
        body = "".join("<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row) + "</tr>" for row in cells)
        lines.append(f'<div class="wide"><table><tbody>{body}</tbody></table></div>')
    return "\n".join(lines)
