"""Files that survive a kill: written under a temporary name, then renamed; refused when cut short or another run's."""

from __future__ import annotations

import hashlib
import io
import json
import os
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from nasedu.errors import CheckpointError, OutputError

if TYPE_CHECKING:
    from torch import Tensor


def write_atomically(path: str | Path, content: bytes | str) -> None:
    """Write `content` so that `path` holds either all of it or what it held before. Raises `OutputError`."""
    path = Path(path)
    content = content.encode() if isinstance(content, str) else content
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    except OSError as error:
        raise OutputError(f"cannot write to {path.parent}: {error.strerror}") from None
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except OSError as error:
        Path(temporary).unlink(missing_ok=True)
        raise OutputError(f"cannot write {path}: {error.strerror}") from None


def content_hash(value: object) -> str:
    """16 hex digits that identify a JSON-able value."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()[:16]


def tensors_hash(tensors: Iterable[Tensor]) -> str:
    """16 hex digits that identify the values of some tensors."""
    digest = hashlib.sha256()
    for tensor in tensors:
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]


def save_state(path: str | Path, state: dict, run: str) -> None:
    """Store tensors, numbers, strings and containers of them, marked as belonging to `run`."""
    import torch  # here, since the command line writes files without it

    buffer = io.BytesIO()
    torch.save({"run": run, "state": state}, buffer)
    write_atomically(path, buffer.getvalue())


def load_state(path: str | Path, run: str) -> dict | None:
    """What `save_state` stored, or None where there is no file.

    Raises `CheckpointError` when the file is cut short or was stored by another run.
    """
    import torch

    path = Path(path)
    if not path.exists():
        return None
    try:
        stored = torch.load(path, map_location="cpu", weights_only=True)
        owner, state = stored["run"], stored["state"]
    except Exception as error:  # torch raises many types for a damaged file
        raise CheckpointError(
            f"{path} cannot be read ({type(error).__name__}): it was cut short or is no state of nasedu; "
            "delete it to start this phase again"
        ) from None
    if owner != run:
        raise CheckpointError(
            f"{path} belongs to a run with other settings ({owner}, this one is {run}); "
            "choose another out_dir or delete it"
        )
    return state
