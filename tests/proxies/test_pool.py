"""Pools: one row an architecture, one frame a seed, composites from their parts' ranks, killed runs that go on."""

from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch

from nasedu import proxies, spaces
from nasedu.errors import ParameterError, UnknownName
from nasedu.ranking.combine import ranks
from nasedu.search import ZeroCost, random_search
from nasedu.search.settings import SearchConfig

SMALL = {"width": 0.25, "depth": 0.2}


@pytest.fixture(scope="module")
def space():
    return spaces.create("nasbench201", **SMALL)


@pytest.fixture(scope="module")
def batch():
    generator = torch.Generator().manual_seed(0)
    return torch.randn(8, 3, 16, 16, generator=generator), torch.arange(8) % 10


@pytest.fixture(scope="module")
def archs(space):
    rng = np.random.default_rng(0)
    return [space.sample(rng) for _ in range(6)]


def test_every_score_is_what_score_gives_for_the_network_of_that_seed(space, batch, archs):
    pool = proxies.score_pool(space, archs, batch, ["snip", "naswot", "random"], seeds=(0, 3))
    for seed in (0, 3):
        assert list(pool.seeds[seed].columns) == ["snip", "naswot", "random"]
        network = space.build(archs[2], seed=seed)
        row = pool.seeds[seed].loc[space.format(archs[2])]
        assert row["snip"] == proxies.score("snip", network, batch, seed=seed)
        assert row["random"] == proxies.score("random", network, batch, seed=seed)
    assert np.allclose(pool.frame["snip"], (pool.seeds[0]["snip"] + pool.seeds[3]["snip"]) / 2)
    assert pool.seeds[0]["random"].nunique() == len(archs)  # chance, but another one for each network


def test_an_executor_and_a_second_run_change_nothing(space, batch, archs):
    alone = proxies.score_pool(space, archs, batch, ["snip", "synflow"])
    with ThreadPoolExecutor(2) as executor:
        beside = proxies.score_pool(space, archs, batch, ["snip", "synflow"], executor=executor)
    assert alone.frame.equals(beside.frame)


def test_a_killed_run_goes_on_and_another_one_starts_afresh(space, batch, archs, tmp_path, capsys):
    state, heard = tmp_path / "pool.pt", []
    first = proxies.score_pool(space, archs[:4], batch, ["snip"], state=state)
    follow = lambda *said: heard.append(said)  # noqa: E731
    whole = proxies.score_pool(space, archs, batch, ["snip"], state=state, progress=follow)
    assert heard == [(4, 6), (5, 6), (6, 6)]
    assert whole.frame.iloc[:4].equals(first.frame)
    changed = batch[0].clone()
    changed[0, 0, 0, 0] += 1
    assert list(proxies.score_pool(space, archs, batch, ["naswot"], state=state).frame.columns) == ["naswot"]
    proxies.score_pool(space, archs[:1], (changed, batch[1]), ["naswot"], state=state)
    assert capsys.readouterr().out.count("pool.pt was stored with other settings") == 2


def test_a_composite_is_ranks_over_this_pool(space, batch, archs):
    parts = ["az_expressivity", "az_progressivity", "az_trainability", "macs"]
    if not set(parts) <= set(proxies.names()):
        pytest.skip("the parts are not there")
    pool = proxies.score_pool(space, archs, batch, ["az_nas", *parts])
    by_hand = sum(np.log(ranks(pool.frame[p]) / len(archs)) for p in parts)
    usable = np.isfinite(pool.frame["az_nas"])
    assert usable.any() and np.allclose(pool.frame["az_nas"][usable], by_hand[usable])
    assert (pool.frame["az_nas"][~usable] == -np.inf).all()


def test_a_failure_is_flagged_and_ranks_last_and_never_best(space, batch):
    dead = space.parse("|none~0|+|none~0|none~1|+|none~0|none~1|none~2|")
    living = space.parse("|nor_conv_3x3~0|+|none~0|nor_conv_3x3~1|+|skip_connect~0|none~1|nor_conv_3x3~2|")
    pool = proxies.score_pool(space, [dead, living], batch, ["jacob_cov"])
    assert pool.frame["jacob_cov"].tolist()[0] == -math.inf < pool.frame["jacob_cov"].tolist()[1]
    ((where, sentence),) = pool.errors.items()
    assert where == (0, space.format(dead), "jacob_cov") and "outputs do not depend on the images" in sentence


def test_bad_pools_are_refused(space, batch, archs):
    with pytest.raises(UnknownName, match="'te_nas'"):
        proxies.score_pool(space, archs, batch, ["tenas"])
    with pytest.raises(ParameterError, match="at least one of its archs"):
        proxies.score_pool(space, [], batch, ["snip"])
    for wrong, words in (
        ({"seeds": 1}, "seeds of a pool must be one or more seeds in a list, got 1"),
        ({"seeds": [1.5]}, "a seed of a pool must be a whole number .* got 1.5"),
        ({"seeds": np.arange(0)}, "at least one of its seeds"),
        ({"archs": None}, "archs of a pool must be one or more archs in a list, got None"),
        ({"proxies": 5}, "proxies of a pool must be one or more proxies in a list, got 5"),
        ({"proxies": {"zen": 3}}, "options of zen must be values by name, got 3"),
    ):
        with pytest.raises(ParameterError, match=words):
            proxies.score_pool(**{"space": space, "archs": archs, "batch": batch, "proxies": ["snip"]} | wrong)


def test_one_name_and_an_array_of_seeds_will_do(space, batch, archs):
    pool = proxies.score_pool(space, archs[:1], batch, "l2_norm", seeds=np.arange(2))
    assert list(pool.seeds) == [0, 1] and list(pool.frame.columns) == ["l2_norm"]


def test_a_proxy_is_an_evaluator_for_any_search(space, batch):
    evaluate = ZeroCost(space, "naswot", batch, seed=1)
    result = random_search(space, evaluate, SearchConfig(budget=6))
    assert result.score == proxies.score("naswot", space.build(result.best, seed=1), batch, seed=1)
    several = ZeroCost(space, ["naswot", "snip"], batch, seed=1)(result.best)
    assert several["naswot"] == result.score and set(several) == {"naswot", "snip"}
    with pytest.raises(UnknownName, match="'naswot'"):
        ZeroCost(space, "naswott", batch)
