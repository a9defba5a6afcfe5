import json
import re

import pytest

from nasedu import __main__ as cli
from nasedu.course import build, places
from nasedu.course.outputs import WIDGET_VIEW
from nasedu.errors import UnknownName


@pytest.fixture(scope="module")
def built(course_folder):
    """The learner's notebook and the solution, executed."""
    build.build(["01_tiny"], preset="smoke")
    return [json.loads(path.read_text()) for path in (places.learner("01_tiny"), places.solution("01_tiny"))]


def tags(nb):
    return [tag for cell in nb["cells"] for tag in cell["metadata"].get("tags", [])]


def outputs(nb):
    return [output for cell in nb["cells"] for output in cell.get("outputs", [])]


def test_stubs_go_to_the_learner_and_answers_to_the_solution(built):
    assert [tags(nb) for nb in built] == [["parameters", "stub"], ["parameters", "solution"]]
    learner, solution = ("".join("".join(cell["source"]) for cell in nb["cells"]) for nb in built)
    assert "NotImplementedError" in learner
    assert "2 * n" not in learner
    assert "2 * n" in solution


def test_outputs_are_kept_without_widgets_timings_or_this_machines_folders(built, course_folder):
    for nb in built:
        assert "widgets" not in nb["metadata"]
        assert all(set(cell["metadata"]) <= {"tags", "jupyter"} for cell in nb["cells"])
        assert not any(WIDGET_VIEW in output.get("data", {}) for output in outputs(nb))
        text = "".join(line for output in outputs(nb) for line in output.get("text", []))
        assert "nasedu/course/__init__.py runs/work/01_tiny-" in text
        assert str(places.ROOT) not in text


def test_both_come_of_one_run_in_which_each_cell_ran_once(built):
    """What was trained for the learner's notebook is not resumed for the solution; each saw its own answer."""
    for nb, said in zip(built, ("not attempted yet", "4"), strict=True):
        code = [cell for cell in nb["cells"] if cell["cell_type"] == "code"]
        assert [cell["execution_count"] for cell in code] == list(range(1, len(code) + 1))
        texts = ["".join(line for output in cell["outputs"] for line in output.get("text", [])) for cell in code]
        assert said in texts[3]
        assert "checkpoint False" in texts[5]


def test_building_twice_gives_the_same_bytes(built, tmp_path):
    before = places.learner("01_tiny").read_bytes()
    learner, solution = (build.derive(places.source("01_tiny"), drop) for drop in ("solution", "stub"))
    build.run_both(learner, solution, places.learner("01_tiny"), "smoke", str(tmp_path))
    after = (build.nbformat.writes(learner) + "\n").encode()
    first, second = (re.sub(rb"\d+ s at preset", b"", text) for text in (before, after))  # how long it took may differ
    assert first == second


def test_what_was_printed_in_pieces_is_one_output(tmp_path):
    code = "\n    ".join(["import time\nfor i in range(3):", "print(i, flush=True)", "time.sleep(0.4)"])
    nb = build.nbformat.v4.new_notebook(cells=[build.nbformat.v4.new_code_cell(code)])
    build.run_clean(nb, tmp_path / "pieces.ipynb", "smoke", str(tmp_path))
    assert [output.text for output in nb.cells[0].outputs] == ["0\n1\n2\n"]


def test_what_a_cell_says_on_stderr_fails_the_build(tmp_path):
    cells = [build.nbformat.v4.new_code_cell("import warnings\nwarnings.warn('it is hot')")]
    with pytest.raises(build.BuildFailed, match=r"wrote to stderr.*it is hot"):
        build.run_clean(build.nbformat.v4.new_notebook(cells=cells), tmp_path / "hot.ipynb", "smoke", str(tmp_path))


def test_drift_is_found_in_either_notebook(built, capsys):
    assert cli.main(["build", "--check"]) == 0
    path = places.solution("01_tiny")
    text = path.read_text()
    path.write_text(text.replace("2 * n", "3 * n"))
    assert cli.main(["build", "--check"]) == 1
    assert str(path) in capsys.readouterr().err
    path.write_text(text)


def test_a_failing_cell_fails_the_build_and_leaves_the_notebook(built, monkeypatch, capsys):
    monkeypatch.setattr(build, "derive", lambda *_: build.nbformat.v4.new_notebook(cells=[failing()]))
    before = places.learner("01_tiny").read_bytes()
    assert cli.main(["build", "01_tiny"]) == 1
    assert "ZeroDivisionError" in capsys.readouterr().err
    assert places.learner("01_tiny").read_bytes() == before


def failing():
    return build.nbformat.v4.new_code_cell("1 / 0")


def test_names_are_checked(course_folder):
    with pytest.raises(UnknownName, match="01_tiny"):
        build.build(["01_tinny"])
    with pytest.raises(UnknownName, match="smoke"):
        build.build(["01_tiny"], preset="smok")
