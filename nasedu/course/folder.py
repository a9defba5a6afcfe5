"""A run's folder: new for a new run, the same again for one that was interrupted.

`parameters.json` is written first and the HTML page last, so a folder with the one and without the other
holds an unfinished run, wherever the process was killed.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import time
from collections.abc import Mapping
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from nasedu.course import places
from nasedu.errors import OutputError
from nasedu.files import write_atomically

# Seconds to wait for a folder that another process has: a kernel outlives its killed run for a moment.
WAIT = {"run": 0.0, "notebook": 5.0}


def code_hash(notebook: str) -> str:
    """A hash of all code that a run executes: the notebook, its presets and the package."""
    paths = [path for path in sorted(places.PACKAGE.rglob("*")) if path.suffix in (".py", ".yaml", ".json")]
    files = filter(Path.is_file, [places.learner(notebook), places.presets(notebook), *paths])
    return hashlib.sha256(b"".join(map(Path.read_bytes, files))).hexdigest()[:16]


def claim(folder: Path, owner: str) -> FileLock:
    """Lock `folder` until the lock is released or this process ends in any way.

    `owner` is "run" for the command line's process, "notebook" for a kernel's: each has a lock of its own, since a run
    starts a kernel. Raises `OutputError` where another living process keeps it, or nobody may write there.
    """
    lock = FileLock(folder / f".{owner}.lock", thread_local=False)
    try:
        lock.acquire(timeout=WAIT[owner])
    except Timeout:
        used = f"{places.shown(folder)} is in use by another {owner}"
        raise OutputError(f"{used}: wait for it, shut it down, or choose another out_dir") from None
    except OSError as error:
        raise OutputError(f"cannot write to {places.shown(folder)}: {error.strerror or error}") from None
    return lock


class RunFolder:
    """The folder of one run, locked while this process lives; `.resumed` if it was started before, `.new` if not.

    parent: the folder of runs, in which it is called NOTEBOOK-TIME.
    notebook: its name.
    given: the run's parameters.
    path: fixes the folder instead.
    Raises `OutputError` where it cannot be written to, holds a run with other parameters, or is in use.
    """

    def __init__(self, parent: Path, notebook: str, given: Mapping[str, Any], path: Path | None = None):
        self.notebook = notebook
        told = {"notebook": notebook, "parameters": dict(given), "code": code_hash(notebook), "torch": version("torch")}
        self.identity = json.loads(json.dumps(told))  # as it will be read back
        self.lock: FileLock | None = None
        if path:
            self.path = self._chosen(path)
        else:
            self.path = self._unfinished(parent) or self._fresh(parent)
        self.resumed = self._is_same(self.path)
        self.new = not path and not self.resumed
        if not self.resumed:  # written under the lock, so that nobody takes the folder for an interrupted run
            write_atomically(self.path / "parameters.json", json.dumps(self.identity, indent=1))

    def page(self, path: Path | None = None) -> Path:
        """The HTML page, whose presence says that the run has finished."""
        return (path or self.path) / f"{self.notebook}.html"

    def release(self) -> None:
        """Give up the lock (the system does so too when the process ends in any way)."""
        if self.lock:
            self.lock.release()

    def discard(self) -> None:
        """Remove a new folder in which nothing was computed, so that nobody takes it for results."""
        mine = {self.path / "parameters.json", self.path / f"{self.notebook}.ipynb"}
        if self.new and all(path in mine or path.name.endswith(".lock") for path in self.path.iterdir()):
            self.release()
            shutil.rmtree(self.path, ignore_errors=True)

    def _chosen(self, path: Path) -> Path:
        self.lock = claim(places.make(path), "run")
        if (path / "parameters.json").exists() and not self._is_same(path):
            self.release()
            which = "a finished" if self.page(path).exists() else "another"
            raise OutputError(f"{path} holds {which} run: choose another out_dir")
        return path

    def _unfinished(self, parent: Path) -> Path | None:
        """The newest unfinished run of the same identity that no living process has."""
        for path in sorted(parent.glob(f"{self.notebook}-*"), reverse=True):
            if self._is_same(path):
                with suppress(OutputError):
                    self.lock = claim(path, "run")
                    if self._is_same(path):  # nobody has finished it since
                        return path
                    self.lock.release()
        return None

    def _fresh(self, parent: Path) -> Path:
        stem = f"{self.notebook}-{time.strftime('%Y%m%d-%H%M%S')}"
        for name in (stem, *(f"{stem}-{number}" for number in range(2, 100))):
            with suppress(FileExistsError):  # another process started in the same second
                (places.make(parent) / name).mkdir()
                self.lock = claim(parent / name, "run")
                return parent / name
        raise OutputError(f"cannot find a free name for the run in {parent}")

    def _is_same(self, path: Path) -> bool:
        """Whether `path` holds an unfinished run of this identity."""
        with suppress(OSError, ValueError):
            return json.loads((path / "parameters.json").read_text()) == self.identity and not self.page(path).exists()
        return False
