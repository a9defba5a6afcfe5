"""Random search, and what every black-box search promises: its records, failures, limits, determinism."""

from __future__ import annotations

import math
import time
from concurrent.futures import BrokenExecutor, ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
import torch

from nasedu.errors import BudgetError, ParameterError, WorkersLost
from nasedu.search import engine
from nasedu.search.evolution import EvolutionConfig
from nasedu.search.local import local_search
from nasedu.search.random import random_search
from nasedu.search.result import SearchResult
from nasedu.search.settings import SearchConfig
from nasedu.search.stratified import StratifiedConfig, strata_of, stratified_search
from nasedu.spaces import create
from nasedu.tables import LookupTable
from nasedu.tables.within import at_most, within

CHOICES = [4] * 10


class Calls(list):
    """What an evaluator was asked, which is no part of what it is."""

    identity = "calls"


weigh = np.random.default_rng(0).normal(size=10).dot  # an evaluator that other processes can unpickle

weigh4 = np.random.default_rng(1).normal(size=4).dot


def test_the_result_says_what_happened(toy, priced):
    space = toy(CHOICES)
    table = priced(space)
    result = random_search(space, weigh, SearchConfig(budget=60, costs={"price": table}))
    assert [r["index"] for r in result.history] == list(range(60))
    assert result.score == max(r["score"] for r in result.history) == weigh(result.best)
    assert result.costs == {"price": table(result.best)}
    assert all(r["price"] == table(r["arch"]) and r["score"] == weigh(r["arch"]) for r in result.history)
    assert {r["origin"] for r in result.history} == {"random"}
    seconds = [r["seconds"] for r in result.history]
    assert seconds == sorted(seconds)
    assert result.seconds >= seconds[-1] > 0
    frame = result.frame()
    expected = ["index", "arch", "score", "seconds", "generation", "origin", "error", "price"]
    assert list(frame.columns) == expected
    assert [space.parse(text) for text in frame.arch] == [r["arch"] for r in result.history]
    assert not frame.arch.str.contains("\n").any()


def test_any_time_is_the_running_best(toy):
    result = random_search(toy(CHOICES), weigh, SearchConfig(budget=40))
    scores = [r["score"] for r in result.history]
    assert result.anytime() == [max(scores[: i + 1]) for i in range(40)]


def test_strata_get_equally_many(toy, priced):
    space = toy(CHOICES)
    table = priced(space)
    result = stratified_search(space, weigh, StratifiedConfig(budget=200, cost=table, strata=8))
    costs = [r[table.metric] for r in result.history]
    assert costs == [table(r["arch"]) for r in result.history]
    counts = np.histogram(costs, bins=8, range=table.bounds())[0]
    assert counts.sum() == 200
    assert (counts[2:6] == 25).all()
    uniform = [table(r["arch"]) for r in random_search(space, weigh, SearchConfig(budget=200)).history]
    assert np.histogram(uniform, bins=8, range=table.bounds())[0][[0, 7]].sum() < counts[[0, 7]].sum()


@pytest.mark.parametrize("strata", [3, 7, 20])
def test_strata_reach_both_ends(strata):
    """Where the middle and half the width round to less than the dearest, it is in the last part all the same."""
    space = create("yolo:course")
    table = LookupTable.build(space, "macs")
    ends = [space.canonical([f(n) for n in space.choices]) for f in (lambda n: 0, lambda n: n - 1)]
    assert sorted(table(arch) for arch in ends) == list(table.bounds())
    for scale in (1, 1e-3, 1 / 7):
        priced = replace(
            table, entries=[scale * e for e in table.entries], fixed=scale * table.fixed, metric="price", own=True
        )
        parts = strata_of(priced, strata)
        assert parts[0](ends[0]) and parts[-1](ends[1])


def test_strata_that_run_dry_are_passed_over(toy, priced):
    space = toy([2, 2, 2, 2])
    result = stratified_search(space, weigh4, StratifiedConfig(budget=100, cost=priced(space), strata=6))
    assert len({r["arch"] for r in result.history}) == len(result.history) == space.size


def test_a_stratified_search_goes_on_and_takes_executors(toy, priced, tmp_path):
    space, state = toy(CHOICES), tmp_path / "state"
    config = StratifiedConfig(budget=60, cost=priced(space))
    whole = stratified_search(space, weigh, config, seed=3).history
    stratified_search(space, weigh, replace(config, budget=31), seed=3, state=state)
    with ThreadPoolExecutor(2) as pool:
        again = stratified_search(space, weigh, config, seed=3, state=state, executor=pool).history
    assert [r["arch"] for r in again] == [r["arch"] for r in whole]
    assert [r["score"] for r in again] == [r["score"] for r in whole]


def test_a_stratified_search_says_what_is_wrong(toy, priced):
    space = toy(CHOICES)
    cost = priced(space)
    wrong = {"strata": {"strata": 0}, "cost of a stratified": {"cost": sum}}
    wrong["takes no feasible"] = {"feasible": at_most(cost, 1e9)}
    for said, change in wrong.items():
        with pytest.raises(ParameterError, match=said):
            StratifiedConfig(**{"budget": 5, "cost": cost} | change)
    with pytest.raises(ParameterError, match="settings of a stratified"):
        stratified_search(space, weigh, SearchConfig(budget=5))


def test_a_result_of_another_strategy_needs_little(toy):
    result = SearchResult(toy([2, 2]), (0, 1), 0.5, [{"step": 0, "loss": 2.0}])
    assert result.anytime() == SearchResult(toy([2, 2]), (0, 1), 0.5).anytime() == [0.5]  # what is known at its end
    assert list(result.frame().columns) == ["step", "loss"]


def test_the_best_is_the_first_of_equals(toy):
    result = random_search(toy(CHOICES), lambda arch: 1.0, SearchConfig(budget=30))
    assert result.best == result.history[0]["arch"]


def test_no_architecture_twice_and_uniform(toy):
    space = toy([2, 2, 2, 2])
    firsts = [random_search(space, sum, SearchConfig(budget=12), seed=seed).history for seed in range(60)]
    assert all(len({r["arch"] for r in history}) == 12 for history in firsts)
    ones = sum(sum(history[0]["arch"]) for history in firsts)
    assert abs(ones - 120) < 4 * math.sqrt(60)  # 240 fair coins


@pytest.mark.parametrize("executor", [ThreadPoolExecutor, ProcessPoolExecutor])
def test_an_executor_changes_nothing(toy, facts, executor):
    space = toy(CHOICES)
    alone = random_search(space, weigh, SearchConfig(budget=60), seed=3)
    np.random.seed(7)  # noqa: NPY002 the global state must not matter
    torch.manual_seed(7)
    with executor(2) as pool:
        assert facts(random_search(space, weigh, SearchConfig(budget=60), seed=3, executor=pool)) == facts(alone)
    assert facts(random_search(space, weigh, SearchConfig(budget=60), seed=4)) != facts(alone)


def test_results_are_taken_in_the_order_of_proposal(toy, facts):
    """The first of every four takes longest: a search that takes results as they come would mix them up."""
    count = iter(range(1000))

    def slow(arch):
        time.sleep(0.004 * (3 - next(count) % 4))
        return weigh(arch)

    space = toy(CHOICES)
    with ThreadPoolExecutor(4) as pool:
        assert facts(random_search(space, slow, SearchConfig(budget=32), executor=pool)) == facts(
            random_search(space, weigh, SearchConfig(budget=32))
        )


def test_a_smaller_budget_gives_the_beginning(toy, facts):
    space = toy(CHOICES)
    assert (
        facts(random_search(space, weigh, SearchConfig(budget=33)))[3]
        == facts(random_search(space, weigh, SearchConfig(budget=70)))[3][:33]
    )


@pytest.mark.parametrize("budget", [6, 7, 1000])
def test_an_exhausted_space_ends_the_search(toy, budget):
    result = random_search(toy([3, 2]), sum, SearchConfig(budget=budget))
    assert sorted(r["arch"] for r in result.history) == [(i, j) for i in range(3) for j in range(2)]
    assert result.best == (2, 1)


def test_an_exhausted_feasible_part_of_a_large_space_ends_the_search(toy, priced):
    space = toy([4] * 20)
    constraint = at_most(priced(space), 103)  # prices 1 c0 + 2 c1 + 3 c2 + ... <= 3: 1 + 1 + 2 + 3 architectures
    result = random_search(space, sum, SearchConfig(budget=50, feasible=constraint))
    assert len(result.history) == 7
    assert all(constraint(r["arch"]) for r in result.history)


def test_a_rare_member_of_a_small_space_is_found(toy):
    space = toy([5] * 6)  # 15,625
    result = random_search(space, sum, SearchConfig(budget=3, feasible=lambda arch: arch in {(1,) * 6, (4,) * 6}))
    assert {r["arch"] for r in result.history} == {(1,) * 6, (4,) * 6}


def test_all_that_is_evaluated_is_feasible(toy, priced):
    space = toy(CHOICES)
    table = priced(space)
    for feasible in (within(table, 180, 0.02), at_most(table, 150), lambda arch: arch[0] == 2):
        result = random_search(space, weigh, SearchConfig(budget=30, feasible=feasible))
        assert len(result.history) == 30
        assert all(feasible(r["arch"]) for r in result.history)


def test_a_predicate_that_never_holds_ends_fast_with_what_was_tried(toy, priced):
    space = toy([4] * 12)
    with pytest.raises(BudgetError, match=r"of 5000 random architectures of toy.*price from 1.* to 2.* parameters$"):
        random_search(space, sum, SearchConfig(budget=5, feasible=lambda arch: False, costs={"price": priced(space)}))
    with pytest.raises(BudgetError, match=r"none of the 6 architectures of toy that were tried is feasible$"):
        random_search(toy([3, 2]), sum, SearchConfig(budget=5, feasible=lambda arch: False))


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf, None, "no number", ValueError("broke"), torch.ones(2)])
def test_a_failure_is_recorded_and_never_best(toy, bad):
    def evaluate(arch):
        if arch[0] < 3:
            if isinstance(bad, Exception):
                raise bad
            return bad
        return -1e9

    result = random_search(toy(CHOICES), evaluate, SearchConfig(budget=40))
    failed = [r for r in result.history if r["arch"][0] < 3]
    assert failed
    assert all(r["score"] == -math.inf and r["error"] for r in failed)
    assert all(r["error"] is None for r in result.history if r not in failed)
    assert result.best[0] == 3
    assert result.score == -1e9
    if isinstance(bad, Exception):
        assert failed[0]["error"] == "ValueError: broke"


def test_an_evaluator_that_always_fails_is_no_result(toy, tmp_path):
    calls = []

    def evaluate(arch):
        calls.append(arch)
        raise KeyError("weight")

    with pytest.raises(ParameterError, match="failed on all of 25 architectures: KeyError: 'weight'"):
        random_search(toy(CHOICES), evaluate, SearchConfig(budget=500), state=tmp_path / "s.pt")
    assert len(calls) == 25
    assert not (tmp_path / "s.pt").exists()  # the mended evaluator starts afresh


@pytest.mark.parametrize("search", [random_search, local_search])
def test_failures_at_the_start_do_not_end_a_search(toy, search):
    def picky(arch):
        if arch[0] == 0 or arch[1] == 1:
            raise ValueError("x" * 5000 + chr(10) + "y")
        return weigh(arch)

    found = [search(toy(CHOICES), picky, SearchConfig(budget=30), seed=seed) for seed in range(10)]
    assert all(len(result.history) == 30 and math.isfinite(result.score) for result in found)
    said = {record["error"] for result in found for record in result.history} - {None}
    assert len(said) == 1 and all(len(error) < 250 and "x..." in error for error in said)


def test_a_cost_is_stored_as_a_plain_number(toy, facts, tmp_path):
    settings = SearchConfig(budget=5, costs={"sum": lambda arch: np.float32(sum(arch))})
    first = random_search(toy(CHOICES), weigh, settings, state=tmp_path / "s.pt")
    assert facts(random_search(toy(CHOICES), weigh, settings, state=tmp_path / "s.pt")) == facts(first)


def test_a_cost_that_fails_loses_no_evaluation(toy, facts, tmp_path):
    asked = []

    def cost(arch):
        if len(asked) == 12:
            raise ZeroDivisionError
        return 1.0

    def scored(arch):
        asked.append(arch)
        return weigh(arch)

    scored.identity = cost.identity = "the same"  # both fill `asked`
    settings = SearchConfig(budget=20, costs={"c": cost})
    with pytest.raises(ZeroDivisionError):
        random_search(toy(CHOICES), scored, settings, state=tmp_path / "s.pt")
    found = random_search(toy(CHOICES), scored, settings, state=tmp_path / "s.pt")
    assert len(found.history) == 20 and len(asked) == 21, "only that one is scored again"


@pytest.mark.parametrize("space", [None, "fbnet", 3])
def test_what_is_no_space_is_refused(space):
    with pytest.raises(ParameterError, match="the space of a search must be"):
        random_search(space, weigh, SearchConfig(budget=2))


def test_a_budget_that_is_no_constraint_is_refused(priced, toy):
    with pytest.raises(ParameterError, match="use at_most"):
        SearchConfig(feasible=priced(toy(CHOICES)))
    for wrong in ({"feasible": 5}, {"costs": [1]}, {"costs": {"a": 1}}, {"budget": 0}, {"budget": 1.5}):
        with pytest.raises(ParameterError):
            SearchConfig(**wrong)
        with pytest.raises(ParameterError):
            EvolutionConfig(**wrong)


def test_an_executor_that_was_shut_down_is_one_sentence(toy):
    with ThreadPoolExecutor(1) as pool:
        pass
    with pytest.raises(WorkersLost, match="workers are gone after 0 evaluations"):
        random_search(toy(CHOICES), weigh, SearchConfig(budget=5), executor=pool)


def test_lost_workers_are_no_failed_architectures(toy):
    class Lost(ThreadPoolExecutor):
        def submit(self, function, *arguments):
            return super().submit(self.die)

        def die(self):
            raise BrokenExecutor("a worker was killed")

    with Lost(1) as pool, pytest.raises(BrokenExecutor, match="workers are gone after 0 evaluations; a `state` file"):
        random_search(toy(CHOICES), weigh, SearchConfig(budget=5), executor=pool)


def test_an_interrupted_search_goes_on_and_forgets_nothing(toy, facts, tmp_path):
    space, state = toy(CHOICES), tmp_path / "search.pt"
    whole = random_search(space, weigh, SearchConfig(budget=120), seed=5)
    calls = Calls()

    def interrupted(arch):
        calls.append(arch)
        time.sleep(0.05 if len(calls) == 1 else 0)
        if len(calls) == 61:
            raise KeyboardInterrupt
        return weigh(arch)

    with pytest.raises(KeyboardInterrupt):
        random_search(space, interrupted, SearchConfig(budget=120), seed=5, state=state)
    heard = []
    follow = lambda done, total, note="": heard.append((done, total))  # noqa: E731
    again = random_search(space, interrupted, SearchConfig(budget=120), seed=5, state=state, progress=follow)
    assert facts(again) == facts(whole)
    assert len(calls) == 61 + 60  # all that were done are stored
    assert heard == [(done, 120) for done in range(60, 121)]
    seconds = [r["seconds"] for r in again.history]
    assert seconds == sorted(seconds)  # the clock goes on too
    assert facts(random_search(space, interrupted, SearchConfig(budget=120), seed=5, state=state)) == facts(whole)
    assert facts(random_search(space, interrupted, SearchConfig(budget=33), seed=5, state=state)) == facts(
        random_search(space, weigh, SearchConfig(budget=33), seed=5)
    )
    assert len(calls) == 61 + 60


@pytest.mark.parametrize("stop", [1, 2, 24, 26, 40])
def test_slow_evaluations_are_stored_one_by_one(toy, facts, tmp_path, monkeypatch, stop):
    """Wherever it stops, none is repeated; failures at the start are neither stored nor the end."""
    monkeypatch.setattr(engine, "SAVE_SECONDS", -1)
    space, calls = toy(CHOICES), Calls()
    early = {r["arch"] for r in random_search(space, weigh, SearchConfig(budget=3)).history}

    def evaluate(arch):
        calls.append(arch)
        if len(calls) == stop + 1:
            raise KeyboardInterrupt
        return math.nan if arch in early else weigh(arch)

    with pytest.raises(KeyboardInterrupt):
        random_search(space, evaluate, SearchConfig(budget=60), state=tmp_path / "s.pt")
    again = random_search(space, evaluate, SearchConfig(budget=60), state=tmp_path / "s.pt")
    assert facts(again) == facts(random_search(space, evaluate, SearchConfig(budget=60)))
    assert len(calls) - 60 == 61 + (stop if stop <= 3 else 0)
    with pytest.raises(ParameterError, match="failed on all of 3 architectures: the score is nan"):
        random_search(space, evaluate, SearchConfig(budget=3), state=tmp_path / "s.pt")


def test_a_budget_can_be_raised_later(toy, facts, tmp_path):
    """33 ends in the middle of a generation, which the longer search has to complete as if it never had."""
    space, state = toy(CHOICES), tmp_path / "search.pt"
    random_search(space, weigh, SearchConfig(budget=33), state=state)
    assert facts(random_search(space, weigh, SearchConfig(budget=90), state=state)) == facts(
        random_search(space, weigh, SearchConfig(budget=90))
    )


def better(arch):
    return float(weigh(arch))


def worse(arch):
    return -float(weigh(arch))


def scaled(factor, hook=lambda score: score):
    return lambda arch: hook(factor * float(weigh(arch)))


def test_a_changed_search_starts_afresh_and_says_so(toy, priced, facts, tmp_path, capsys):
    """What a mended evaluator, a closure, a hook, a seed, a cost or a constraint would give, never the old result."""
    space, table, other = toy(CHOICES), priced(toy(CHOICES)), toy([4] * 9 + [3])
    first = {"space": space, "evaluate": better}
    changes = [
        {"evaluate": worse},
        {"evaluate": scaled(2.0)},
        {"evaluate": scaled(3.0)},
        {"evaluate": scaled(3.0, hook=abs)},
        {"evaluate": scaled(3.0, hook=lambda score: score + 1)},
        {"evaluate": scaled(3.0, hook=lambda score: score + 2)},
        {"seed": 1},
        {"feasible": at_most(table, 160)},
        {"feasible": at_most(table, 161)},
        {"feasible": lambda arch: arch[0] < 3},
        {"feasible": lambda arch: arch[0] < 2},
        {"costs": {"price": table}},
        {"costs": {"price": lambda arch: 1.0}},
        {"costs": {"price": lambda arch: 2.0}},
        {"space": other},
    ]
    state = tmp_path / "search.pt"
    random_search(**first, settings=SearchConfig(budget=12), state=state)
    for change in changes:
        settings = {name: change[name] for name in ("feasible", "costs") if name in change}
        rest = {name: value for name, value in change.items() if name not in settings}
        asked = first | rest | {"settings": SearchConfig(budget=12, **settings)}
        capsys.readouterr()
        found = random_search(**asked, state=state)
        assert facts(found) == facts(random_search(**asked)), change
        assert (
            capsys.readouterr().out == "search.pt was stored with other settings, code or data: it is started afresh\n"
        )
        again = random_search(**asked, state=state)
        assert again.history == found.history and capsys.readouterr().out == "", change


def test_what_cannot_be_told_from_others_is_refused(toy, tmp_path):
    with open(tmp_path / "log", "w") as log:

        def evaluate(arch):
            log.write("asked")
            return 1.0

        with pytest.raises(ParameterError, match=r"`log` of .*evaluate holds a TextIOWrapper"):
            random_search(toy(CHOICES), evaluate, SearchConfig(budget=3), state=tmp_path / "s.pt")
        assert random_search(toy(CHOICES), evaluate, SearchConfig(budget=3)).score == 1.0  # without a state nobody asks


@pytest.mark.parametrize(
    "bad", [{"budget": 0}, {"budget": 2.5}, {"budget": True}, {"seed": -1}, {"seed": "x"}, {"costs": {"score": None}}]
)
def test_nonsense_is_refused(toy, bad):
    settings = {name: value for name, value in ({"budget": 3} | bad).items() if name != "seed"}
    with pytest.raises(ParameterError, match=next(iter(bad))[:4]):
        random_search(toy([2, 2]), sum, SearchConfig(**settings), seed=bad.get("seed", 0))
