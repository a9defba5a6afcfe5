"""`make test`: every stage in turn, then where the time went. Non-zero if any stage failed.

`python tests/run.py lint package` runs only those.
"""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
NOTEBOOKS = [str(p.relative_to(ROOT)) for p in sorted(ROOT.glob("notebooks/*.ipynb"))]
SOLUTIONS = [str(p.relative_to(ROOT)) for p in sorted(ROOT.glob("notebooks/solutions/*.ipynb"))]

RUFF = [sys.executable, "-m", "ruff"]
# a process per core, up to four: each holds torch, some of them a kernel with torch beside it
PARALLEL = ["-n", "logical", "--maxprocesses=4", "--dist=loadfile"]
PYTEST = [sys.executable, "-m", "pytest", "-q", "--durations=10", *PARALLEL]
# lax: a cell's output is compared only where the cell is tagged nbval-check-output
NBVAL = [*PYTEST, "--nbval-lax", "--nbval-current-env", "--nbval-cell-timeout=300"]

STAGES = {
    "lint": [*RUFF, "check", "."],
    "format": [*RUFF, "format", "--check", "."],
    "types": [sys.executable, "-m", "mypy"],
    "package": [*PYTEST, "tests", "--ignore=tests/browser"],
    "browser": [*PYTEST[: -len(PARALLEL)], "-rs", "tests/browser"],
    "notebooks": [*NBVAL, *NOTEBOOKS] if NOTEBOOKS else [],
    "solutions": [*NBVAL, *SOLUTIONS] if SOLUTIONS else [],
}

VERDICTS = {None: "nothing to do", 0: "passed"}


def main(names: list[str]) -> int:
    rows = []
    with tempfile.TemporaryDirectory() as runs:  # no notebook finds what an earlier one left behind
        env = {**os.environ, "NASEDU_PRESET": "smoke", "NASEDU_RUNS": runs, "OMP_NUM_THREADS": "1"}
        for name in names or STAGES:
            print(f"\n== {name}", flush=True)
            start = time.monotonic()
            status = subprocess.run(STAGES[name], cwd=ROOT, env=env).returncode if STAGES[name] else None
            rows.append((name, time.monotonic() - start, status))

    print("\nwhere the time went")
    for name, seconds, status in rows:
        print(f"  {name:10} {seconds:6.1f} s  {VERDICTS.get(status, 'failed')}")
    return 1 if any(status for *_, status in rows) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
