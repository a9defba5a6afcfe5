"""Imports go one way: what stands below does not know what stands above it."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import nasedu

ROOT = Path(nasedu.__file__).parent
LAYERS = [  # lowest first; a part may import its own layer's other parts only where they are listed together
    {"errors", "files", "identity", "storage", "randomness", "modules", "progress", "registry", "workers"},
    {"blocks"},
    {"data", "detection", "training", "classification", "task"},
    {"hardware"},
    {"supernet"},
    {"spaces"},
    {"tables"},
    {"sampling", "proxies", "ranking"},
    {"search"},
    {"wzdnas"},
    {"deploy"},
    {"plots"},
    {"widgets"},
    {"course"},
    {"__main__"},
]
LEVEL = {part: level for level, parts in enumerate(LAYERS) for part in parts}
# they know of what every part may use, and of one another
STAND_BESIDE = {"data", "detection", "training", "classification", "task", "hardware"}
BELOW = LAYERS[0] | LAYERS[1]


def imported(file: Path) -> set[str]:
    modules = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            modules |= {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Import):
            modules |= {alias.name for alias in node.names}
    return {name.split(".")[1] for name in modules if name.startswith("nasedu.") and name.split(".")[1] in LEVEL}


@pytest.mark.parametrize("file", sorted(ROOT.rglob("*.py")), ids=lambda file: str(file.relative_to(ROOT)))
def test_imports_go_one_way(file):
    part = file.relative_to(ROOT).parts[0].removesuffix(".py")
    if part == "__init__":
        return
    for other in imported(file) - {part}:
        assert LEVEL[other] <= LEVEL[part], f"{part} imports {other}"
        if part in STAND_BESIDE:
            assert other in STAND_BESIDE | BELOW, f"{part} knows of {other}"


def test_what_takes_seconds_to_import_is_loaded_by_those_who_use_it():
    parts = ", ".join(f"nasedu.{part}" for part in sorted(LEVEL.keys() - {"__main__", "widgets", "course"}))
    slow = {"sklearn", "scipy.stats", "scipy.optimize", "onnxruntime", "accelerate", "distributed"}
    program = f"import sys, {parts}; print(sorted({slow} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout == "[]\n", done.stdout + done.stderr
