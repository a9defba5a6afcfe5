"""A handed-in notebook: which one of the course it is, and which of its cells are answers."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from nasedu.course import places
from nasedu.course.build import derive
from nasedu.errors import needs

with needs("course"):
    import nbformat

TITLE = re.compile(r"^#+ Exercise ([\d.]+): (.+)$", re.M)
CHECKER = re.compile(r"^(check_\w+)\(", re.M)
LARGEST = 50_000_000  # bytes of a file that is looked at


@dataclass(frozen=True)
class Task:
    """An exercise as the course sets it: its number and title, what the answer is called, where its stub stands."""

    number: str
    title: str
    answer: str
    index: int


@dataclass(frozen=True)
class Submission:
    """What a file holds: the notebook of the course and its answers, by the exercise's number; or why it holds none.

    Args:
        file: as it was handed in.
        notebook: of the course, or None.
        answers: the cells that define what an exercise asks for, each behind what it uses of the learner's other cells;
            an exercise whose cell is missing has none.
        problem: one sentence where there is nothing to grade.
    """

    file: Path
    notebook: str | None = None
    answers: dict[str, str] | None = None
    problem: str | None = None


def read(path: Path) -> Submission:
    """What the handed-in notebook holds. Cells may have been edited, moved, added and removed; it is not run here."""
    try:
        if path.stat().st_size > LARGEST:
            return Submission(path, problem=f"larger than {LARGEST // 1_000_000} MB")
        nb = nbformat.read(path, as_version=4)
        codes = ["".join(cell.source) for cell in nb.cells if cell.cell_type == "code"]
    except Exception as error:  # whatever a file may hold
        why = str(error).split("\n")[0] or type(error).__name__
        return Submission(path, problem=f"not a notebook: {why:.100}")
    name = _which(path, codes)
    if name is None:
        return Submission(path, problem="not a notebook of this course: no cell calls one of its checkers")
    helpers = _helpers(codes, name)
    found = {task.number: _last(codes, task.answer) for task in tasks(name)}
    answers = {number: _used(code, helpers) + code for number, code in found.items() if code is not None}
    return Submission(path, name, answers)


def tasks(notebook: str) -> list[Task]:
    """The exercises of a notebook, in order. Its source says which."""
    cells, found = derive(places.source(notebook), "solution").cells, []
    for index, cell in enumerate(cells):
        heading = TITLE.search(cell.source) if cell.cell_type == "markdown" else None
        if heading:
            stub = next(i for i in range(index, len(cells)) if "stub" in cells[i].metadata.get("tags", []))
            found.append(Task(heading[1], heading[2], _defined(cells[stub].source)[-1], stub))
    return found


def _which(path: Path, codes: list[str]) -> str | None:
    """The notebook of the course whose checkers are called most often; the file's name decides between equals."""
    called = {name for code in codes for name in CHECKER.findall(code)}
    own = {name: set(CHECKER.findall(places.source(name).read_text("utf-8"))) for name in places.sources()}
    best = max(own, key=lambda name: (len(own[name] & called), name in path.stem))
    return best if own[best] & called else None


def _last(codes: list[str], name: str) -> str | None:
    """The last cell that defines `name`; one that cannot be read as Python counts if it looks like it."""
    for code in reversed(codes):
        try:
            if name in _defined(code):
                return code
        except (SyntaxError, ValueError):
            if re.search(rf"^(def|class) {name}\b|^{name} *=", code, re.M):
                return code
    return None


def _defined(code: str) -> list[str]:
    """The names that a cell's own level defines, in order."""
    return [name for node in _parsed(code) for name in _bound(node)]


def _parsed(code: str) -> list[ast.stmt]:
    return ast.parse(re.sub(r"^[%!].*$", "", code, flags=re.M)).body


def _bound(node: ast.AST) -> Iterator[str]:
    """The names that a statement binds, but for those inside of functions and classes."""
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        yield node.name
    elif isinstance(node, ast.alias):
        yield (node.asname or node.name).split(".")[0]
    elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
        yield node.id
    elif not isinstance(node, ast.Lambda | ast.comprehension):
        for child in ast.iter_child_nodes(node):
            yield from _bound(child)


def _helpers(codes: list[str], notebook: str) -> dict[str, str]:
    """The functions, classes, imports and plain values in a hand-in that the course's notebook has not, by name."""
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Import, ast.ImportFrom)
    known: set[str] = set()
    found: dict[str, str] = {}
    for drop in ("stub", "solution"):
        for cell in derive(places.source(notebook), drop).cells:
            known |= set(_defined(cell.source)) if cell.cell_type == "code" else set()
    for code in codes:
        with suppress(SyntaxError, ValueError):
            for node in _parsed(code):
                if isinstance(node, kinds) or (isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant)):
                    found |= {name: ast.unparse(node) for name in _bound(node) if name not in known}
    return found


def _used(code: str, helpers: dict[str, str]) -> str:
    """The helpers that a cell names, and those that they name, each before what uses it."""
    used: dict[str, str] = {}
    waiting = [code]
    while waiting:
        text = waiting.pop()
        for name in sorted(helpers.keys() - used.keys()):
            if re.search(rf"\b{re.escape(name)}\b", text):
                used = {name: helpers[name], **used}
                waiting.append(helpers[name])
    return "".join(f"{text}\n\n" for text in dict.fromkeys(used.values()))
