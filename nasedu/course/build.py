"""Build the learner's notebook and the solution from their one source, with outputs.

A source is `notebooks/source/NN_topic.py` in jupytext's percent format. A cell tagged `stub` goes only to
the learner's notebook, one tagged `solution` only to the solution; every other cell goes to both.
"""

from __future__ import annotations

import hashlib
import os
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from nasedu.course import kernel, places
from nasedu.course.parameters import PRESETS
from nasedu.errors import check_name, needs
from nasedu.files import write_atomically

with needs("course"):
    import jupytext
    import nbformat
    from nbclient import NotebookClient
    from nbclient.exceptions import CellExecutionError

METADATA = {
    "kernelspec": {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"},
    "language_info": {"file_extension": ".py", "mimetype": "text/x-python", "name": "python"},
}
WIDGET_VIEW = "application/vnd.jupyter.widget-view+json"


class BuildFailed(Exception):
    """A cell failed, or a committed notebook is not what its source says."""


def build(wanted: list[str], preset: str = "quick", execute: bool = True) -> list[Path]:
    """Write both notebooks of each wanted source; returns their paths.

    wanted: names or their beginnings; `all` or none is every source.
    preset: what both are executed with.
    execute: False leaves them without outputs.
    Both are executed from a fresh kernel with `preset`, their states in a folder of their own or in $NASEDU_RUNS,
    where a later build finds them. Raises `BuildFailed` naming the cell that failed; that notebook stays as it was.
    """
    check_name("preset", preset, PRESETS)
    targets = list(_targets(wanted))
    with tempfile.TemporaryDirectory() as runs:
        for name, drop, path in targets:
            nb = derive(places.source(name), drop)
            if execute:
                print(f"running {places.shown(path)} ({preset})", flush=True)
                run_clean(nb, path, preset, os.environ.get("NASEDU_RUNS", runs))
            write_atomically(path, nbformat.writes(nb) + "\n")
    return [path for _, _, path in targets]


def drifted(wanted: list[str]) -> list[str]:
    """The notebooks whose cells are not what their source says (or that are missing), by path."""
    return [
        places.shown(path)
        for name, drop, path in _targets(wanted)
        if not path.exists() or _cells(nbformat.read(path, as_version=4)) != _cells(derive(places.source(name), drop))
    ]


def derive(source: Path, drop: str) -> nbformat.NotebookNode:
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
        cell.metadata = nbformat.from_dict({"tags": tags} if tags else {})
        cells.append(cell)
    return nbformat.v4.new_notebook(cells=cells, metadata=METADATA, nbformat_minor=5)


def run_clean(nb: nbformat.NotebookNode, path: Path, preset: str, runs: str) -> None:
    """Execute a notebook in its folder; keep the outputs that mean something to others.

    nb: the notebook.
    path: where it goes.
    preset: of its parameters.
    runs: the folder of its state. A solution goes on from what the learner's notebook left there, so nothing is trained
        twice.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    env = {**os.environ, "NASEDU_PRESET": preset, "NASEDU_RUNS": runs}
    client = NotebookClient(nb, kernel_name=kernel.NAME, timeout=None, store_widget_state=False)
    client.extra_arguments = kernel.ARGUMENTS
    client.resources = {"metadata": {"path": str(path.parent)}}
    try:
        client.execute(env=env)
    except CellExecutionError as error:
        raise BuildFailed(f"{places.shown(path)} failed: {error}") from None
    folders = {runs: "runs", str(places.ROOT) + "/": "", sys.prefix: ".venv", str(Path.home()): "~"}
    nb.metadata = nbformat.from_dict(METADATA)
    for cell in nb.cells:
        cell.metadata = nbformat.from_dict({k: v for k, v in cell.metadata.items() if k == "tags"})
        if cell.cell_type == "code":
            cell.outputs = [_scrub(output, folders) for output in _kept(cell.outputs)]


def _kept(outputs: list[nbformat.NotebookNode]) -> list[nbformat.NotebookNode]:
    """Without progress bars and warnings (stderr) and live widgets; what was printed in a row is one output."""
    kept: list[nbformat.NotebookNode] = []
    for output in outputs:
        if kept and output.get("name") == kept[-1].get("name") == "stdout":
            kept[-1].text += output.text
        elif output.get("name") != "stderr" and WIDGET_VIEW not in output.get("data", {}):
            kept.append(output)
    return kept


def _scrub(output: nbformat.NotebookNode, folders: dict[str, str]) -> nbformat.NotebookNode:
    """`output` with this machine's folders replaced by what they are in anybody's checkout."""
    texts = output if "text" in output else output.get("data", {})
    for key in [key for key in texts if key.startswith("text")]:
        for folder, replacement in folders.items():
            texts[key] = texts[key].replace(folder, replacement)
    return output


def _targets(wanted: list[str]) -> Iterator[tuple[str, str, Path]]:
    """Name, tag to drop and path of every notebook to build."""
    for name in places.pick(wanted, places.sources()):
        yield name, "solution", places.learner(name)
        yield name, "stub", places.solution(name)


def _cells(nb: nbformat.NotebookNode) -> list[tuple]:
    return [(cell.id, cell.cell_type, cell.source, tuple(cell.metadata.get("tags", []))) for cell in nb.cells]
