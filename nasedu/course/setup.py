"""The first call of every notebook: parameters checked, seeds set, device and output folder chosen."""

from __future__ import annotations

import ast
import random
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from nasedu.course import parameters, places, record, style
from nasedu.course.folder import claim
from nasedu.errors import ParameterError, check_name, check_whole
from nasedu.files import content_hash

if TYPE_CHECKING:
    from filelock import FileLock
    from torch import device as Device

_claims: dict[Path, FileLock] = {}  # the folder that this process's notebook writes to


class Config(SimpleNamespace):
    """A notebook's resolved parameters as attributes, read-only.

    Beside the notebook's own: `notebook`, `preset`, `seed`, `device` (torch.device), `out_dir` (Path),
    `parameters` (the plain values, for result.json) and `started` (seconds of `time.monotonic`).
    """

    @property
    def identity(self) -> dict[str, Any]:
        """What a stored state compares: the parameters, but for where results go."""
        return {**self.parameters, "out_dir": None}

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError(f"{name!r} cannot be set: change the parameters cell and run it again")

    def __repr__(self) -> str:
        rows = {**self.parameters, "device": str(self.device), "out_dir": places.shown(self.out_dir)}
        width = max(map(len, rows))
        return "\n".join(f"{name:{width}} = {value}" for name, value in rows.items())


def setup(notebook: str, values: Mapping[str, Any], *, choices: Mapping | None = None) -> Config:
    """Resolve and check a notebook's parameters, seed every generator, set the plot style.

    The output folder belongs to this process from here on, until `setup` chooses another or the process ends.

    notebook: its name, by which its presets are found.
    values: its `globals()`, whose parameters cell declares names and types by annotation, or a plain mapping of names
        to values. None stands for the preset's value; a relative path is taken from the repository's root.
    choices: the valid values of some parameters.
    Raises `UnknownName` (a name, a preset or a choice), `ParameterError` (a type, a device), or `OutputError` (a folder
    that cannot be written to, or that another process has).
    """
    started = time.monotonic()
    presets = parameters.read_presets(notebook)
    given, kinds = _declared(values, presets["quick"])
    given |= {name: None for name, value in given.items() if value == "" and parameters.is_path(name)}
    resolved = parameters.resolve(notebook, given, kinds)
    for name, valid in (choices or {}).items():
        _check_choice(name, resolved[name], valid)
    paths = {name: value for name, value in resolved.items() if value is not None and parameters.is_path(name)}
    absolute = {name: places.ROOT / Path(path).expanduser() for name, path in paths.items()}
    config: dict[str, Any] = resolved | absolute
    config["device"] = pick_device(resolved["device"])
    check_whole("seed", resolved["seed"], 0, 2**32 - 1)
    config["out_dir"] = places.make(config["out_dir"] or work_folder(notebook, resolved))
    _keep(config["out_dir"])
    if resolved["out_dir"] is None and any(path.name[0] != "." for path in config["out_dir"].iterdir()):
        print(f"goes on from {places.shown(config['out_dir'])}: delete that folder to start afresh")
    seed_everything(resolved["seed"])
    record.clear()
    style.use()
    return Config(notebook=notebook, parameters=resolved, started=started, **config)


def _keep(folder: Path) -> None:
    """Claim `folder`, and let go of the one that this process had for other parameters."""
    if folder not in _claims:
        claimed = claim(folder, "notebook")
        while _claims:
            _claims.popitem()[1].release()
        _claims[folder] = claimed


def work_folder(notebook: str, resolved: Mapping[str, Any]) -> Path:
    """Where a notebook opened by hand keeps its files: one folder for each set of parameter values."""
    return places.runs() / "work" / f"{notebook}-{content_hash({**resolved, 'out_dir': None})[:8]}"


def seed_everything(seed: int) -> None:
    """Seed Python's, NumPy's and torch's global generators; the package's own take explicit seeds."""
    import numpy
    import torch

    random.seed(seed)
    numpy.random.seed(seed)  # noqa: NPY002 - libraries still draw from the global state
    torch.manual_seed(seed)


def pick_device(name: str) -> Device:
    """The torch device called `name`; "auto" is the first CUDA device, else the CPU.

    Raises `ParameterError` for a device that torch does not know or this machine does not have.
    """
    import torch  # here, since the command line checks parameters without it

    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.empty(1, device=name).item()
    except (RuntimeError, AssertionError, NotImplementedError, ImportError):
        raise ParameterError(f"this machine has no device {name!r}: use auto, cpu, cuda or cuda:N") from None
    return torch.device(name)


def _declared(values: Mapping[str, Any], valid: Iterable[str]) -> tuple[dict[str, Any], dict[str, str]]:
    """The parameters among `values`, and the types that the parameters cell annotates them with."""
    if "__name__" not in values:  # a plain mapping: all of it
        return dict(values), {}
    annotations = values.get("__annotations__", {})
    unknown = [name for name in [*annotations, *_injected(values)] if name not in valid]
    for name in unknown:
        annotations.pop(name, None)  # so that the corrected cell passes in the same kernel
    for name in unknown:
        check_name("parameter", name, valid)
    kinds = {name: kind.__name__ if type(kind) is type else str(kind) for name, kind in annotations.items()}
    return {name: values[name] for name in valid if name in values}, kinds


def _injected(namespace: Mapping[str, Any]) -> list[str]:
    """Names that papermill set: it only warns about unknown ones, so they are looked up here."""
    cells = [cell for cell in namespace.get("In", []) if cell.startswith("# Parameters\n")]
    targets = [target for cell in cells for node in ast.parse(cell).body for target in node.targets]
    return [target.id for target in targets]


def _check_choice(name: str, value: Any, valid: Iterable) -> None:
    for item in value if isinstance(value, list) else [value]:
        if item is not None:
            check_name(name, item, valid)
