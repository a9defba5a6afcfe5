"""Run the checkers on one hand-in, in a process of its own that can be stopped."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping

from nasedu.course import kernel, places
from nasedu.course.build import derive
from nasedu.course.grading.submission import Submission, Task, tasks
from nasedu.course.record import EXERCISES_TYPE
from nasedu.errors import needs

with needs("course"):
    from nbclient import NotebookClient
    from nbclient.exceptions import CellTimeoutError, DeadKernelError
    from nbformat import NotebookNode
    from nbformat.v4 import new_code_cell

REST = 600  # seconds that the notebook's own cells may take
TELL = "from nasedu.course.record import show_exercises\nshow_exercises()"
Marks = dict[str, tuple[str, str]]


def judged(handed: Submission, limit: float) -> Marks:
    """The state (passed, failed, not tried, missing) and the checker's sentence for every exercise, by its number.

    handed: names a notebook.
    limit: seconds that each answer's cell, and each checker's, may take.
    The answers run among the course's own cells, whatever else was edited, with preset `smoke`.
    """
    asked, given = tasks(handed.notebook), dict(handed.answers)
    marks: Marks = {task.number: ("missing", "no cell defines " + task.answer) for task in asked}
    while True:  # each time round, one answer that ends the process or never ends is set aside
        found, culprit, why = _run(handed.notebook, asked, given, limit)
        marks |= {number: found[number] for number in given if number in found}
        if culprit is None:
            return marks
        marks[culprit] = ("failed", why)
        given.pop(culprit)


def _run(notebook: str, asked: list[Task], given: Mapping[str, str], limit: float) -> tuple[Marks, str | None, str]:
    """What the checkers say with these answers; the exercise that the process did not survive, if any, and why."""
    nb, owner = _assembled(notebook, asked, given)
    running = [0]
    client = NotebookClient(
        nb,
        kernel_name=kernel.NAME,
        kernel_manager_class=kernel.Quiet,
        allow_errors=True,
        timeout_func=lambda cell: limit if owner[running[0]] in given else REST,
        on_cell_start=lambda cell, cell_index: running.insert(0, cell_index),
        resources={"metadata": {"path": str(places.notebooks())}},
    )
    client.extra_arguments = kernel.ARGUMENTS
    with tempfile.TemporaryDirectory() as runs:
        try:
            env = {**os.environ, "NASEDU_PRESET": "smoke", "NASEDU_RUNS": runs}
            kernel.started(lambda: client.execute(env=env))
        except (CellTimeoutError, DeadKernelError) as error:
            if owner[running[0]] not in given:
                raise
            endless = isinstance(error, CellTimeoutError)
            why = f"it did not end within {limit:g} s" if endless else "it ended the process that it ran in"
            return {}, owner[running[0]], why
    marks = dict.fromkeys(given, ("failed", "its checker said nothing"))
    crashed = {number: ("failed", f"its cell raised {error}") for number, error in _crashed(nb, owner).items()}
    for output in nb.cells[-1].outputs:
        for number, found in output.get("data", {}).get(EXERCISES_TYPE, {}).items():
            if number not in crashed or found["state"] != "not tried":
                crashed.pop(number, None)
                marks[number] = (found["state"], found["message"])
    return marks | crashed, None, ""


def _assembled(notebook: str, asked: list[Task], given: Mapping[str, str]) -> tuple[NotebookNode, list[str]]:
    """The course's notebook with the answers in the places of the stubs, and to which exercise each cell belongs."""
    nb = derive(places.source(notebook), "solution")
    owner = [""] * len(nb.cells)
    for task in asked:
        nb.cells[task.index].source = given.get(task.number, nb.cells[task.index].source)
        check = next(i for i in range(task.index + 1, len(nb.cells)) if nb.cells[i].cell_type == "code")
        owner[task.index] = owner[check] = task.number
    last = max(i for i, number in enumerate(owner) if number)
    nb.cells = [*nb.cells[: last + 1], new_code_cell(TELL)]
    return nb, [*owner[: last + 1], ""]


def _crashed(nb: NotebookNode, owner: list[str]) -> dict[str, str]:
    """For every answer whose own cell failed, the error's first words."""
    found = {}
    for cell, number in zip(nb.cells, owner, strict=True):
        errors = [output for output in cell.get("outputs", []) if output.output_type == "error"]
        if number and errors:
            found.setdefault(number, f"{errors[0].ename}: {errors[0].evalue:.200}")
    return found
