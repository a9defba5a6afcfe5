"""Lookup tables: exact on architectures, right in expectation, refused where they do not belong."""

from __future__ import annotations

import contextlib
import functools
import itertools
import re
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from nasedu import spaces
from nasedu.blocks import Bottleneck
from nasedu.errors import ArchitectureError, ParameterError, TableError, UnknownName
from nasedu.hardware import Latency, count
from nasedu.hardware.latency import NoisyMeasurement
from nasedu.identity import identity
from nasedu.sampling import one_hot, softmax, uniform_logits
from nasedu.tables import LookupTable, TableStack, metrics, pricing, stored
from nasedu.tables.pieces import make_up


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


def test_an_expectation_takes_any_precision_and_only_choices_that_there_are(space, tables):
    table = tables["macs"]
    p = softmax([torch.randn(n, generator=torch.Generator().manual_seed(n)) for n in space.choices])
    double = [q.double().requires_grad_() for q in p]
    torch.testing.assert_close(table.expected(double), table.expected(p))
    table.expected(double).backward()
    assert double[0].grad.dtype == torch.float64
    for index in (-1, 99):
        with pytest.raises(ArchitectureError, match=f"has {space.choices[1]} choices, got index {index}"):
            table.expected([p[0], index, *p[2:]])


def test_what_an_expectation_multiplies_with_is_made_once(space, tables, monkeypatch):
    table = LookupTable(space, "depth", "blocks", 0.0, tables["depth"].entries)
    table.expected((0,) * 18)
    monkeypatch.setattr(TableStack, "__init__", lambda *_: pytest.fail("made again"))
    table.expected((1,) * 18)


def test_a_figure_that_is_changed_in_place_is_priced_everywhere(space, tables):
    table = LookupTable(space, "depth", "blocks", 0.0, [entry.clone() for entry in tables["depth"].entries])
    arch = (0,) * 18
    before = table(arch), float(table.expected(arch)), identity(table)
    table.entries[0][0] += 5
    table.fixed += 2
    assert (table(arch), float(table.expected(arch))) == (before[0] + 7, before[1] + 7)
    assert table.bounds()[1] >= before[0] + 7 and identity(table) != before[2]


@pytest.mark.parametrize("name", spaces.names())
def test_tables_of_every_space_agree_with_the_networks_it_builds(name):
    space = spaces.create("yolo", image_size=32) if name == "yolo" else spaces.create(f"{name}:course")
    tables = {metric: LookupTable.build(space, metric) for metric in ("macs", "params", "depth")}
    for seed in range(3):
        arch = space.sample(np.random.default_rng(seed))
        with torch.device("meta"):
            network = space.build(arch)
        cost = count(network, space.input_shape)
        searched = [network.parts[slot.name] for slot in space.slots]
        depth = sum(any(True for _ in part.parameters()) for part in searched)
        if name == "yolo":
            depth = sum(isinstance(part, Bottleneck) for part in network.modules())
        found = {metric: table(arch) for metric, table in tables.items()}
        assert found == {"macs": cost.macs, "params": cost.params, "depth": depth} and depth > 0


def test_tables_that_nothing_counts_say_what_makes_them():
    with pytest.raises(ParameterError, match=r"naswot table is not counted: proxies.zero_cost_map makes it"):
        LookupTable.build(spaces.create("yolo:tiny"), "naswot")
    with pytest.raises(ParameterError, match="an architecture of plainnet is no list of them"):
        LookupTable.build(spaces.create("plainnet"), "macs")
    with pytest.raises(ParameterError, match="naswot is a metric already"):
        metrics.register("naswot", metrics.Metric("points"))
    for joules in (1.0, 2.0):  # a cell that is run again
        metrics.register("joules", metrics.Metric("J", lambda piece, module, joules=joules: joules))
    assert float(LookupTable.build(spaces.create("nasbench201:course"), "joules").entries[0].max()) % 2 == 0
    del metrics.METRICS["joules"]


def test_equal_pieces_are_counted_once(monkeypatch):
    """A cell of nasbench201:course in each stage: 5 operations and 3 sums a stage, and 6 layers around them."""
    counted, known = [], metrics.METRICS["params"]
    monkeypatch.setitem(
        metrics.METRICS, "params", replace(known, count=lambda *at: counted.append(at) or known.count(*at))
    )
    space, told = spaces.create("nasbench201:course"), []
    table = LookupTable.build(space, "params", progress=lambda done, total: told.append((done, total)))
    assert len(counted) == 3 * (5 + 3) + 6 and told[-1] == (30, 30)
    arch = space.sample(np.random.default_rng(0))
    assert table(arch) == count(space.build(arch), space.input_shape).params


def test_numpys_whole_numbers_are_indices(space, tables):
    ones = [np.int64(1)] * len(space.choices)
    assert tables["macs"].expected(ones) == pytest.approx(tables["macs"](ones), rel=1e-6)
    with pytest.raises(ArchitectureError, match="got index 9"):
        tables["macs"].expected([np.int64(9)] * len(space.choices))


def test_bounds_are_reached(space, tables):
    low, high = tables["depth"].bounds()
    assert (low, high) == (5, 5 * 4 + 4 * 3)
    assert tables["depth"]((0,) * 18) == low and tables["depth"]((2, 3) * 9) == high


def test_p5_uniform_expectation_matches_the_published_figures():
    space = spaces.create("yolo", template="p5", num_classes=20)
    uniform = softmax(uniform_logits(space.choices))
    macs, params = stored(space, "macs"), stored(space, "params")  # counting all its blocks again takes ten seconds
    assert 2e-9 * float(macs.expected(uniform)) == pytest.approx(73.4, rel=0.01)
    assert 1e-6 * float(params.expected(uniform)) == pytest.approx(73.1, rel=0.01)


def test_save_and_load(space, tables, tmp_path):
    path = tmp_path / "macs.json"
    tables["macs"].save(path)
    loaded = LookupTable.load(path, space)
    assert loaded.unit == "MACs" and loaded.fixed == tables["macs"].fixed
    assert all(torch.equal(a, b) for a, b in zip(loaded.entries, tables["macs"].entries, strict=True))
    assert loaded.provenance == {"how": "counted by nasedu"}
    assert len(path.read_text().splitlines()) == 13 + len(space.groups), "one line per group"
    score = LookupTable(space, "snip", "log saliency", 0.0, [-1.5 * e for e in tables["depth"].entries])
    score.save(tmp_path / "score.json")
    assert LookupTable.load(tmp_path / "score.json", space)((0,) * 18) == -1.5 * 5
    other = spaces.create("yolo", num_classes=4)  # at the same size: only the fingerprints tell them apart
    with pytest.raises(TableError, match=f"was made for yolo:course.*{space.fingerprint}.*not.*{other.fingerprint}"):
        LookupTable.load(path, other)
    with pytest.raises(TableError, match="no lookup table can be read"):
        LookupTable.load(tmp_path / "none.json", space)


@pytest.fixture(scope="module")
def whole(tables, tmp_path_factory):
    """A stored table without its hash, as one made by hand."""
    path = tmp_path_factory.mktemp("stored") / "macs.json"
    tables["macs"].save(path)
    return re.sub(' "hash": .*\n', "", path.read_text())


SPOILT = {  # what is changed in the stored text, and what the refusal must name
    "another schema": ("nasedu-lookup-2", "nasedu-lookup-1", "its schema is 'nasedu-lookup-1', not 'nasedu-lookup-2'"),
    "no unit": (' "unit": "MACs",\n', "", "lacks 'unit'$"),
    "another unit": ('"MACs"', '"GMACs"', "macs is in MACs, not in 'GMACs'"),
    "another metric": ('"metric": "macs"', '"metric": "mac"', "unknown metric 'mac': did you mean 'macs'"),
    "no figure": ('"0.25, 1": 995328, ', "", "back1 lacks '0.25, 1'$"),
    "an unknown option": (
        '"0.25, 1": 995328',
        '"0.25, 1": 995328, "0.25, 9": 1',
        "back1 has '0.25, 9', which is unknown",
    ),
    "an unknown group": ('"back1":', '"back0": {}, "back1":', "entries has 'back0', which is unknown"),
    "a missing group": ('"back1":', '"back0":', "entries lacks 'back1'$"),
    "a group twice": ('"back1":', '"back1": {}, "back1":', "holds the key 'back1' twice"),
    "a figure twice": ('"0.25, 1":', '"0.25, 1": 1, "0.25, 1":', "holds the key '0.25, 1' twice"),
    "below 0": ("995328", "-995328", "has -995328 MACs at back1: a cost is at least 0"),
    "a fixed part below 0": ('"fixed": ', '"fixed": -', "has a fixed part of -.* at least 0"),
    "NaN": ("995328", "NaN", "back1, 0.25, 1 must be a finite number, got nan"),
    "more digits than a float": ("995328", "1" + "0" * 400, "back1, 0.25, 1 must be a finite number, got 1000"),
    "infinite": ("995328", "1e999", "back1, 0.25, 1 must be a finite number, got inf"),
    "text": ("995328", '"fast"', "back1, 0.25, 1 must be a finite number, got 'fast'"),
    "a truth": ("995328", "true", "back1, 0.25, 1 must be a finite number, got True"),
    "a list": ("995328", "[1]", r"back1, 0.25, 1 must be a finite number, got \[1\]"),
    "no mapping": ('{"how": "counted by nasedu"}', "3", "provenance must map what to how, got 3"),
}


@pytest.mark.parametrize("name", SPOILT)
def test_a_spoilt_file_is_refused_by_what_is_wrong_in_it(space, whole, tmp_path, name):
    old, new, message = SPOILT[name]
    assert old in whole
    (tmp_path / "t.json").write_text(whole.replace(old, new, 1))
    with pytest.raises(TableError, match=message):
        LookupTable.load(tmp_path / "t.json", space)


def test_a_digit_that_changed_on_the_disk_is_found(space, tables, whole, tmp_path):
    path = tmp_path / "macs.json"
    path.write_text(whole)
    assert LookupTable.load(path, space).fixed == tables["macs"].fixed, "a file made by hand needs no hash"
    replace(tables["macs"], provenance={"who": "Zoë", 1: (2, 0.1)}).save(path)
    text = path.read_text()
    assert LookupTable.load(path, space).provenance == {"who": "Zoë", "1": [2, 0.1]}
    for old, new in (("995328", "995329"), ("Zoë", "Zoe"), ('"hash": "', '"hash": "x')):
        path.write_text(text.replace(old, new, 1))
        with pytest.raises(TableError, match=r"macs\.json was changed after it was written"):
            LookupTable.load(path, space)


@pytest.mark.parametrize("text", ["", "[]", "3", '{"schema": "other"}', "{", '{"a": ' * 5000])
def test_other_files_are_refused(space, whole, tmp_path, text):
    for content in (text, whole[:300]):
        (tmp_path / "t.json").write_text(content)
        with pytest.raises(TableError, match="no lookup table"):
            LookupTable.load(tmp_path / "t.json", space)


def test_seconds_are_no_milliseconds(space, tables, tmp_path):
    entries = tables["depth"].entries
    with pytest.raises(TableError, match="latency_ms is in ms, not in 's'"):
        LookupTable(space, "latency_ms", "s", 1.0, entries)
    with pytest.raises(TableError, match="unknown metric 'latency_mss': did you mean 'latency_ms'"):
        LookupTable(space, "latency_mss", "ms", 1.0, [-e for e in entries])
    with pytest.raises(TableError, match="a metric of your own needs another name"):
        LookupTable(space, "latency_ms", "s", 1.0, entries, own=True)
    gain = LookupTable(space, "gain", "points", -1.0, [-e for e in entries], own=True)
    assert gain((0,) * 18) == -1 - tables["depth"]((0,) * 18)
    with pytest.raises(TableError, match="unknown metric 'gain'"):
        gain.save(tmp_path / "t.json")
    assert not (tmp_path / "t.json").exists()


def test_bad_entries_and_metrics_are_refused(space, tables):
    entries = [e.clone() for e in tables["depth"].entries]
    entries[3][0, 0] = float("nan")
    with pytest.raises(TableError, match="not finite"):
        LookupTable(space, "depth", "blocks", 0.0, entries)
    with pytest.raises(TableError, match="entries of shape"):
        LookupTable(space, "depth", "blocks", 0.0, entries[1:])
    entries[3][0, 0] = -1
    with pytest.raises(TableError, match="has -1 ms at back4: a cost is at least 0"):
        LookupTable(space, "latency_ms", "ms", 0.0, entries)
    with pytest.raises(UnknownName, match="did you mean 'macs'"):
        LookupTable.build(space, "mac")
    with pytest.raises(ParameterError, match="a macs table is counted and takes no options, got threads"):
        LookupTable.build(space, "macs", threads=2)
    with pytest.raises(UnknownName, match="unknown option of a latency table 'thread': did you mean 'threads'"):
        LookupTable.build(space, "latency_ms", thread=2)


def test_latency_table_measures_every_option():
    space, done = spaces.create("yolo", template="tiny", num_classes=2, image_size=32), []
    table = LookupTable.build(space, "latency_ms", repeats=3, warmup=1, progress=lambda *n: done.append(n))
    assert table.fixed > 0 and all(bool((entry > 0).all()) for entry in table.entries)
    wanted = {"date", "device", "torch", "threads", "repeats", "batch", "backend", "precision", "noisy_pieces"}
    assert wanted <= set(table.provenance)
    assert done[-1] == (len(done), len(done)) and len(done) >= 36


@pytest.fixture
def clockwork(monkeypatch):
    """Instead of a clock: the n-th measurement takes about n ms, and every tenth is disturbed."""
    measured = []

    @contextlib.contextmanager
    def timer(module, *shapes, **options):
        def time():
            measured.append(module)
            n = len(measured)
            return Latency(n + 1e-4 * n * n, 0, 0, 30, 1, noisy=n % 10 == 0)

        yield time

    monkeypatch.setattr(pricing, "timer", timer)
    return measured


def test_of_several_rounds_the_fastest_counts(monkeypatch):
    """A machine that is slow for a while, longer than any one measurement takes."""
    ready, slow = [], range(7, 25)

    @contextlib.contextmanager
    def timer(module, *shapes, **options):
        ready.append(module)
        weights = sum(p.numel() for p in module.parameters())
        yield lambda: Latency(weights * (9.0 if next(count) in slow else 1.0), 0, 0, 30, 1)

    space, tables = spaces.create("fairnas:course"), {}
    monkeypatch.setattr(pricing, "timer", timer)
    for rounds in (1, 3):
        count = itertools.count()
        tables[rounds] = LookupTable.build(space, "latency_ms", rounds=rounds)
        pieces = len(ready)
        ready.clear()
    params = LookupTable.build(space, "params")
    assert torch.equal(torch.cat([*tables[3].entries]), torch.cat([*params.entries]))
    assert not torch.equal(torch.cat([*tables[1].entries]), torch.cat([*params.entries]))
    assert next(count) == 3 * pieces and tables[3].provenance["rounds"] == 3
    with pytest.raises(ParameterError, match="rounds"):
        LookupTable.build(space, "latency_ms", rounds=0)


def test_a_drifting_machine_hits_no_layer_in_particular(clockwork):
    space = spaces.create("fairnas:course")
    with pytest.warns(NoisyMeasurement, match=r"busy while \d+ of \d+ pieces were measured") as told:
        table = LookupTable.build(space, "latency_ms")
    assert len(told) == 1 and table.provenance["noisy_pieces"] == len(clockwork) // 10
    position = np.array([float(e.mean()) for e in table.entries])
    assert abs(np.corrcoef(position, np.arange(len(position)))[0, 1]) < 0.7
    assert position.max() < 0.8 * len(clockwork), "in order, the last layer would be the last measured"
    torch.manual_seed(3)
    before = torch.random.get_rng_state()
    with pytest.warns(NoisyMeasurement):
        LookupTable.build(space, "latency_ms")
    assert torch.equal(before, torch.random.get_rng_state()), "the caller's random state is left alone"


def test_pieces_that_are_the_same_are_measured_once_and_only_they(clockwork):
    space = spaces.create("nasbench201:course")
    with pytest.warns(NoisyMeasurement):
        table = LookupTable.build(space, "latency_ms")
    # five operations and three sums (of 1, 2 and 3 maps) a stage, stem, two reductions, norm, act, classifier
    assert len(clockwork) == 3 * (5 + 3) + 6
    assert len({float(e[3]) for e in table.entries}) == 1, "the same operation costs the same on every edge"
    assert len(set(table.entries[0].tolist())) == 5


@pytest.mark.parametrize("backend", ["torch", "compiled", "onnxruntime"])
def test_what_runs_nothing_costs_nothing_where_a_network_is_one_program(clockwork, backend):
    space = spaces.create("nasbench201:course")
    with pytest.warns(NoisyMeasurement):
        table = LookupTable.build(space, "latency_ms", backend=backend)
    idle = [space.operations.index(name) for name in ("none", "skip_connect")]
    busy = [i for i in range(len(space.operations)) if i not in idle]
    eager = backend == "torch"
    assert all(bool((e[idle] > 0).all()) == eager and bool((e[busy] > 0).all()) for e in table.entries)
    assert len(clockwork) == 30 - (0 if eager else 6)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (lambda: nn.Conv2d(4, 4, 3, padding=1), lambda: nn.Conv2d(4, 4, 3, padding=1, dilation=1, bias=False)),
        (lambda: nn.Conv2d(4, 4, 3, padding=2, dilation=2), lambda: nn.Conv2d(4, 4, 3, padding=1)),
        (lambda: Bottleneck(4, 4, True), lambda: Bottleneck(4, 4, False)),
        (nn.ReLU, lambda: nn.ReLU(inplace=True)),
        (lambda: nn.AvgPool2d(3, 1, 1), lambda: nn.MaxPool2d(3, 1, 1)),
    ],
)
def test_pieces_that_differ_in_a_setting_are_not_the_same(one, other):
    shapes = ((4, 8, 8),)
    first = make_up(one(), shapes)
    assert first == make_up(one(), shapes) and first is not None
    assert first != make_up(other(), shapes)
    assert first != make_up(one(), ((4, 8, 4),))


def test_what_holds_something_unknown_is_like_nothing_else():
    for thing in (lambda x: x, nn.ReLU().forward, functools.partial(max, 1), torch.ones(1), object()):
        module = nn.ReLU()
        module.thing = thing
        assert make_up(module, ((4, 8, 8),)) is None
        module.thing = [nn.functional.relu, nn.ReLU, torch.float16, {1, 2}]
        assert make_up(module, ((4, 8, 8),)) is not None
