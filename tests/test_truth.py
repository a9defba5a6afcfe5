"""The script that trains stored truths: it goes on where it was, whatever an architecture's text looks like."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pandas as pd
import pytest

from nasedu import spaces

DATASETS = Path(__file__).parents[1] / "datasets"


@pytest.fixture
def truth(tmp_path, monkeypatch):
    """The script, with a folder of its own and networks that cost nothing to train."""
    spec = importlib.util.spec_from_file_location("truth", DATASETS / "truth.py")
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "truth", module)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "HERE", tmp_path)
    space, trained = spaces.create("resnet48:course"), []
    texts = [space.format([0] * len(space.choices)), space.format([n - 1 for n in space.choices])]

    def train_one(self, space, text, seed, parts):
        trained.append((text, seed))
        return [text, seed, 40 + seed, 41, 42, 43, 1.5]

    made = module.Truth(
        "digits_alone", ("resnet48:course", {}), lambda _: texts, {"image_size": 32},
        {"images": 100, "epochs": 2, "batch_size": 50, "lr": 0.1}, (1, 2), seeds=(0, 1),
    )  # fmt: skip
    monkeypatch.setattr(module.Truth, "train_one", train_one)
    return made, trained, tmp_path


def test_it_trains_what_is_not_done_and_nothing_twice(truth):
    """The texts are digits alone, which a table reader takes for numbers unless it is told."""
    made, trained, folder = truth
    made.go_on(1, (0, 2))
    made.go_on(1)
    made.go_on(1)
    assert len(trained) == len(set(trained)) == 4
    path = folder / "digits_alone.rows.csv"
    path.write_text(path.read_text()[:-9])  # a kill in the middle of a row
    made.go_on(1)
    assert len(trained) == 5 and not path.read_text().endswith(",")
    made.finish()
    table = pd.read_csv(folder / "digits_alone.csv.gz", dtype={"arch": str})
    assert len(table) == 2 and not table.isna().any().any() and not list(folder.glob("*rows*"))
    assert all(len(text) == 52 for text in table.arch)


def test_a_row_that_was_cut_short_is_no_training(truth):
    made, _, folder = truth
    made.go_on(1)
    path = folder / "digits_alone.rows.csv"
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(lines[:-1]) + lines[-1][:60])
    with pytest.raises(SystemExit, match="3 of 4 trainings are done"):
        made.finish()
    assert path.exists()


@pytest.mark.parametrize("cut", [2, 5, 15])
def test_whole_rows_are_those_that_end_and_have_all_columns(truth, cut):
    """As a kill leaves them: a row without its end, once with the next run's first row behind."""
    made, _, folder = truth
    path, head = folder / "some.csv", ",".join(made.columns) + "\n"
    assert made.whole_rows(path) == [head]
    rows = [f"{i:052d},{i}," + ",".join("1234") + ",2.125\r\n" for i in range(4)]
    whole = [head, *(row.replace("\r\n", "\n") for row in rows[:2])]
    for text in ([*rows[:2], rows[2][:-cut]], [*rows[:2], rows[2][:-cut], rows[3]]):
        path.write_text("".join([head, *text]), newline="")
        assert made.whole_rows(path) == whole
