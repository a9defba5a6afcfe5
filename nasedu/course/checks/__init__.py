"""What every exercise checker is made of: a verdict, a requirement, and the decorator that joins them.

    @exercise("14.1", "price a soft choice")
    def check_price(price):
        require(price([1, 0]) == 3, "a one-hot weight must cost what its own choice costs")

A checker names the property that an answer violates; it never just says "wrong".
"""

from __future__ import annotations

import functools
import html
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


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

    def _repr_html_(self) -> str:
        colour = {True: "#1a7f37", False: "#b3261e", None: "#6e6e6e"}[self.passed]
        return f'<strong style="color: {colour}">{html.escape(repr(self))}</strong>'


def require(condition: Any, sentence: str) -> None:
    """Fail the answer unless `condition` holds; `sentence` states the violated property."""
    if not condition:
        raise Violation(sentence)


def exercise(number: str, title: str) -> Callable[[Callable], Callable[..., Verdict]]:
    """Turn a function that calls the learner's answer and `require`s properties into a checker.

    The checker returns a `Verdict` and raises nothing: a stub (`NotImplementedError`, or `...` in place
    of an answer) counts as not attempted, any other exception of the answer as a failure that names it.
    """

    def decorate(examine: Callable) -> Callable[..., Verdict]:
        """Turn an examination, which raises where the answer is wrong, into a checker that returns a `Verdict`."""

        @functools.wraps(examine)
        def checker(answer: Any, *args: Any, **kwargs: Any) -> Verdict:
            passed, message = _examine(examine, answer, *args, **kwargs)
            return Verdict(f"Exercise {number}, {title}", passed, message)

        return checker

    return decorate


def _examine(examine: Callable, answer: Any, *args: Any, **kwargs: Any) -> tuple[bool | None, str]:
    if answer is ...:
        return None, "not attempted yet"
    try:
        examine(answer, *args, **kwargs)
    except NotImplementedError:
        return None, "not attempted yet"
    except Violation as violation:
        return False, str(violation)
    except Exception as error:
        return False, f"your answer raised {type(error).__name__}: {error}"
    return True, "correct"
