"""A notebook's parameters: their names, types and presets, and what a person may hand in for them."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import yaml

from nasedu.course import places
from nasedu.errors import ParameterError, check_name

PRESETS = ("smoke", "quick", "full", "gpu")
# Every notebook has these four; a presets file may give them other defaults.
COMMON = {"preset": None, "seed": 0, "device": "auto", "out_dir": None}
COMMON_KINDS = {"preset": "str", "seed": "int", "device": "str", "out_dir": "str"}
SCALARS = {"int": int, "float": float, "str": str, "bool": bool}


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
        content = yaml.safe_load(path.read_text()) or {}
    except yaml.YAMLError as error:
        raise ParameterError(f"{places.shown(path)} is not YAML: {error}") from None
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
            return [check(name, item, inner) for item in value] if inner else list(value)
    elif kind == "float" and type(value) is int:
        return float(value)
    elif kind not in SCALARS or type(value) is SCALARS[kind]:
        return value
    article = "an" if kind[0] in "aeio" else "a"
    raise ParameterError(f"parameter {name!r} is {value!r}, which is not {article} {kind}")


def parse(name: str, text: str, kind: str) -> Any:
    """The value that a text of the command line stands for. Raises `ParameterError` for one of another type.

    name: the parameter.
    text: `null` is None. Where a text is due it stays as it is; everything else is read as YAML, so a list is `[1, 2]`
        and true is a bool.
    kind: the type, as in `resolve`.
    """
    if "\0" in text or text != text.encode(errors="replace").decode():  # no file can hold it
        raise ParameterError(f"{name} must be a text, got {text!r}")
    if text in ("null", "None", ""):
        return None
    if kind == "str":
        return text
    try:
        value = yaml.safe_load(text)
        if "float" in kind:
            value = [_number(item) for item in value] if isinstance(value, list) else _number(value)
    except (yaml.YAMLError, ValueError):
        value = text
    return check(name, value, kind)


def pairs(settings: Iterable[str]) -> Iterator[tuple[str, str]]:
    """The names and values of `name=value` texts. Raises `ParameterError` for a text without a value."""
    for setting in settings:
        name, equals, text = setting.partition("=")
        if not equals:
            raise ParameterError(f"-p {setting}: expected name=value")
        yield name, text


def is_path(name: str) -> bool:
    """Whether a parameter's value is a folder or a file, told by its name."""
    return name.endswith(("_dir", "_root", "_file"))


def _number(value: Any) -> Any:
    """YAML takes 1e-3, which has no point, for a text."""
    return float(value) if isinstance(value, str) else value
