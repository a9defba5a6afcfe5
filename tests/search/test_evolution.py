"""Evolution: better than chance, valid children, ageing, and the same result after a kill."""

from __future__ import annotations

import math
import os
import signal
import statistics
import subprocess
import sys
import textwrap
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
import torch

from nasedu import spaces
from nasedu.errors import BudgetError, ParameterError, UnknownName
from nasedu.search.evolution import SPOS, EvolutionConfig, evolution
from nasedu.search.local import local_search
from nasedu.search.population import Population
from nasedu.search.random import random_search
from nasedu.search.settings import SearchConfig
from nasedu.tables.within import within

CHOICES = [6] * 15
weigh = np.random.default_rng(0).normal(size=15).dot
CONFIGS = [
    EvolutionConfig(),
    EvolutionConfig(parents="tournament", crossover="single_point"),
    EvolutionConfig(ageing=True, children=1, crossover=None, parents="tournament"),
    SPOS,
]


def landscape(seed):
    """Every choice of every decision adds a random amount."""
    gains = np.random.default_rng(seed).normal(size=(len(CHOICES), max(CHOICES)))
    return lambda arch: gains[range(len(arch)), arch].sum()


@pytest.mark.parametrize("config", CONFIGS)
def test_evolution_beats_random_search_at_equal_budget(toy, config):
    space, lead = toy(CHOICES), []
    for seed in range(20):
        evaluate = landscape(seed)
        best = evolution(space, evaluate, replace(config, budget=300), seed=seed).score
        lead.append(best - random_search(space, evaluate, SearchConfig(budget=300), seed=seed).score)
    assert statistics.median(lead) > 2  # a random architecture's score has a standard deviation of 4
    assert min(lead) > -1


def test_the_published_settings_are_spos(toy):
    result = evolution(toy(CHOICES), landscape(0), replace(SPOS, budget=150))
    origins = [[r["origin"] for r in result.history if r["generation"] == g] for g in range(3)]
    assert [len(o) for o in origins] == [50, 50, 50]
    assert origins[0] == ["random"] * 50
    assert all(o.count("crossover") == 25 and o.count("mutation") == 25 for o in origins[1:])


@pytest.mark.parametrize("share", [0.0, 0.3, 0.7])
def test_the_share_of_crossovers_is_exact_for_any_number_of_children(toy, share):
    for children in (1, 7):
        config = EvolutionConfig(share=share, children=children, k=20)  # of 20 parents, some always differ
        origins = [r["origin"] for r in evolution(toy(CHOICES), landscape(1), replace(config, budget=120)).history]
        assert abs(origins.count("crossover") - 100 * share) <= 1


@pytest.mark.parametrize("config", CONFIGS)
def test_children_are_valid_new_and_come_from_the_population(config):
    space = spaces.create("yolo", image_size=64)
    result = evolution(space, lambda arch: -sum(arch), replace(config, budget=120))
    archs = [r["arch"] for r in result.history]
    assert len(set(archs)) == 120
    assert all(space.validate(arch) == arch for arch in archs)
    first = {arch for r in result.history for arch in [r["arch"]] if r["generation"] == 0}
    for record in result.history:
        if record["generation"] == 1 and record["origin"] == "crossover":
            genes = [{arch[i] for arch in first} for i in range(len(space.choices))]
            assert all(gene in seen for gene, seen in zip(record["arch"], genes, strict=True))


def test_a_single_point_child_is_the_head_of_one_parent_and_the_tail_of_another(toy):
    config = EvolutionConfig(crossover="single_point", share=1.0)
    history = evolution(toy(CHOICES), landscape(2), replace(config, budget=30)).history
    parents = Population(20).read(history[:20])[:5]
    for record in history[20:]:
        arch = record["arch"]
        assert any(
            arch[:cut] == a[:cut] and arch[cut:] == b[cut:] for a in parents for b in parents for cut in range(1, 15)
        )


def record(index, score, error=None):
    return {"index": index, "arch": (index,), "score": score, "error": error}


def test_ageing_lets_the_oldest_die_however_good():
    history = [record(0, 9.0), record(1, 1.0), record(2, 3.0), record(3, 2.0)]
    assert Population(3).read(history) == [(0,), (2,), (3,)]
    assert Population(3, ageing=True).read(history) == [(2,), (3,), (1,)]


def test_failures_never_breed_and_take_no_place():
    history = [record(0, 1.0), record(1, -np.inf, "the score is nan"), record(2, 2.0)]
    for ageing in (False, True):
        assert Population(2, ageing).read(history) == [(2,), (0,)]


def test_parents_are_the_top_k_or_winners_of_tournaments(toy):
    """Mutation at a low rate leaves most decisions, which tells whose child it is."""
    space, config = toy(CHOICES), EvolutionConfig(population=40, k=2, share=0.0, mutation=0.02)
    history = evolution(space, landscape(3), replace(config, budget=60)).history
    ranked = Population(40).read(history[:40])
    mothers = {nearest(r["arch"], ranked) for r in history[40:50]}
    assert mothers <= {0, 1}
    whole = EvolutionConfig(population=40, k=40, share=0.0, mutation=0.02, parents="tournament")
    history = evolution(space, landscape(3), replace(whole, budget=50)).history
    assert {nearest(r["arch"], ranked) for r in history[40:]} == {0}  # of all 40, always the best


def nearest(arch, ranked):
    return min(range(len(ranked)), key=lambda i: sum(x != y for x, y in zip(arch, ranked[i], strict=True)))


@pytest.mark.parametrize("executor", [ThreadPoolExecutor, ProcessPoolExecutor])
def test_an_executor_changes_nothing(toy, facts, executor):
    space = toy(CHOICES)
    alone = evolution(space, weigh, EvolutionConfig(budget=100), seed=3)
    np.random.seed(7)  # noqa: NPY002 the global state must not matter
    torch.manual_seed(7)
    with executor(2) as pool:
        assert facts(evolution(space, weigh, EvolutionConfig(budget=100), seed=3, executor=pool)) == facts(alone)
    assert facts(evolution(space, weigh, EvolutionConfig(budget=100), seed=4)) != facts(alone)


def test_all_that_is_evaluated_is_feasible_and_any_time_never_falls(toy, priced):
    space = toy(CHOICES)
    constraint = within(priced(space), 400)
    result = evolution(space, landscape(4), EvolutionConfig(budget=150, feasible=constraint))
    assert all(constraint(r["arch"]) for r in result.history)
    assert {r["origin"] for r in result.history if r["generation"]} & {"crossover", "mutation"}
    curve = result.anytime()
    assert curve == sorted(curve)
    assert curve[-1] == result.score
    assert result.score > random_search(space, landscape(4), SearchConfig(budget=150, feasible=constraint)).score


def test_nothing_feasible_ends_the_search(toy):
    with pytest.raises(BudgetError, match="none of"):
        evolution(toy(CHOICES), sum, EvolutionConfig(budget=10, feasible=lambda arch: False))


@pytest.mark.parametrize("config", CONFIGS[:3])
def test_an_exhausted_space_ends_the_search(toy, config):
    result = evolution(toy([3, 3, 4]), sum, replace(config, budget=1000))
    assert len({r["arch"] for r in result.history}) == len(result.history) == 36
    assert result.best == (2, 2, 3)


def test_failures_do_not_stop_evolution(toy):
    good = landscape(5)

    def evaluate(arch):
        if arch[0] % 2:
            raise RuntimeError("out of memory")
        return good(arch) if arch[1] else float("nan")

    result = evolution(toy(CHOICES), evaluate, EvolutionConfig(budget=200))
    assert result.best[0] % 2 == 0
    assert result.best[1] > 0
    assert any(r["error"] == "RuntimeError: out of memory" for r in result.history)


SCRIPT = textwrap.dedent(
    """
    import os, sys
    from nasedu import spaces
    from nasedu.search.evolution import EvolutionConfig, evolution

    def weigh(arch):
        return sum((i % 3 - 1) * c for i, c in enumerate(arch))

    def kill(done, total, note=""):
        if done == 44:
            os.kill(os.getpid(), 9)

    space = spaces.create("yolo", image_size=64)
    evolution(space, weigh, EvolutionConfig(budget=70), seed=2, state=sys.argv[1], progress=kill)
    """
)


def test_a_killed_search_ends_with_the_same_result(facts, tmp_path, capsys):
    """44 is in the middle of generation 3 (20 + 10 + 10 are stored)."""
    state, heard = tmp_path / "search.pt", []
    killed = subprocess.run([sys.executable, "-c", SCRIPT, state], env=os.environ | {"OMP_NUM_THREADS": "1"})
    assert killed.returncode == -signal.SIGKILL
    names: dict = {}
    exec(SCRIPT.split("space =")[0], names)
    space, follow = spaces.create("yolo", image_size=64), lambda done, total, note="": heard.append(done)
    again = evolution(space, names["weigh"], EvolutionConfig(budget=70), seed=2, state=state, progress=follow)
    assert heard == list(range(40, 71)) and capsys.readouterr().out == ""
    assert facts(again) == facts(evolution(space, names["weigh"], EvolutionConfig(budget=70), seed=2))


def test_another_search_starts_afresh(toy, facts, tmp_path, capsys):
    space, state = toy(CHOICES), tmp_path / "search.pt"
    evolution(space, weigh, EvolutionConfig(budget=25), state=state)
    for search in (evolution, random_search):
        settings = EvolutionConfig(budget=25, mutation=0.2)
        found = search(space, weigh, settings, state=state)
        assert facts(found) == facts(search(space, weigh, settings))
        assert "search.pt was stored with other settings" in capsys.readouterr().out


def test_nonsense_settings_are_refused():
    with pytest.raises(UnknownName, match="did you mean 'tournament'"):
        EvolutionConfig(parents="tournaments")
    with pytest.raises(UnknownName, match="did you mean 'single_point'"):
        EvolutionConfig(crossover="single-point")
    for bad in ({"k": 21}, {"k": 0}, {"children": 0}, {"share": 1.5}, {"mutation": 0.0}, {"mutation": float("nan")}):
        with pytest.raises(ParameterError, match=str(next(iter(bad)))[:5]):
            EvolutionConfig(**bad)


@pytest.mark.parametrize("wrong", [{"mutation": "x"}, {"mutation": 0}, {"mutation": 1.5}, {"share": math.nan}])
def test_probabilities_are_checked(wrong):
    with pytest.raises(ParameterError, match=f"{next(iter(wrong))}, a probability, must be a number"):
        EvolutionConfig(**wrong)


def test_what_evolution_cannot_use_is_refused(toy):
    with pytest.raises(ParameterError, match="settings of evolution must be an EvolutionConfig, got SearchConfig"):
        evolution(toy([3, 3]), sum, SearchConfig(budget=3))
    for search, settings in ((evolution, EvolutionConfig(budget=3)), (local_search, SearchConfig(budget=3))):
        with pytest.raises(ParameterError, match="whose architectures are lists of decisions"):
            search(spaces.create("plainnet"), sum, settings)
