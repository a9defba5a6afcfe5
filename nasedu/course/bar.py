"""A progress bar for notebooks: it is drawn in one place, and leaves nothing behind."""

from __future__ import annotations

import html
import sys
from typing import Any

from tqdm import tqdm

MARK = "nasedu-progress"  # in the metadata of an output that is a bar
CALM = 0.2  # seconds between two updates at least: each is a message to the browser


class Bar(tqdm):
    """tqdm, drawn into an output that the notebook removes at the end; outside of notebooks on stderr, as always.

        for epoch in course.Bar(range(9), "epochs"): ...

        with course.Bar(total=9, desc="supernet", unit="epoch") as bar:
            fit(..., progress=bar.show)

    Args:
        iterable: what is gone through, if anything.
        desc: what is done.
        options: tqdm's, such as total and unit.
    """

    monitor_interval = 0  # no thread beside it, which would draw into whatever cell runs then

    def __init__(self, iterable: Any = None, desc: str = "", **options: Any):
        self.place = _place()
        options = {"leave": False, "mininterval": CALM, "ncols": 70} | options
        if self.place:
            options["file"] = _Nowhere()
        super().__init__(iterable, desc, **options)

    def show(self, done: int, total: int | None = None, note: str = "") -> None:
        """The `progress` of a training or a search.

        done: steps so far.
        total: all steps, None where they are known already.
        note: what is said behind the bar.
        """
        if total is not None:
            self.total = total
        if note:
            self.set_postfix_str(note, refresh=False)
        self.update(done - self.n)

    def display(self, msg: str | None = None, pos: int | None = None) -> None:
        """Draw the bar, or remove it for an empty `msg`. As tqdm's.

        msg: the text, made by tqdm where None.
        pos: the line on a terminal.
        """
        if not self.place:
            super().display(msg, pos)
        elif msg == "":
            self.place.update({}, raw=True, metadata={MARK: True})
        else:
            text = msg or str(self)
            shown = f'<span role="status" style="font-family: monospace">{html.escape(text)}</span>'
            self.place.update({"text/plain": text, "text/html": shown}, raw=True, metadata={MARK: True})

    def close(self) -> None:
        """Remove it."""
        drawn = not self.disable
        super().close()
        if drawn and self.place:
            self.display("")


class _Nowhere:
    """A file that swallows what tqdm writes by itself."""

    def write(self, text: str) -> None: ...

    def flush(self) -> None: ...


def _place() -> Any:
    """A part of the running cell's output that can be drawn anew, or None where no notebook runs."""
    shell = sys.modules.get("IPython") and sys.modules["IPython"].get_ipython()
    if not hasattr(shell, "kernel"):
        return None
    from IPython.display import display

    return display({"text/plain": ""}, raw=True, display_id=True, metadata={MARK: True})
