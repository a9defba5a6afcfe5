"""How long computations say how far they are: `progress(done, total, note)`, whatever is counted."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """Hears of it when `done` of `total` units are done, with a short note such as "loss 0.123"."""

    def __call__(self, done: int, total: int, note: str = "") -> object: ...


def silent(done: int, total: int, note: str = "") -> None:
    """The progress that shows nothing.

    done: how many units are done.
    total: of how many.
    note: not shown either.
    """
