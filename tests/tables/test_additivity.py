"""Sums of pieces beside whole networks: what is reported, and what a correction finds where the truth is known."""

from __future__ import annotations

import functools
import math

import numpy as np
import pytest
import torch

from nasedu import randomness, spaces
from nasedu.errors import ArchitectureError, BackendError, ParameterError, TableError, UnknownName
from nasedu.hardware import Latency, count
from nasedu.hardware.latency import NoisyMeasurement
from nasedu.tables import LookupTable, additivity, compare, correct, measure_networks, random_networks, stored, study
from nasedu.tables.additivity import boundaries as additivity_boundaries


def timed(name, **options):
    """A latency table of a space as a device without surprises would have it: by MACs, and a bit for every piece."""
    space = spaces.create(name, **options)
    macs = stored(space, "macs")
    counts = boundaries(space)
    entries = [e / 1e7 + 0.02 * n for e, n in zip(macs.entries, counts.entries, strict=True)]
    return LookupTable(space, "latency_ms", "ms", macs.fixed / 1e7, entries, {"how": "made up"})


@pytest.fixture(autouse=True)
def counted_once(monkeypatch):
    """Boundaries are counted afresh for every correction, which takes a tenth of a second."""
    monkeypatch.setattr(additivity, "boundaries", boundaries)


@functools.cache
def boundaries(space):
    return additivity_boundaries(space)


@pytest.fixture(scope="module")
def fbnet():
    return timed("fbnet:course")


@pytest.fixture(scope="module")
def yolo():
    return timed("yolo:course")


@pytest.mark.parametrize("name", [f"{name}:course" for name in spaces.names()])
def test_macs_and_params_tables_are_exact(name):
    space = spaces.create(name)
    archs = random_networks(space, 2, seed=1)
    with torch.device("meta"):
        costs = [count(space.build(arch), space.input_shape) for arch in archs]
    for metric in ("macs", "params"):
        how_well = study(stored(space, metric), archs, [getattr(cost, metric) for cost in costs])
        assert (how_well.mape, how_well.bias, how_well.rmse, how_well.r2) == (0, 0, 0, 1)


def test_the_figures_are_those_of_their_definitions():
    how_well = compare([1.0, 2.0, 6.0], [2.0, 4.0, 6.0])
    assert how_well.n == 3
    assert how_well.mape == pytest.approx((0.5 + 0.5 + 0) / 3)
    assert how_well.bias == pytest.approx(-1 / 3), "predicted too fast is negative"
    assert how_well.spread == pytest.approx(np.std([-0.5, -0.5, 0], ddof=1))
    assert how_well.rmse == pytest.approx(math.sqrt(5 / 3))
    assert how_well.r2 == pytest.approx(1 - 5 / 8), "of the predictions as they are, not of a line through them"
    assert how_well.spearman == pytest.approx(1)
    assert "n = 3" in str(how_well) and "33.3%" in str(how_well) and "-33.3%" in str(how_well)
    flat = compare([1.0, 1.0], [2.0, 2.0])
    assert math.isnan(flat.r2) and math.isnan(flat.spearman) and flat.mape == 0.5


@pytest.mark.parametrize(
    ("predicted", "measured"),
    [
        ([1.0], [1.0]),
        ([1.0, 2.0], [1.0]),
        ([1.0, 2.0], [1.0, 0.0]),
        ([1.0, 2.0], [1.0, math.nan]),
        ([1, math.inf], [1, 2]),
    ],
)
def test_what_is_no_measurement_is_refused(predicted, measured):
    with pytest.raises(ParameterError):
        compare(predicted, measured)


def test_boundaries_are_the_pieces_that_run():
    space = spaces.create("fbnet:course")
    table, names = boundaries(space), [d.choices for d in space.decisions]
    none = tuple(c.index("skip") for c in names)
    slots = len(names)
    all_run = table((0,) * slots)
    assert all_run == slots + 3, "stem, head, classifier and every block"
    shape_changes = sum(
        isinstance(type(s.make(i)), type) and len(list(s.make(i).parameters())) > 0
        for s, i in zip(space.slots, none, strict=True)
    )
    assert 0 < shape_changes < slots, "a skip that changes the shape is a convolution"
    assert table(none) == shape_changes + 3
    cell = spaces.create("nasbench201:course")
    counts = boundaries(cell)
    op = {name: i for i, name in enumerate(cell.operations)}
    base = counts((op["none"],) * 6)
    assert counts((op["skip_connect"],) * 6) == base
    for name in ("nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3"):
        assert counts((op[name], *(op["none"],) * 5)) - base == 6, "an edge runs in each of the six cells"


@pytest.mark.parametrize("scale", [1.0, 1.4])
@pytest.mark.parametrize("each", [0.05, -0.015])
def test_a_correction_finds_the_truth_it_is_made_from(fbnet, each, scale):
    archs, counts = random_networks(fbnet.space, 30), boundaries(fbnet.space)
    measured = [0.7 + scale * fbnet(a) + each * counts(a) for a in archs]
    fitted = correct(fbnet, archs, measured, scale=scale != 1)
    assert fitted.overhead == pytest.approx(0.7) and fitted.per_boundary == pytest.approx(each)
    assert fitted.scale == pytest.approx(scale) and fitted.note == ""
    assert fitted.after.mape < 1e-9 < 0.05 < fitted.before.mape
    assert set(fitted.standard_errors) == {"overhead", "per_boundary"} | ({"scale"} if scale != 1 else set())
    corrected = fitted.apply(fbnet)
    others = random_networks(fbnet.space, 20, seed=9)
    for arch in others:
        assert corrected(arch) == pytest.approx(0.7 + scale * fbnet(arch) + each * counts(arch))
    assert corrected.provenance["how"] == "made up"
    assert corrected.provenance["correction"]["overhead_ms"] == pytest.approx(0.7)
    assert corrected.provenance["correction"]["networks"] == 30 and corrected.provenance["correction"]["set_to_0"] == 0
    assert "correction" not in fbnet.provenance and fbnet.fixed < corrected.fixed


def test_where_all_run_a_boundary_cannot_be_told_from_the_overhead(yolo, fbnet):
    archs = random_networks(yolo.space, 20)
    fitted = correct(yolo, archs, [yolo(a) + 0.5 for a in archs])
    assert fitted.per_boundary is None and fitted.overhead == pytest.approx(0.5)
    assert fitted.note.startswith("every network of this space has as many boundaries")
    assert "every network" in str(fitted) and "a boundary" not in str(fitted).split(";")[0]
    assert fitted.apply(yolo)(archs[0]) == pytest.approx(yolo(archs[0]) + 0.5)
    counts = boundaries(fbnet.space)
    same = [a for a in random_networks(fbnet.space, 400) if counts(a) == 14][:20]
    fitted = correct(fbnet, same, [fbnet(a) + 0.5 for a in same])
    assert fitted.note.startswith("these networks all have as many") and fitted.overhead == pytest.approx(0.5)


def test_the_error_after_it_is_of_networks_it_has_not_seen(fbnet):
    """Where there is nothing to find, the fit still follows its own networks; held out, it must do worse than there."""
    archs, rng = random_networks(fbnet.space, 12), np.random.default_rng(0)
    measured = [fbnet(a) * (1 + 0.3 * rng.random()) for a in archs]
    fitted = correct(fbnet, archs, measured, scale=True)
    own = study(fitted.apply(fbnet), archs, measured)
    assert fitted.after.rmse > 1.05 * own.rmse
    held_out = [None] * 12
    order = randomness.rng(0, "folds").permutation(12)
    for fold in np.array_split(order, 5):
        rest = [i for i in order if i not in fold]
        one = correct(fbnet, [archs[i] for i in rest] * 2, [measured[i] for i in rest] * 2, scale=True).apply(fbnet)
        for i in fold:
            held_out[i] = one(archs[i])
    assert fitted.held_out == pytest.approx(held_out)
    assert correct(fbnet, archs, measured, scale=True) == fitted
    assert correct(fbnet, archs, measured, scale=True, seed=1).held_out != fitted.held_out


def test_a_standard_error_is_how_far_off_the_fit_is(fbnet):
    archs, counts, rng = random_networks(fbnet.space, 40), boundaries(fbnet.space), np.random.default_rng(0)
    found = []
    for _ in range(60):
        measured = [0.7 + fbnet(a) + 0.05 * counts(a) + rng.normal(0, 0.05) for a in archs]
        found.append(correct(fbnet, archs, measured))
    for name in ("overhead", "per_boundary"):
        told = np.mean([f.standard_errors[name] for f in found])
        assert told == pytest.approx(np.std([getattr(f, name) for f in found]), rel=0.3)


def test_nothing_ever_costs_less_than_0(fbnet, yolo):
    """Measurements from which plain least squares would take more off than there is."""
    for table in (fbnet, yolo):
        counts = boundaries(table.space)
        archs = random_networks(table.space, 20)
        most = max(counts(a) for a in archs)
        measured = [0.05 + 0.02 * table(a) + 0.5 * (counts(a) == most) for a in archs]
        for scale in (False, True):
            fitted = correct(table, archs, measured, scale=scale)
            corrected = fitted.apply(table)
            assert corrected.bounds()[0] >= 0 and all(bool((e >= 0).all()) for e in corrected.entries)
            assert corrected.provenance["correction"]["set_to_0"] == 0
            told = [fitted.overhead + fitted.scale * table(a) + (fitted.per_boundary or 0) * counts(a) for a in archs]
            assert [corrected(a) for a in archs] == pytest.approx(told)
        assert "below which it may not go" in correct(table, archs, [0.01 + 1e-4 * i for i in range(20)]).note
    cheap = LookupTable(fbnet.space, "latency_ms", "ms", 0.0, [0 * e for e in fbnet.entries])
    archs = random_networks(fbnet.space, 20)
    fitted = correct(fbnet, archs, [0.2 + fbnet(a) - 0.01 * boundaries(fbnet.space)(a) for a in archs])
    assert fitted.per_boundary == pytest.approx(-0.01)
    clamped = fitted.apply(cheap)
    assert clamped.provenance["correction"]["set_to_0"] > 0 and all(bool((e == 0).all()) for e in clamped.entries)


def test_a_correction_fits_its_own_space_and_metric_only(fbnet, yolo):
    archs = random_networks(fbnet.space, 20)
    fitted = correct(fbnet, archs, [fbnet(a) + 0.5 for a in archs])
    for other in (yolo, stored(fbnet.space, "macs")):
        with pytest.raises(TableError, match="this correction was fitted on another latency_ms table"):
            fitted.apply(other)
    with pytest.raises(ParameterError, match="needs 10 networks"):
        correct(fbnet, archs[:9], [1.0] * 9)
    with pytest.raises(ParameterError, match="2 folds or more"):
        correct(fbnet, archs, [1.0] * 20, folds=1)


def test_random_networks_are_different_and_come_again(fbnet):
    space = fbnet.space
    assert random_networks(space, 40) == random_networks(space, 40) != random_networks(space, 40, seed=1)
    small = spaces.create("nasbench201", operations=("none", "skip_connect"))
    assert len(set(random_networks(small, 64))) == 64
    with pytest.raises(ParameterError, match="has 64 networks, 65 different ones"):
        random_networks(small, 65)
    for seed in (-1, 0.5, None):
        with pytest.raises(ParameterError, match="seed must be a whole number from 0"):
            random_networks(small, 2, seed)


@pytest.fixture
def drifting(monkeypatch):
    """A machine that slows down steadily: the n-th measurement takes n ms."""
    measured = []

    def measure(network, *shapes, **options):
        measured.append((sum(p.numel() for p in network.parameters()), shapes, options))
        return Latency(float(len(measured)), 0, 0, 30, 1, noisy=len(measured) == 5)

    monkeypatch.setattr(additivity, "measure", measure)
    return measured


def test_networks_are_measured_in_turns(drifting):
    space, done = spaces.create("nasbench201", depth=0.2, width=0.25, input_size=8), []
    by_size = {sum(p.numel() for p in space.build(a).parameters()): a for a in random_networks(space, 60)}
    own, archs = zip(*list(by_size.items())[:12], strict=True)
    with pytest.warns(NoisyMeasurement, match="1 of 36 networks"):
        times = measure_networks(space, archs, batch=2, progress=lambda *n: done.append(n))
    assert len(drifting) == 36 and done == [(n, 36) for n in range(1, 37)]
    assert all(shapes == (space.input_shape,) and options == {"batch": 2} for _, shapes, options in drifting)
    sizes = [params for params, _, _ in drifting]
    rounds = [sizes[i : i + 12] for i in (0, 12, 24)]
    assert sorted(rounds[0]) == sorted(rounds[1]) == sorted(rounds[2]) and len(set(map(tuple, rounds))) == 3
    assert len(own) == 12
    disturbed = [size == sizes[4] for size in own]
    for time, size, busy in zip(times, own, disturbed, strict=True):
        turns = [i + 1 for i, other in enumerate(sizes) if other == size]
        assert time == (sum(turns[1:]) / 2 if busy else turns[1]), "the median of its own three, without the disturbed"


def test_networks_for_a_runtime_are_exported_once(monkeypatch):
    space, exported, read = spaces.create("nasbench201", depth=0.2, width=0.25, input_size=8), [], []

    def export(job, path):
        exported.append((job.batch, job.threads, job.precision))
        path.write_bytes(b"a network")

    def measured(path, *shapes, **options):
        assert path.read_bytes() == b"a network"
        read.append((path.name, shapes, options))
        return Latency(float(path.stem), 0, 0, 3, 2)

    monkeypatch.setattr(additivity, "export_job", export)
    monkeypatch.setattr(additivity, "measure_onnx", measured)
    options = {"backend": "openvino", "precision": "int8", "batch": 2, "threads": 2, "repeats": 3}
    archs = random_networks(space, 4)
    assert measure_networks(space, archs, device="cpu", **options) == [0, 1, 2, 3]
    assert exported == [(2, 2, "int8")] * 4
    assert len(read) == 12 and all(row[1:] == ((space.input_shape,), options) for row in read)
    with pytest.raises(BackendError, match="runs on cpu, not on cuda"):
        measure_networks(space, archs, backend="onnxruntime", device="cuda")


def test_networks_are_refused_before_the_first_is_measured(drifting):
    space = spaces.create("nasbench201", depth=0.2, width=0.25, input_size=8)
    for wrong, error in (({"rounds": 0}, ParameterError), ({"thread": 1}, UnknownName)):
        with pytest.raises(error):
            measure_networks(space, random_networks(space, 2), **wrong)
    with pytest.raises(ArchitectureError):
        measure_networks(space, [(0, 0, 0, 0, 0, 9)])
    assert not drifting
