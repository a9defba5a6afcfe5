"""What of an executed notebook's outputs is kept."""

from __future__ import annotations

from nasedu.course.bar import MARK
from nasedu.errors import needs

with needs("course"):
    from nbformat import NotebookNode

WIDGET_VIEW = "application/vnd.jupyter.widget-view+json"


def tidy(nb: NotebookNode) -> None:
    """Drop from `nb` what means nothing later; what was printed in a row becomes one output.

    Dropped are progress bars, warnings (stderr), and live widgets, which do nothing without their kernel.
    """
    for cell in nb.cells:
        if cell.cell_type == "code":
            cell.outputs = _kept(cell.outputs)


def _kept(outputs: list[NotebookNode]) -> list[NotebookNode]:
    kept: list[NotebookNode] = []
    for output in outputs:
        if kept and output.get("name") == kept[-1].get("name") == "stdout":
            kept[-1].text += output.text
        elif output.get("name") != "stderr" and WIDGET_VIEW not in output.get("data", {}) and not _is_bar(output):
            kept.append(output)
    return kept


def _is_bar(output: NotebookNode) -> bool:
    return MARK in output.get("metadata", {})
