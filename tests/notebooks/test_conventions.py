"""The course's conventions, held against every committed notebook."""

import re
import statistics
from pathlib import Path

import nbformat
import papermill
import pytest

from nasedu.course import build, parameters, places

ROOT = Path(__file__).parents[2]
LEARNERS = sorted(ROOT.glob("notebooks/[0-9]*.ipynb"))
SOLUTIONS = sorted(ROOT.glob("notebooks/solutions/[0-9]*.ipynb"))
KINDS = re.compile(r"(list\[)?(int|float|str|bool)\]?")
FORBIDDEN = re.compile(r"^\s*[!%](pip|rm|conda)|tqdm\.(auto|notebook)|\binput\(", re.M)
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
    assert not any(build.WIDGET_VIEW in output.get("data", {}) for output in outputs(path))


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


@learners
def test_it_has_three_exercises_each_with_hints_a_stub_and_a_checker(path):
    all_cells = cells(path)
    starts = [i for i, c in enumerate(all_cells) if re.search(r"^#+ Exercise \d+\.\d+", c.source, re.M)]
    assert len(starts) >= 3
    for start in starts:
        text = all_cells[start].source
        assert re.search(r"difficulty\D+[123]\D+3\b.*\bmin", text, re.I | re.S), text
        assert "<details>" in text
        stub, check = all_cells[start + 1 : start + 3]
        assert "stub" in tags(stub)
        assert "NotImplementedError" in stub.source
        assert "check" in check.source
    answers = [cell for cell in cells(places.solution(path.stem)) if "solution" in tags(cell)]
    assert len(answers) >= len(starts)
