import numpy as np
import pytest
from scipy import stats

from nasedu.errors import ParameterError
from nasedu.ranking import paired


def test_it_is_students_interval_of_the_differences():
    a, b = np.random.default_rng(0).normal(size=(2, 6))
    found, known = paired(a, b), stats.ttest_rel(a, b).confidence_interval(0.95)
    assert found.value == pytest.approx((a - b).mean())
    assert (found.low, found.high) == pytest.approx((known.low, known.high))
    turned = paired(b, a)
    assert (-turned.high, -turned.low) == pytest.approx((found.low, found.high))


def test_few_runs_are_covered_as_promised():
    """A bootstrap of three values, or a normal quantile in the place of Student's, holds the truth far less often."""
    rows = np.random.default_rng(1).normal(2.0, 5.0, (2000, 3))
    held = np.mean([paired(row).low <= 2 <= paired(row).high for row in rows])
    assert 0.935 < held < 0.965


def test_what_a_seed_does_to_both_cancels_out():
    hard = np.random.default_rng(2).normal(0, 100, 8)
    gap = paired(hard + [1, 2, 1, 2, 1, 2, 1, 2], hard)
    assert 1 < gap.low < 1.5 < gap.high < 2


def test_a_single_run_proves_nothing():
    assert (paired([3], [1]).value, paired([3], [1]).low, paired([3], [1]).high) == (2, -np.inf, np.inf)


@pytest.mark.parametrize(
    ("a", "b"), [([], []), ([1, 2], [1]), ([[1, 2]], [[1, 2]]), ([1, np.nan], 0), ([1, 2], np.inf)]
)
def test_what_makes_no_pairs_is_refused(a, b):
    with pytest.raises(ParameterError, match="pairs need"):
        paired(a, b)
