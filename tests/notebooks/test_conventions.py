"""The course's conventions, held against every committed notebook."""

import ast
import itertools
import re
import statistics
from pathlib import Path

import nbformat
import papermill
import pytest

from nasedu.course import build, parameters, places
from nasedu.course.bar import MARK
from nasedu.course.grading.submission import read, tasks
from nasedu.course.outputs import WIDGET_VIEW

ROOT = Path(__file__).parents[2]
LEARNERS = sorted(ROOT.glob("notebooks/[0-9]*.ipynb"))
SOLUTIONS = sorted(ROOT.glob("notebooks/solutions/[0-9]*.ipynb"))
KINDS = re.compile(r"(list\[)?(int|float|str|bool)\]?")
FORBIDDEN = re.compile(r"^\s*[!%](pip|rm|conda)|\btqdm\b|\binput\(", re.M)
ABSOLUTE = re.compile(r"(?<![\w.:/<])/(home|root|Users|tmp|usr|opt|var|mnt)/|[A-Z]:\\\\")


def name(path):
    return path.stem if path.parent.name == "notebooks" else f"solution-{path.stem}"


learners = pytest.mark.parametrize("path", LEARNERS, ids=name)
everyone = pytest.mark.parametrize("path", [*LEARNERS, *SOLUTIONS], ids=name)


def cells(path, kind=None):
    return [cell for cell in nbformat.read(path, as_version=4).cells if kind in (None, cell.cell_type)]


def tags(cell):
    return cell.metadata.get("tags", [])


def outputs(path):
    return [output for cell in cells(path, "code") for output in cell.outputs]


def texts(path):
    for output in outputs(path):
        yield output.get("text", "")
        yield from (value for key, value in output.get("data", {}).items() if key.startswith("text/"))


def test_every_source_is_built_and_nothing_else_is():
    sources = sorted(ROOT.glob("notebooks/source/*.py"))
    assert [p.stem for p in sources] == [p.stem for p in LEARNERS] == [p.stem for p in SOLUTIONS]


def test_no_notebook_drifted_from_its_source():
    assert build.drifted([]) == []


@everyone
def test_it_is_a_valid_notebook_without_widget_state(path):
    nb = nbformat.read(path, as_version=4)
    nbformat.validate(nb)
    assert "widgets" not in nb.metadata
    assert not any(WIDGET_VIEW in output.get("data", {}) for output in outputs(path))


@everyone
def test_outputs_are_kept_from_one_run_top_to_bottom(path):
    code = cells(path, "code")
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    assert any("image/png" in output.get("data", {}) for output in outputs(path)), "no figure"


@everyone
def test_no_output_names_this_machines_folders(path):
    for text in texts(path):
        assert not ABSOLUTE.search(text), text[:200]
        assert str(ROOT) not in text


@everyone
def test_no_cell_is_skipped_or_forbidden(path):
    for cell in cells(path):
        assert "nbval-skip" not in tags(cell)
        assert "raises-exception" not in tags(cell) or "stub" in tags(cell)
    for cell in cells(path, "code"):
        assert not FORBIDDEN.search(cell.source), cell.source


@learners
def test_it_opens_with_a_title_a_promise_and_the_time_of_each_preset(path):
    first, *rest = cells(path)
    title, promise = [line for line in first.source.split("\n") if line.strip()][:2]
    assert title.startswith("# ")
    assert promise.endswith("."), "the title is followed by a promise of one sentence"
    before = [first.source]
    for cell in rest:
        if "parameters" in tags(cell):
            break
        before.append(cell.source)
    assert all(preset in "\n".join(before) for preset in parameters.PRESETS)


@learners
def test_the_time_that_it_states_for_quick_is_the_one_that_its_build_took(path):
    printed = re.search(r"(\d+) s at preset quick", "\n".join(map(str, texts(path))))
    if printed is None:
        pytest.skip("built before builds told their time")
    row = next(line for cell in cells(path) for line in cell.source.split("\n") if line.startswith("| `quick`"))
    number, unit = re.search(r"([\d.]+) (seconds|minutes?)", row.split("|")[-2]).groups()
    stated, took = float(number) * (1 if unit == "seconds" else 60), int(printed[1])
    assert took / 1.6 - 5 <= stated <= took * 1.6 + 5, f"states {stated:.0f} s, took {took} s"


@learners
def test_its_parameters_are_annotated_explained_and_preset(path):
    assert sum("parameters" in tags(cell) for cell in cells(path)) == 1
    declared = papermill.inspect_notebook(path)
    assert declared.keys() == parameters.read_presets(path.stem)["quick"].keys()
    for parameter in declared.values():
        assert KINDS.fullmatch(parameter["inferred_type_name"]), f"{parameter['name']} has no type"
        assert parameter["help"], f"{parameter['name']} has no comment"


@learners
def test_setup_comes_right_after_the_parameters(path):
    code = cells(path, "code")
    after = next(i for i, cell in enumerate(code) if "parameters" in tags(cell)) + 1
    assert f'course.setup("{path.stem}", globals()' in code[after].source
    assert "course.finish(" in "".join(cell.source for cell in code)
    assert places.presets(path.stem).exists()


@everyone
def test_code_cells_are_short(path):
    lengths = [len(cell.source.split("\n")) for cell in cells(path, "code") if "parameters" not in tags(cell)]
    assert statistics.median(lengths) <= 8
    assert statistics.quantiles(lengths, n=10)[-1] <= 20


KIND = re.compile(r"[Dd]ifficulty (\d) of 3, about (\d+) min(?:; (experiment|design|fault))?\.")


def exercises(path):
    """Every exercise's number, text, difficulty and kind, with the two cells below it."""
    every = cells(path)
    for i, cell in enumerate(every):
        if heading := re.search(r"^#+ Exercise (\d+\.\d+): ", cell.source, re.M):
            said = KIND.search(" ".join(cell.source.split()))
            assert said, f"{heading[1]} states no difficulty and time: {cell.source[:200]}"
            yield heading[1], cell.source, int(said[1]), said[3], every[i + 1], every[i + 2]


@learners
def test_it_has_four_exercises_each_with_hints_a_stub_and_a_checker(path):
    found = list(exercises(path))
    assert len(found) >= 4
    assert max(difficulty for _, _, difficulty, *_ in found) == 3
    assert any(kind for _, _, _, kind, *_ in found), "none asks for an experiment, a design, or a fault to be found"
    for _, text, _, _, stub, check in found:
        assert "<details>" in text
        assert "stub" in tags(stub)
        assert "NotImplementedError" in stub.source
        assert "check_" in check.source
    answers = [cell for cell in cells(places.solution(path.stem)) if "solution" in tags(cell)]
    assert len(answers) >= len(found)


def test_the_course_has_exercises_that_make_one_think():
    found = [exercise for path in LEARNERS for exercise in exercises(path)]
    assert len(found) >= 60
    assert sum(difficulty == 3 for _, _, difficulty, *_ in found) >= 15
    assert sum(kind is not None for _, _, _, kind, *_ in found) >= 15
    assert len({number for number, *_ in found}) == len(found)


def last(code):
    """The last statement of a cell."""
    return ast.parse(code).body[-1]


@everyone
def test_prose_stands_before_code(path):
    """But for the set-up right below the parameters, and a checker right below its answer."""
    every, bare = cells(path), []
    for before, cell in itertools.pairwise(every):
        set_up = "parameters" in tags(before)
        judged = {"stub", "solution"} & set(tags(before)) and "check_" in cell.source
        if before.cell_type == cell.cell_type == "code" and not set_up and not judged:
            bare.append(cell.source)
    assert len(bare) <= 0.1 * len(cells(path, "code")), "\n\n".join(bare)


@everyone
def test_no_cell_is_silent(path):
    code = [cell for cell in cells(path, "code") if not {"parameters", "stub", "solution"} & set(tags(cell))]
    silent = [
        cell.source
        for cell in code
        if "\n" in cell.source and not cell.outputs and not isinstance(last(cell.source), ast.Expr)
        if "course.predict(" not in cell.source
    ]
    assert len(silent) <= 0.1 * len(code), "\n\n".join(silent)


@everyone
def test_code_is_narrow_and_long_cells_say_why(path):
    for cell in cells(path, "code"):
        wide = [line for line in cell.source.split("\n") if len(line) > 100]
        assert not wide, wide
        if len(cell.source.split("\n")) > 8 and "parameters" not in tags(cell):
            assert re.search(r"#|\"\"\"", cell.source), f"no comment:\n{cell.source}"


@everyone
def test_the_parameters_are_folded(path):
    (cell,) = (cell for cell in cells(path, "code") if "parameters" in tags(cell))
    assert cell.metadata["jupyter"]["source_hidden"]


@everyone
def test_nothing_was_said_on_stderr_and_no_bar_was_left(path):
    for output in outputs(path):
        assert output.get("name") != "stderr"
        assert MARK not in output.get("metadata", {})


@everyone
def test_every_figure_is_told_in_words(path):
    for output in outputs(path):
        if "image/png" in output.get("data", {}):
            assert output.metadata.get("image/png", {}).get("alt"), "a figure without alternative text"


@learners
def test_every_prediction_is_answered(path):
    code = "\n".join(cell.source for cell in cells(path, "code"))
    asked = re.findall(r"^(\w+) = course\.predict\(", code, re.M)
    assert asked, "no prediction"
    assert code.count("course.predict(") == len(asked), "a prediction without a name of its own"
    for name in asked:
        assert re.search(rf"^{name}\.came\(", code, re.M), f"{name} is never told what came"


@learners
def test_grading_finds_every_exercise_and_every_answer(path):
    numbers = [task.number for task in tasks(path.stem)]
    assert numbers == [number for number, *_ in exercises(path)]
    assert numbers == [f"{path.stem[:2]}.{n}" for n in range(1, len(numbers) + 1)]
    handed = read(places.solution(path.stem))
    assert handed.notebook == path.stem
    assert sorted(handed.answers) == sorted(numbers)
