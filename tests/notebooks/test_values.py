"""Whatever a parameter is set to, a notebook's set-up goes through or says in one sentence why not."""

import re
from pathlib import Path

import nbformat
import pytest

from nasedu.errors import NaseduError

LEARNERS = sorted((Path(__file__).parents[2] / "notebooks").glob("[0-9]*.ipynb"))
PARAMETER = re.compile(r"^(\w+): ([\w\[\]]+) = ", re.M)
OTHERWISE = ("preset", "data_root", "start", "spaces_timed")  # told by what is wrong with the text itself
VALUES = {
    "int": (0, -1, 10**12, 2**70, 1.5, "many", True),
    "float": (0.0, -1.0, 1e300, float("nan"), float("inf"), "much"),
    "bool": ("maybe", 2),
    "str": ("", "nonsense", 3),
}


def set_up(path):
    """The code cells before the first section, of which the first holds the parameters."""
    cells = nbformat.read(path, as_version=4).cells
    end = next(i for i, cell in enumerate(cells) if re.match("## ", cell.source) and cell.cell_type == "markdown")
    return [cell.source for cell in cells[:end] if cell.cell_type == "code"]


def run(codes, **given):
    names = {"__name__": "__main__"}
    exec(codes[0], names)
    names |= {"preset": "smoke", **given}
    for code in codes[1:]:
        exec(code, names)


def refusal(codes, name, value):
    """What the set-up says against a value; empty if it takes it."""
    try:
        run(codes, **{name: value})
    except NaseduError as error:
        return str(error)
    except Exception as error:
        pytest.fail(f"{name}={value!r} ends in {type(error).__name__}: {error}")
    return ""


@pytest.mark.parametrize("path", LEARNERS, ids=lambda path: path.stem)
def test_a_bad_value_ends_in_one_sentence(path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NASEDU_RUNS", str(tmp_path))
    monkeypatch.delenv("NASEDU_DATA", raising=False)
    codes = set_up(path)
    run(codes)
    said = []
    for name, kind in PARAMETER.findall(codes[0]):
        inner = kind.removeprefix("list[").removesuffix("]")
        values = VALUES[inner] if inner == kind else ([], *([value] for value in VALUES[inner]), VALUES[inner][0])
        if name == "out_dir":  # any text names a folder, which is then made among the project's
            values = (3,)
        said += [(name, value, sentence) for value in values if (sentence := refusal(codes, name, value))]
    assert len(said) > 10
    for name, value, sentence in said:
        assert name in sentence or name in OTHERWISE, (name, value, sentence)
        assert len(sentence) < 300, (name, value, sentence)
        assert "\n" not in sentence, (name, value, sentence)
