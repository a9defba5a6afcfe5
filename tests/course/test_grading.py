"""Hand-ins of every kind get a mark for each exercise, or a sentence."""

import csv

import nbformat
import pytest

from nasedu import __main__ as cli

SOURCE = """\
# %% [markdown]
# # A tiny notebook

# %% tags=["parameters"]
preset: str = None

# %%
from nasedu.course.checks import exercise, require

base = 2

# %% [markdown]
# ### Exercise 01.1: double
# *Difficulty 1 of 3, about 1 min.*


# %% tags=["stub"]
def double(n):
    raise NotImplementedError


# %% tags=["solution"]
def double(n):
    return base * n


# %%
@exercise("01.1", "double")
def check_double(double):
    require(double(2) == 4, "twice 2 is 4")


check_double(double)

# %% [markdown]
# ### Exercise 01.2: halve
# *Difficulty 1 of 3, about 1 min.*


# %% tags=["stub"]
def halve(n):
    raise NotImplementedError


# %% tags=["solution"]
def halve(n):
    return n / base


# %%
@exercise("01.2", "halve")
def check_halve(halve):
    require(halve(2) == 1, "half of 2 is 1")


check_halve(halve)
"""
RIGHT, HALF = "def double(n):\n    return base * n", "def halve(n):\n    return n / 2"
CHECKS = "check_double(double)"
FILES = {  # cells, and the marks of both exercises
    "right.ipynb": ([RIGHT, CHECKS, HALF], ("passed", "passed")),
    "wrong.ipynb": (["def double(n):\n    return n", CHECKS, HALF], ("failed: twice 2 is 4", "passed")),
    "crashes.ipynb": (
        ["def double(n):\n    return n[5]", CHECKS, HALF],
        ("failed: your answer raised TypeError", "passed"),
    ),
    "blank.ipynb": (["def double(n):\n    raise NotImplementedError", CHECKS], ("not tried", "missing: no cell")),
    "syntax.ipynb": (["def double(n)\n    return 4", CHECKS, HALF], ("failed: its cell raised SyntaxError", "passed")),
    "loops.ipynb": (
        ["def double(n):\n    while True:\n        pass", CHECKS, HALF],
        ("failed: it did not end within 8 s", "passed"),
    ),
    "deep/quits.ipynb": (["import os\nos._exit(0)\ndef double(n): ...", CHECKS, HALF], ("failed: it ended", "passed")),
    "moved.ipynb": ([CHECKS, "raise SystemExit", HALF, RIGHT, "base = 7"], ("passed", "passed")),
    "twice.ipynb": ([RIGHT, CHECKS, "def double(n):\n    return 0", HALF], ("failed: twice 2 is 4", "passed")),
    "helped.ipynb": (
        ["import math as m\nTWO = 2", "def twice(n):\n    return TWO * m.floor(n)", CHECKS]
        + ["def double(n):\n    return twice(n)", "if True:\n    halve, other = (lambda n: n / 2), 1"],
        ("passed", "passed"),
    ),
    "asks.ipynb": (["def double(n):\n    return int(input())", CHECKS, HALF], ("failed: your answer raised", "passed")),
    "mute.ipynb": (["print = 3\n" + RIGHT, CHECKS, HALF], ("passed", "passed")),
    "odd \udce9.ipynb": (["def double(n):\n    raise ValueError('\\ud800')", CHECKS, HALF], ("failed", "passed")),
    "=sum(1).ipynb": ([RIGHT, CHECKS], ("passed", "missing: no cell defines halve")),
}


@pytest.fixture(scope="module")
def handed_in(tmp_path_factory):
    course, folder = tmp_path_factory.mktemp("course"), tmp_path_factory.mktemp("hand-ins")
    for name, text in (("source/01_tiny.py", SOURCE), ("presets/01_tiny.yaml", "smoke: {}\n")):
        (course / name).parent.mkdir()
        (course / name).write_text(text)
    for name, (codes, _) in FILES.items():
        (folder / name).parent.mkdir(exist_ok=True)
        nbformat.write(
            nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(code) for code in codes]), folder / name
        )
    (folder / "broken.ipynb").write_text('{"cells": [')
    nbformat.write(nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("print(1)")]), folder / "other.ipynb")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NASEDU_NOTEBOOKS", str(course))
        yield folder


@pytest.fixture(scope="module")
def rows(handed_in, tmp_path_factory):
    out = tmp_path_factory.mktemp("marks")
    assert cli.main(["grade", str(handed_in), "--out", str(out), "--limit", "8"]) == 0
    assert "<h2>deep/quits.ipynb</h2>" in (out / "grades.html").read_text()
    with (out / "grades.csv").open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("name", FILES)
def test_every_exercise_of_a_hand_in_gets_its_mark(name, rows):
    shown = f"'{name}" if name.startswith("=") else name  # a spreadsheet must not take it for a formula
    shown = shown.encode(errors="backslashreplace").decode()
    found = [row for row in rows if row["file"] == shown]
    assert [row["exercise"] for row in found] == ["01.1", "01.2"]
    assert {row["notebook"] for row in found} == {"01_tiny"}
    for row, mark in zip(found, FILES[name][1], strict=True):
        state, _, sentence = mark.partition(": ")
        assert row["state"] == state
        assert row["sentence"].startswith(sentence)


def test_what_is_no_hand_in_is_told_in_a_sentence(rows):
    said = {row["file"]: row["sentence"] for row in rows if row["state"] == "problem"}
    assert said["broken.ipynb"].startswith("not a notebook: ")
    assert said["other.ipynb"] == "not a notebook of this course: no cell calls one of its checkers"
    assert len(said) == 2


def test_hand_ins_stay_as_they_are(handed_in, rows):
    assert not [path for path in handed_in.rglob("*") if path.is_file() and path.suffix != ".ipynb"]


@pytest.mark.parametrize("given", [("--jobs", "-1"), ("--limit", "nan"), ("--limit", "0")])
def test_what_cannot_be_jobs_or_a_limit_is_refused(handed_in, given, capsys):
    assert cli.main(["grade", str(handed_in), *given]) == 2
    assert f"{given[0][2:]} must be" in capsys.readouterr().err


def test_a_folder_without_notebooks_is_refused(tmp_path, capsys):
    assert cli.main(["grade", str(tmp_path)]) == 2
    assert cli.main(["grade", str(tmp_path / "none")]) == 2
    assert "holds no notebook" in capsys.readouterr().err
