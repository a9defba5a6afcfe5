"""A notebook's parameters: their names, types and presets, and what a person may hand in for them."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from nasedu import reading
from nasedu.course import places
from nasedu.errors import ParameterError, brief, check_name, check_number

PRESETS = ("smoke", "quick", "full", "gpu")
# Every notebook has these four; a presets file may give them other defaults.
COMMON = {"preset": None, "seed": 0, "device": "auto", "out_dir": None}
COMMON_KINDS = {"preset": "str", "seed": "int", "device": "str", "out_dir": "str"}
SCALARS = {"int": int, "float": float, "str": str, "bool": bool}
YES_NO = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}


def default_preset() -> str:
    """The preset of a notebook that names none: the variable `NASEDU_PRESET`, else `quick`."""
    return os.environ.get("NASEDU_PRESET") or "quick"


def read_presets(notebook: str) -> dict[str, dict[str, Any]]:
    """Parameters of each preset, from `presets/NOTEBOOK.yaml`: its `every` section, then its own.

    Beside the four presets that every notebook has there may be others, such as a published set-up; one may start from
    another preset that it names as `like`. Raises `ParameterError` where the file is missing, lacks one of the four, or
    does not give every preset the same names.
    """
    path = places.presets(notebook)
    if not path.is_file():
        raise ParameterError(f"notebook {notebook!r} has no presets: expected {places.shown(path)}")
    try:
        content = reading.load(path, "yaml")
    except ValueError as error:
        raise ParameterError(f"{places.shown(path)} cannot be read: {error}") from None
    if not isinstance(content, dict) or not all(isinstance(part, dict | None) for part in content.values()):
        raise ParameterError(f"{places.shown(path)} must map presets to parameters and their values")
    shared = content.pop("every", None) or {}
    if not set(PRESETS) <= content.keys():
        raise ParameterError(f"{places.shown(path)} needs the sections {', '.join(PRESETS)} (and `every`)")
    presets: dict[str, dict[str, Any]] = {}
    for name in (*PRESETS, *(name for name in content if name not in PRESETS)):
        own = dict(content[name] or {})
        base = own.pop("like", None)
        like = presets[check_name(f"preset that {name} is like", base, presets)] if base else {**COMMON, **shared}
        presets[name] = {**like, **own}
    for name, values in presets.items():
        if values.keys() != presets["quick"].keys():
            odd = ", ".join(sorted(values.keys() ^ presets["quick"].keys()))
            raise ParameterError(f"{places.shown(path)}: presets {name} and quick differ in having {odd}")
    return presets


def resolve(notebook: str, given: Mapping[str, Any], kinds: Mapping[str, str]) -> dict[str, Any]:
    """Every parameter's value: the given one, or where that is None, the preset's.

    notebook: its name.
    given: values by name.
    kinds: the types of the parameters cell by name, such as "int" or "list[float]".
    Raises `UnknownName` for a misspelt name or preset, `ParameterError` for a value of another type.
    """
    presets = read_presets(notebook)
    for name in given:
        check_name("parameter", name, presets["quick"])
    preset = check_name("preset", given.get("preset") or default_preset(), presets)
    chosen = {name: value for name, value in given.items() if value is not None}
    values = {**presets[preset], **chosen, "preset": preset}
    for name, kind in {**COMMON_KINDS, **kinds}.items():
        values[name] = check(name, values[name], kind)
    return values


def check(name: str, value: Any, kind: str) -> Any:
    """The value, an int widened to a float where one is due. Raises `ParameterError` for one of another type.

    name: the parameter.
    value: None, or of the type.
    kind: the type, as in `resolve`.
    """
    if value is None:
        return None
    if kind.startswith("list"):
        if isinstance(value, list | tuple):
            inner = kind[5:-1]
            if inner and None in value:
                raise ParameterError(f"parameter {name!r} is {brief(value)}, but null may only stand for all of it")
            return [check(name, item, inner) for item in value] if inner else list(value)
    elif kind == "float" and type(value) in (int, float):
        return check_number(f"parameter {name!r}", value, -math.inf)
    elif kind not in SCALARS or type(value) is SCALARS[kind]:
        return value
    article = "an" if kind[0] in "aeio" else "a"
    raise ParameterError(f"parameter {name!r} is {brief(value)}, which is not {article} {kind}")


def parse(name: str, text: str, kind: str) -> Any:
    """The value that a text of the command line stands for. Raises `ParameterError` for one of another type.

    name: the parameter.
    text: `null` is None, a list is `[1, 2]`. Everything is read as the type says: 010 is ten where a number is due,
        and yes stays a word where a text is.
    kind: the type, as in `resolve`; "" takes numbers, true and false for what they are, and all else for text.
    """
    if "\0" in text or text != text.encode(errors="replace").decode():  # no file can hold it
        raise ParameterError(f"{name} must be a text, got {brief(text)}")
    if text in ("null", "None", ""):
        return None
    if kind == "str":
        return text
    try:
        found = reading.parse(text, "words") if text.lstrip().startswith(tuple("[{\"'")) else text.strip()
    except ValueError as error:
        raise ParameterError(f"{name}={brief(text)} cannot be read: {error}") from None
    return check(name, _typed(found, kind), kind)


def _typed(found: Any, kind: str) -> Any:
    """Texts, and lists and mappings of them, with the texts read as their type says."""
    if isinstance(found, list):
        return [_typed(item, kind[5:-1] if kind.startswith("list") else "") for item in found]
    if isinstance(found, dict):
        return {key: _typed(value, "") for key, value in found.items()}
    if kind == "bool":
        return YES_NO.get(found.lower(), found)
    return found if kind == "str" else reading.scalar(found)


def pairs(settings: Iterable[str], flag: str = "-p") -> Iterator[tuple[str, str]]:
    """The names and values of `name=value` texts.

    settings: the texts.
    flag: what stands before them on the command line.
    Raises `ParameterError` for a text without a value, or a name that is given twice.
    """
    known: set[str] = set()
    for setting in settings:
        name, equals, text = setting.partition("=")
        if not equals or name in known:
            told = f"{name} is given twice" if equals else "expected name=value"
            raise ParameterError(f"{flag} {brief(setting)}: {told}")
        known.add(name)
        yield name, text


def is_path(name: str) -> bool:
    """Whether a parameter's value is a folder or a file, told by its name."""
    return name.endswith(("_dir", "_root", "_file"))
