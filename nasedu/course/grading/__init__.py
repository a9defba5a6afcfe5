"""Marks for handed-in notebooks: whose answers they hold, what the checkers say, and how that is written down."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from nasedu.course.grading.report import write
from nasedu.course.grading.submission import read, tasks
from nasedu.course.grading.trial import judged
from nasedu.errors import ParameterError, check_number, check_whole
from nasedu.progress import Progress, silent


def grade(folder: Path, out: Path, limit: float = 30.0, jobs: int = 1, progress: Progress = silent) -> Path:
    """Grade every notebook in a folder and the folders below it; returns the page of marks, beside which a CSV lies.

    folder: of the hand-ins, which stay as they are.
    out: where the marks go.
    limit: seconds that an answer may take in its own cell, and in its checker.
    jobs: how many are graded at a time, each in a process of its own.
    progress: hears of every one that is done.
    The answers run with the rights of whoever grades, in the process of their checkers: marks are no proof against one
    who means to fool them. Raises `ParameterError` where there is no notebook, and for what cannot be a limit or jobs.
    """
    check_number("limit", limit, 1, 1e6)
    check_whole("jobs", jobs, 1, 1000)
    files = [path for path in sorted(folder.rglob("*.ipynb")) if ".ipynb_checkpoints" not in path.parts]
    if not files:
        raise ParameterError(f"{folder} holds no notebook (*.ipynb) to grade")
    rows = []
    with ThreadPoolExecutor(jobs) as pool:
        for done, found in enumerate(pool.map(lambda path: list(_marks(path, folder, limit)), files), start=1):
            rows += found
            progress(done, len(files), str(files[done - 1].relative_to(folder)))
    return write(rows, out)


def _marks(path: Path, folder: Path, limit: float) -> Iterator[dict[str, str]]:
    """The rows of one file."""
    handed = read(path)
    row = {"file": path.relative_to(folder).as_posix(), "notebook": handed.notebook or "", "exercise": "", "title": ""}
    problem, marks = handed.problem, {}
    if problem is None:
        try:
            marks = judged(handed, limit)
        except Exception as error:  # one hand-in must not keep the others from being graded
            problem = f"it could not be graded: {type(error).__name__}: {error!s:.200}"
    if problem:
        yield row | {"state": "problem", "sentence": problem}
        return
    for task in tasks(handed.notebook):
        state, sentence = marks[task.number]
        yield row | {"exercise": task.number, "title": task.title, "state": state, "sentence": sentence}
