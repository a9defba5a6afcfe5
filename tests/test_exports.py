"""What a package exports is used: by a notebook, a README's code, another package, or a script that makes data."""

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


ROOMS = ("nasedu/**", "notebooks/source", "datasets", "lookup")
USED = {path: used(path.read_text()) for room in ROOMS for path in ROOT.glob(f"{room}/*.py")}
READMES = [ROOT / room / "README.md" for room in (".", "datasets", "lookup")]
USED |= {path: used("\n".join(re.findall(r"^```python\n(.*?)^```", path.read_text(), re.M | re.S))) for path in READMES}
FOR_LEARNERS = {  # what only code of one's own uses, and why it does
    "nasedu.proxies": {
        "Probe": "what a proxy of one's own is handed, for its annotation",
        "Proxy": "what `proxies.info` returns, for annotations",
        "register": "adds a proxy of one's own",
    },
    "nasedu.search": {
        "ADLIK": "published settings of zero-shot search",
        "SPOS": "published settings of evolution",
        "ZENNAS": "published settings of zero-shot search",
        "zen_preset": "published limits of zero-shot search and where it starts",
    },
}


@pytest.mark.parametrize("package", PACKAGES, ids=lambda package: str(package.relative_to(ROOT)))
def test_every_exported_name_is_used_elsewhere(package):
    room = ".".join(package.relative_to(ROOT).parts)
    names = set().union(*(names for path, names in USED.items() if package not in path.parents))
    taken = {part for name in names if name.startswith(f"{room}.") for part in name.removeprefix(f"{room}.").split(".")}
    unused = set(exported(package)) - taken
    assert unused == FOR_LEARNERS.get(room, {}).keys(), f"{room} exports what nothing uses: {sorted(unused)}"


def test_a_use_is_recognised_by_its_full_name():
    text = "from nasedu import spaces as s\nfrom nasedu.tables import Budget\ns.create('x').build\nother.names()"
    assert used(text) >= {"nasedu.spaces.create", "nasedu.tables.Budget"}
    assert not any("names" in name for name in used(text))
