"""Tables of trained architectures: what they hold, what made them, and that they fit the space and the counts."""

from __future__ import annotations

import itertools
import json

import numpy as np
import pandas as pd
import pytest

from nasedu import data, spaces
from nasedu.data import benchmark
from nasedu.errors import ArchitectureError, DataError, ParameterError, UnknownName
from nasedu.ranking import combine, spearman
from nasedu.search import EvolutionConfig, evolution, random_search
from nasedu.search.settings import SearchConfig
from nasedu.tables import LookupTable

BEST = "|nor_conv_3x3~0|+|nor_conv_3x3~0|nor_conv_3x3~1|+|skip_connect~0|nor_conv_3x3~1|nor_conv_1x1~2|"
OPTIONS = {"operations": ["none", "skip_connect"], "reduction": "pool", "input_size": 8, "width": 0.25, "depth": 0.2}


@pytest.fixture(scope="module")
def published(real_nb201):
    return benchmark.nasbench201(real_nb201)


@pytest.fixture(scope="module")
def real_nb201(real_data):
    return real_data


@pytest.fixture(scope="module")
def cells():
    if not (benchmark.FOLDER / "cells_digits.csv.gz").exists():
        pytest.skip("datasets/cells_digits.csv.gz is not made yet")
    return benchmark.load("cells_digits")


@pytest.fixture
def small(tmp_path, monkeypatch):
    """A table of 64 cells, two seeds and two budgets, stored as the project's own; returns (space, folder)."""
    space, rows = spaces.create("nasbench201", **OPTIONS), []
    for i, arch in enumerate(itertools.product(range(2), repeat=6)):
        row = {"arch": space.format(arch), "params": i, "macs": 2 * i, "seconds": 0.5}
        for part, epochs, seed in itertools.product(("val", "test"), (3, 6), (0, 1)):
            row[f"{part}_{epochs}_s{seed}"] = i + (0.5 if part == "test" else 0) + 0.01 * epochs + 0.1 * seed
        rows.append(row)
    monkeypatch.setattr(benchmark, "FOLDER", tmp_path)
    pd.DataFrame(rows).to_csv(tmp_path / "cells_digits.csv.gz", index=False)
    meta = {
        "space_name": "nasbench201",
        "space": OPTIONS,
        "task": {"name": "digits"},
        "budgets": [3, 6],
        "seeds": [0, 1],
    }
    (tmp_path / "cells_digits.json").write_text(json.dumps(meta))
    return space, tmp_path


def test_scores_are_read_by_part_budget_and_seed(small):
    space, _ = small
    table = benchmark.load()
    text = space.format((0, 0, 0, 0, 1, 0))  # row 2
    assert len(table) == 64 and table.space_options == OPTIONS and table.task == {"name": "digits"}
    assert table.score(text) == pytest.approx(2 + 0.5 + 0.06 + 0.05)  # test, longest, mean of the seeds
    assert table.score(f" {text}\n", "val", epochs=3, seed=1) == pytest.approx(2 + 0.03 + 0.1)
    assert table.scores("val", 6, 0)[text] == pytest.approx(2.06)
    best, score = table.best()
    assert best == space.format((1,) * 6) and score == pytest.approx(63.61)
    assert table.regret(best) == 0 and table.regret(text) == pytest.approx(61)
    evaluate = table.evaluator(space, epochs=3)
    assert evaluate((0, 0, 0, 0, 1, 0)) == pytest.approx(2 + 0.03 + 0.05)  # val
    assert random_search(space, evaluate, SearchConfig(budget=64)).best == (1,) * 6


def test_what_a_table_lacks_is_told(small):
    assert small
    table = benchmark.load()
    with pytest.raises(UnknownName, match="unknown part 'tets': did you mean 'test'"):
        table.score(BEST, "tets")
    for bad in ({"epochs": 4}, {"seed": 2}):
        with pytest.raises(ParameterError, match="after 3, 6 epochs with the seeds 0, 1"):
            table.scores(**bad)
    with pytest.raises(ArchitectureError, match="the benchmark cells_digits has no architecture"):
        table.score(BEST)
    other = {**OPTIONS, "operations": ["none", "nor_conv_3x3"]}
    for options in (other, {**OPTIONS, "operations": ["none", "skip_connect", "nor_conv_3x3"]}):
        with pytest.raises(ParameterError, match="holds another space"):
            table.evaluator(spaces.create("nasbench201", **options))
    with pytest.raises(ParameterError, match="holds another space"):
        table.evaluator(spaces.create("spos", **spaces.COURSE))


def test_missing_and_damaged_files_are_told(small, tmp_path, monkeypatch):
    _, folder = small
    with pytest.raises(UnknownName, match="benchmark 'cells_digit': did you mean 'cells_digits'"):
        benchmark.load("cells_digit")
    stored = folder / "cells_digits.csv.gz"
    whole = stored.read_bytes()
    for content in (whole[: len(whole) // 2], b"nothing", whole[:40] + b"xxxxxxxx" + whole[48:]):
        stored.write_bytes(content)
        with pytest.raises(DataError, match="cells_digits cannot be read"):
            benchmark.load()
    stored.write_bytes(whole)
    (folder / "cells_digits.json").write_text("{}")
    with pytest.raises(DataError, match="cells_digits cannot be read"):
        benchmark.load()
    monkeypatch.delenv("NASEDU_DATA", raising=False)
    with pytest.raises(DataError, match="NAS-Bench-201 needs the file"):
        benchmark.nasbench201()
    (tmp_path / "nb201").mkdir()
    for content in (whole[:100], b"nothing", whole):
        (tmp_path / "nb201" / "nb201.csv.gz").write_bytes(content)
        with pytest.raises(DataError, match="NAS-Bench-201 cannot be read"):
            benchmark.nasbench201(tmp_path)


def test_the_published_table_is_read(published):
    assert len(published) == 15625 and published.frame.index.is_unique
    text, score = published.best()
    assert text == BEST and score == pytest.approx(94.3733, abs=1e-4)
    assert published.score(BEST) == published.score(BEST, "val") == score and published.regret(BEST) == 0
    assert published.scores().min() == pytest.approx(10, abs=0.5)  # nothing is connected
    space = spaces.create("nasbench201", **published.space_options)
    evaluate = published.evaluator(space)
    assert evaluate(space.parse(BEST)) == score
    rng = np.random.default_rng(0)
    for arch in (space.sample(rng) for _ in range(100)):
        assert evaluate(arch) == published.score(space.format(arch))
    with pytest.raises(ParameterError, match="after 200 epochs"):
        published.score(BEST, epochs=12)


def test_evolution_beats_chance_on_the_published_table(published):
    space = spaces.create("nasbench201")
    evaluate = published.evaluator(space)
    regrets = {
        search.__name__: np.median(
            [
                published.regret(space.format(search(space, evaluate, EvolutionConfig(budget=300), seed=s).best))
                for s in range(8)
            ]
        )
        for search in (random_search, evolution)
    }
    assert regrets["evolution"] < regrets["random_search"]


def test_the_own_table_is_complete_and_says_what_made_it(cells):
    assert len(cells) == 729 and cells.frame.index.is_unique and not cells.frame.isna().any().any()
    assert len(cells.seeds) >= 3 and len(cells.budgets) == 3
    space = spaces.create("nasbench201", **cells.space_options)
    assert set(cells.frame.index) == {space.format(a) for a in itertools.product(*map(range, space.choices))}
    assert cells.meta["fingerprint"] == space.fingerprint
    made = cells.meta["provenance"]
    assert made["made_by"] == "datasets/cells_digits.py" and made["threads"] == 1
    assert {"torch", "date", "cpu"} <= {key.lower() for key in made} or "torch" in json.dumps(made).lower()
    assert cells.meta["training"]["epochs"] == cells.budgets[-1]
    images = data.classification(**cells.task, split="test")
    assert images.images.shape[-1] == space.input_shape[-1] and len(images.classes) == 10
    stored = [p for p in benchmark.FOLDER.iterdir() if p.name.startswith("cells_digits")]
    assert sum(p.stat().st_size for p in stored) < 2_000_000
    shares = cells.scores("test", seed=0) * len(images) / 100
    assert (shares - shares.round()).abs().max() < 0.05  # a whole number of the test images is right


def test_the_own_tables_counts_are_those_of_the_space(cells):
    space = spaces.create("nasbench201", **cells.space_options)
    for metric in ("params", "macs"):
        table = LookupTable.build(space, metric)
        assert all(table(space.parse(text)) == value for text, value in cells.frame[metric].items())
    assert (cells.frame["seconds"] > 0).all()


def test_the_own_table_spreads_wider_than_its_noise(cells):
    """The spread that the README states: deciles of the mean over seeds, against the deviation between seeds."""
    per_seed = pd.concat([cells.scores("test", seed=s) for s in cells.seeds], axis=1)
    mean = cells.scores("test")
    pd.testing.assert_series_equal(mean, per_seed.mean(axis=1), check_names=False)
    spread = mean.quantile(0.95) - mean.quantile(0.05)
    noise = float(np.sqrt(per_seed.var(axis=1).mean()))
    assert spread >= 10 and mean.std() >= 2.5 * noise
    assert np.corrcoef(per_seed.T).min() > 0.8
    longer = [cells.scores("test", epochs).mean() for epochs in cells.budgets]
    assert longer == sorted(longer)
    assert cells.scores("val").corr(mean) > 0.9


def test_twins_are_counted_once():
    truth = benchmark.load("cells_digits")
    rows = truth.frame[[column for column in truth.frame if column.startswith(("val", "test"))]]
    assert len(truth.distinct) == len(set(map(tuple, rows.values))) == 205
    conv = "|none~0|+|none~0|{}~1|+|nor_conv_3x3~0|none~1|none~2|"  # nothing reaches node 1
    dead, open_ = conv.format("skip_connect"), conv.format("none")
    assert tuple(rows.loc[dead]) == tuple(rows.loc[open_]) and not {dead, open_} <= set(truth.distinct)


def test_stored_scores_are_the_same_cells_for_every_seed(published):
    stored = benchmark.proxy_scores()
    first = stored[0]
    assert len(stored) == 3 and all(frame.index.equals(first.index) for frame in stored.values())
    assert len(first) == 200 and set(first.index) <= set(published.frame.index)
    assert not first.isna().any().any()
    params = published.frame.params[first.index]
    assert np.allclose(first["params"], params, rtol=0, atol=5)  # the published file has three digits less
    truth = published.scores("test")[first.index]
    mean = sum(stored.values()) / len(stored)
    wanted = {"naswot": 0.70, "jacob_cov": 0.68, "synflow": 0.68, "params": 0.70, "snip": 0.50, "grad_norm": 0.50}
    for name, least in wanted.items():
        assert spearman(mean[name], truth) >= least, name
    assert spearman(combine(mean[["synflow", "jacob_cov"]], "log_rank"), truth) >= 0.85


def test_stored_scores_that_are_damaged_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(benchmark, "FOLDER", tmp_path)
    with pytest.raises(DataError, match="cannot be read"):
        benchmark.proxy_scores()


def test_the_ranking_truth_is_spread_over_macs_and_is_no_mere_noise():
    truth = benchmark.load("resnet48_digits")
    space = spaces.create(truth.space_name, **truth.space_options)
    assert truth.meta["fingerprint"] == space.fingerprint and space.name == "resnet48"
    assert len(truth) >= 150 and truth.frame.index.is_unique and not truth.frame.isna().any().any()
    archs = [space.parse(text) for text in truth.frame.index]
    assert [space.format(arch) for arch in archs] == list(truth.frame.index)
    for metric in ("params", "macs"):
        table = LookupTable.build(space, metric)
        assert [table(arch) for arch in archs] == list(truth.frame[metric])
    low, high = LookupTable.build(space, "macs").bounds()
    sixths = np.floor(6 * (truth.frame.macs - low) / (high - low)).clip(0, 5)
    assert (sixths.value_counts() == len(truth) / 6).all() and len(sixths.unique()) == 6
    by_seed = pd.concat([truth.scores("test", seed=s) for s in truth.seeds], axis=1)
    assert len(truth.seeds) == 3 and by_seed.corr().to_numpy()[np.triu_indices(3, 1)].min() > 0.3
    evaluate = truth.evaluator(space)
    assert evaluate(archs[0]) == truth.scores("val").iloc[0]
    with pytest.raises(ArchitectureError, match="has no architecture"):
        evaluate(next(a for a in (space.sample(np.random.default_rng(s)) for s in range(9)) if a not in archs))
    with pytest.raises(ParameterError, match="another space"):
        truth.evaluator(spaces.create("resnet48:course", depth=0.4))
