"""Lookup tables: exact on architectures, right in expectation, refused where they do not belong."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from nasedu import spaces
from nasedu.errors import TableError, UnknownName
from nasedu.hardware import LookupTable, count
from nasedu.sampling import one_hot, softmax, uniform_logits


@pytest.fixture(scope="module")
def space():
    return spaces.create("yolo", num_classes=3)


@pytest.fixture(scope="module")
def tables(space):
    return {metric: LookupTable.build(space, metric) for metric in ("macs", "params", "depth")}


def test_table_equals_the_count_of_the_built_network(space, tables):
    rng = np.random.default_rng(0)
    for _ in range(10):
        arch = space.sample(rng)
        with torch.device("meta"):
            cost = count(space.build(arch), space.input_shape)
        assert tables["macs"](arch) == cost.macs and tables["params"](arch) == cost.params


def test_count_agrees_with_a_convolution_by_hand():
    conv = torch.nn.Conv2d(3, 8, 3, stride=2, padding=1)
    cost = count(conv, (3, 32, 32))
    assert (cost.macs, cost.params, cost.flops) == (16 * 16 * 8 * 27, 8 * 27 + 8, 2 * 16 * 16 * 8 * 27)
    assert not conv.weight.is_meta


def test_expectation_is_exact_on_one_hot_and_a_mean_on_weights(space, tables):
    table, rng = tables["macs"], np.random.default_rng(1)
    arch = space.sample(rng)
    assert float(table.expected(one_hot(arch, space.choices))) == pytest.approx(table(arch), rel=1e-5)
    assert float(table.expected(arch)) == pytest.approx(table(arch), rel=1e-5)
    mean = np.mean([table(space.sample(rng)) for _ in range(4000)])
    uniform = softmax(uniform_logits(space.choices))
    assert float(table.expected(uniform)) == pytest.approx(mean, rel=0.01)


def test_expectation_is_differentiable_and_takes_many_seeds(space, tables):
    logits = [torch.randn(5, n, requires_grad=True) for n in space.choices]
    expected = tables["depth"].expected(softmax(logits))
    assert expected.shape == (5,)
    expected.sum().backward()
    for one, n in zip(logits, space.choices, strict=True):
        assert one.grad.shape == (5, n)
    single = tables["depth"].expected([p[2] for p in softmax(logits)])
    torch.testing.assert_close(single, expected[2])


def test_bounds_are_reached(space, tables):
    low, high = tables["depth"].bounds()
    assert (low, high) == (5, 5 * 4 + 4 * 3)
    assert tables["depth"]((0,) * 18) == low and tables["depth"]((2, 3) * 9) == high


def test_p5_uniform_expectation_matches_the_published_figures():
    space = spaces.create("yolo", template="p5", num_classes=20)
    uniform = softmax(uniform_logits(space.choices))
    assert 2e-9 * float(LookupTable.build(space, "macs").expected(uniform)) == pytest.approx(73.4, rel=0.01)
    assert 1e-6 * float(LookupTable.build(space, "params").expected(uniform)) == pytest.approx(73.1, rel=0.01)


def test_save_and_load_and_refusal(space, tables, tmp_path):
    path = tmp_path / "macs.json"
    tables["macs"].save(path)
    loaded = LookupTable.load(path, space)
    assert loaded(space.hand_designed) == tables["macs"](space.hand_designed) and loaded.unit == "MACs"
    with pytest.raises(TableError, match="was made for yolo:course"):
        LookupTable.load(path, spaces.create("yolo", num_classes=4))
    with pytest.raises(TableError, match="no lookup table can be read"):
        LookupTable.load(tmp_path / "none.json", space)
    whole = json.loads(path.read_text())
    for spoil in (
        lambda t: t.pop("slots"),
        lambda t: t["slots"]["back1"].update(values=[[1]]),
        lambda t: t.pop("unit"),
    ):
        spoilt = json.loads(json.dumps(whole))
        spoil(spoilt)
        path.write_text(json.dumps(spoilt))
        with pytest.raises(TableError, match="is malformed"):
            LookupTable.load(path, space)
    path.write_text(json.dumps(whole)[:200])
    with pytest.raises(TableError, match="no lookup table can be read"):
        LookupTable.load(path, space)
    path.write_text(json.dumps({"schema": "other"}))
    with pytest.raises(TableError, match="is no lookup table"):
        LookupTable.load(path, space)


def test_bad_entries_and_metrics_are_refused(space, tables):
    entries = [e.clone() for e in tables["depth"].entries]
    entries[3][0, 0] = float("nan")
    with pytest.raises(TableError, match="not finite"):
        LookupTable(space, "depth", "bottlenecks", 0.0, entries)
    with pytest.raises(TableError, match="entries of shape"):
        LookupTable(space, "depth", "bottlenecks", 0.0, entries[1:])
    with pytest.raises(UnknownName, match="did you mean 'macs'"):
        LookupTable.build(space, "mac")


def test_latency_table_measures_every_option():
    space = spaces.create("yolo", template="tiny", num_classes=2, image_size=32)
    table = LookupTable.build(space, "latency_ms", repeats=3, warmup=1)
    assert table.fixed > 0 and all(bool((entry > 0).all()) for entry in table.entries)
    assert {"date", "device", "torch", "threads", "repeats", "batch"} <= set(table.provenance)
