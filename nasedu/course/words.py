"""Words that come from data, such as the name of a class or a device, within what a notebook shows."""

from __future__ import annotations

import re
from collections.abc import Iterable


def words(named: str | Iterable[str]) -> str:
    """A name, or several with commas between them, as Markdown shows them letter by letter: nothing in them is obeyed.

    named: what came from a file. HTML would be run where a notebook is trusted, and a star or a dollar set otherwise.
    """
    text = named if isinstance(named, str) else ", ".join(map(str, named))
    shown = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
    return re.sub(r"""[\\`*_{}\[\]()#+!|~$<>&"']""", lambda sign: f"&#{ord(sign[0])};", shown)
