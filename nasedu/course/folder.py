"""A run's folder: new for a new run, the same again for one that was interrupted.

`parameters.json` is written first and the HTML page last, so a folder with the one and without the other
holds an unfinished run, wherever the process was killed.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from nasedu.course import places
from nasedu.errors import OutputError
from nasedu.storage import write_atomically

try:
    import fcntl
except ImportError:  # not POSIX: two equal runs at once are then not kept apart
    fcntl = None


def code_hash(notebook: str) -> str:
    """A hash of all code that a run executes: the notebook, its presets and the package."""
    package = places.ROOT / "nasedu"
    paths = [path for path in sorted(package.rglob("*")) if path.suffix in (".py", ".yaml", ".json")]
    digest = hashlib.sha256()
    for path in [places.learner(notebook), places.presets(notebook), *paths]:
        digest.update(path.read_bytes() if path.is_file() else b"")
    return digest.hexdigest()[:16]


class RunFolder:
    """The folder of one run, locked while this process lives; `.resumed` if it was started before.

    `path` fixes the folder, else it is `parent/NOTEBOOK-TIME`. Raises `OutputError` where it cannot be
    written to, holds a run with other parameters, or is in use.
    """

    def __init__(self, parent: Path, notebook: str, given: Mapping[str, Any], path: Path | None = None):
        self.notebook = notebook
        identity = {"notebook": notebook, "parameters": dict(given), "code": code_hash(notebook)}
        candidates = [path] if path else sorted(parent.glob(f"{notebook}-*"), reverse=True)
        same = [c for c in candidates if _identity(c) == identity and not self.page(c).exists()]
        self.lock = None
        self.path = next((c for c in same if self._take(c)), None)
        self.resumed = self.path is not None
        if path and not self.resumed and (path / "parameters.json").exists():
            raise OutputError(f"{path} holds another run, or one in progress: choose another out_dir")
        if not self.resumed:
            self.path = places.make(path) if path else self._fresh(parent)
            write_atomically(self.path / "parameters.json", json.dumps(identity, indent=1))
            self._take(self.path)

    def page(self, path: Path | None = None) -> Path:
        """The HTML page, whose presence says that the run has finished."""
        return (path or self.path) / f"{self.notebook}.html"

    def release(self) -> None:
        """Give up the lock (the system does so too when the process ends in any way)."""
        if self.lock:
            self.lock.close()

    def _fresh(self, parent: Path) -> Path:
        stem = f"{self.notebook}-{time.strftime('%Y%m%d-%H%M%S')}"
        for name in (stem, *(f"{stem}-{number}" for number in range(2, 100))):
            with suppress(FileExistsError):  # another process started in the same second
                (places.make(parent) / name).mkdir()
                return parent / name
        raise OutputError(f"cannot find a free name for the run in {parent}")

    def _take(self, path: Path) -> bool:
        """Lock the run in `path`; False if another living process has it."""
        lock = open(path / "parameters.json")  # noqa: SIM115 - held open for the life of the run
        if fcntl:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                lock.close()
                return False
        self.lock = lock
        return True


def _identity(path: Path) -> dict | None:
    with suppress(OSError, ValueError):
        return json.loads((path / "parameters.json").read_text())
    return None
