"""Pages need no network, run nothing, and show what came from data as text."""

import json
import re
from urllib.parse import unquote

import pandas as pd
import pdoc
import pytest
from bs4 import BeautifulSoup
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from nasedu import course
from nasedu.course.pages.index import overview
from nasedu.course.pages.markdown import cleaned
from nasedu.course.pages.notebook import page
from nasedu.course.pages.site import build_site

EVIL = '<script>alert(1)</script><img src=x onerror="alert(1)"><a href="javascript:alert(1)">x</a>'
PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNkYPhfDwAChwGA60e6kgAAAABJRU5ErkJggg=="


def shown(*cells):
    return page(new_notebook(cells=list(cells)), "tiny")


def with_output(data, metadata=None):
    return new_code_cell("f()", outputs=[new_output("display_data", data=data, metadata=metadata or {})])


def outside(text):
    """What a page would load or run."""
    soup = BeautifulSoup(text, "html.parser")
    loads = [e.get("src") or e.get("href") for e in soup.select("[src], link[href]")]
    handlers = [name for e in soup.find_all(True) for name in e.attrs if name.startswith("on")]
    links = [e["href"] for e in soup.select("a[href]") if e["href"].lower().startswith("javascript")]
    return [u for u in loads if not u.startswith("data:")] + soup.select("script") + handlers + links


def test_formulas_are_rendered():
    text = shown(new_markdown_cell("inline $\\frac{a}{b_i}$ and\n\n$$\\sum_{i=1}^n x_i < y$$"))
    main = BeautifulSoup(text, "html.parser").main
    assert [formula.get("display") for formula in main.select("math")] == ["inline", "block"]
    assert main.select("math mfrac")
    hint = shown(new_markdown_cell("<details><summary>Hint</summary>$K_i$, not <code>$5 or $6</code></details>"))
    hint = BeautifulSoup(hint, "html.parser").main
    assert len(hint.select("details math msub")) == 1
    assert hint.code.text == "$5 or $6"
    assert "$" not in main.text


@pytest.mark.parametrize("kind", ["text/html", "text/markdown", "text/plain", "application/javascript"])
def test_what_a_cell_printed_runs_nothing(kind):
    assert outside(shown(with_output({kind: EVIL}))) == []


def test_a_cell_of_text_loads_and_runs_nothing():
    far = '<img src="https://a.example/y.png" alt="far"><p onclick="f()" style="background: url(//a.example/z)">x</p>'
    text = shown(new_markdown_cell(f"{EVIL}\n\n{far}\n\n![near](//a.example/x.png)"))
    assert [url for url in outside(text) if url != "x"] == []
    assert "a.example" not in text
    assert "far" in text


@pytest.mark.parametrize("formula", ["^", "x_{", "a_b_c", "\\left( x", "\\sqrt"])
def test_a_formula_that_cannot_be_read_is_shown_as_it_is(formula):
    text = BeautifulSoup(shown(with_output({"text/markdown": f"is ${formula}$ right"})), "html.parser").main.text
    assert f"is {formula} right" in text


def test_pictures_in_a_cell_of_text():
    cell = new_markdown_cell("![a dot](attachment:a.png) ![lost](attachment:b.png)")
    cell.attachments = {"a.png": {"image/png": PIXEL}}
    main = BeautifulSoup(shown(cell), "html.parser").main
    assert [(img["alt"], img["src"][:22]) for img in main.select("img")] == [("a dot", "data:image/png;base64,")]
    assert "lost" in main.text


def test_tables_formulas_and_verdicts_of_outputs_stay():
    table = '<table class="dataframe"><tr><td>1</td></tr></table><b class="verdict-passed" style="color:red">✓</b>'
    assert "<td>1</td>" in cleaned(table)
    assert 'class="verdict-passed"' in cleaned(table)
    assert "style" not in cleaned(table)
    frame = pd.DataFrame({"<b>": [1]})
    assert "<style" in frame._repr_html_() and "<table" in cleaned(frame._repr_html_())
    assert BeautifulSoup(cleaned(frame._repr_html_()), "html.parser").get_text().split() == [
        "<b>",
        "0",
        "1",
    ]  # nothing of the style
    styled = BeautifulSoup(cleaned(frame.style.set_caption("what it is").to_html()), "html.parser")
    assert styled.table.caption.text == "what it is"
    assert "<math" in shown(with_output({"text/markdown": "**$x^2$**"}))


def test_a_picture_has_its_alt_text_and_no_markup_of_it():
    alt = {"image/png": {"alt": 'a "quoted" <b>line</b>'}}
    (image,) = BeautifulSoup(shown(with_output({"image/png": PIXEL}, alt)), "html.parser").select("img")
    assert image["alt"] == 'a "quoted" <b>line</b>'


def test_parameters_are_left_out_and_links_lead_somewhere_or_are_none():
    text = shown(
        new_code_cell("seed: int = 0", metadata={"tags": ["parameters"]}),
        new_code_cell("seed = 7", metadata={"tags": ["injected-parameters"]}),
        new_markdown_cell("# A part\n\n[next](01_b.ipynb) [site](https://example.org) [here](#A-part)"),
    )
    assert "seed" not in text
    links = {a.text: a["href"] for a in BeautifulSoup(text, "html.parser").select("a[href]")}
    assert links == {"site": "https://example.org", "here": "#A-part", "¶": "#A-part"}


def test_a_run_of_several_ends_in_an_index_and_a_summary(tmp_path):
    done = tmp_path / "00_a-1"
    done.mkdir()
    (done / "00_a.html").touch()
    exercises = {"00.1": {"title": "t", "state": "passed", "message": ""}, "00.2": {"title": "u", "state": "failed"}}
    (done / "result.json").write_text(json.dumps({"summary": "won < 3", "exercises": exercises}))
    rows = [
        {"notebook": "00_a", "seconds": 61.23, "problem": None, "folder": done},
        {"notebook": "01_b", "seconds": 1.0, "problem": ValueError("no <b>"), "folder": None},
    ]
    text = overview(rows, tmp_path).read_text()
    assert outside(text) == []
    soup = BeautifulSoup(text, "html.parser")
    assert [a["href"] for a in soup.select("td a")] == ["00_a-1/00_a.html"]
    assert soup.select_one("[id='00_a']").text == "00_awon < 31 of 2 passed61 s"
    assert "no <b>" in soup.select_one("[id='01_b']").text
    told = json.loads((tmp_path / "summary.json").read_text())
    assert [row["problem"] for row in told] == [None, "no <b>"]
    assert told[0]["exercises"] == exercises


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The site of this course, without the package's API."""
    out = tmp_path_factory.mktemp("site")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("pdoc.pdoc", lambda *modules, output_directory: _stand_in(output_directory, modules))
        build_site(out)
    return out


def _stand_in(folder, modules):
    folder.mkdir(parents=True)
    (folder / f"{modules[0]}.html").write_text("the package")


def test_every_link_of_the_site_is_alive_and_nothing_is_loaded_from_elsewhere(site):
    soups = {path: BeautifulSoup(path.read_text(), "html.parser") for path in site.rglob("*.html")}
    assert len(soups) > 26
    names = {path.resolve(): {e["id"] for e in soup.select("[id]")} for path, soup in soups.items()}
    for path, soup in soups.items():
        assert not soup.select("script"), path
        for element in soup.select("[href], [src]"):
            url = element.get("href") or element["src"]
            if url.startswith(("data:", "https://")):
                assert element.name == "a" or url.startswith("data:"), (path, url)
                continue
            target, _, part = url.partition("#")
            file = (path.parent / target).resolve() if target else path.resolve()
            assert file.exists(), (path, url)
            assert not part or {part, unquote(part)} & names[file], (path, url)


def test_every_picture_of_the_site_is_told_and_every_formula_rendered(site):
    for path in site.rglob("*.html"):
        soup = BeautifulSoup(path.read_text(), "html.parser")
        assert all(image.get("alt") for image in soup.select("img")), path
        for prose in soup.select(".jp-MarkdownOutput"):
            assert not re.search(r"\$[^$]+\$|\\(frac|sum|alpha)", prose.text), (path, prose.text[:300])
        for code in soup.select("pre, code"):
            code.decompose()
        assert not re.search("</?[a-z]+[^>]*>", soup.get_text()), f"{path} shows markup"


def test_the_api_shows_what_is_loaded_when_it_is_asked_for():
    assert "predict" in pdoc.doc.Module(course).members


def test_the_reader_is_one_click_from_a_solution(site):
    soup = BeautifulSoup((site / "notebooks/00_start_here.html").read_text(), "html.parser")
    assert [a for a in soup.select("a[href^='solutions/']") if "#" in a["href"]]
