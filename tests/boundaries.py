"""What tests of boundaries share: values that are bad almost everywhere, and what a refusal has to look like.

A boundary of one's own: `refused(lambda: read(path))`, or all of a catalogue with `refusals(call, values, folder)`.
"""

from __future__ import annotations

import contextlib
import math
import time

import numpy as np

from nasedu.errors import NaseduError

SECONDS = 2.0  # of the processor's time
LONG = "x" * 5000
HOSTILE = "<img src=x onerror=alert(1)></script>\x1b[31m"
DEEP = "[" * 20_000
_LAUGHS = [f"{b}: &{b} [*{a}, *{a}, *{a}]\n" for a, b in zip("abcdefgh", "bcdefghi", strict=True)]
LAUGHS = "a: &a [x, x]\n" + "".join(_LAUGHS)  # a few hundred bytes that stand for thousands of values
NO_TEXTS = (None, 5, 2.5, True, b"text", ["text"], {"text": 1}, object())
NO_COUNTS = (0, -1, 2.5, math.nan, math.inf, True, None, "10", 10**400, [1], LONG, 1j, np.array([1, 2]))
NO_NUMBERS = (-1.0, math.nan, math.inf, -math.inf, None, "1", [1.0], 10**400, 1j, True, LONG)
NO_FLAGS = (2, None, "yes", "False", [], math.nan)
NO_NAMES = (None, 5, True, "", "nonsense", LONG, HOSTILE, ["a"], {"a": 1}, b"a", "\x00", "\udcff")


def refused(call, *kinds):
    """The sentence with which `call()` refuses: typed, one line, under 300 characters, at once."""
    started, caught, came = time.process_time(), None, None
    try:
        came = call()
    except NaseduError as error:
        caught = error
    took, told = time.process_time() - started, str(caught)
    assert caught is not None, f"it was taken: {came!r:.200}"
    assert not kinds or isinstance(caught, kinds), f"{type(caught).__name__} in place of {kinds}"
    assert told.strip(), f"a {type(caught).__name__} without a word"
    assert len(told) < 300 and told.isprintable(), told
    assert took < SECONDS, f"{took:.1f} s for: {told}"
    return told


def refusals(call, values, folder=None):
    """The sentences of all values, none of which may leave anything in a folder; all that go wrong are told at once."""
    before, told, wrong, values = _files(folder), [], [], list(values)
    for value in values[:1]:
        with contextlib.suppress(Exception):
            call(value)  # which imports what it needs: that is not timed
    for value in values:
        try:
            told.append(refused(lambda value=value: call(value)))
        except Exception as error:
            wrong.append(f"{value!r:.100}: {type(error).__name__}: {error!s:.300}")
    assert not wrong, "\n" + "\n".join(wrong)
    assert _files(folder) == before, "something is left behind"
    return told


def _files(folder):
    return sorted(str(path) for path in folder.rglob("*")) if folder else []
