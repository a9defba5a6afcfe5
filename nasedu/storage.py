"""States on disk that know what they belong to.

A state file is a line with a checksum, then tensors and plain values as PyTorch stores them. What was damaged in any
way is refused; what belongs to other settings, code or data (`identity`) is started afresh, and said to be.
"""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch as safetensors
import torch
from torch import Tensor, nn

from nasedu.errors import CheckpointError
from nasedu.files import write_atomically
from nasedu.identity import identity as identity  # what a state belongs to: `save_state` and `load_state` ask for it

MARK = b"nasedu-state-2 "
# how NumPy's numbers are pickled, by either of its versions: a file of weights may tell its accuracy in one
_scalar = np.float64(0).__reduce__()[0]
NUMBERS: list[Any] = [(_scalar, f"numpy.{core}.multiarray.scalar") for core in ("core", "_core")]
NUMBERS += [np.dtype, *(type(np.dtype(kind)) for kind in ("f8", "f4", "i8"))]
WRAPPERS = ("module", "_orig_mod", "_layers")  # DistributedDataParallel and averages, compilation, Paddle's parallel


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
    if not os.path.exists(path):  # nor could there be one of that name
        return None
    try:
        _check_file(path)
        stored = torch.load(io.BytesIO(_payload(path.read_bytes())), map_location="cpu", weights_only=True)
        owner, state = stored["identity"], stored["state"]
    except Exception as error:  # PyTorch raises many types for what it cannot read
        raise CheckpointError(
            f"{path} cannot be read ({type(error).__name__}): it was damaged, cut short or is no state of this nasedu; "
            "delete it to start this phase again"
        ) from None
    if not isinstance(state, dict) or not isinstance(owner, str):
        raise CheckpointError(f"{path} holds no state of a search or a training: delete it")
    if owner != identity:
        print(f"{path.name} was stored with other settings, code or data: it is started afresh")
        return None
    return state


@contextmanager
def restoring(path: str | Path) -> Iterator[None]:
    """Around what takes a loaded state apart: raises `CheckpointError` where it holds something else than it should."""
    try:
        yield
    except (RuntimeError, ValueError, LookupError, TypeError, AttributeError) as error:
        reason = str(error).split("\n")[0]
        raise CheckpointError(f"{path} holds the state of something else ({reason}): delete it") from None


def _check_file(path: Path) -> None:
    """Raise `ValueError` for a pipe or a folder: reading it would never end, or not begin."""
    if not path.is_file():
        raise ValueError("it is no file")


def _payload(content: bytes) -> bytes:
    """What a state file stores. Raises `ValueError` where it was damaged."""
    mark, payload = content.split(b"\n", 1)
    if mark != MARK + hashlib.sha256(payload).hexdigest().encode():
        raise ValueError("checksum")
    return payload


def read_weights(path: str | Path) -> dict[str, Tensor]:
    """A network's tensors by name, from a checkpoint of `training.train` (its averaged weights) or a file of PyTorch's.

    A file whose name ends in .safetensors is read as one.

    What wraps a model while it is trained on several devices or compiled puts `module.`, `_orig_mod.` or `_layers.`
    before its names; that is taken off, wherever it stands. Only tensors and plain values are read, no code. Raises
    `CheckpointError`.
    """
    path = Path(path)
    try:
        _check_file(path)
        content = path.read_bytes()
        if path.suffix == ".safetensors":
            stored = safetensors.load(content)
        else:
            payload = _payload(content) if content.startswith(MARK) else content
            with torch.serialization.safe_globals(NUMBERS):
                stored = torch.load(io.BytesIO(payload), map_location="cpu", weights_only=True)
        for key in ("state", "ema", "state_dict", "model"):
            inner = stored.get(key)
            stored = inner if isinstance(inner, dict) and inner else stored
        named = [(_unwrapped(name), value) for name, value in stored.items() if isinstance(value, Tensor)]
    except Exception as error:  # PyTorch raises many types for what it cannot read
        why = " ".join(str(error).split(". ")[0].split())[:160]
        raise CheckpointError(f"{path} holds no weights that can be read ({type(error).__name__}: {why})") from None
    tensors = {name: value for name, value in named if name != "n_averaged"}
    if not tensors or len(dict(named)) < len(named):
        raise CheckpointError(f"{path} holds no weights" if not tensors else f"{path} holds some weights twice")
    return tensors


def load_weights(model: nn.Module, path: str | Path) -> None:
    """Put weights of a file into a model, in place. Raises `CheckpointError` where names or shapes differ.

    model: what gets them.
    path: the file, as in `read_weights`.
    """
    fill(model, read_weights(path), path)


def fill(model: nn.Module, tensors: dict[str, Tensor], path: str | Path) -> None:
    """Put tensors into a model, in place. Raises `CheckpointError` where names or shapes differ.

    model: what gets them.
    tensors: by name, without what wraps a model while it is trained.
    path: where they come from, for the message.
    """
    own = model.state_dict()
    names = {_unwrapped(name): name for name in own}
    wanted = {name: own[full] for name, full in names.items()}
    lacking, more = wanted.keys() - tensors.keys(), tensors.keys() - wanted.keys()
    if lacking or more:
        named = f"lacks {min(lacking)!r}" if lacking else f"has {min(more)!r} as well"
        counts = f"{len(lacking)} missing, {len(more)} too many"
        raise CheckpointError(f"{path} is of another network: it {named} ({counts})")
    for name, tensor in tensors.items():
        if tensor.shape != wanted[name].shape:
            sizes = f"{tuple(tensor.shape)}, not {tuple(wanted[name].shape)}"
            raise CheckpointError(f"{path} is of another network: {name} has shape {sizes}")
    model.load_state_dict({names[name]: tensor for name, tensor in tensors.items()})


def _unwrapped(name: str) -> str:
    return ".".join(part for part in name.split(".") if part not in WRAPPERS)
