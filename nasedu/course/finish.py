"""The last call of every notebook: its results as files, so that they outlive the kernel."""

from __future__ import annotations

import io
import json
import math
import platform
import time
from collections.abc import Mapping
from importlib import metadata
from types import MappingProxyType
from typing import Any

from nasedu import origin
from nasedu.course import places, record
from nasedu.course.setup import Config
from nasedu.errors import ParameterError
from nasedu.files import write_atomically

EMPTY: Mapping[str, Any] = MappingProxyType({})


def finish(cfg: Config, *, summary: Any = "", results: Mapping = EMPTY, figures: Mapping = EMPTY) -> None:
    """Write `figures/NAME.png` and then `result.json` into `cfg.out_dir`, each whole or not at all.

    cfg: what `setup` returned.
    summary: markdown or a DataFrame.
    results: any nesting of mappings, lists, numbers and texts (NumPy and torch scalars too; NaN and infinity become
        null).
    figures: matplotlib figures by name.
    Raises `OutputError` where the folder cannot be written to, `ParameterError` for what JSON cannot hold.
    """
    for name, figure in figures.items():
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", metadata={"Software": None})
        write_atomically(cfg.out_dir / "figures" / f"{name}.png", buffer.getvalue())
    result = {
        "notebook": cfg.notebook,
        "parameters": plain(cfg.parameters),
        "device": str(cfg.device),
        "seconds": round(time.monotonic() - cfg.started, 1),
        "processor": origin.processor(),
        "commit": origin.commit(),
        "versions": {"python": platform.python_version()} | {n: metadata.version(n) for n in ("torch", "torchvision")},
        "summary": summary.to_string() if hasattr(summary, "to_string") else str(summary),
        "results": plain(results),
        "exercises": record.EXERCISES,
        "predictions": record.PREDICTIONS,
        "figures": sorted(figures),
    }
    write_atomically(cfg.out_dir / "result.json", json.dumps(result, indent=1, allow_nan=False))
    print(f"{result['seconds']:.0f} s at preset {cfg.preset}; results written to {places.shown(cfg.out_dir)}")


def plain(value: Any) -> Any:
    """`value` in JSON's own types."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if hasattr(value, "tolist"):  # arrays, tensors and their scalars
        value = value.tolist()
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, str | int):
        return value
    raise ParameterError(f"a result of type {type(value).__name__} cannot be written as JSON: {value!r}")
