"""What a reader leaves out, repairs or wonders at: each finding has a kind and a line, and none goes unsaid."""

from __future__ import annotations

from typing import NamedTuple

import pandas as pd

LINE = 220  # the most characters of a line


def shown(value: object, most: int = 100) -> str:
    """Text that came from data, as a message shows it: without control characters, both ends where it is long.

    value: a name, a path or a reason.
    most: characters.
    """
    text = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in str(value))
    return text if len(text) <= most else f"{text[: most // 2 - 5]} ... {text[-(most // 2) :]}"


class Note(NamedTuple):
    """A finding: its kind, which begins with what was done ("left out", "repaired", "noted"), and a line."""

    kind: str
    text: str


class Notes(list[Note]):
    """All findings of a set, in order."""

    def add(self, kind: str, where: object, text: str) -> None:
        """A finding more.

        kind: what was done, and to what: counted by it.
        where: the file.
        text: what was found there.
        """
        self.append(Note(kind, f"{shown(where, 90)}: {shown(text, LINE - 92)}"))

    @property
    def skipped(self) -> list[str]:
        """The lines of what was left out."""
        return [note.text for note in self if note.kind.startswith("left out")]

    def report(self) -> pd.DataFrame:
        """A row for each kind: `kind`, `count` and the `first` line; the most frequent kind comes first."""
        frame = pd.DataFrame(list(self), columns=["kind", "first"])
        table = frame.groupby("kind", sort=False)["first"].agg(["size", "first"]).reset_index()
        table.columns = ["kind", "count", "first"]
        return table.sort_values("count", ascending=False, kind="stable", ignore_index=True)
