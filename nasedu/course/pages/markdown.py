"""Markdown as HTML that needs no network: formulas become MathML, links go where there is something."""

from __future__ import annotations

import html
import re
from collections.abc import Callable

from nasedu.errors import needs

with needs("course"):
    import bleach
    from bs4 import BeautifulSoup
    from latex2mathml import converter
    from nbconvert.filters.markdown_mistune import IPythonRenderer, MarkdownWithMath

Links = Callable[[str], str | None]  # where a link leads in this page, or None where there is nothing
LOADING = ("script", "style", "iframe", "object", "embed", "link", "base", "meta", "form", "video", "audio", "source")
MATH = {
    *("math", "mrow", "mi", "mo", "mn", "mtext", "mspace", "mfrac", "msqrt", "mroot", "msub", "msup", "msubsup"),
    *("mover", "munder", "munderover", "mtable", "mtr", "mtd", "mstyle", "mpadded", "mphantom", "menclose"),
}
TAGS = {
    *("h1", "h2", "h3", "h4", "p", "br", "hr", "strong", "em", "b", "i", "code", "pre", "ul", "ol", "li", "span"),
    *("table", "caption", "thead", "tbody", "tfoot", "tr", "th", "td"),
    *("div", "details", "summary", "a", "blockquote", "sub", "sup"),
}
ATTRIBUTES = {
    "*": ["class", "role"],
    "a": ["href"],
    "math": ["display"],
    "mo": ["stretchy", "fence", "form", "separator"],
    "mi": ["mathvariant"],
    "mspace": ["width"],
    "mstyle": ["displaystyle", "scriptlevel"],
    "mtable": ["columnalign"],
    "mtd": ["columnalign"],
    "mfrac": ["linethickness"],
}


def rendered(text: str) -> str:
    """Markdown as HTML, in which HTML stays as it is. Formulas stand between dollars."""
    return MarkdownWithMath(renderer=_Renderer(escape=False)).render(text)


def linked(text: str, links: Links) -> str:
    """HTML whose links lead where they can, and which loads and runs nothing from elsewhere.

    text: the HTML.
    links: where each link leads; one that leads nowhere becomes plain text, and with its remark in a `span` goes.
    """
    soup = BeautifulSoup(text, "html.parser")
    for tag in soup.select(", ".join(LOADING)):
        tag.decompose()
    for tag in soup.find_all(True):
        for name in [n for n in tag.attrs if n.startswith("on") or n == "srcset" or "url(" in str(tag[n])]:
            del tag[name]
        if re.match(r"\s*([a-z][a-z+.-]*:)?//", tag.get("src", ""), re.I):
            tag.replace_with(tag.get("alt", ""))
    for anchor in soup.select("a[href]"):
        where = links(anchor["href"])
        if where is None and "remark" in anchor.parent.get("class", []):
            anchor.parent.decompose()
        elif where is None:
            anchor.unwrap()
        else:
            anchor["href"] = where
    return str(soup)


def cleaned(text: str) -> str:
    """HTML without whatever could run or load something: what a cell printed may hold names that came from data.

    Unknown tags are shown as text; the style sheets that pandas puts above its tables are left out.
    """
    text = re.sub(r"<style\b.*?</style\s*>", "", text, flags=re.S | re.I)
    return bleach.clean(text, TAGS | MATH, ATTRIBUTES, strip=False, strip_comments=True)


class _Renderer(IPythonRenderer):
    def block_html(self, text: str) -> str:
        """HTML as it is, but for the formulas in it, which JupyterLab would set, too."""
        return re.sub(
            r"<code>.*?</code>|\$([^$]+)\$", lambda m: self.inline_math(m[1]) if m[1] else m[0], text, flags=re.S
        )

    def inline_math(self, body: str) -> str:
        return _formula(body, "inline")

    def block_math(self, body: str) -> str:
        return _formula(body, "block")

    def latex_environment(self, name: str, body: str) -> str:
        return _formula(rf"\begin{{{name}}}{body}\end{{{name}}}", "block")

    def image(self, text: str, url: str, title: str | None = None) -> str:
        return html.escape(text) if url.startswith("attachment:") else super().image(text, url, title)

    def table(self, text: str) -> str:
        return f'<div class="wide"><table>\n{text}</table></div>\n'


def _formula(source: str, display: str) -> str:
    """LaTeX as MathML, or the source where it cannot be read: a page must not fail of it after hours of a run."""
    try:
        return converter.convert(source, display=display)
    except Exception:  # the parser raises many kinds
        return f"<code>{html.escape(source)}</code>"
