"""Judged scores: correlation, precision at the top, regret of the pick, and pairs of proxies."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from nasedu.errors import ParameterError, UnknownName
from nasedu.ranking import combine, complementary, correlation, difference, judge, judge_all
from nasedu.ranking.correlation import pools

NAN, LOW = math.nan, -math.inf


def series(values):
    return pd.Series([float(v) for v in values], index=[f"arch{i}" for i in range(len(values))])


@pytest.fixture
def pool():
    """Three scores of 120 architectures: a and b with noise of their own, c nearly a."""
    rng = np.random.default_rng(0)
    truth = series(90 + rng.normal(size=120))
    a, b = (truth + rng.normal(size=120) for _ in range(2))
    return pd.DataFrame({"a": a, "b": b, "c": a + 0.05 * rng.normal(size=120)}), truth


def random_ties(scores, truth, size, draws=20_000):
    """Precision and regret with ties broken by lot, many times: what the expectations have to equal."""
    rng = np.random.default_rng(0)
    precision, regret = [], []
    edge = np.sort(truth)[-size]
    for _ in range(draws):
        order = np.lexsort((rng.random(len(scores)), np.where(np.isnan(scores), -np.inf, scores)))[::-1]
        precision.append((truth[order[:size]] >= edge).mean())
        regret.append(truth.max() - truth[order[0]])
    return np.mean(precision), np.mean(regret)


def test_the_truth_itself_is_judged_perfect():
    truth = series(range(20))
    found = judge(truth, truth)
    assert (found.spearman.value, found.kendall.value) == (1, 1)
    assert (found.precision.value, found.regret.value, found.regret.high, found.n, found.size) == (1, 0, 0, 20, 2)
    worst = judge(-truth, truth)
    assert (worst.precision.value, worst.regret.value, worst.precision.high) == (0, 19, 0)


def test_correlations_are_those_of_correlation(pool):
    frame, truth = pool
    found = judge(frame["a"], truth, resamples=50, seed=3)
    for kind in ("spearman", "kendall"):
        assert getattr(found, kind) == correlation(frame["a"], truth, kind, resamples=50, seed=3)


def test_precision_and_regret_of_a_case_by_hand():
    truth, scores = series([10, 20, 30, 40, 50, 60, 70, 80, 90, 100]), series([0, 1, 2, 3, 4, 5, 9, 8, 6, 7])
    found = judge(scores, truth, top=0.3)
    assert found.precision.value == pytest.approx(2 / 3)  # 70, 80 and 100 are scored highest; 80, 90, 100 are the best
    assert found.regret.value == 30


@pytest.mark.parametrize(
    ("scores", "truth"),
    [
        ([3, 3, 3, 1, 1, 2, 2, 0], [1, 8, 5, 7, 3, 6, 2, 4]),
        ([5, 1, 1, 1, 1, 1, 1, 1], [1, 8, 5, 7, 3, 6, 2, 4]),
        ([3, 3, 3, 1, 1, 2, 2, 0], [1, 5, 5, 5, 3, 6, 5, 4]),  # the truth ties at its edge, too
        ([1, NAN, NAN, NAN, 2, NAN, NAN, NAN], [1, 8, 5, 7, 3, 6, 2, 4]),
    ],
)
def test_ties_are_broken_fairly_in_expectation(scores, truth):
    found = judge(series(scores), series(truth), top=0.4, resamples=1)
    expected = random_ties(np.array(scores, float), np.array(truth, float), found.size)
    assert (found.precision.value, found.regret.value) == pytest.approx(expected, abs=0.03)


def test_ties_do_not_depend_on_the_order_of_the_rows():
    scores, truth = series([3, 3, 3, 3, 1, 1]), series([6, 1, 5, 2, 4, 3])
    turned = judge(scores[::-1], truth, top=0.3, resamples=20)
    found = judge(scores, truth, top=0.3, resamples=20)
    assert (found.precision.value, found.regret.value) == (turned.precision.value, turned.regret.value) == (0.5, 2.5)


def test_a_truth_that_ties_at_the_edge_is_no_mistake():
    truth = series([9, 9, 9, 1, 1, 1, 1, 1, 1, 1])
    for first in range(3):
        scores = series([i == first for i in range(10)])
        assert judge(scores, truth, resamples=20).precision.value == 1


def test_failures_are_last_and_counted_and_never_the_pick():
    truth = series([5, 4, 3, 2, 1])
    found = judge(series([NAN, LOW, 1, 2, -1e300]), truth, top=0.2, resamples=50)
    assert found.failures == 2 and found.regret.value == 3 and found.n == 5
    nothing = judge(series([NAN] * 5), truth, top=0.2, resamples=50)
    assert math.isnan(nothing.spearman.value) and nothing.regret.value == 2 and nothing.precision.value == 0.2


def naive_bootstrap(scores, truth, top, resamples):
    rng = np.random.default_rng(1)
    found = []
    for _ in range(resamples):
        rows = rng.integers(len(truth), size=len(truth))
        sample = [pd.Series(values.to_numpy()[rows]) for values in (scores, truth)]
        one = judge(*sample, top=top, resamples=1)
        found.append((one.precision.value, one.regret.value))
    return np.array(found)


def test_intervals_are_those_of_pools_drawn_one_by_one(pool):
    frame, truth = pool
    scores = frame["a"].round(0)  # many ties
    drawn = naive_bootstrap(scores, truth, 0.2, 300)
    found = judge(scores, truth, top=0.2, resamples=4000)
    for estimate, column in ((found.precision, drawn[:, 0]), (found.regret, drawn[:, 1])):
        spread = np.ptp(np.quantile(column, [0.025, 0.975]))
        assert np.allclose([estimate.low, estimate.high], np.quantile(column, [0.025, 0.975]), atol=0.25 * spread)
        assert estimate.low <= estimate.value <= estimate.high


def test_large_pools_are_resampled_in_blocks():
    rng = np.random.default_rng(0)
    truth, chance = (series(rng.normal(size=2000)) for _ in range(2))
    found = difference(truth, chance, truth, "precision", top=0.01, resamples=2000)  # two blocks
    assert found.value == pytest.approx(0.99, abs=0.02) and 0.9 < found.low <= found.high <= 1


def test_the_seed_alone_decides_the_interval(pool):
    frame, truth = pool
    assert judge(frame["a"], truth, seed=1) == judge(frame["a"], truth, seed=1)
    assert judge(frame["a"], truth, seed=1) != judge(frame["a"], truth, seed=2)


def test_the_truth_is_aligned_by_name_and_not_by_place(pool):
    frame, truth = pool
    turned = truth.sample(frac=1, random_state=0)
    assert judge(frame["a"], turned, resamples=20) == judge(frame["a"], truth, resamples=20)


def test_indices_that_differ_are_told():
    scores, truth = series([1, 2, 3]), series([1, 2, 3, 4])
    with pytest.raises(ParameterError, match=r"1 architectures without a score, as 'arch3': pass truth\[scores"):
        judge(scores, truth)
    with pytest.raises(ParameterError, match="lacks 1 of 4 scored architectures, as 'arch3'"):
        judge(truth, scores)
    with pytest.raises(ParameterError, match="scores hold 'x' more than once"):
        judge(pd.Series([1, 2], index=["x", "x"]), pd.Series([1, 2], index=["x", "y"]))
    for a, b in (([1, 2], series([1, 2])), (series([1, 2]), [1, 2])):
        with pytest.raises(ParameterError, match="pandas Series"):
            judge(a, b)


def test_bad_numbers_are_told():
    truth = series([1, 2, 3])
    for top in (0, 1.0, 3, -0.1, NAN):
        with pytest.raises(ParameterError, match="fraction between 0 and 1"):
            judge(truth, truth, top=top)
    with pytest.raises(ParameterError, match="resamples"):
        judge(truth, truth, resamples=0)
    with pytest.raises(ParameterError, match="truth must be finite"):
        judge(truth, series([1, NAN, 2]))


def test_all_proxies_are_judged_in_a_row_each(pool):
    frame, truth = pool
    table = judge_all(frame, truth, resamples=50)
    assert list(table.index) == ["a", "b", "c"] and table["spearman_sd"].isna().all() and (table["seeds"] == 1).all()
    one = judge(frame["b"], truth, resamples=50)
    for name in ("spearman", "kendall", "precision", "regret"):
        estimate = getattr(one, name)
        found = table.loc["b", [name, f"{name}_low", f"{name}_high"]].tolist()
        assert found == [estimate.value, estimate.low, estimate.high]


def test_seeds_are_averaged_and_their_spread_told(pool):
    frame, truth = pool
    rng = np.random.default_rng(9)
    frames = {seed: frame.assign(b=truth + rng.normal(size=120)) for seed in range(3)}
    frames[1].loc["arch0", "b"] = LOW
    table = judge_all(frames, truth, resamples=20)
    each = [stats.spearmanr(f["b"].replace(LOW, -1e9), truth).statistic for f in frames.values()]
    assert table.loc["b", "spearman"] == pytest.approx(np.mean(each))
    assert table.loc["b", "spearman_sd"] == pytest.approx(np.std(each, ddof=1)) and table.loc["a", "spearman_sd"] == 0
    assert table.loc["b", "failures"] == pytest.approx(1 / 3) and (table["seeds"] == 3).all()


def noisy(truth, spread, seeds):
    noise = np.random.default_rng(5).normal(size=(seeds, len(truth)))
    return {seed: (truth + spread * noise[seed]).rename("x") for seed in range(seeds)}


def test_the_interval_over_seeds_is_that_of_their_mean(pool):
    _, truth = pool
    by_seed = noisy(truth, 2.0, 4)
    table = judge_all({seed: s.to_frame() for seed, s in by_seed.items()}, truth, resamples=200, seed=3).loc["x"]
    means = []
    for count in pools(len(truth), 200, seed=3):
        rows = np.arange(len(truth)).repeat(count)
        means.append(np.mean([stats.spearmanr(s.iloc[rows], truth.iloc[rows]).statistic for s in by_seed.values()]))
    assert [table.spearman_low, table.spearman_high] == pytest.approx(
        list(np.quantile(means, [0.025, 0.975])), abs=1e-5
    )
    alone = [judge(s, truth, resamples=200, seed=3).spearman for s in by_seed.values()]
    assert table.spearman_high - table.spearman_low < 0.9 * np.mean([one.high - one.low for one in alone])


def test_a_difference_is_seen_in_pairs_where_intervals_overlap(pool):
    _, truth = pool
    a = noisy(truth, 0.8, 1)[0]
    b = a + 0.35 * np.random.default_rng(8).normal(size=len(truth))
    better, worse = judge(a, truth).spearman, judge(b, truth).spearman
    found = difference(a, b[::-1], truth)
    assert found.value == pytest.approx(better.value - worse.value) and found.low > 0 and better.low < worse.high
    turned = difference(b, a, truth)
    assert (turned.value, turned.low, turned.high) == pytest.approx((-found.value, -found.high, -found.low))


@pytest.mark.parametrize("measure", ["spearman", "kendall", "precision", "regret"])
def test_a_score_does_not_differ_from_itself(pool, measure):
    _, truth = pool
    by_seed = noisy(truth, 1.0, 2)
    found = difference(by_seed, {seed: 3 * s + 1 for seed, s in by_seed.items()}, truth, measure, resamples=50)
    assert (found.value, found.low, found.high) == (0, 0, 0)


def test_a_difference_needs_the_same_seeds_and_architectures(pool):
    _, truth = pool
    by_seed = noisy(truth, 1.0, 2)
    with pytest.raises(ParameterError, match="same seeds"):
        difference(by_seed, by_seed[0], truth)
    with pytest.raises(ParameterError, match="lacks 1 of"):
        difference(truth, truth, truth.drop("arch3"))
    with pytest.raises(ParameterError, match="without a score"):
        difference(truth, truth.drop("arch3"), truth)
    with pytest.raises(UnknownName, match="did you mean 'spearman'"):
        difference(truth, truth, truth, "spearmann")


def test_seeds_with_other_proxies_are_refused(pool):
    frame, truth = pool
    with pytest.raises(ParameterError, match=r"seed 1 has \['a', 'b'\]"):
        judge_all({0: frame, 1: frame[["a", "b"]]}, truth)
    with pytest.raises(ParameterError, match="no frame"):
        judge_all({}, truth)
    with pytest.raises(ParameterError, match="different names"):
        judge_all(pd.concat([frame, frame], axis=1), truth)
    with pytest.raises(ParameterError, match="one column per proxy"):
        judge_all({0: frame["a"]}, truth)


def test_pairs_that_differ_gain_and_pairs_that_agree_do_not(pool):
    frame, truth = pool
    pairs = complementary(frame, truth).set_index(["first", "second"])
    assert len(pairs) == 3 and pairs["gain"].is_monotonic_decreasing
    assert pairs.loc[("a", "c"), "between"] > 0.98 and abs(pairs.loc[("a", "c"), "gain"]) < 0.02
    assert pairs.loc[("a", "b"), "between"] < 0.7 and pairs.loc[("a", "b"), "gain"] > 0.05
    rho = {name: stats.spearmanr(frame[name], truth).statistic for name in frame}
    both = stats.spearmanr(combine(frame[["a", "b"]], "vote"), truth).statistic
    voted = complementary(frame, truth, "vote").set_index(["first", "second"]).loc[("a", "b")]
    assert voted["spearman"] == pytest.approx(both) and voted["better"] == pytest.approx(max(rho["a"], rho["b"]))
    assert voted["gain"] == pytest.approx(both - max(rho["a"], rho["b"]))


def test_pairs_need_two_and_a_truth_for_each(pool):
    frame, truth = pool
    with pytest.raises(ParameterError, match="two proxies or more, got 1"):
        complementary(frame[["a"]], truth)
    with pytest.raises(ParameterError, match="lacks 1 of 120"):
        complementary(frame, truth.drop("arch3"))
    with pytest.raises(UnknownName, match="unknown combination"):
        complementary(frame, truth, "sum")
