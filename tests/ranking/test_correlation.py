"""Rank correlations: golden values, ties, failures and the interval."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from scipy import stats

from nasedu.errors import ParameterError, UnknownName
from nasedu.ranking import correlation
from nasedu.ranking.correlation import partial, pools, resampled

X, Y = [1, 2, 3, 4, 5], [1, 3, 2, 5, 4]


def normal(n, rho, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=n)
    return x, rho * x + math.sqrt(1 - rho**2) * rng.normal(size=n)


@pytest.mark.parametrize(("kind", "value"), [("kendall", 0.6), ("spearman", 0.8)])
def test_golden_values(kind, value):
    assert correlation(X, Y, kind).value == pytest.approx(value)
    assert correlation(X, [-y for y in Y], kind).value == pytest.approx(-value)


def test_kendall_counts_concordant_less_discordant_pairs():
    x, y = normal(30, 0.5)
    pairs = list(itertools.combinations(range(30), 2))
    agreement = sum(np.sign((x[i] - x[j]) * (y[i] - y[j])) for i, j in pairs) / len(pairs)
    assert correlation(x, y).value == pytest.approx(agreement)


def test_only_the_order_matters():
    x, y = normal(40, 0.6)
    first, second = correlation(x, y), correlation(np.exp(x), y**3)
    assert first == second


def test_tied_pairs_are_counted_and_taken_out_of_what_can_be_reached():
    result = correlation([1, 1, 2, 2], [1, 2, 3, 3])
    assert result.ties == 2  # (0, 1) in the score, (2, 3) in both
    assert result.value == pytest.approx(4 / math.sqrt(4 * 5))


def test_failures_come_last_as_one_tie_or_are_left_out():
    scores, truth = [math.nan, -math.inf, 0.1, 0.2, 0.3], [5, 6, 7, 8, 9]
    last = correlation(scores, truth)
    assert (last.n, last.failures, last.ties) == (5, 2, 1)
    assert last.value == pytest.approx(correlation([0, 0, 1, 2, 3], truth).value)
    dropped = correlation(scores, truth, failures="drop")
    assert (dropped.n, dropped.failures, dropped.ties, dropped.value) == (3, 2, 0, 1.0)


def test_the_interval_holds_the_true_value_about_as_often_as_it_says():
    rho = 0.6
    true_tau = 2 / math.pi * math.asin(rho)
    found = [correlation(*normal(60, rho, seed), resamples=150, confidence=0.9) for seed in range(100)]
    covered = sum(r.low <= true_tau <= r.high for r in found)
    assert 80 <= covered <= 98


@pytest.mark.parametrize(("kind", "function"), [("kendall", stats.kendalltau), ("spearman", stats.spearmanr)])
@pytest.mark.parametrize("n", [7, 2100])  # the second in several pieces
def test_resampled_coefficients_are_scipys(kind, function, n):
    x, y = (v.round(1) for v in normal(n, 0.5))  # with ties
    counts = pools(n, 5, seed=3)
    got = resampled(kind, x, y, counts)
    assert counts.shape == (5, n) and (counts.sum(1) == n).all()
    for value, count in zip(got, counts, strict=True):
        assert value == pytest.approx(function(x.repeat(count), y.repeat(count)).statistic, abs=1e-5)


def test_the_interval_narrows_with_n_and_widens_with_confidence():
    def width(n, confidence=0.95):
        result = correlation(*normal(n, 0.5), confidence=confidence)
        assert result.low < result.value < result.high
        return result.high - result.low

    assert width(400) < 0.6 * width(50)
    assert width(50, 0.5) < 0.6 * width(50)


def test_the_same_seed_gives_the_same_interval():
    x, y = normal(30, 0.5)
    assert correlation(x, y, seed=1) == correlation(x, y, seed=1)
    assert correlation(x, y, seed=1).low != correlation(x, y, seed=2).low


def test_where_there_is_no_order_there_is_no_correlation():
    result = correlation([1, 1, 1], [1, 2, 3])
    assert math.isnan(result.value) and math.isnan(result.low) and result.ties == 3


def test_it_says_sign_interval_n_and_ties():
    assert str(correlation(X, Y)).startswith("τ = +0.60 [")
    assert "at 95%, n = 5, 0 tied pairs" in str(correlation(X, Y))


def test_bad_input_is_one_sentence():
    with pytest.raises(UnknownName, match="kendall"):
        correlation(X, Y, "kendal")
    with pytest.raises(ParameterError, match="same length"):
        correlation(X, Y[:3])
    with pytest.raises(ParameterError, match="truth must be finite"):
        correlation(X, [1, 2, 3, 4, math.nan])
    with pytest.raises(ParameterError, match="confidence"):
        correlation(X, Y, confidence=95)


def test_pearson_is_scipys_and_its_resamples_too():
    x, y = normal(40, 0.6)
    result = correlation(x, y, "pearson", resamples=50)
    assert result.value == pytest.approx(stats.pearsonr(x, y).statistic)
    assert str(result).startswith("r = ")
    counts = pools(40, 20, 0)
    expected = [stats.pearsonr(np.repeat(x, w), np.repeat(y, w)).statistic for w in counts]
    assert resampled("pearson", x, y, counts) == pytest.approx(expected, abs=1e-5)
    assert correlation(np.exp(x), y, "pearson").value != pytest.approx(result.value)  # values count, not only order
    for scale in (1e-24, 1e22):
        scaled = correlation(scale * x, y, "pearson", resamples=50)
        assert (scaled.low, scaled.high) == pytest.approx((result.low, result.high), abs=1e-5)
    with pytest.raises(ParameterError, match="drop"):
        correlation([1.0, np.nan, 2.0], [1, 2, 3], "pearson")
    assert correlation([1.0, np.nan, 2.0], [1, 2, 3], "pearson", failures="drop").n == 2


def test_failures_rank_last_in_a_partial_correlation_as_well():
    truth, given = [1.0, 2.0, 3.0, 4.0, 5.0], [2.0, 1.0, 3.0, 5.0, 4.0]
    plain = partial([0.0, 2.0, 1.0, 4.0, 3.0], truth, given)
    for failure in (float("nan"), float("-inf")):
        assert partial([failure, 2.0, 1.0, 4.0, 3.0], truth, given) == plain
        lowest = [2.0, failure, 3.0, 5.0, 4.0]
        assert partial([0.0, 2.0, 1.0, 4.0, 3.0], truth, lowest) == plain
        with pytest.raises(ParameterError, match="finite"):
            partial([failure, 2.0, 1.0, 4.0, 3.0], truth, given, "pearson")
