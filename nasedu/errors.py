"""What can go wrong at nasedu's boundaries, one type each, each with one clear sentence.

A message says what was wrong, where, and what would be right. The command line prints it without a
traceback and exits with status 2.
"""

from __future__ import annotations

import difflib
import math
import operator
import re
from collections.abc import Hashable, Iterable, Iterator
from concurrent.futures import BrokenExecutor
from contextlib import contextmanager
from numbers import Real
from textwrap import shorten
from typing import TypeVar

Kind = TypeVar("Kind")
MOST = 299  # characters of a message
LARGEST = 2**63 - 1


class NaseduError(Exception):
    """Any mistake in what a user handed to nasedu, told in one line under 300 characters, whatever it quotes."""

    def __str__(self) -> str:
        return sentence(Exception.__str__(self))


class UnknownName(NaseduError, KeyError):
    """A name that is not among the valid ones (a preset, a proxy, a template, a class ...)."""


class ParameterError(NaseduError, ValueError):
    """A value of the wrong type or outside its range."""


class ArchitectureError(NaseduError, ValueError):
    """An architecture, a path or an architecture text that its search space cannot read."""


class TableError(NaseduError, ValueError):
    """A lookup table that is malformed or was made for another space."""


class KitError(NaseduError, ValueError):
    """A kit for another device, or its results, that are cut short, damaged or do not belong together."""


class BudgetError(NaseduError, ValueError):
    """A cost target that no architecture of the space can meet."""


class DataError(NaseduError, ValueError):
    """A data set that is missing, incomplete or unreadable."""


class ProxyError(NaseduError, ArithmeticError):
    """A network that a zero-cost proxy cannot score."""


class CheckpointError(NaseduError, RuntimeError):
    """A stored state that is cut short or belongs to another run."""


class TrainingDiverged(NaseduError, ArithmeticError):
    """A loss that is no longer finite."""


class TrainingStopped(NaseduError, RuntimeError):
    """A training that ended early because one beside it failed or was interrupted."""


class WorkersLost(NaseduError, BrokenExecutor):
    """An executor whose workers died or were called back in the middle of a search."""


class ProcessLost(NaseduError, RuntimeError):
    """A process that ended, or does not answer, while several train one model."""


class BackendError(NaseduError, RuntimeError):
    """A backend that is not installed, or that this machine cannot run."""


class OutputError(NaseduError, OSError):
    """A folder that cannot be written to."""


def sentence(text: str) -> str:
    """A text as one line that any terminal and page can show: control characters escaped, under 300 characters.

    Its longest words are cut first, such as the path of a file, and then what stands before its last 80 characters.
    """
    text = text if len(text) < 10_000 else f"{text[:9000]} {text[-900:]}"
    text = "".join(c if c.isprintable() else " " * (c in "\n\t") or c.encode("unicode_escape").decode() for c in text)
    for half in (38, 18):
        if len(text) > MOST:
            text = re.sub(rf"(\S{{{half}}})\S{{4,}}(\S{{{half}}})", r"\1...\2", text)
    return text if len(text) <= MOST else f"{text[: MOST - 85]} ... {text[-80:]}"


def check_name(kind: str, name: object, valid: Iterable[str]) -> str:
    """Return a name if it is valid; else raise `UnknownName` naming the nearest one.

    kind: the noun for the message: "preset", "proxy", "parameter" ...
    name: what was given.
    valid: the names that there are.
    """
    valid = list(valid)
    if isinstance(name, Hashable) and name in valid:
        return str(name)
    asked = name[:60] if isinstance(name, str) else brief(name)
    close = difflib.get_close_matches(asked, [word[:60] for word in valid], n=1, cutoff=0.5)
    hint = f"did you mean {close[0]!r}? " if close else ""
    listed = shorten(", ".join(valid), 150, placeholder=" ...")
    raise UnknownName(f"unknown {kind} {brief(name)}: {hint}valid: {listed}")


def brief(value: object, depth: int = 3) -> str:
    """What was given, as a message shows it: up to 60 characters, of what is no plain value the name of its class."""
    shape = getattr(value, "shape", None)
    if isinstance(value, list | tuple) and depth:
        inside = ", ".join(brief(item, depth - 1) for item in value[:20])
        told = f"[{inside}]" if isinstance(value, list) else f"({inside})"
    elif isinstance(value, type):
        told = f"the class {value.__name__}"
    elif isinstance(value, int) and value.bit_length() > 1000:
        told = f"a number of {value.bit_length()} bits"  # Python refuses to write it
    elif isinstance(value, str | Real | None):
        told = repr(value[:60] if isinstance(value, str) else value)
    else:
        told = type(value).__name__ + (f" of shape {tuple(shape)}" if isinstance(shape, tuple) else "")
    return told if len(told) <= 60 else f"{told[:56]} ..."


def figure(value: float) -> str:
    """A figure for a sentence: 8,096 or 5.312."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def check_kind(name: str, value: object, kinds: type[Kind] | tuple[type[Kind], ...], wanted: str) -> Kind:
    """`value` if it is of one of these classes; else `ParameterError`.

    name: what the message calls it.
    value: what was given.
    kinds: the classes.
    wanted: what the message says is right.
    """
    if not isinstance(value, kinds):
        raise ParameterError(f"{name} must be {wanted}, got {brief(value)}")
    return value


@contextmanager
def needs(extra: str) -> Iterator[None]:
    """Around imports of what only the extra `extra` installs; raises `BackendError`, naming it, where one fails."""
    try:
        yield
    except ModuleNotFoundError as error:
        package = (error.name or "nasedu").partition(".")[0]
        if package == "nasedu":
            raise
        raise BackendError(f'{package} is not installed here: pip install "nasedu[{extra}]"') from None


def check_has(name: str, value: object, parts: Iterable[str], wanted: str) -> None:
    """Raise `ParameterError` unless `value` has these attributes, whatever its class.

    name: what the message calls it.
    value: what was given.
    parts: the attributes' names.
    wanted: what the message says is right.
    """
    if isinstance(value, type) or not all(hasattr(value, part) for part in parts):
        raise ParameterError(f"{name} must be {wanted}, got {brief(value)}")


def check_whole(name: str, value: object, least: int = 1, most: int = LARGEST) -> int:
    """`value` as an int if it is a whole number, NumPy's included; else `ParameterError`.

    name: what the message calls it.
    value: what was given.
    least: the lowest that is right.
    most: the highest; by default what any library can count.
    """
    try:
        number = None if isinstance(value, bool) else operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        number = None
    if number is None or not least <= number <= most:
        limit = f"from {least}" if most == LARGEST else f"from {least} to {most}"
        raise ParameterError(f"{name} must be a whole number {limit}, got {brief(value)}")
    return number


def check_number(name: str, value: object, least: float = 0.0, most: float = math.inf, *, above: bool = False) -> float:
    """`value` as a float if it is a finite number; else `ParameterError`.

    name: what the message calls it.
    value: what was given.
    least: the lowest that is right; -inf: there is none.
    most: the highest.
    above: whether `least` itself is wrong.
    """
    try:
        number = float(value) if isinstance(value, Real) and not isinstance(value, bool) else math.nan
    except (OverflowError, TypeError):  # an int of more digits than a float has
        number = math.nan
    if not math.isfinite(number) or not least <= number <= most or (above and number == least):
        bound = f" {'above' if above else 'of at least'} {least:g}" if math.isfinite(least) else ""
        bound += f" and at most {most:g}" if math.isfinite(most) else ""
        raise ParameterError(f"{name} must be a number{bound}, got {brief(value)}")
    return number
