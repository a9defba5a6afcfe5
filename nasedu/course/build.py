"""Build the learner's notebook and the solution from their one source, with outputs.

A source is `notebooks/source/NN_topic.py` in jupytext's percent format. A cell tagged `stub` goes only to
the learner's notebook, one tagged `solution` only to the solution; every other cell goes to both.
"""

from __future__ import annotations

import copy
import hashlib
import os
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from nasedu.course import kernel, places
from nasedu.course.outputs import tidy
from nasedu.course.parameters import PRESETS
from nasedu.errors import check_name, needs
from nasedu.files import write_atomically

with needs("course"):
    import jupytext
    import nbformat
    from nbclient import NotebookClient
    from nbclient.exceptions import CellExecutionError
    from nbformat import NotebookNode

METADATA = {
    "kernelspec": {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"},
    "language_info": {"file_extension": ".py", "mimetype": "text/x-python", "name": "python"},
}
KEPT = ("tags", "jupyter")  # of a cell's metadata


class BuildFailed(Exception):
    """A cell failed, or a committed notebook is not what its source says."""


def build(wanted: list[str], preset: str = "quick", execute: bool = True) -> list[Path]:
    """Write both notebooks of each wanted source; returns their paths.

    wanted: names or their beginnings; `all` or none is every source.
    preset: what they are executed with.
    execute: False leaves them without outputs.
    Both are executed in one run of a fresh kernel with `preset`, its states in a folder of their own or in
    $NASEDU_RUNS, where a later build finds them. Raises `BuildFailed` naming the cell that failed; both notebooks then
    stay as they were.
    """
    check_name("preset", preset, PRESETS)
    written = []
    with tempfile.TemporaryDirectory() as runs:
        for name in places.pick(wanted, places.sources()):
            learner, solution = (derive(places.source(name), drop) for drop in ("solution", "stub"))
            if execute:
                print(f"running {name} ({preset})", flush=True)
                run_both(learner, solution, places.learner(name), preset, os.environ.get("NASEDU_RUNS", runs))
            for nb, path in ((learner, places.learner(name)), (solution, places.solution(name))):
                path.parent.mkdir(parents=True, exist_ok=True)
                write_atomically(path, nbformat.writes(nb) + "\n")
                written.append(path)
    return written


def drifted(wanted: list[str]) -> list[str]:
    """The notebooks whose cells are not what their source says (or that are missing), by path."""
    return [
        places.shown(path)
        for name, drop, path in _targets(wanted)
        if not path.exists() or _cells(nbformat.read(path, as_version=4)) != _cells(derive(places.source(name), drop))
    ]


def derive(source: Path, drop: str) -> NotebookNode:
    """The notebook of a percent-format source without the cells tagged `drop`; no outputs yet.

    Ids are hashes of the cells' content, so that an unchanged cell keeps its id.
    """
    cells, seen = [], Counter[str]()
    for cell in jupytext.read(source, fmt="py:percent").cells:
        tags = cell.metadata.get("tags", [])
        if drop in tags:
            continue
        key = cell.cell_type + cell.source
        seen[key] += 1
        cell.id = hashlib.sha256(f"{seen[key]}{key}".encode()).hexdigest()[:8]
        folded = {"jupyter": {"source_hidden": True}} if "parameters" in tags else {}
        cell.metadata = nbformat.from_dict(({"tags": tags} if tags else {}) | folded)
        cells.append(cell)
    return nbformat.v4.new_notebook(cells=cells, metadata=METADATA, nbformat_minor=5)


def run_both(learner: NotebookNode, solution: NotebookNode, path: Path, preset: str, runs: str) -> None:
    """Execute a learner's notebook and its solution in one kernel: each of their common cells once.

    learner: its cells match the solution's one by one but for stubs and answers; else `BuildFailed`.
    solution: the other one.
    path: where the learner's goes.
    preset: of the parameters.
    runs: the folder of the run's states.
    """
    order = woven(learner, solution, places.shown(path))
    places.solution(path.stem).parent.mkdir(parents=True, exist_ok=True)
    # with ids of their own, for a checker is there twice
    ran = [NotebookNode(copy.deepcopy(cell), id=f"{place}") for place, cell in enumerate(order)]
    run_clean(nbformat.v4.new_notebook(cells=ran, metadata=METADATA), path, preset, runs)
    outputs = {id(cell): executed.get("outputs") for cell, executed in zip(order, ran, strict=True)}
    for mine, theirs in zip(learner.cells, solution.cells, strict=True):
        if mine.cell_type == "code":
            mine.outputs = outputs[id(mine)]
            theirs.outputs = copy.deepcopy(outputs.get(id(theirs), mine.outputs))
    for nb in (learner, solution):
        _number(nb)


def woven(learner: NotebookNode, solution: NotebookNode, shown: str) -> list[NotebookNode]:
    """The cells that prove both notebooks in one run, each of their common cells once.

    A stub and its checker come for the learner, then the answer and the checker once more for the solution.

    learner: its cells match the solution's one by one but for stubs and answers; else `BuildFailed`.
    solution: the other one.
    shown: what the two are called.
    """
    if len(learner.cells) != len(solution.cells):
        raise BuildFailed(f"{shown}: to every cell tagged stub belongs one tagged solution")
    order: list[NotebookNode] = []
    answers: list[NotebookNode] = []  # whose checker has not come yet
    for mine, theirs in zip(learner.cells, solution.cells, strict=True):
        order.append(mine)
        if mine.id != theirs.id:
            answers.append(theirs)
        elif answers and mine.cell_type == "code":
            there, back = (nbformat.v4.new_code_cell(f"%cd -q {folder}") for folder in ("solutions", ".."))
            order += [there, *answers, theirs, back]
            answers = []
    return order + answers


def _number(nb: NotebookNode) -> None:
    """Count the code cells as a run from top to bottom does."""
    for count, cell in enumerate((cell for cell in nb.cells if cell.cell_type == "code"), 1):
        cell.execution_count = count
        for output in cell.outputs:
            if "execution_count" in output:
                output.execution_count = count


def run_clean(nb: NotebookNode, path: Path, preset: str, runs: str) -> None:
    """Execute a notebook in its folder; keep the outputs that mean something to others. Raises `BuildFailed`.

    nb: the notebook.
    path: where it goes.
    preset: of its parameters.
    runs: the folder of its states.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    env = {**os.environ, "NASEDU_PRESET": preset, "NASEDU_RUNS": runs}
    client = NotebookClient(nb, kernel_name=kernel.NAME, timeout=None, store_widget_state=False)
    client.extra_arguments = kernel.ARGUMENTS
    client.resources = {"metadata": {"path": str(path.parent)}}
    try:
        kernel.started(lambda: client.execute(env=env))
    except CellExecutionError as error:
        raise BuildFailed(f"{places.shown(path)} failed: {error}") from None
    said = [o.text for cell in nb.cells for o in cell.get("outputs", []) if o.get("name") == "stderr"]
    if said:
        raise BuildFailed(f"{places.shown(path)} wrote to stderr, which nobody should have to read: {said[0]:.300}")
    folders = {runs: "runs", str(places.ROOT) + "/": "", sys.prefix: ".venv", str(Path.home()): "~"}
    nb.metadata = nbformat.from_dict(METADATA)
    tidy(nb)
    for cell in nb.cells:
        cell.metadata = nbformat.from_dict({k: v for k, v in cell.metadata.items() if k in KEPT})
        for output in cell.get("outputs", []):
            _scrub(output, folders)


def _scrub(output: NotebookNode, folders: dict[str, str]) -> None:
    """Replace this machine's folders in `output` by what they are in anybody's checkout."""
    texts = output if "text" in output else output.get("data", {})
    for key in [key for key in texts if key.startswith("text")]:
        for folder, replacement in folders.items():
            texts[key] = texts[key].replace(folder, replacement)


def _targets(wanted: list[str]) -> Iterator[tuple[str, str, Path]]:
    """Name, tag to drop and path of every notebook to build."""
    for name in places.pick(wanted, places.sources()):
        yield name, "solution", places.learner(name)
        yield name, "stub", places.solution(name)


def _cells(nb: NotebookNode) -> list[tuple]:
    return [(cell.id, cell.cell_type, cell.source, tuple(cell.metadata.get("tags", []))) for cell in nb.cells]
