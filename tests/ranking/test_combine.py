"""Combined scores: ranks, votes and z-scores, compared with textbook loops."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from nasedu.errors import ParameterError, UnknownName
from nasedu.ranking import COMPOSITES, METHODS, combine, incorporated
from nasedu.ranking.combine import ranks, signed_log

NAN, LOW = math.nan, -math.inf
BY_RANK = ("log_rank", "average_rank", "min_rank", "vote")


@pytest.fixture
def frame():
    rng = np.random.default_rng(0)
    values = rng.normal(size=(30, 3)).round(1) + 5  # rounded: some tie; all positive
    return pd.DataFrame(values, index=[f"arch{i}" for i in range(30)], columns=["a", "b", "c"])


def textbook(frame, method, weights):
    """One architecture and one pair at a time."""
    n, columns = len(frame), list(frame)

    def rank(name, i):
        column = frame[name].to_numpy()
        return (column < column[i]).sum() + ((column == column[i]).sum() + 1) / 2

    def wins(i, j):
        balance = sum(w * np.sign(frame[c].iloc[i] - frame[c].iloc[j]) for c, w in weights.items())
        return 0.5 if abs(balance) < 1e-9 else float(balance > 0)

    if method == "log_rank":
        return [sum(weights[c] * math.log(rank(c, i) / n) for c in columns) for i in range(n)]
    if method == "average_rank":
        return [sum(weights[c] * rank(c, i) for c in columns) / sum(weights.values()) for i in range(n)]
    if method == "min_rank":
        return [n * min((rank(c, i) / n) ** weights[c] for c in columns) for i in range(n)]
    if method == "vote":
        return [sum(wins(i, j) for j in range(n) if j != i) for i in range(n)]
    return sum(weights[c] * stats.zscore(np.log(frame[c])) for c in columns).tolist()


@pytest.mark.parametrize(
    "weights", [{"a": 1, "b": 1, "c": 1}, {"a": 0.1, "b": 0.2, "c": 0.3}, {"a": 2, "b": 0, "c": 1}]
)
@pytest.mark.parametrize("method", METHODS)
def test_every_method_is_its_textbook_loop(frame, method, weights):
    result = combine(frame, method, weights)
    assert np.allclose(result, textbook(frame, method, weights))
    assert result.index.equals(frame.index) and result.name == method
    if set(weights.values()) == {1}:
        assert result.equals(combine(frame, method))


def test_ranks_count_from_the_worst_and_average_ties():
    assert ranks([10, 30, 20]).tolist() == [1, 3, 2]
    assert ranks([5, 7, 5, 5]).tolist() == [2, 4, 2, 2]


def test_failures_are_one_tie_and_the_last():
    assert ranks([NAN, -1e300, LOW, 0.0, NAN]).tolist() == [2, 4, 2, 5, 2]


@pytest.mark.parametrize("method", METHODS)
def test_what_failed_everywhere_is_the_worst_and_what_is_best_everywhere_the_best(method):
    frame = pd.DataFrame({"a": [3.0, NAN, 1.0, 2.0], "b": [9.0, LOW, 8.0, 7.0]})
    result = combine(frame, method)
    assert result.idxmax() == 0 and result.idxmin() == 1 and (result.drop(1) > result[1]).all()
    assert not result.isna().any()


def test_a_failure_in_one_column_takes_the_lowest_rank_there():
    frame = pd.DataFrame({"a": [NAN, 1.0, 2.0], "b": [3.0, 2.0, 1.0]})
    assert combine(frame, "average_rank").tolist() == [2.0, 2.0, 2.0]
    assert combine(frame, "min_rank").tolist() == [1.0, 2.0, 1.0]
    assert combine(frame, "log_rank")[0] == pytest.approx(math.log(1 / 3))
    assert combine(frame, "z_log")[0] == LOW


def test_log_rank_is_zero_for_the_best_of_all_and_hates_one_bad_rank():
    frame = pd.DataFrame({"a": [1, 2, 3, 4, 5], "b": [4, 2, 3, 1, 5]})
    result = combine(frame)
    assert result[4] == 0 and (result.drop(4) < 0).all()
    # ranks 1 and 4 against 2 and 2: the even one has the lower mean and the same log-rank
    mean = combine(frame, "average_rank")
    assert result[1] == pytest.approx(result[0]) and mean[1] < mean[0]


@pytest.mark.parametrize("method", BY_RANK)
def test_only_the_order_inside_a_column_matters(frame, method):
    other = frame.assign(a=np.exp(7 * frame["a"]), b=frame["b"] ** 3 - 1e6)
    assert combine(other, method).equals(combine(frame, method))


def test_z_log_depends_on_distances_but_not_on_units(frame):
    before = combine(frame, "z_log")
    assert np.allclose(combine(frame * [1e9, 2, 1e-9], "z_log"), before)
    assert not np.allclose(combine(frame.assign(a=np.exp(frame["a"])), "z_log"), before)


def test_one_wild_value_swamps_z_scores_and_leaves_ranks():
    """What happens to jacob_cov's -1e8 in z-scores of the raw values, .745 against .906 on the published scores."""
    rng = np.random.default_rng(1)
    truth = rng.normal(size=200)
    frame = pd.DataFrame({"a": truth + 0.5 * rng.normal(size=200) + 9, "b": truth + 0.5 * rng.normal(size=200) - 70})
    frame.loc[0, "b"] = -1e8
    raw = sum(stats.zscore(frame[c]) for c in frame)
    better = {name: stats.spearmanr(s, truth).statistic for name, s in (("raw", raw), ("log_rank", combine(frame)))}
    best = max(stats.spearmanr(frame[c], truth).statistic for c in frame)
    assert better["log_rank"] > best + 0.02 and better["raw"] < best + 0.02


@pytest.mark.parametrize(
    ("scores", "logs"),
    [
        ([1.0, math.e, math.e**3], [0, 1, 3]),
        ([-1.0, -math.e, -(math.e**3)], [0, -1, -3]),
        ([0.0, 1.0, 4.0], [math.log(0.5), 0, math.log(4)]),
        ([0.0, -4.0, -1.0], [math.log(2), -math.log(4), 0]),
        ([-2.0, 0.0, 2.0, 6.0], [-math.log(2), 0, math.log(2), math.log(4)]),
        ([0.0, 0.0, NAN], [0, 0, LOW]),
    ],
)
def test_the_signed_logarithm_rises_through_every_sign(scores, logs):
    assert np.allclose(signed_log(scores), logs)
    order = np.argsort([s for s in scores if s == s], kind="stable")
    assert (np.diff(signed_log([s for s in scores if s == s])[order]) >= 0).all()


def test_z_log_takes_a_column_without_spread_for_nothing():
    frame = pd.DataFrame({"a": [0.1 + 0.2, 0.3, 0.3], "b": [1.0, 2.0, 4.0]})
    assert np.allclose(combine(frame, "z_log"), combine(frame[["b"]], "z_log"))


def test_a_vote_may_run_in_a_circle_which_ties():
    circle = pd.DataFrame({"a": [3, 2, 1], "b": [1, 3, 2], "c": [2, 1, 3]})  # 0 beats 1, 1 beats 2, 2 beats 0
    assert combine(circle, "vote").tolist() == [1.0, 1.0, 1.0]
    assert combine(circle, "vote", {"a": 3, "b": 1, "c": 1}).tolist() == [2.0, 1.0, 0.0]


def test_a_vote_halves_undecided_pairs_and_gives_all_pairs_away():
    frame = pd.DataFrame({"a": [1, 2, 3, NAN], "b": [3, 2, 1, NAN]})
    assert combine(frame, "vote").tolist() == [2.0, 2.0, 2.0, 0.0]
    big = pd.DataFrame(np.random.default_rng(0).normal(size=(2500, 3)))  # more rows than one block of margins
    votes = combine(big, "vote")
    assert votes.sum() == 2500 * 2499 / 2
    row = (np.sign(big.loc[2400] - big).sum(axis=1) > 0).sum()
    assert votes[2400] == row


def test_ranks_change_when_the_pool_grows():
    """Two that were even part when two more come: so a growing pool is combined anew, as a whole."""
    pool = pd.DataFrame({"a": [1.0, 2.0], "b": [2.0, 1.0]}, index=["x", "y"])
    more = pd.DataFrame({"a": [1.5, 1.6], "b": [0.1, 0.2]}, index=["u", "v"])
    before, after = combine(pool), combine(pd.concat([pool, more]))
    assert before["x"] == before["y"] and after["y"] > after["x"]
    assert combine(pool).equals(before)  # nothing is remembered


def test_it_changes_nothing_that_it_is_given(frame):
    before, weights = frame.copy(), {"a": 1, "b": 2, "c": 3}
    for method in METHODS:
        combine(frame, method, weights)
    assert frame.equals(before) and weights == {"a": 1, "b": 2, "c": 3}


def test_complementary_scores_add_and_copies_do_not():
    rng = np.random.default_rng(0)
    truth = rng.normal(size=400)
    a, b = (truth + rng.normal(size=400) for _ in range(2))
    copy = a + 0.05 * rng.normal(size=400)
    rho = {name: stats.spearmanr(s, truth).statistic for name, s in (("a", a), ("b", b))}
    both = stats.spearmanr(combine({"a": a, "b": b}), truth).statistic
    same = stats.spearmanr(combine({"a": a, "b": copy}), truth).statistic
    assert both > max(rho.values()) + 0.05 and abs(same - rho["a"]) < 0.02


@pytest.mark.parametrize(
    ("frame", "options", "error", "sentence"),
    [
        ({"a": [1, 2]}, {"method": "log_rnak"}, UnknownName, "did you mean 'log_rank'"),
        ({}, {}, ParameterError, "nothing to combine"),
        ({"a": []}, {}, ParameterError, "0 architectures"),
        ({"a": [1, 2], "b": [NAN, LOW]}, {}, ParameterError, "'b' failed on all 2"),
        ({"a": [1, math.inf]}, {}, ParameterError, "+inf"),
        ({"a": ["x", "y"]}, {}, ParameterError, "numbers"),
        ({"synflow": [1, 2]}, {"weights": {"synflwo": 1}}, UnknownName, "did you mean 'synflow'"),
        ({"a": [1, 2], "b": [1, 2]}, {"weights": {"a": 1}}, ParameterError, "'b'"),
        ({"a": [1, 2]}, {"weights": {"a": -1}}, ParameterError, "of at least 0, got -1"),
        ({"a": [1, 2]}, {"weights": {"a": NAN}}, ParameterError, "got nan"),
        ({"a": [1, 2]}, {"weights": {"a": 0}}, ParameterError, "all weights are 0"),
    ],
)
def test_bad_input_is_told_in_one_sentence(frame, options, error, sentence):
    with pytest.raises(error) as caught:
        combine(frame, **options)
    assert sentence in str(caught.value) and "\n" not in str(caught.value)


def test_a_proxy_that_failed_everywhere_may_be_left_out_by_its_weight():
    frame = pd.DataFrame({"a": [1, 2], "b": [NAN, NAN]})
    assert combine(frame, weights={"a": 1, "b": 0}).equals(combine(frame[["a"]]))


def test_two_columns_of_one_name_are_refused():
    with pytest.raises(ParameterError, match="more than once"):
        combine(pd.DataFrame([[1, 2], [3, 4]], columns=["a", "a"]))


def test_composites_are_combinations_that_exist():
    for parts, method in COMPOSITES.values():
        assert method in METHODS and len(set(parts)) == len(parts)
    kappa, regions = [-3.0, -1.0, -2.0], [4, 4, 9]
    te_nas = combine(dict(zip(COMPOSITES["te_nas"][0], (kappa, regions), strict=True)), COMPOSITES["te_nas"][1])
    assert te_nas.tolist() == [(1 + 1.5) / 2, (3 + 1.5) / 2, (2 + 3) / 2]


class TestIncorporated:
    ZEN, ENTROPY, RATIO = [109.9, 113.9, 122.5], [5286.0, 5054.0, 4893.0], [0.437, 0.490, 0.754]

    def test_it_is_a_weighted_sum_in_both_forms(self):
        for form, phi in (("log", math.log), ("sqrt", math.sqrt)):
            result = incorporated(self.ZEN, self.ENTROPY, form, (0.5, 0.01))
            assert np.allclose(result, [0.5 * z + 0.01 * phi(h) for z, h in zip(self.ZEN, self.ENTROPY, strict=True)])
        assert incorporated([10.0], [math.e])[0] == pytest.approx(0.9 * 10 + 0.1)

    def test_the_published_networks_are_decided_by_the_limit_and_not_by_the_entropy(self):
        """Reference, section 3: ZenNet-1M wins under either form until the depth-to-width limit bars it."""
        for form in ("log", "sqrt"):
            free = incorporated(self.ZEN, self.ENTROPY, form)
            barred = incorporated(self.ZEN, self.ENTROPY, form, ratio=self.RATIO)
            assert free.argmax() == 2 and barred[2] == LOW and barred.argmax() == 1
            assert barred[:2].tolist() == free[:2].tolist()

    def test_the_limit_itself_is_allowed_and_an_unknown_ratio_is_not(self):
        result = incorporated([1.0] * 3, [1.0] * 3, ratio=[0.5, 0.5000001, NAN])
        assert np.isfinite(result).tolist() == [True, False, False]
        assert np.isfinite(incorporated([1.0], [1.0], ratio=[0.7], limit=0.8)).all()

    def test_failures_and_what_has_no_logarithm_are_last(self):
        result = incorporated([NAN, LOW, 1, 1, 1, 1], [1, 1, NAN, -1, 0, 1])
        assert np.isneginf(result[:5]).all() and np.isfinite(result[5])
        assert incorporated([1.0], [0.0], "sqrt")[0] == 0.9

    def test_a_series_stays_one(self):
        zen = pd.Series(self.ZEN, index=list("xyz"))
        assert incorporated(zen, self.ENTROPY).index.tolist() == ["x", "y", "z"]
        with pytest.raises(ParameterError, match="same index"):
            incorporated(zen, pd.Series(self.ENTROPY, index=list("zyx")))

    def test_bad_input(self):
        with pytest.raises(UnknownName, match="did you mean 'sqrt'"):
            incorporated([1.0], [1.0], "sqr")
        with pytest.raises(ParameterError, match="same length"):
            incorporated([1.0, 2.0], [1.0])
        for weights in ((1,), (-1, 1), (0, 0), (NAN, 1)):
            with pytest.raises(ParameterError, match="weights must be"):
                incorporated([1.0], [1.0], weights=weights)
