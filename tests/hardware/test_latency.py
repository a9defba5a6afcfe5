"""The timer, on a clock that the tests turn: how long anything takes is a matter of benchmarks."""

from __future__ import annotations

import itertools
import warnings
from unittest import mock

import pytest
import torch
from torch import nn

from nasedu.errors import ParameterError
from nasedu.hardware import Latency, NoisyMeasurement, latency, measure
from nasedu.hardware.backends import Clock


class Turned:
    """A network whose runs take so many ms each, the last for ever, on a clock that nothing else moves.

    Of that time the processor computes the share `cpu`; reading the clock takes `reading` ms.
    """

    def __init__(self, *durations: float, cpu: float = 1.0, reading: float = 0.0):
        self.durations, self.cpu, self.reading = (
            itertools.chain(durations, itertools.repeat(durations[-1])),
            cpu,
            reading,
        )
        self.now = self.computed = 0.0
        self.runs = 0
        self.clock = Clock(self.read, lambda: self.computed / 1e3, 0.0)

    def read(self) -> float:
        self.pass_by(self.reading)
        return self.now / 1e3

    def pass_by(self, ms: float, cpu: float = 1.0) -> None:
        self.now += ms
        self.computed += cpu * ms

    def network(self) -> nn.Module:
        turned = self

        class Network(nn.Module):
            def forward(self, x):
                turned.runs += 1
                turned.pass_by(next(turned.durations), turned.cpu)
                return x

        return Network()

    def measured(self, **options) -> Latency:
        with mock.patch.object(latency, "CLOCK", self.clock):
            return measure(self.network(), (1,), **options)


def test_the_median_and_the_quartiles_of_the_repeats_without_the_warm_up():
    turned = Turned(500, 400, 300, 10, 10.1, 10.2, 10.3, 10.4, 10.5, 50)
    measured = turned.measured(warmup=3, repeats=7)
    assert measured.median == pytest.approx(10.3)
    assert (measured.low, measured.high) == pytest.approx((10.1, 10.5))
    assert (measured.repeats, measured.attempts, measured.noisy) == (7, 1, False)
    assert turned.runs == 10


def test_a_short_module_runs_often_in_one_repeat_and_its_time_is_that_of_one_run():
    turned = Turned(0.003, reading=0.001)
    measured = turned.measured(warmup=2, repeats=10)
    inner = (turned.runs - 2) / 10
    assert 0.2 <= inner * 0.003 < 0.31
    assert measured.median == pytest.approx(0.003, rel=0.01) and not measured.noisy
    assert measured.overhead == pytest.approx(0.001)


def test_what_passes_before_the_first_run_has_ended_is_loading():
    assert Turned(500, 400, 10).measured(warmup=2, repeats=3).load_ms == pytest.approx(500)


def test_a_run_before_the_first_repeat_is_never_counted_even_without_warm_up():
    assert Turned(100, 1, 1, 1).measured(warmup=0, repeats=3).high == pytest.approx(1)


def test_a_busy_machine_is_tried_again_and_calm_in_the_end():
    turned = Turned(1, *[1, 2, 3], *[5, 5, 5])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        measured = turned.measured(warmup=1, repeats=3)
    assert (measured.median, measured.attempts, measured.noisy) == (pytest.approx(5), 2, False)


def test_of_three_disturbed_attempts_the_calmest_is_kept_with_one_warning():
    turned = Turned(1, *[1, 2, 3], *[8, 10, 12], *[10, 30, 50])
    with pytest.warns(NoisyMeasurement, match="machine was busy") as warned:
        measured = turned.measured(warmup=1, repeats=3)
    assert (measured.median, measured.attempts, measured.noisy) == (pytest.approx(10), 3, True)
    assert len(warned) == 1 and warned[0].filename == __file__ and "noisy" in str(measured)


def test_a_processor_that_another_program_took_is_noise_even_where_all_repeats_agree():
    with pytest.warns(NoisyMeasurement):
        assert Turned(1, cpu=0.7).measured(repeats=5).noisy
    assert not Turned(1, cpu=0.95).measured(repeats=5).noisy
    assert not Turned(1, cpu=2.0).measured(repeats=5, threads=2).noisy
    assert not Turned(1, cpu=1.0).measured(repeats=5, threads=2).noisy, "a network may have work for one core only"
    with pytest.warns(NoisyMeasurement):
        assert Turned(1, cpu=0.7).measured(repeats=5, threads=2).noisy


def test_a_coarse_clock_of_the_processor_is_read_over_the_whole_attempt():
    """Ticks of 16 ms beside repeats of 1: most see none, and one tick for each would hide any loss."""
    for cpu, noisy in ((0.7, True), (1.0, False)):
        turned = Turned(1, cpu=cpu)
        turned.clock = Clock(turned.read, lambda turned=turned: turned.computed // 16 * 16e-3, 16e-3)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", NoisyMeasurement)
            assert turned.measured(repeats=200).noisy == noisy


def test_a_few_repeats_held_up_do_not_matter():
    assert not Turned(1, *[1, 1, 1, 1, 9, 1, 1, 1, 1]).measured(warmup=1, repeats=9).noisy


def test_it_leaves_the_module_and_the_threads_as_they_were():
    model = nn.Sequential(nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3), nn.Dropout()).double().train()
    model[1].eval()
    threads, seen = torch.get_num_threads(), []
    kept = {name: (id(t), t.dtype, t.clone()) for name, t in model.state_dict(keep_vars=True).items()}
    model.register_forward_pre_hook(lambda module, inputs: seen.append((inputs[0], torch.get_num_threads())))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NoisyMeasurement)
        measured = measure(model, (2, 5, 5), batch=3, repeats=3, warmup=1, threads=threads + 1)
    assert (measured.batch, measured.threads, measured.backend) == (3, threads + 1, "torch")
    assert 0 < measured.low <= measured.median <= measured.high
    inputs, used = seen[0]
    assert inputs.shape == (3, 2, 5, 5) and inputs.dtype == torch.float32 and used == threads + 1
    assert [part.training for part in model] == [True, False, True] and torch.get_num_threads() == threads
    for name, tensor in model.state_dict(keep_vars=True).items():
        key, dtype, value = kept[name]
        assert (id(tensor), tensor.dtype) == (key, dtype) and torch.equal(tensor, value)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"repeats": 2}, "repeats must be a whole number from 3, got 2"),
        ({"repeats": 3.5}, "repeats must be .* from 3"),
        ({"warmup": -1}, "warmup must be .* from 0"),
        ({"batch": 0}, "batch must be .* from 1, got 0"),
        ({"threads": True}, "threads must be a whole number from 1, got True"),
        ({"device": "cpuu"}, "unknown device 'cpuu'"),
        ({"precision": "float16"}, "float16 is timed on a GPU only .*not by torch on cpu"),
    ],
)
def test_impossible_settings_are_refused(options, words):
    with pytest.raises(ParameterError, match=words):
        measure(nn.ReLU(), (2,), **options)


@pytest.mark.parametrize(
    ("shapes", "words"),
    [
        ((), "inputs of one shape or more, such as .* got none$"),
        (((2, -1, 4),), r"one shape or more.* got \(2, -1, 4\)$"),
        ((4,), "one shape or more.* got 4$"),
        (((3, 6, 6),), r"does not run on inputs of \(3, 6, 6\): .*2 channels"),
        (((2, 6, 6), (2, 6, 6)), r"does not run on inputs of \(2, 6, 6\), \(2, 6, 6\): "),
    ],
)
@pytest.mark.parametrize("backend", ["torch", "compiled", "onnxruntime"])
def test_inputs_that_a_network_does_not_take_are_one_sentence(shapes, words, backend):
    with pytest.raises(ParameterError, match=words) as caught:
        measure(nn.Conv2d(2, 3, 3), *shapes, backend=backend)
    assert "\n" not in str(caught.value)


def test_a_latency_reads_as_a_sentence():
    assert str(Latency(4.982, 4.9, 5.1, 30, 1)) == "4.98 ms (4.9 to 5.1), batch 1, 1 thread, torch"
    noisy = Latency(4.982, 4.9, 5.1, 30, 8, 2, "cuda", "float16", noisy=True)
    full = Latency(4.982, 4.9, 5.1, 30, 1, load_ms=1234.5, memory_mb=0.0)
    assert str(full) == "4.98 ms (4.9 to 5.1), batch 1, 1 thread, torch, loaded in 1,234 ms, 0 MB"
    assert str(noisy) == "4.98 ms (4.9 to 5.1), batch 8, 2 threads, cuda, float16, noisy"
