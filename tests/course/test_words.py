"""Names that came from data reach a page, a widget or a cell's output as text alone."""

from __future__ import annotations

import json
import types

import nbformat
import numpy as np
import pandas as pd
import pytest
import torch
from bs4 import BeautifulSoup
from nbformat.v4 import new_code_cell, new_notebook, new_output

from nasedu import course, plots
from nasedu.course import checks
from nasedu.course.grading import report
from nasedu.course.pages.index import overview
from nasedu.course.pages.markdown import rendered
from nasedu.course.pages.notebook import page
from nasedu.course.prediction import Guess, Question
from nasedu.errors import ParameterError
from nasedu.widgets.base import PictureWidget, slider

NAMES = [
    "<img src=x onerror=alert(1)>",
    "</script><script>alert(1)</script>",
    '"><svg onload=alert(1)>',
    "$\\frac$ *a* _b_",
]


def harmless(text):
    """Whether nothing of a page runs or loads."""
    soup = BeautifulSoup(text, "html.parser")
    handlers = [name for tag in soup.find_all(True) for name in tag.attrs if name.startswith("on")]
    asked = [tag["src"] for tag in soup.find_all(src=True) if not tag["src"].startswith("data:")]
    return not handlers and not asked and not soup.find_all(["script", "svg", "iframe"])


@pytest.mark.parametrize("name", NAMES)
def test_markdown_shows_a_name_letter_by_letter(name):
    made = rendered(f"classes: {course.words(['cat', name])}.")  # as JupyterLab does, where HTML stays as it is
    assert harmless(made)
    assert BeautifulSoup(made, "html.parser").get_text().strip() == f"classes: cat, {name}."


@pytest.mark.parametrize("name", NAMES)
def test_a_page_of_outputs_runs_nothing_of_a_name(name):
    frame = pd.DataFrame({name: [1.0]}, index=[name])
    outputs = [
        new_output("display_data", {"text/html": frame.to_html(), "text/plain": name}),
        new_output("display_data", {"text/html": f"<b>{name}</b>"}),
        new_output("display_data", {"text/markdown": f"**{name}**"}),
        new_output("stream", name="stdout", text=name),
        new_output("display_data", {"image/png": "aGk="}, metadata={"image/png": {"alt": name}}),
    ]
    assert harmless(page(new_notebook(cells=[new_code_cell("1", outputs=outputs)]), name, trail={name: "#"}))


@pytest.mark.parametrize("name", NAMES)
def test_marks_and_the_index_show_names_and_problems_as_text(name, tmp_path):
    row = dict.fromkeys(report.HEADER, name) | {"state": "failed"}
    assert harmless(report.write([row, row | {"exercise": "", "state": "problem"}], tmp_path).read_text("utf-8"))
    run = {"notebook": name, "seconds": 1.0, "problem": ParameterError(name), "folder": None}
    assert harmless(overview([run], tmp_path).read_text("utf-8"))
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "result.json").write_text(json.dumps({"summary": f"{name}\n{name}", "exercises": {}}))
    assert harmless(overview([run | {"problem": None, "folder": folder}], tmp_path).read_text("utf-8"))


@pytest.mark.parametrize("name", NAMES)
def test_widgets_and_verdicts_show_a_name_as_text(name):
    class Widget(PictureWidget):
        def draw(self):
            picture = plots.bars({"a": {"b": 1.0}})
            picture.alt = name
            return picture, name

    assert harmless(Widget(slider("n", 1, 0, 2)).view.value)
    assert harmless(Question(Guess(name, [name, "no"])).children[1].value)
    assert harmless(checks.Verdict(name, False, name)._repr_html_())


@pytest.mark.parametrize("name", NAMES)
def test_figures_draw_a_name_whatever_stands_in_it(name):
    images = torch.rand(2, 3, 8, 8)
    drawn = plots.images(types.SimpleNamespace(images=images, labels=torch.zeros(2), classes=[name]))
    assert drawn.png() and name.split()[0] in drawn.alt
    target = {"boxes": torch.tensor([[1.0, 1, 5, 5]]), "labels": torch.tensor([0]), "ignore": torch.tensor([False])}

    class Scenes(list):
        classes = (name,)

    assert plots.scenes(Scenes([((255 * images[0]).byte(), target)])).png()


def test_hand_ins_with_such_names_are_told_as_text(tmp_path):
    path = tmp_path / "<img src=x onerror=alert(1)>.ipynb"
    nbformat.write(new_notebook(cells=[new_code_cell(NAMES[1])]), path)
    from nasedu.course.grading import grade

    made = grade(tmp_path, tmp_path / "marks").read_text("utf-8")
    assert harmless(made) and "onerror" in made
    assert np.all([sign not in made for sign in ("<script>", "<img")])
