"""Where the course's files lie: found from the package in a checkout, else from where the person stands."""

from __future__ import annotations

import os
from pathlib import Path

from nasedu.errors import OutputError, ParameterError, UnknownName, check_name

PACKAGE = Path(__file__).resolve().parents[1]
ROOT = PACKAGE.parent if (PACKAGE.parent / "pyproject.toml").is_file() else Path.cwd()


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
    """Notebook names as a person types them: `all` or none, a file name, a name, the beginning of just one.

    Raises `UnknownName` for a name that fits none of `valid`, or several; `ParameterError` where there are none at all.
    """
    if not valid:
        raise ParameterError(
            "there are no notebooks here: they come with the project's source, not with the installed package. "
            "Run this in the source's folder, or set NASEDU_NOTEBOOKS to its folder notebooks"
        )
    if wanted in ([], ["all"]):
        return valid
    return [_named(Path(name).name.removesuffix(".ipynb"), valid) for name in wanted]


def _named(name: str, valid: list[str]) -> str:
    fits = [name] if name in valid else [other for other in valid if other.startswith(name)]
    if len(fits) > 1:
        raise UnknownName(f"{name!r} fits several notebooks: {', '.join(fits[:6])}{', ...' * (len(fits) > 6)}")
    return fits[0] if fits else check_name("notebook", name, valid)


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
