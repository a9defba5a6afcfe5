"""YAML and JSON from anywhere: plain values only, and no more of them than anybody means to write.

A few hundred bytes of YAML aliases, or of brackets, stand for more than a machine holds. So a text is bounded in size
and depth, aliases are refused, and so is a key that stands twice: which of the two is meant?
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from pathlib import Path

import yaml

from nasedu.errors import brief

DEEPEST = 30  # lists and mappings within one another
LARGEST = {"json": 8_000_000, "yaml": 600_000, "words": 20_000}  # characters; YAML is read a hundred times as slowly
_NUMBER = re.compile(r"[+-]?(\d+(_\d+)*|(\d+\.\d*|\.\d+|\d+(?=[eE]))([eE][+-]?\d+)?)", re.ASCII)
_WORDS = {"null": None, "~": None, "": None, "true": True, "false": False}


def parse(text: str, form: str = "json", most: int | None = None) -> object:
    """What a text holds. Raises `ValueError` with a sentence that says why it cannot be read.

    text: JSON or YAML.
    form: "json"; "yaml", where what has no quotes is read by `scalar`; or "words", where all scalars stay texts.
    most: the characters that are read; None: those of `LARGEST`.
    """
    most = LARGEST[form] if most is None else most
    if len(text) > most:
        raise ValueError(f"it has {len(text):,} characters, more than the {most:,} that are read")
    try:
        return _json(text) if form == "json" else _yaml(text, form)
    except RecursionError:
        raise ValueError(f"its lists and mappings are more than {DEEPEST} deep") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f" in line {mark.line + 1}" if mark else ""
        raise ValueError(f"{getattr(error, 'problem', None) or 'it is no YAML'}{where}") from None
    except TypeError:
        raise ValueError("a key of one of its mappings is a list or a mapping") from None


def load(path: str | Path, form: str = "json") -> object:
    """What a file holds, as `parse`. Raises `ValueError`.

    path: the file, in UTF-8.
    form: as in `parse`.
    """
    return parse(text_of(path, 4 * LARGEST[form]), form)


def text_of(path: str | Path, most: int = 4 * LARGEST["json"]) -> str:
    """The text of a file in UTF-8, with a mark before it or without. Raises `ValueError`.

    path: the file; a pipe, which would be waited for, is none.
    most: the bytes that are read.
    """
    try:
        path = Path(path)
        if path.exists() and not path.is_file():
            raise ValueError("it is no file")
        if path.stat().st_size > most:
            raise ValueError(f"it has {path.stat().st_size:,} bytes, more than the {most:,} that are read")
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise ValueError(error.strerror or str(error)) from None
    except TypeError:
        raise ValueError(f"{brief(path)} is no path") from None
    except UnicodeDecodeError:
        raise ValueError("it is no text in UTF-8") from None


def scalar(text: str) -> object:
    """The number, true, false or null that a text is to anybody who reads it; else the text: 010 is ten, yes a word."""
    if _NUMBER.fullmatch(text) and len(text) <= 40:
        return int(text) if text.lstrip("+-").replace("_", "").isdecimal() else float(text)
    return _WORDS.get(text.lower(), text)


def _json(text: str) -> object:
    found = json.loads(text, object_pairs_hook=unique)
    level = [found]
    for _ in range(DEEPEST):  # not by recursion
        level = [inner for item in level for inner in _inside(item)]
    if any(isinstance(item, dict | list) for item in level):
        raise RecursionError
    return found


def _inside(item: object) -> Iterable:
    return item.values() if isinstance(item, dict) else item if isinstance(item, list) else ()


def _yaml(text: str, form: str) -> object:
    """The one document of a text, whose events are counted before anything is made of them."""
    depth, loader = 0, _Words if form == "words" else _Plain
    for event in yaml.parse(text, loader):
        if isinstance(event, yaml.AliasEvent):
            raise ValueError(f"it has an alias, *{event.anchor:.40}, which is not read")
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > DEEPEST:
            raise RecursionError
    return yaml.load(text, loader)


class _Words(getattr(yaml, "CBaseLoader", yaml.BaseLoader)):  # type: ignore[misc]
    """Makes texts, lists and mappings, whatever the tags say, and refuses a key that stands twice."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict:
        return unique(self.construct_pairs(node, deep=True))


class _Plain(_Words):
    """Makes numbers, true, false and null of what has no quotes: those of YAML 1.1 took 010 for 8, and no for false."""

    def construct_scalar(self, node: yaml.ScalarNode) -> object:
        return node.value if node.style else scalar(node.value)


def unique(pairs: list[tuple]) -> dict:
    """A mapping of these keys and values. Raises `ValueError` for a key that stands twice."""
    found: dict = {}
    for key, value in pairs:
        if key in found:
            raise ValueError(f"it holds the key {brief(key)} twice")
        found[key] = value
    return found
