"""How far a search runs ahead of slow evaluations, and what it stores: on any executor the same result."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest

from nasedu.errors import CheckpointError, ParameterError
from nasedu.search.evolution import EvolutionConfig, evolution
from nasedu.search.random import BATCH, random_search
from nasedu.search.settings import SearchConfig

CHOICES = [4] * 10
weigh = np.random.default_rng(0).normal(size=10).dot
BRED = EvolutionConfig(budget=60, population=10, children=10)


class Straggler:
    """An evaluator whose evaluation number `slow` ends after number `until` began, or was long enough awaited."""

    identity = "straggler"

    def __init__(self, slow, until, seconds=60.0):
        self.slow, self.until, self.seconds = slow, until, seconds
        self.lock, self.asked, self.began, self.waited = threading.Lock(), 0, threading.Event(), None

    def __call__(self, arch):
        with self.lock:
            number, self.asked = self.asked, self.asked + 1
        if number == self.until:
            self.began.set()
        if number == self.slow:
            self.waited = self.began.wait(self.seconds)
        return weigh(arch)


def test_a_random_search_runs_on_behind_a_slow_evaluation(toy, facts):
    """Over the ends of generations: none waits for another's scores."""
    evaluate, settings = Straggler(3, 5 * BATCH), SearchConfig(budget=6 * BATCH)
    with ThreadPoolExecutor(2) as pool:
        found = random_search(toy(CHOICES), evaluate, settings, executor=pool)
    assert evaluate.waited
    assert facts(found) == facts(random_search(toy(CHOICES), weigh, settings))


@pytest.mark.parametrize(("lag", "reached"), [(0, False), (1, True), (2, True)])
def test_a_generation_may_be_bred_while_as_many_as_its_lag_still_run(toy, facts, lag, reached):
    """The slow one is of generation 3 (30 to 39), the first that begins after it of the next."""
    evaluate, settings = Straggler(32, 41, 60.0 if reached else 1.0), replace(BRED, lag=lag)
    with ThreadPoolExecutor(2) as pool:
        found = evolution(toy(CHOICES), evaluate, settings, executor=pool)
    assert evaluate.waited == reached
    assert facts(found) == facts(evolution(toy(CHOICES), weigh, settings))


def test_a_generation_does_not_see_what_its_lag_hides(toy):
    """Scores of the generation before change nothing of the next one, and of the one after it all."""
    space, settings = toy(CHOICES), replace(BRED, lag=1, budget=40)
    plain = evolution(space, weigh, settings).history
    hidden = {record["arch"] for record in plain[10:20]}
    other = evolution(space, lambda arch: -weigh(arch) if arch in hidden else weigh(arch), settings).history
    archs, others = ([record["arch"] for record in history] for history in (plain, other))
    assert archs[:30] == others[:30] and archs[30:] != others[30:]
    assert {record["origin"] for record in plain[:20]} == {"random"} != {record["origin"] for record in plain[20:]}
    assert len(set(archs)) == len(archs)


def test_a_lag_is_a_whole_number():
    for wrong in (-1, 1.5, None):
        with pytest.raises(ParameterError, match="lag"):
            EvolutionConfig(lag=wrong)


@pytest.mark.parametrize("lag", [0, 1, 3])
@pytest.mark.parametrize("stop", [4, 27, 40])
def test_a_lagging_search_goes_on_as_if_it_had_never_stopped(toy, facts, tmp_path, lag, stop):
    space, settings, state = toy(CHOICES), replace(BRED, lag=lag), tmp_path / "state"
    evolution(space, weigh, replace(settings, budget=stop), state=state)
    with ThreadPoolExecutor(3) as pool:
        found = evolution(space, weigh, settings, state=state, executor=pool)
    assert facts(found) == facts(evolution(space, weigh, settings))


def test_a_state_is_appended_to_and_survives_a_cut_end(toy, facts, tmp_path):
    space, state = toy(CHOICES), tmp_path / "state"
    random_search(space, weigh, SearchConfig(budget=30), state=state)
    before = state.read_bytes()
    whole = random_search(space, weigh, SearchConfig(budget=70), state=state)
    after = state.read_bytes()
    assert after.startswith(before) and len(after) > len(before)
    state.write_bytes(after[: len(after) - 20])  # a kill in the middle of a write
    again = random_search(space, weigh, SearchConfig(budget=70), state=state)
    assert facts(again) == facts(whole) and state.read_bytes().count(b"\n") == 71


def test_a_state_whose_lines_were_moved_is_refused(toy, tmp_path):
    state = tmp_path / "state"
    random_search(toy(CHOICES), weigh, SearchConfig(budget=30), state=state)
    lines = state.read_bytes().splitlines(keepends=True)
    for changed in ([*lines[:5], *lines[6:]], [*lines[:5], lines[6], lines[5], *lines[7:]]):
        state.write_bytes(b"".join(changed))
        with pytest.raises(CheckpointError, match="not in order"):
            random_search(toy(CHOICES), weigh, SearchConfig(budget=30), state=state)
