"""`make test`: every stage in turn, then where the time went. Non-zero if any stage failed.

`python tests/run.py lint package` runs only those.
"""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import nbformat
from nbformat import NotebookNode

from nasedu.course import places
from nasedu.course.build import woven

ROOT = Path(__file__).parents[1]

RUFF = [sys.executable, "-m", "ruff"]
# a process per core, up to four: each holds torch, some of them a kernel with torch beside it
PARALLEL = ["-n", "logical", "--maxprocesses=4", "--dist=loadfile"]
PYTEST = [sys.executable, "-m", "pytest", "-q", "--durations=10", *PARALLEL]
# lax: a cell's output is compared only where the cell is tagged nbval-check-output
NBVAL = [*PYTEST, "-c", "pyproject.toml", "--nbval-lax", "--nbval-current-env", "--nbval-cell-timeout=300"]

STAGES = {
    "lint": [*RUFF, "check", "."],
    "format": [*RUFF, "format", "--check", "."],
    "types": [sys.executable, "-m", "mypy"],
    "package": [*PYTEST, "-rs", "tests"],
    "notebooks": NBVAL,  # the files of `both_in_one`
}


def both_in_one(folder: Path) -> list[Path]:
    """Every notebook with its solution, as they are committed, so that one kernel runs the cells of both."""
    (folder / "solutions").mkdir(parents=True)
    for name in places.names():
        learner, solution = (nbformat.read(path(name), as_version=4) for path in (places.learner, places.solution))
        cells = [NotebookNode(cell, id=f"{i}") for i, cell in enumerate(woven(learner, solution, name))]
        both = nbformat.v4.new_notebook(cells=cells, metadata=learner.metadata)
        nbformat.write(both, folder / f"{name}.ipynb")
    return sorted(folder.glob("*.ipynb"))


def main(names: list[str]) -> int:
    rows = []
    with tempfile.TemporaryDirectory() as left:  # no notebook finds what an earlier one left behind
        env = {**os.environ, "NASEDU_PRESET": "smoke", "NASEDU_RUNS": f"{left}/runs", "OMP_NUM_THREADS": "1"}
        for name in names or STAGES:
            print(f"\n== {name}", flush=True)
            start = time.monotonic()
            files = [f"--rootdir={left}", *both_in_one(Path(left, "notebooks"))] if name == "notebooks" else []
            status = subprocess.run([*STAGES[name], *files], cwd=ROOT, env=env).returncode
            rows.append((name, time.monotonic() - start, status))

    print("\nwhere the time went")
    for name, seconds, status in rows:
        print(f"  {name:10} {seconds:6.1f} s  {'failed' if status else 'passed'}")
    return 1 if any(status for *_, status in rows) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
