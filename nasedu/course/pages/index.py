"""What a run of several notebooks left behind: one page with links to all, and one file to read by machine."""

from __future__ import annotations

import html
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from nasedu.course.pages.document import document
from nasedu.files import write_atomically

PAGE, SUMMARY = "index.html", "summary.json"
HEADER = ("notebook", "what it found", "exercises", "time")


def overview(rows: Sequence[dict[str, Any]], folder: Path) -> Path:
    """Write `index.html` and `summary.json` into the folder of runs, over earlier ones, and return the page.

    rows: for every notebook its `notebook`, `seconds`, `problem` (a sentence, or None) and `folder` (or None).
    folder: of the runs.
    """
    told = [_told(row, folder) for row in rows]
    write_atomically(folder / SUMMARY, json.dumps(told, indent=1))
    head = "".join(f"<th>{name}</th>" for name in HEADER)
    lines = [_line(row) for row in told]
    total = sum(row["seconds"] for row in told)
    body = (
        f"<h1>The course, run</h1>\n<p>{len(told)} notebooks in {total / 60:.0f} minutes, "
        f"{sum(row['problem'] is None for row in told)} of them to the end.</p>\n"
        f'<div class="wide"><table><thead><tr>{head}</tr></thead>\n<tbody>\n{"".join(lines)}</tbody></table></div>'
    )
    write_atomically(folder / PAGE, document(body, "nasedu: the course, run", {}))
    return folder / PAGE


def _told(row: dict[str, Any], folder: Path) -> dict[str, Any]:
    """A row with what its result.json says, and where its page lies from the index."""
    path, result = row["folder"], {}
    if path and (path / "result.json").is_file():
        result = json.loads((path / "result.json").read_text("utf-8"))
    page = path / f"{row['notebook']}.html" if path else None
    return {
        "notebook": row["notebook"],
        "seconds": round(row["seconds"], 1),
        "problem": row["problem"] and str(row["problem"]),
        "page": page.relative_to(folder).as_posix()
        if page and page.is_file() and page.is_relative_to(folder)
        else None,
        "summary": result.get("summary", ""),
        "exercises": result.get("exercises", {}),
    }


def _line(row: dict[str, Any]) -> str:
    name, page = html.escape(row["notebook"]), row["page"]
    link = f'<a href="{html.escape(page)}">{name}</a>' if page else name
    said = html.escape(row["problem"] or row["summary"])
    if row["problem"]:
        said = f'<span class="verdict-failed">{said}</span>'
    elif "\n" in said:  # a table, whose columns stand below each other
        said = f"<pre>{said}</pre>"
    states = [exercise["state"] for exercise in row["exercises"].values()]
    solved = f"{states.count('passed')} of {len(states)} passed" if states else ""
    cells = (link, said, solved, f"{row['seconds']:.0f} s")
    return f'<tr id="{name}">' + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>\n"
