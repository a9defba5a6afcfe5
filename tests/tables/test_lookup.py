"""Which table a search gets: stored ones are found by what they were made for, and are what a count gives."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from nasedu import spaces
from nasedu.errors import ParameterError, TableError, UnknownName
from nasedu.files import content_hash
from nasedu.hardware import count
from nasedu.search import DescentConfig, pareto_sweep
from nasedu.tables import LookupTable, latency_table, lookup, read_table, stored
from nasedu.tables.lookup import file_name

ROOT = Path(__file__).parents[2]
PLACES = [(f"{name}:course", {}) for name in spaces.names()]


@pytest.mark.parametrize(
    ("name", "options"), [*PLACES, ("yolo:p5", {"num_classes": 20}), ("yolo:csp", {"num_classes": 20})]
)
def test_stored_counts_are_those_of_whole_networks(name, options):
    space = spaces.create(name, **options)
    macs, params = stored(space, "macs"), stored(space, "params")
    with torch.device("meta"):
        arch = space.sample(np.random.default_rng(0))
        cost = count(space.build(arch), space.input_shape)
    assert (macs(arch), params(arch)) == (cost.macs, cost.params)


def test_stored_tables_are_named_by_what_they_hold():
    for path in (ROOT / "lookup").glob("*.json"):
        table = json.loads(path.read_text())
        assert path.stem.startswith(table["space"].replace(":", "-"))
        assert f"-{table['input_shape'][-1]}-{table['metric']}" in path.stem
    assert file_name("fbnet:course", 32, "macs") == "fbnet-course-32-macs.json"
    assert file_name("fbnet", 224, "latency_ms", "cuda") == "fbnet-224-latency_ms-cuda.json"


@pytest.fixture
def shelf(tmp_path, monkeypatch):
    monkeypatch.setattr(lookup, "STORED", tmp_path / "lookup")
    (tmp_path / "lookup").mkdir()
    return tmp_path / "lookup"


def table_of(space, metric="latency_ms", value=1.0, **provenance):
    entries = [torch.full([space.choices[d] for d in group], value, dtype=torch.float64) for group in space.groups]
    return LookupTable(space, metric, "ms", value, entries, provenance)


@pytest.mark.parametrize("size", [96, 128])
@pytest.mark.parametrize("backend", ["torch", "onnxruntime"])
def test_a_wider_or_deeper_block_takes_longer_by_the_stored_tables(size, backend):
    """What a busy machine measured is out of order in one pair of eight."""
    table = stored(spaces.create("yolo:course", image_size=size), "latency_ms", backend)
    longer = [e.diff(dim=axis) for e in table.entries for axis in (0, 1)]
    assert torch.cat([step.flatten() for step in longer]).lt(0).double().mean() < 0.05


def test_a_table_is_found_by_its_space_and_not_by_its_name_alone(shelf):
    course, published = (spaces.create("nasbench201", depth=d, width=0.5, input_size=16) for d in (0.2, 0.4))
    table_of(published, value=2.0).save(shelf / "nasbench201-16-latency_ms.json")
    assert stored(course, "latency_ms") is None
    table_of(course).save(shelf / "nasbench201-course-16-latency_ms.json")
    table_of(course, value=3.0).save(shelf / "nasbench201-course-16-latency_ms-cuda.json")
    table_of(course, value=4.0).save(shelf / "mine.json")
    assert (stored(course, "latency_ms").fixed, stored(published, "latency_ms").fixed) == (1.0, 2.0)
    assert stored(course, "latency_ms", "cuda").fixed == 3.0
    assert stored(course, "macs") is None
    (shelf / "nasbench201-course-16-latency_ms.json").write_text("{")
    with pytest.raises(TableError, match="no lookup table can be read"):
        stored(course, "latency_ms")


def test_auto_measures_where_no_stored_table_fits(shelf, monkeypatch):
    space = spaces.create("nasbench201", depth=0.2, width=0.25, input_size=8)
    asked = []
    monkeypatch.setattr(LookupTable, "build", built(asked))
    assert latency_table(space, "none") is None
    assert latency_table(space, "auto", threads=2).fixed == 9.0
    table_of(space).save(shelf / "nasbench201-8-latency_ms.json")
    assert latency_table(space, "auto").fixed == 1.0
    assert latency_table(space, "auto", backend="onnxruntime").fixed == 9.0
    assert latency_table(space, "auto", device="cuda").fixed == 9.0
    assert latency_table(space, "measure").fixed == 9.0
    assert latency_table(space, "auto", threads=4, batch=8).fixed == 9.0
    assert latency_table(space, "auto", threads=1, batch=1, precision="float32", repeats=9).fixed == 1.0
    onnx, cuda, both = {"backend": "onnxruntime"}, {"device": "cuda"}, {"threads": 4, "batch": 8}
    assert asked == [{"threads": 2}, onnx, cuda, {}, both]
    for source in ("auto", "measure", "none"):
        with pytest.raises(UnknownName, match="did you mean 'threads'"):
            latency_table(space, source, thread=4)


def test_a_kept_table_serves_the_settings_that_it_was_measured_with(shelf, monkeypatch):
    space, keep, asked = spaces.create("nasbench201", depth=0.2, width=0.25, input_size=8), shelf / "kept.json", []
    monkeypatch.setattr(LookupTable, "build", built(asked))
    assert latency_table(space, "measure", keep, threads=4, progress=print).fixed == 9.0
    assert latency_table(space, "measure", keep, threads=4, batch=1, repeats=3).fixed == 9.0 and len(asked) == 1
    with pytest.raises(
        TableError, match=r"kept\.json was measured with batch 1, not 8 and threads 4, not 1: delete it"
    ):
        latency_table(space, "measure", keep, batch=8)


def test_a_kept_table_is_of_one_kind_of_device(shelf, monkeypatch):
    space, keep, asked = spaces.create("nasbench201", depth=0.2, width=0.25, input_size=8), shelf / "kept.json", []
    monkeypatch.setattr(LookupTable, "build", built(asked))
    assert latency_table(space, "measure", keep).provenance["device_type"] == "cpu"
    with pytest.raises(TableError, match=r"kept\.json was measured with device_type cpu, not cuda: delete it"):
        latency_table(space, "measure", keep, device="cuda")
    assert latency_table(space, "measure", keep, device="cpu").fixed == 9.0
    keep.unlink()
    for options in ({"device": "cuda:1"}, {"device": torch.device("cuda")}):
        assert latency_table(space, "measure", keep, **options).provenance["device_type"] == "cuda"
    assert len(asked) == 2
    keep.unlink()
    assert latency_table(space, "measure", keep, backend="cuda").provenance["device_type"] == "cuda"
    for source in ("measure", "none"):
        with pytest.raises(ParameterError, match="unknown device 'gpu': valid ones are cpu"):
            latency_table(space, source, device="gpu")


def test_a_kept_table_with_a_changed_digit_is_refused(shelf, monkeypatch):
    space, keep = spaces.create("nasbench201", depth=0.2, width=0.25, input_size=8), shelf / "kept.json"
    monkeypatch.setattr(LookupTable, "build", built([]))
    latency_table(space, "measure", keep)
    text = keep.read_text()
    for change, message in (
        (lambda: text.replace('"fixed": 9', '"fixed": 8'), "was changed after it was written"),
        (lambda: re.sub(' "hash": .*\n', "", text), "has no hash, so nobody knows"),
    ):
        keep.write_text(change())
        with pytest.raises(TableError, match=rf"kept\.json {message}"):
            latency_table(space, "measure", keep)


def test_stored_tables_are_as_they_were_written():
    for path in (ROOT / "lookup").glob("*.json"):
        told = json.loads(path.read_text())
        assert told.pop("hash") == content_hash(told), path.name


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        (("latency",), "unknown metric 'latency': did you mean 'latency_ms'"),
        (("mac",), "unknown metric 'mac': did you mean 'macs'"),
        (("latency_ms", "onnx"), "unknown backend 'onnx': did you mean 'onnxruntime'"),
    ],
)
def test_a_misspelt_metric_is_not_a_table_that_is_missing(asked, message):
    with pytest.raises(UnknownName, match=message):
        stored(spaces.create("fbnet:course"), *asked)


def test_a_measured_table_is_the_same_when_it_is_read_back(shelf, tmp_path, capsys):
    """Measured here and now: a descent that was killed prices with the same figures, and goes on."""
    space, keep = spaces.create("nasbench201", depth=0.2, width=0.25, input_size=8), shelf / "measured.json"
    options = {"repeats": 3, "warmup": 1}
    first, again = (latency_table(space, "measure", keep, **options) for _ in range(2))
    assert first.fixed == again.fixed and all(map(torch.equal, first.entries, again.entries))
    heard, config = [], DescentConfig(steps=200, every=1)

    def kill(step, steps, note=""):
        heard.append(step)
        if len(heard) == 60:
            raise KeyboardInterrupt

    budget = {"loss": "lagrange", "config": config, "state": tmp_path / "s.pt"}
    macs = LookupTable.build(space, "macs")
    for table in (first, again):
        with contextlib.suppress(KeyboardInterrupt):
            pareto_sweep(macs, table, [float(np.mean(table.bounds()))], progress=kill, **budget)
    assert heard[60:] == list(range(51, 201)) and capsys.readouterr().out == ""


def built(asked):
    """Instead of measuring: a table that tells what it was asked for."""

    def build(space, metric, progress, **options):
        asked.append(options)
        return table_of(space, value=9.0, **options)

    return build


def test_a_file_is_read_by_its_ending_and_content(shelf):
    space = spaces.create("nasbench201", depth=0.2, width=0.25, input_size=8)
    table_of(space, value=7.0).save(shelf / "t.json")
    assert read_table("lookup/t.json", space).fixed == read_table(shelf / "t.json", space).fixed == 7.0
    (shelf / "t.txt").write_text("1")
    with pytest.raises(TableError, match="auto, measure, none or a file, got None"):
        read_table(None, space)
    for name, message in (("t.txt", "names end in .json"), ("none.json", "there is no lookup table .*none.json")):
        with pytest.raises(TableError, match=message):
            read_table(shelf / name, space)


@pytest.fixture
def script(tmp_path, monkeypatch):
    """The script that makes the stored tables, writing to an empty folder."""
    spec = importlib.util.spec_from_file_location("build_lookup", ROOT / "lookup" / "build.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "HERE", tmp_path)
    return module


def test_the_script_makes_what_is_missing_and_leaves_what_fits(script, tmp_path, capsys):
    macs, params = (f"nasbench201-course-32-{metric}.json" for metric in ("macs", "params"))
    kept = Path(shutil.copy(ROOT / "lookup" / params, tmp_path))
    (tmp_path / macs).write_text("{")
    before = kept.stat().st_mtime_ns
    assert script.main(["--only", "nasbench201*"]) == 0
    told = capsys.readouterr().out
    assert f"{params}: there already" in told and f"{macs}: made" in told
    assert kept.stat().st_mtime_ns == before and {f.name for f in tmp_path.iterdir()} == {macs, params}
    for name in (macs, params):
        assert (tmp_path / name).read_text() == (ROOT / "lookup" / name).read_text()


def test_the_script_knows_what_to_make(script, capsys):
    stored_names = {path.name for path in (ROOT / "lookup").glob("*.json")}
    assert set(script.tables(False, "torch")) == {name for name in stored_names if "latency" not in name}
    kits = {name for name in stored_names if name.endswith("-onnxruntime.json")}  # of `python -m nasedu kit`
    assert {name for name in stored_names if "latency" in name} - kits <= set(script.tables(True, "torch"))
    measured = set(script.tables(True, "cuda")) - set(script.tables(False, "cuda"))
    assert "fbnet-course-32-latency_ms-cuda.json" in measured and all("-cuda" in name for name in measured)
    assert script.main(["--only", "fbnett*"]) == 2
    assert "no table is named like 'fbnett*'" in capsys.readouterr().err
