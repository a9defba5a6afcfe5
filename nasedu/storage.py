"""States on disk that know what they belong to.

A state file is a line with a checksum, then tensors and plain values as PyTorch stores them. What was damaged in any
way is refused; what belongs to other settings, code or data (`identity`) is started afresh, and said to be.
"""

from __future__ import annotations

import hashlib
import io
from pathlib import Path

import torch

from nasedu.errors import CheckpointError
from nasedu.files import write_atomically
from nasedu.identity import identity as identity  # what a state belongs to: `save_state` and `load_state` ask for it

MARK = b"nasedu-state-2 "


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
