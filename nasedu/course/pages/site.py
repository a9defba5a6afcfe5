"""The whole course as a static site, which opens from disk: notebooks, solutions, READMEs and the package's API."""

from __future__ import annotations

import posixpath
import re
import shutil
import warnings
from pathlib import Path

from nasedu.course import places, predict  # noqa: F401 - pdoc shows what has been loaded
from nasedu.course.pages.document import document
from nasedu.course.pages.markdown import linked, rendered
from nasedu.course.pages.notebook import outside, page
from nasedu.errors import needs

with needs("course"):
    import nbformat
    import pdoc

FRONT, API = "index.html", "api/nasedu.html"
TEXTS = {"README.md": FRONT, "CHANGELOG.md": "CHANGELOG.html"} | {
    f"{folder}/README.md": f"{folder}/{FRONT}" for folder in ("datasets", "lookup")
}


def build_site(out: Path) -> Path:
    """Write the site into the folder `out`, over an earlier one, and return its front page.

    The notebooks are shown as they are committed, with their outputs.
    """
    notebooks = [path for name in places.names() for path in (places.learner(name), places.solution(name))]
    names = [path.relative_to(places.ROOT).as_posix() for path in notebooks]
    pages = {name: name.removesuffix(".ipynb") + ".html" for name in names} | TEXTS
    for source, target in pages.items():
        (out / target).parent.mkdir(parents=True, exist_ok=True)
        (out / target).write_text(_made(source, target, pages), "utf-8")
    shutil.copytree(places.notebooks() / "images", out / "notebooks" / "images", dirs_exist_ok=True)
    pdoc.render.configure(show_source=False)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Error parsing type annotation")  # of names that only a checker imports
        pdoc.pdoc("nasedu", output_directory=out / posixpath.dirname(API))
    return out / FRONT


def _made(source: str, target: str, pages: dict[str, str]) -> str:
    """The page of one source."""
    here, folder = posixpath.dirname(target) or ".", posixpath.dirname(source)

    def links(url: str) -> str | None:
        """A link of the source, from its page to another one."""
        path, *part = url.split("#", 1)
        wanted = pages.get(posixpath.normpath(posixpath.join(folder, path)))
        return "#".join([posixpath.relpath(wanted, here), *part]) if wanted else outside(url)

    trail = {"nasedu": posixpath.relpath(FRONT, here), "the package": posixpath.relpath(API, here)}
    if source.endswith(".md"):
        text = (places.ROOT / source).read_text("utf-8")
        # headings are named as GitHub does, whose links these texts have
        made = re.sub(r'(?:id="|href="#)[^"]+', lambda name: name[0].lower(), linked(rendered(text), links))
        return document(f"<article>{made}</article>", f"nasedu: {source}", trail)
    name = posixpath.basename(target)
    trail |= {"as exercises": f"../{name}"} if "solutions" in source else {"with solutions": f"solutions/{name}"}
    return page(nbformat.read(places.ROOT / source, as_version=4), posixpath.splitext(name)[0], links, trail)
