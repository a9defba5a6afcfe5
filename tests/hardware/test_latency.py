"""The timer: what it waits for. How long anything takes is a matter of benchmarks."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from nasedu.errors import ParameterError
from nasedu.hardware import latency


def test_the_timer_waits_for_an_accelerator_and_reads_the_clock_after_it(monkeypatch):
    events = []

    class Clock:
        @staticmethod
        def perf_counter():
            events.append("clock")
            return float(len(events))

    monkeypatch.setattr(latency, "time", Clock)
    monkeypatch.setattr(torch.cuda, "synchronize", lambda device: events.append("wait"))

    class Network(nn.Module):
        def forward(self, x):
            events.append("run")
            return x

    taken = latency._once(Network(), [torch.zeros(1)], torch.device("cuda"))
    assert events == ["clock", "run", "wait", "clock"] and taken == 3000
    events.clear()
    latency._once(Network(), [torch.zeros(1)], torch.device("cpu"))
    assert events == ["clock", "run", "clock"]


def test_it_leaves_mode_and_threads_as_they_were_and_refuses_too_few_repeats():
    model, threads = nn.Sequential(nn.Linear(2, 2), nn.Dropout()).train(), torch.get_num_threads()
    measured = latency.measure(model, (2,), batch=3, repeats=3, warmup=1)
    assert (measured.repeats, measured.batch) == (3, 3) and 0 < measured.low <= measured.median <= measured.high
    assert model.training and model[1].training and torch.get_num_threads() == threads
    with pytest.raises(ParameterError, match="at least 3 repeats"):
        latency.measure(model, (2,), repeats=2)
