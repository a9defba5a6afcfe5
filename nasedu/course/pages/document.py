"""What every page has around its content: a title, the looks of light and dark, a way back; no script."""

from __future__ import annotations

import html
from collections.abc import Mapping
from functools import cache
from importlib import resources

from nasedu.errors import needs

with needs("course"):
    from pygments.formatters import HtmlFormatter

ROOM = "nasedu.course.pages"


def document(body: str, title: str, trail: Mapping[str, str]) -> str:
    """A whole page.

    body: its content, as HTML.
    title: what the browser's tab says.
    trail: links that stand above the content, by their names.
    """
    links = " · ".join(f'<a href="{html.escape(href)}">{html.escape(name)}</a>' for name, href in trail.items())
    nav = f"<nav>{links}</nav>\n" * bool(links)
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8"/>\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1"/>\n'
        f"<title>{html.escape(title)}</title>\n<style>\n{looks()}</style>\n</head>\n<body>\n<main>\n"
        f"{nav}{body}\n</main>\n</body>\n</html>\n"
    )


@cache
def looks() -> str:
    """The style sheet: the project's own, and the colours of code by day and by night."""
    day, night = (HtmlFormatter(style=name).get_style_defs(".highlight") for name in ("xcode", "github-dark"))
    own = resources.files(ROOM).joinpath("page.css").read_text("utf-8")
    return f"{day}\n@media (prefers-color-scheme: dark) {{\n{night}\n}}\n.highlight {{ background: none }}\n{own}"
