"""What every exercise checker is made of: a verdict, a few requirements, and the decorator that joins them.

    @exercise("14.1", "price a soft choice")
    def check_price(price):
        expect(price([1, 0]), 3, "a one-hot weight must cost what its own choice costs")

A checker names the property that an answer violates; it never just says "wrong".
"""

from __future__ import annotations

import copy
import functools
import html
import linecache
import traceback
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import CodeType
from typing import Any
from urllib.parse import quote

import numpy as np
import torch
from torch import Tensor, nn

from nasedu import spaces
from nasedu.course import places
from nasedu.course.record import EXERCISES
from nasedu.identity import identity
from nasedu.tables import LookupTable


class Violation(Exception):
    """A property that the learner's answer does not have."""


@dataclass(frozen=True)
class Verdict:
    """What a checker found; `passed` is None for an exercise that was not attempted. True if it passed."""

    exercise: str
    passed: bool | None
    message: str = ""

    def __bool__(self) -> bool:
        return self.passed is True

    def __repr__(self) -> str:
        mark = {True: "✓", False: "✗", None: "○"}[self.passed]
        return f"{mark} {self.exercise}: {self.message}"

    @property
    def state(self) -> str:
        """As results and marks name it: passed, failed or not tried."""
        return {True: "passed", False: "failed", None: "not tried"}[self.passed]

    def _repr_html_(self) -> str:
        ground = {True: "#1a7f37", False: "#b3261e", None: "#5f6368"}[self.passed]  # read on any theme
        look = f"background: {ground}; color: #fff; padding: 0 .5em; border-radius: 3px"
        name = f"verdict-{self.state.replace(' ', '-')}"
        badge = f'<strong class="{name}" style="{look}">{repr(self)[0]}</strong>'
        told = f"{badge} <strong>{html.escape(self.exercise)}:</strong> {html.escape(self.message)}"
        link = f'<span class="remark"> · <a href="{html.escape(self._solution())}">a solution</a></span>'
        return told + link * bool(self._solution())

    def _solution(self) -> str:
        """Where a solution stands, seen from the learner's notebook; empty in a solution itself, or without one."""
        number = self.exercise.removeprefix("Exercise ").split(".")[0]
        name = next((name for name in places.names() if name.startswith(f"{number}_")), "")
        heading = quote(self.exercise.replace(",", ":", 1).replace(" ", "-"))  # as JupyterLab names it
        return f"solutions/{name}.ipynb#{heading}" if name and Path.cwd().name != "solutions" else ""


def require(condition: Any, sentence: str) -> None:
    """Fail the answer unless `condition` holds; `sentence` states the violated property."""
    if not condition:
        raise Violation(sentence)


def close(a: Any, b: Any, tolerance: float = 1e-4) -> bool:
    """Whether a has b's shape and values up to rounding; where b is a Python integer, exactly.

    a: what an answer gave: a number, a sequence of them, an array or a tensor.
    b: what it is compared with, of the same kinds.
    tolerance: the largest difference, relative to the largest entry of b.
    """
    if isinstance(b, int):
        return np.ndim(a) == 0 and bool(a == b)
    a, b = (torch.as_tensor(x, dtype=torch.float64).detach() for x in (a, b))
    return a.shape == b.shape and bool(((a - b).abs() <= tolerance * b.abs().max() + 1e-9).all())


def number(got: Any) -> float:
    """What the answer gave as a float; fail the answer if it is anything but one number."""
    try:
        return float(got.detach() if isinstance(got, Tensor) else got)
    except (TypeError, ValueError, RuntimeError):
        shape = f" of shape {tuple(got.shape)}" if hasattr(got, "shape") else ""
        raise Violation(f"the answer must be one number, got {type(got).__name__}{shape}") from None


def expect(got: Any, want: Any, sentence: str, hints: Iterable[tuple] = (), *, tolerance: float = 1e-4) -> None:
    """Fail the answer unless `got` is `close` to `want`.

    got: what the answer gave.
    want: what is right.
    sentence: the violated property; a single number that the answer gave is shown behind it.
    hints: what plausible mistakes give, each with the sentence that names the mistake.
    tolerance: as for `close`.
    """
    got = number(got) if isinstance(want, float) else got
    if close(got, want, tolerance):
        return
    for wrong, mistake in hints:
        require(not close(got, wrong, tolerance), mistake)
    raise Violation(f"{sentence} (got {got:,.10g})" if isinstance(got, int | float) else sentence)


def expect_each(answer: Callable, *cases: tuple[Sequence, Any, str]) -> None:
    """`expect` of the answer's value for each of `cases`: arguments, what is right, the sentence."""
    for arguments, want, sentence in cases:
        expect(answer(*arguments), want, sentence)


def ask(answer: Callable, *arguments: Any, keep: str = "what was handed in must stay as it was") -> Any:
    """What the answer gives; fail it if it changes one of its arguments.

    answer: the learner's function.
    arguments: what it is called with.
    keep: the sentence for an argument that was changed.
    """
    before = content(*arguments)
    got = answer(*arguments)
    require(content(*arguments) == before, keep)
    return got


def priced(space: str, *metrics: str, **options: Any) -> list[LookupTable]:
    """Tables of one space, for a single answer: whatever it does to them, the next one gets them as they were.

    space: as `spaces.create` takes it.
    metrics: of the tables.
    options: of the space.
    """
    return copy.deepcopy(_priced(space, metrics, tuple(options.items())))


@functools.cache  # as long as a person waits for one of these, who tries a second answer
def _priced(space: str, metrics: tuple[str, ...], options: tuple[tuple[str, Any], ...]) -> list[LookupTable]:
    made = spaces.create(space, **dict(options))
    return [LookupTable.build(made, metric) for metric in metrics]


def content(*arguments: Any) -> str:
    """Tells values apart bit by bit and by their precision; of a network its parameters."""
    return identity(*(dict(a.named_parameters()) if isinstance(a, nn.Module) else a for a in arguments))


def exercise(number: str, title: str) -> Callable[[Callable], Callable[..., Verdict]]:
    """Turn a function that calls the learner's answer and `require`s properties into a checker.

    The checker returns a `Verdict` and raises nothing: a stub (`NotImplementedError`, or `...` in place
    of an answer) counts as not attempted, any other exception of the answer as a failure that names it
    and shows the line of the answer that failed. An answer that returns None is told so, and an exception
    that does not pass through the answer is laid to what it returned.
    """

    def decorate(examine: Callable) -> Callable[..., Verdict]:
        """Turn an examination, which raises where the answer is wrong, into a checker that returns a `Verdict`."""

        @functools.wraps(examine)
        def checker(answer: Any, *args: Any, **kwargs: Any) -> Verdict:
            passed, message = _examine(examine, answer, *args, **kwargs)
            message = message.encode(errors="backslashreplace").decode()  # an error may hold what no output can
            verdict = Verdict(f"Exercise {number}, {title}", passed, message)
            EXERCISES[number] = {"title": title, "state": verdict.state, "message": verdict.message}
            return verdict

        return checker

    return decorate


def _examine(examine: Callable, answer: Any, *args: Any, **kwargs: Any) -> tuple[bool | None, str]:
    def watched(*given: Any, **named: Any) -> Any:
        got = answer(*given, **named)
        require(got is not None, "your answer returned nothing: is a `return` missing?")
        return got

    if answer is ...:
        return None, "not attempted yet"
    try:
        examine(functools.wraps(answer)(watched) if callable(answer) else answer, *args, **kwargs)
    except Violation as violation:
        return False, str(violation)
    except Exception as error:
        walk = list(traceback.walk_tb(error.__traceback__))
        home = getattr(answer, "__module__", "__main__")  # a library's `NotImplementedError` is no stub's
        if type(error) is NotImplementedError and walk[-1][0].f_globals.get("__name__") == home:
            return None, "not attempted yet"
        frames = [(frame.f_code, line) for frame, line in walk]
        line, found = _failing_line(answer, frames), f"{type(error).__name__}: {error}"
        if line or watched.__code__ in dict(frames):
            return False, f"your answer raised {found}{line}"
        return False, f"what your answer returned cannot be checked: {found}"
    return True, "correct"


def _failing_line(answer: Any, frames: Sequence[tuple[CodeType, int]]) -> str:
    """Where in the answer's own cell or file an error arose, with the line's text if it can be had."""
    name = answer.__code__.co_filename if hasattr(answer, "__code__") else ""
    lines = [line for code, line in frames if code.co_filename == name]
    text = linecache.getline(name, lines[-1]).strip() if lines else ""
    return f", in line {lines[-1]}" + f": {text}" * bool(text) if lines else ""
