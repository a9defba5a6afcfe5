"""Where the course's files lie: found from the package, never from the working directory."""

from __future__ import annotations

import os
from pathlib import Path

from nasedu.errors import OutputError, check_name

ROOT = Path(__file__).resolve().parents[2]


def notebooks() -> Path:
    """The folder of the course; `NASEDU_NOTEBOOKS` points elsewhere (a course of your own, tests)."""
    return Path(os.environ.get("NASEDU_NOTEBOOKS", ROOT / "notebooks"))


def runs() -> Path:
    """The folder that results go to; `NASEDU_RUNS` points elsewhere (builds, tests)."""
    return Path(os.environ.get("NASEDU_RUNS", ROOT / "runs"))


def learner(name: str) -> Path:
    return notebooks() / f"{name}.ipynb"


def solution(name: str) -> Path:
    return notebooks() / "solutions" / f"{name}.ipynb"


def source(name: str) -> Path:
    return notebooks() / "source" / f"{name}.py"


def presets(name: str) -> Path:
    return notebooks() / "presets" / f"{name}.yaml"


def names() -> list[str]:
    """Every notebook of the course, in order, as far as it is built."""
    return sorted(path.stem for path in notebooks().glob("[0-9]*.ipynb"))


def sources() -> list[str]:
    """Every notebook of the course, in order, by its source."""
    return sorted(path.stem for path in notebooks().glob("source/*.py"))


def pick(wanted: list[str], valid: list[str]) -> list[str]:
    """Notebook names as a person types them: `all` or none, a file name, a name.

    Raises `UnknownName` for a name that is not among `valid`.
    """
    if wanted in ([], ["all"]):
        return valid
    return [check_name("notebook", Path(name).name.removesuffix(".ipynb"), valid) for name in wanted]


def make(folder: Path) -> Path:
    """Make `folder` and prove that it can be written to; raises `OutputError` where it cannot."""
    probe = folder / f".probe-{os.getpid()}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe.touch()
        probe.unlink()
    except OSError as error:
        sentence = f"cannot write to the folder {folder} ({error.strerror}): choose another one"
        raise OutputError(sentence) from None
    return folder


def shown(path: Path) -> str:
    """`path` as a message shows it: relative to the project where it lies inside."""
    return str(path.relative_to(ROOT)) if path.is_relative_to(ROOT) else str(path)
