"""A docstring lists its arguments, one a line: `name: what it is.`"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1] / "nasedu"
MOST = 2  # so few arguments need no list
FILES = sorted(ROOT.rglob("*.py"))
Definition = ast.FunctionDef | ast.ClassDef


def public(parent: ast.Module | ast.ClassDef) -> Iterator[tuple[Definition, ast.FunctionDef]]:
    """The public functions, methods and classes, each with the function whose parameters it takes."""
    for node in parent.body:
        if not isinstance(node, Definition) or node.name.startswith("_"):
            continue
        if isinstance(node, ast.FunctionDef):
            yield node, node
            continue
        inits = [part for part in node.body if isinstance(part, ast.FunctionDef) and part.name == "__init__"]
        yield from ((node, init) for init in inits)
        yield from public(node)


def parameters(function: ast.FunctionDef) -> list[str]:
    given = function.args
    named = [*given.posonlyargs, *given.args, given.vararg, *given.kwonlyargs, given.kwarg]
    return [part.arg for part in named if part and part.arg not in ("self", "cls")]


def unlisted(text: str) -> list[str]:
    """`name(argument)` for every argument that a docstring does not list."""
    found = []
    for node, function in public(ast.parse(text)):
        doc, names = ast.get_docstring(node, clean=False) or "", parameters(function)
        missing = [name for name in names if not re.search(rf"^\s+{name}: \S", doc, re.M)]
        found += [f"{node.name}({name})" for name in missing if len(names) > MOST]
    return found


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(ROOT)))
def test_docstrings_list_their_arguments(file):
    assert unlisted(file.read_text()) == []


def test_what_is_not_listed_is_found():
    text = '''
def told(a, b, *c, d=1):
    """Four.

    a: one.
    c: many.
    """

class Kept:
    """Three: a b c."""

    def __init__(self, a, b, c):
        pass

def few(a, b):
    pass

def _own(a, b, c):
    pass
'''
    assert unlisted(text) == ["told(b)", "told(d)", "Kept(a)", "Kept(b)", "Kept(c)"]
