"""Files that survive a kill: written under a temporary name, then renamed; states among them know what they belong to.

A state file is a line with a checksum, then tensors and plain values as PyTorch stores them. What was damaged in any
way is refused; what belongs to other settings, code or data (`identity`) is started afresh, and said to be.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import tempfile
from collections.abc import Iterable
from pathlib import Path

import torch

from nasedu.errors import CheckpointError, OutputError, ParameterError
from nasedu.identity import identity as identity  # what a state belongs to: `save_state` and `load_state` ask for it

MARK = b"nasedu-state-2 "
_writing: set[str] = set()  # temporary files of writes in progress in this process


def write_atomically(path: str | Path, content: bytes | str) -> None:
    """Write `content` so that `path` holds either all of it or what it held before. Raises `OutputError`."""
    path = Path(path)
    content = content.encode() if isinstance(content, str) else content
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.{os.getpid()}.")
        _writing.add(temporary)
    except OSError as error:
        raise OutputError(f"cannot write to {path.parent}: {error.strerror}") from None
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
        _sweep(path)
    except BaseException as error:
        Path(temporary).unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise OutputError(f"cannot write {path}: {error.strerror}") from None
        raise
    finally:
        _writing.discard(temporary)


def _sweep(path: Path) -> None:
    """Remove what killed writes of `path` left behind: temporary files that no living process is writing."""
    for left in path.parent.iterdir():
        found = re.fullmatch(rf"\.{re.escape(path.name)}\.(\d+)\.\w{{8}}", left.name)
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


def tensors_hash(tensors: Iterable[torch.Tensor]) -> str:
    """16 hex digits that identify the values of some tensors."""
    digest = hashlib.sha256()
    for tensor in tensors:
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]


def save_state(path: str | Path, state: dict, identity: str) -> None:
    """Store tensors, numbers, strings and containers of them.

    path: the file, written whole or not at all.
    state: what `load_state` will return.
    identity: what the state belongs to, as `identity` tells it.
    """
    buffer = io.BytesIO()
    torch.save({"identity": identity, "state": state}, buffer)
    payload = buffer.getvalue()
    write_atomically(path, MARK + hashlib.sha256(payload).hexdigest().encode() + b"\n" + payload)


def load_state(path: str | Path, identity: str) -> dict | None:
    """What `save_state` stored; None where there is no file, or one of another identity, which is said on stdout.

    path: the file.
    identity: what the state must belong to.

    Raises `CheckpointError` when the file is damaged or cut short.
    """
    path = Path(path)
    if not path.exists():
        return None
    try:
        mark, payload = path.read_bytes().split(b"\n", 1)
        if mark != MARK + hashlib.sha256(payload).hexdigest().encode():
            raise ValueError("checksum")
        stored = torch.load(io.BytesIO(payload), map_location="cpu", weights_only=True)
        owner, state = stored["identity"], stored["state"]
    except Exception as error:  # PyTorch raises many types for what it cannot read
        raise CheckpointError(
            f"{path} cannot be read ({type(error).__name__}): it was damaged, cut short or is no state of this nasedu; "
            "delete it to start this phase again"
        ) from None
    if owner != identity:
        print(f"{path.name} was stored with other settings, code or data: it is started afresh")
        return None
    return state
