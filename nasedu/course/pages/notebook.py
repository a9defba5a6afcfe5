"""An executed notebook as a page."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from importlib import resources

from nasedu.course.pages.document import ROOM, document
from nasedu.course.pages.markdown import Links, cleaned, linked, rendered
from nasedu.errors import needs

with needs("course"):
    from nbconvert import HTMLExporter
    from nbformat import NotebookNode

NOWHERE: Mapping[str, str] = {}


def outside(url: str) -> str | None:
    """A link as it is where it leads out of the course or within a page, None where it names a file of the course."""
    return url if url.startswith(("https://", "http://", "#")) else None


def page(nb: NotebookNode, title: str, links: Links = outside, trail: Mapping[str, str] = NOWHERE) -> str:
    """A notebook as HTML that needs no network and runs no script: formulas as MathML, pictures inside.

    nb: executed.
    title: what the browser's tab says.
    links: where a link of the text leads, or None to leave it out.
    trail: links above the text, by their names.
    """
    exporter = HTMLExporter(raw_template=resources.files(ROOM).joinpath("page.html.j2").read_text("utf-8"))
    exporter.register_filter("markdown2html", rendered)
    exporter.register_filter("cleaned", cleaned)
    nb = copy.deepcopy(nb)
    for cell in nb.cells:
        for name, kinds in cell.get("attachments", {}).items():
            for kind, picture in kinds.items():
                cell.source = cell.source.replace(f"attachment:{name}", f"data:{kind};base64,{picture}")
    body, _ = exporter.from_notebook_node(nb)
    return document(linked(body, links), title, trail)
