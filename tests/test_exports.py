"""What a package exports is used: by a notebook, the README, another package, or a script that makes data or tables."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = sorted(path.parent for path in ROOT.glob("nasedu/**/__init__.py"))


def exported(package: Path) -> list[str]:
    for node in ast.parse((package / "__init__.py").read_text()).body:
        if isinstance(node, ast.Assign) and node.targets[0].id == "__all__":
            return ast.literal_eval(node.value)
    return []


def used(text: str) -> set[str]:
    """The full names that a piece of Python takes from nasedu, as in `nasedu.spaces.create`."""
    nodes, known = list(ast.walk(ast.parse(text))), {"nasedu": "nasedu"}
    for node in nodes:
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("nasedu"):
            known |= {alias.asname or alias.name: f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Import):
            known |= {alias.asname: alias.name for alias in node.names if alias.asname}
    chains = [chain(node) for node in nodes if isinstance(node, ast.Attribute)]
    return {*known.values(), *(".".join([known[first], *rest]) for first, *rest in chains if first in known)}


def chain(node: ast.expr) -> list[str | None]:
    """The parts of a dotted name; None first where it does not start with a name."""
    if isinstance(node, ast.Attribute):
        return [*chain(node.value), node.attr]
    return [node.id if isinstance(node, ast.Name) else None]


def shown(text: str) -> set[str]:
    """Every word of a page's code: of fenced and indented blocks, and between backticks."""
    return set(re.findall(r"\w+", " ".join(re.findall(r"```.*?```|^    .*?$|`[^`\n]+`", text, re.S | re.M))))


ROOMS = ("nasedu/**", "notebooks/source", "datasets", "lookup")
USED = {path: used(path.read_text()) for room in ROOMS for path in ROOT.glob(f"{room}/*.py")}
SHOWN = set().union(*(shown((ROOT / room / "README.md").read_text()) for room in (".", "datasets", "lookup")))
NOT_YET = set()


@pytest.mark.parametrize("package", PACKAGES, ids=lambda package: str(package.relative_to(ROOT)))
def test_every_exported_name_is_used_elsewhere(package):
    room = ".".join(package.relative_to(ROOT).parts)
    names = set().union(*(names for path, names in USED.items() if package not in path.parents))
    taken = {part for name in names if name.startswith(f"{room}.") for part in name.removeprefix(f"{room}.").split(".")}
    unused = set(exported(package)) - taken - SHOWN
    assert room in NOT_YET or not unused, f"{room} exports what nothing uses: {sorted(unused)}"


def test_a_use_is_recognised_by_its_full_name():
    text = "from nasedu import spaces as s\nfrom nasedu.tables import Budget\ns.create('x').build\nother.names()"
    assert used(text) >= {"nasedu.spaces.create", "nasedu.tables.Budget"}
    assert not any("names" in name for name in used(text))
    assert shown("see `tables.within`\n\n    export(x)\n\nand names") == {"tables", "within", "export", "x"}
