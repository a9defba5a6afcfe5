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
    {"errors", "files", "reading", "identity", "storage", "randomness", "modules", "progress", "registry", "workers"}
    | {"origin", "resources", "divergence", "processes", "journal"},
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
    {"commands"},
    {"__main__"},
]
PARTS = {path.stem for path in ROOT.iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()}
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
    return {name.split(".")[1] for name in modules if name.startswith("nasedu.") and name.split(".")[1] in PARTS}


def test_every_part_is_in_one_layer():
    assert LEVEL.keys() == PARTS - {"__init__"}
    assert len(LEVEL) == sum(map(len, LAYERS))


@pytest.mark.parametrize("file", sorted(ROOT.rglob("*.py")), ids=lambda file: str(file.relative_to(ROOT)))
def test_imports_go_one_way(file):
    part = file.relative_to(ROOT).parts[0].removesuffix(".py")
    if part == "__init__":
        assert not imported(file)
        return
    for other in imported(file) - {part}:
        assert LEVEL[other] <= LEVEL[part], f"{part} imports {other}"
        if part in STAND_BESIDE:
            assert other in STAND_BESIDE | BELOW, f"{part} knows of {other}"


def test_the_package_alone_loads_none_of_its_parts_and_names_them_all():
    program = "import sys, nasedu; print(dir(nasedu), [m for m in sys.modules if m.startswith(('nasedu.', 'torch'))])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    names, loaded = done.stdout.strip().removesuffix("]").split("] [")
    assert loaded == "", done.stderr
    public = [name for name in ast.literal_eval(names + "]") if name[0] != "_"]
    assert public == sorted(PARTS - {"__init__", "__main__"})
    with pytest.raises(AttributeError, match="has no attribute 'importlib'"):
        nasedu.importlib  # noqa: B018


def test_what_takes_seconds_to_import_is_loaded_by_those_who_use_it():
    parts = ", ".join(f"nasedu.{part}" for part in sorted(LEVEL.keys() - {"__main__", "commands", "widgets", "course"}))
    slow = {"sklearn", "scipy.stats", "scipy.optimize", "onnxruntime", "accelerate", "distributed"}
    program = f"import sys, {parts}; print(sorted({slow} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout == "[]\n", done.stdout + done.stderr
