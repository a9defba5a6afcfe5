"""Zero-shot evolution: budgets kept, published rules, one result whoever evaluates and however often it was killed."""

from __future__ import annotations

import math
import os
import signal
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

from nasedu import spaces
from nasedu.blocks import Conv, Residual
from nasedu.errors import BudgetError, ParameterError, UnknownName
from nasedu.hardware import count
from nasedu.search.plain_budget import PlainBudget, PlainLatency
from nasedu.search.population import Population
from nasedu.search.settings import SearchConfig
from nasedu.search.zen_presets import ZEN_PRESETS, zen_preset
from nasedu.search.zero_shot import ADLIK, ZENNAS, ZenConfig, zero_shot
from nasedu.spaces.plainnet import CIFAR_SEED, plain_block
from nasedu.spaces.plainnet.registry import KINDS

SPACE = spaces.create("plainnet", num_classes=10)
SEED = SPACE.parse(CIFAR_SEED)
LIMIT = PlainBudget(SPACE, params=2e5, layers=12)


def depth_and_width(arch):
    """Something to climb that costs nothing: the logarithm of every block's width, times its depth."""
    return sum(block.layers * math.log(block.c_out) for block in arch)


def search(evaluate=depth_and_width, budget=60, **options):
    ours = {name: options.pop(name) for name in ("start", "feasible", "combine") if name in options}
    config = replace(options.pop("config", ZenConfig()), **{"start": CIFAR_SEED, "feasible": LIMIT} | ours)
    return zero_shot(SPACE, evaluate, replace(config, budget=budget), **options)


def test_it_climbs_within_the_budget():
    result = search(budget=200)
    assert len({r["arch"] for r in result.history}) == 200, "no structure is scored twice"
    assert result.score > depth_and_width(SEED) * 1.3
    for record in result.history:
        assert record["params"] <= 2e5 and record["layers"] <= 12
        assert record["params"] == SPACE.cost(record["arch"]).params
    with torch.device("meta"):
        assert count(SPACE.build(result.best), SPACE.input_shape).params <= 2e5
    assert result.costs.keys() == {"params", "macs", "layers"}
    assert SPACE.parse(result.frame()["arch"].iloc[-1]) == result.history[-1]["arch"]


@pytest.mark.parametrize("config", [ZenConfig(), ZENNAS, ADLIK, ZenConfig(initial="random", founders=3)])
@pytest.mark.parametrize("limits", [{"macs": 1.2e7}, {"layers": 9, "params": 1e5}])
def test_no_budget_is_ever_violated(config, limits):
    if config.initial == "random":  # those are larger
        limits = {metric: limit * (1 if metric == "layers" else 8) for metric, limit in limits.items()}
    feasible = PlainBudget(SPACE, **limits)
    for record in search(budget=50, feasible=feasible, config=config, seed=3).history:
        assert feasible(record["arch"])
        cost = SPACE.cost(record["arch"])
        values = {"macs": cost.macs, "params": cost.params, "layers": sum(b.layers for b in record["arch"])}
        assert all(values[metric] <= limit for metric, limit in limits.items())


def test_the_same_seed_gives_the_same_search(facts):
    first = facts(search(seed=5))
    torch.manual_seed(1)
    assert facts(search(seed=5)) == first
    assert facts(search(seed=6)) != first
    with ThreadPoolExecutor(3) as executor:
        assert facts(search(seed=5, executor=executor)) == first


def test_founders_are_mutations_of_the_start_and_children_of_members():
    history = search(feasible=None, budget=100, config=ZenConfig(children=1)).history

    def blocks_changed(parent, child):
        same = [a._replace(c_in=0) == b._replace(c_in=0) for a, b in zip(parent, child, strict=True)]
        return len(same) - sum(same)

    plain = [r["arch"] for r in history if len(r["arch"]) == len(SEED)]
    founders = [r["arch"] for r in history[:11] if len(r["arch"]) == len(SEED)]
    assert len(founders) > 5 and all(blocks_changed(SEED, arch) <= 1 for arch in founders)
    assert [r["generation"] for r in history[:13]] == [0] * 11 + [1, 2]
    for child in plain[len(founders) :]:
        older = plain[: plain.index(child)]
        assert min(blocks_changed(parent, child) for parent in older) <= 2
    assert max(blocks_changed(SEED, arch) for arch in plain) > 2


def test_survivors_are_what_dropping_the_worst_one_by_one_leaves():
    rng = np.random.default_rng(0)
    history = [
        {"index": i, "arch": (i,), "score": float(rng.integers(20)), "error": None if rng.random() < 0.9 else "no"}
        for i in range(300)
    ]
    population = []
    for record in (r for r in history if r["error"] is None):
        population.append(record)
        while len(population) > 40:
            scores = [r["score"] for r in population]
            population.pop(scores.index(min(scores)))  # the public loop
    assert set(Population(40).read(history)) == {r["arch"] for r in population}


def test_a_failure_is_recorded_ranks_last_and_has_no_children():
    def fussy(arch):
        if arch[0].c_out > 8:
            raise ValueError("too wide")
        return math.nan if arch[-1].c_out > 128 else depth_and_width(arch)

    result = search(fussy, budget=150)
    failed = [r for r in result.history if r["error"]]
    assert {r["error"] for r in failed} == {"ValueError: too wide", "the score is nan"}
    assert all(r["score"] == -math.inf for r in failed)
    assert result.best[0].c_out == 8 and result.best[-1].c_out <= 128
    assert len(failed) < 75, "parents that fail would breed failures"


class Killed(BaseException):
    pass


def two_scores(arch):
    cost = SPACE.cost(arch)
    return {"small": -float(cost.params), "deep": float(SPACE.depth(arch))}


@pytest.mark.parametrize(("evaluate", "combine"), [(depth_and_width, None), (two_scores, "log_rank")])
def test_a_killed_search_goes_on_as_if_it_had_not_been(tmp_path, facts, monkeypatch, evaluate, combine):
    monkeypatch.setattr("nasedu.search.engine.SAVE_SECONDS", -1)  # store after every evaluation
    whole = facts(search(evaluate, combine=combine))
    for at in (3, 14, 25):
        state, heard = tmp_path / f"{at}.pt", []

        def kill(done, total, note="", at=at):
            if done > at:
                raise Killed

        with pytest.raises(Killed):
            search(evaluate, state=state, combine=combine, progress=kill)
        search(evaluate, state=state, budget=at + 10, combine=combine)  # cut short once more, within a generation
        assert facts(search(evaluate, state=state, combine=combine)) == whole
    follow = lambda done, total, note="": heard.append(done)  # noqa: E731
    assert facts(search(evaluate, state=state, combine=combine, progress=follow)) == whole
    assert len(heard) == 1, "nothing is left to evaluate"


def test_another_search_starts_afresh(tmp_path, capsys):
    state = tmp_path / "state.pt"
    search(state=state, budget=12)
    others = (
        {"seed": 1},
        {"config": ZenConfig(mutation="origin")},
        {"feasible": PlainBudget(SPACE, params=1e5)},
        {"start": SPACE.format(SPACE.mutate(SEED, np.random.default_rng(0)))},
    )
    space = spaces.create("plainnet", num_classes=100)
    found = [search(state=state, budget=12, **other) for other in others]
    found.append(zero_shot(space, depth_and_width, ZenConfig(budget=12, start=CIFAR_SEED), state=state))
    for scale in (1, 2):
        combine = lambda frame, scale=scale: scale * frame["deep"]  # noqa: E731
        found.append(search(two_scores, state=state, budget=12, combine=combine))
    assert all(len(result.history) == 12 for result in found)
    assert capsys.readouterr().out.count("state.pt was stored with other settings") == len(found)


def test_scores_are_combined_by_ranks_over_the_whole_pool():
    result = search(two_scores, budget=70, combine="average_rank")
    frame = result.frame()
    naive = (frame[["small", "deep"]].rank().mean(axis=1) - frame["score"]).to_numpy()
    assert np.ptp(naive) < 1e-9, "a mean of ranks, up to a constant"
    short = search(two_scores, budget=30, combine="average_rank").frame()
    assert list(short["arch"]) == list(frame["arch"][:30])
    assert not np.allclose(short["score"], frame["score"][:30]), "ranks depend on the pool"
    own = search(two_scores, budget=40, combine=lambda frame: frame["deep"] + 0 * frame["small"])
    assert own.score == own.frame()["deep"].max()


def test_one_failed_score_ranks_an_architecture_last():
    def fussy(arch):
        scores = two_scores(arch)
        return scores | {"small": -math.inf if arch[0].c_out > 8 else scores["small"]}

    frame = search(fussy, budget=50, combine="average_rank").frame()
    failed = frame["error"].notna()
    assert 0 < failed.sum() < 50 and set(frame["error"][failed]) == {"the score small is -inf"}
    assert (frame["score"][failed] == -math.inf).all() and np.isfinite(frame["score"][~failed]).all()


@pytest.mark.parametrize(
    ("evaluate", "options", "words"),
    [
        (two_scores, {}, "must return one score"),
        (depth_and_width, {"combine": "log_rank"}, "several scores by name"),
        (lambda arch: {"params": 1.0, "b": 2.0}, {"combine": "log_rank"}, None),
        (lambda arch: {"score": 1.0}, {"combine": "log_rank"}, "cannot be named 'score'"),
        (two_scores, {"combine": lambda frame: pd.Series([1.0])}, "one score for each of 11 structures, got 1 scores"),
        (two_scores, {"combine": lambda frame: 1.0}, "one score for each of 11 structures, got 1.0"),
        (two_scores, {"combine": lambda frame: None}, "one score for each of 11 structures, got None"),
        (two_scores, {"combine": lambda frame: ["a"] * len(frame)}, "one score for each of 11 structures, got"),
        (two_scores, {"combine": 5}, "combine must be a name of ranking.combine or a function of a frame, got 5"),
        (depth_and_width, {"start": None}, "needs `start`"),
        (lambda arch: 1 / 0, {}, "failed on all of 27 "),  # the first generations of 25 or more
    ],
)
def test_wrong_scores_are_refused_in_one_sentence(evaluate, options, words):
    if words is None:
        assert "params" in search(evaluate, **options).frame()
        return
    with pytest.raises(ParameterError, match=words) as caught:
        search(evaluate, **options)
    assert "\n" not in str(caught.value)


def test_misspelt_settings_are_refused():
    with pytest.raises(UnknownName, match="did you mean 'log_rank'"):
        search(two_scores, combine="logrank")
    with pytest.raises(UnknownName, match="did you mean 'origin'"):
        ZenConfig(mutation="orgin")
    with pytest.raises(UnknownName):
        ZenConfig(initial="seed")
    with pytest.raises(ParameterError):
        ZenConfig(population=0)


@pytest.mark.parametrize(
    ("limits", "words"),
    [
        ({"params": 1000}, "at most 1,000 parameters: the reachable range is .* parameters upwards"),
        ({"macs": 1e5}, "at most 100,000 MACs: the reachable range is .* MACs upwards"),
        ({"layers": 5}, "at most 5 layers: the reachable range is 6 layers upwards"),
    ],
)
def test_a_budget_below_the_smallest_network_says_what_is_reachable(limits, words):
    with pytest.raises(BudgetError, match=words) as caught:
        search(feasible=PlainBudget(SPACE, **limits))
    assert "\n" not in str(caught.value)


def test_limits_that_exclude_one_another_end_with_what_was_tried(monkeypatch):
    monkeypatch.setattr(sys.modules["nasedu.search.zero_shot"], "TRIES", 300)
    low = {m: getattr(SPACE.cost(SPACE.smallest(SEED, m)), m) for m in ("params", "macs")}
    tight = PlainBudget(SPACE, **low, layers=6)
    for config in (ZenConfig(), ZenConfig(initial="random")):
        with pytest.raises(BudgetError, match=r"200 that were tried have .* parameters, .* MACs, .* layers"):
            search(feasible=tight, config=config)
    with pytest.raises(BudgetError, match="none of 300 networks"):
        search(feasible=lambda arch: False)


@pytest.mark.parametrize("limit", [0, -1, math.nan, math.inf, "1M", True])
def test_a_limit_is_a_positive_number(limit):
    with pytest.raises(ParameterError, match="a number above 0"):
        PlainBudget(SPACE, params=limit)


def test_latency_is_a_function_or_a_table_of_measured_blocks():
    with pytest.raises(ParameterError, match="needs `latency`"):
        PlainBudget(SPACE, latency_ms=1.0)
    state = torch.get_rng_state()
    latency = PlainLatency(SPACE, options={"repeats": 3, "warmup": 1})
    first = latency(SEED)
    assert first == latency(SEED) == pytest.approx(sum(latency.table.values())) and len(latency.table) == 6
    assert torch.equal(torch.get_rng_state(), state)
    feasible = PlainBudget(SPACE, latency_ms=50.0, latency=lambda arch: 10.0 * len(arch))
    short = search(feasible=feasible, start=SEED[:4])
    assert all(len(r["arch"]) <= 5 for r in short.history)
    with pytest.raises(BudgetError, match=r"that were tried have 60 to .* ms"):
        search(feasible=feasible)


@pytest.mark.parametrize("name", ZEN_PRESETS)
def test_published_searches_start_within_their_limits(name):
    space, start, limits = zen_preset(name)
    clock = {"latency": lambda arch: 0.01} if "latency_ms" in limits else {}
    feasible = PlainBudget(space, **limits, **clock)
    assert feasible(start), "the seed itself keeps to the budget"
    result = zero_shot(space, lambda arch: space.depth(arch), ZenConfig(budget=15, start=start, feasible=feasible))
    assert all(feasible(r["arch"]) for r in result.history)
    assert start[-1].c_out == result.best[-1].c_out or not space.fixed_head


def test_a_dask_cluster_that_loses_a_worker_finds_the_same(facts):
    distributed = pytest.importorskip("distributed")
    before = dict(KINDS)

    @plain_block("Own")  # which no worker has registered
    def own(c_in, c_out, stride, bottleneck, layers):
        for n in range(layers):
            yield Residual((Conv(c_in, bottleneck), Conv(bottleneck, c_out, 3, stride, act=None)), projection=n == 0)
            c_in, stride = c_out, 1

    space = spaces.create("plainnet", blocks=["Own", "SuperResK3K3"], num_classes=10)
    KINDS.clear()
    KINDS.update(before)
    feasible = PlainBudget(space, params=3e5, layers=14)

    def evaluate(arch):

        time.sleep(0.02)
        return float(space.cost(arch).macs) ** 0.5 + space.depth(arch)

    def run(**options):
        return zero_shot(space, evaluate, ZenConfig(budget=90, start=CIFAR_SEED, feasible=feasible), seed=2, **options)

    alone, killed = facts(run()), []
    options = {"n_workers": 2, "threads_per_worker": 1, "processes": True, "dashboard_address": None}
    with distributed.LocalCluster(**options, memory_limit=0) as cluster, distributed.Client(cluster) as client:
        pids = list(client.run(os.getpid).values())
        assert len(set(pids)) == 2 and os.getpid() not in pids
        done = []

        def progress(n, total, note=""):
            done.append(n)
            if len(done) > 30 and not killed:
                os.kill(pids[0], signal.SIGKILL)
                killed.append(pids[0])

        assert facts(run(executor=client.get_executor(), progress=progress)) == alone
    assert killed == [pids[0]]


def test_a_tight_budget_goes_on_from_the_first_neighbours():
    """`start` has fewer neighbours within the budget than the first generation needs; others are reached from those."""
    start = SPACE.parse("SuperConvK3BNRELU(3,8,1,1)SuperResK3K3(8,8,1,8,1)")
    budget = PlainBudget(SPACE, params=2 * SPACE.cost(start).params, layers=3)
    one_step = {SPACE.mutate(start, np.random.default_rng(i), replacements=1) for i in range(3000)}
    near = [arch for arch in one_step if budget(arch) and arch != start]
    config = ZenConfig(founders=len(near) + 5, children=2)
    found = zero_shot(SPACE, depth_and_width, replace(config, start=start, budget=len(near) + 8, feasible=budget))
    assert len(found.history) == len(near) + 8
    assert all(budget(record["arch"]) for record in found.history)


def test_the_population_that_is_read_as_it_grows_is_the_sorted_history():
    rng, population = np.random.default_rng(0), Population(5)
    history = [
        {"index": i, "arch": (i,), "score": float(rng.integers(6)), "error": "failed" if i % 7 == 3 else None}
        for i in range(60)
    ]
    for end in (0, 1, 4, 4, 30, 60, 20):  # the last one is another, shorter history
        alive = sorted((r for r in history[:end] if not r["error"]), key=lambda r: (-r["score"], -r["index"]))
        assert population.read(history[:end]) == [r["arch"] for r in alive[:5]]


@pytest.mark.parametrize("bad", [math.nan, -math.inf])
def test_what_a_combination_cannot_rank_is_never_best(bad):
    def combine(frame):
        combined = frame["small"] + frame["deep"]
        combined[combined.idxmax()] = bad
        return combined

    found = search(two_scores, combine=combine, budget=20)
    assert math.isfinite(found.score)
    (failed,) = [record for record in found.history if record["error"]]
    assert failed["score"] == -math.inf and failed["arch"] != found.best


def test_a_combination_of_infinities_or_of_failures_alone_is_refused():
    with pytest.raises(ParameterError, match="would rank best"):
        search(two_scores, combine=lambda frame: frame["small"] + math.inf, budget=12)
    with pytest.raises(ParameterError, match="failed on all of 12"):
        search(two_scores, combine=lambda frame: frame["small"] - math.inf, budget=12)


@pytest.mark.parametrize(
    ("space", "settings", "words"),
    [
        (
            spaces.create("nasbench201"),
            ZenConfig(),
            "space of zero_shot must be a PlainNet space.* got NasBench201Space",
        ),
        (SPACE, SearchConfig(), "settings of zero_shot must be a ZenConfig, got SearchConfig"),
        (SPACE, None, "settings of zero_shot must be a ZenConfig, got None"),
    ],
)
def test_another_space_and_other_settings_are_refused(space, settings, words):
    with pytest.raises(ParameterError, match=words):
        zero_shot(space, depth_and_width, settings)


def test_a_budget_that_counts_in_another_space_is_refused():
    other = PlainBudget(spaces.create("plainnet", num_classes=1000), params=2e5)
    with pytest.raises(ParameterError, match="another space"):
        search(feasible=other, budget=3)
