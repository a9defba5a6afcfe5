"""Files that survive a kill, written under a temporary name and then renamed; what identifies plain values."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import re
import tempfile
from contextlib import suppress
from pathlib import Path

from nasedu.errors import OutputError, ParameterError

HOST = f"{platform.node()}."  # a folder may be shared by machines, which cannot see each other's processes
_writing: set[str] = set()  # temporary files of writes in progress in this process


def write_atomically(path: str | Path, content: bytes | str) -> None:
    """Write `content` so that `path` holds either all of it or what it held before. Raises `OutputError`."""
    path = Path(path).absolute()  # as the temporary file's name will be
    content = content.encode() if isinstance(content, str) else content
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.{HOST}{os.getpid()}.")
        _writing.add(temporary)
    except (OSError, ValueError) as error:  # a name that no file can have
        raise OutputError(f"cannot write to {path.parent}: {getattr(error, 'strerror', error)}") from None
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException as error:
        Path(temporary).unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise OutputError(f"cannot write {path}: {error.strerror}") from None
        raise
    finally:
        _writing.discard(temporary)
    with suppress(OSError):
        _sweep(path)


def _sweep(path: Path) -> None:
    """Remove what killed writes of `path` left behind: temporary files that no living process is writing."""
    for left in path.parent.iterdir():
        found = re.fullmatch(rf"\.{re.escape(path.name)}\.{re.escape(HOST)}(\d+)\.\w{{8}}", left.name)
        if found and str(left) not in _writing and not _elsewhere(int(found[1])):
            left.unlink(missing_ok=True)


def _elsewhere(process: int) -> bool:
    """Whether another process of that number lives. Windows removes no file that is open, and has no way to ask."""
    if process == os.getpid() or os.name == "nt":
        return False
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:  # it is another user's
        return True
    return True


def content_hash(value: object) -> str:
    """16 hex digits that identify a JSON-able value. Raises `ParameterError` for any other; see `identity`."""
    try:
        return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16]
    except (TypeError, ValueError) as error:
        raise ParameterError(f"only what JSON can hold has a content hash: {error}") from None
