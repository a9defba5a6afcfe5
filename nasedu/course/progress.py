"""What a person sees while a notebook runs: how far, in which section, and what the cell last printed."""

from __future__ import annotations

import sys
import time

from tqdm import tqdm

from nasedu.course.bar import MARK
from nasedu.errors import needs

with needs("course"):
    from nbformat import NotebookNode
    from papermill.engines import NBClientEngine, papermill_engines

QUIET = 30  # seconds between two lines of one cell where no bar can be drawn
BAR = "{desc} |{bar:20}| {n}/{total} cells, {elapsed}{postfix}"


class Progress:
    """A bar on a terminal, a line now and then elsewhere; also the file that the cells' text is sent to."""

    heading = ""  # of the section that the running cell is in

    def open(self, nb: NotebookNode) -> None:
        """`nb` is about to run."""
        self.headings, self.cells, self.cell = headings(nb), nb.cells, nb.cells[0]
        self.is_code = [cell.cell_type == "code" for cell in nb.cells]
        total = sum(self.is_code)
        self.bar = tqdm(total=total, bar_format=BAR, dynamic_ncols=True, disable=None, leave=False)
        self.started, self.spoken = time.monotonic(), 0.0

    def start(self, index: int) -> None:
        """The cell at `index` starts, and so every code cell before it has ended."""
        self.cell = self.cells[index]
        self.bar.n = sum(self.is_code[:index])
        if self.headings[index] != self.heading:
            self.heading = self.headings[index]
            self.bar.set_description(self.heading[:40], refresh=False)
            self._say(self.heading)
        self.bar.set_postfix_str("")

    def write(self, text: str) -> None:
        """The running cell printed `text`: show its last line, as far as it fits."""
        lines = text.replace("\r", "\n").strip().split("\n")
        self.bar.set_postfix_str(lines[-1].strip()[:60])
        if lines[-1] and time.monotonic() - self.spoken > QUIET:
            self._say("  " + lines[-1].strip())

    def look(self) -> None:
        """A message of the kernel came: show what the running cell's bars say."""
        outputs = self.cell.get("outputs", [])
        texts = [o.data.get("text/plain", "") for o in outputs if MARK in o.get("metadata", {})]
        if any(texts):
            self.write(" ".join(filter(None, texts)))

    def flush(self) -> None:
        """Part of what papermill expects of a file."""

    def _say(self, line: str) -> None:
        if self.bar.disable:
            self.spoken = time.monotonic()
            print(f"{self.spoken - self.started:5.0f} s  {line}", file=sys.stderr, flush=True)


def headings(nb: NotebookNode) -> list[str]:
    """For every cell, the nearest markdown heading at or above it."""
    found, heading = [], ""
    for cell in nb.cells:
        if cell.cell_type == "markdown":
            lines = [line for line in cell.source.split("\n") if line.startswith("#")]
            heading = lines[-1].lstrip("# ") if lines else heading
        found.append(heading)
    return found


class ReportingEngine(NBClientEngine):
    """Papermill's own engine, which also tells a `Progress` when each cell starts."""

    @classmethod
    def execute_managed_notebook(cls, nb_man, kernel_name, *, progress: Progress, **options):
        """As papermill's.

        nb_man: papermill's manager of the notebook.
        kernel_name: the kernel.
        progress: hears of every cell that starts.
        options: as papermill's.
        """
        begin, save = nb_man.cell_start, nb_man.autosave_cell

        def cell_start(cell, cell_index=None, **rest):
            progress.start(cell_index)
            begin(cell, cell_index, **rest)

        def autosave_cell():
            save()
            progress.look()

        nb_man.cell_start, nb_man.autosave_cell = cell_start, autosave_cell
        options |= {"stdout_file": progress, "stderr_file": progress}
        progress.open(nb_man.nb)
        with progress.bar:
            return super().execute_managed_notebook(nb_man, kernel_name, **options)


papermill_engines.register("nasedu", ReportingEngine)
