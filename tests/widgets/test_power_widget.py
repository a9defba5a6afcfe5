"""The power widget, moved as a person would, against simulated experiments."""

from __future__ import annotations

import re

import numpy as np
import pytest
from scipy import stats

from nasedu.errors import ParameterError
from nasedu.widgets import PowerWidget


@pytest.fixture
def widget():
    return PowerWidget(sd=1.0)


@pytest.mark.parametrize(("n", "difference"), [(3, 2.0), (10, 1.0), (10, 0.0)])
def test_power_is_the_share_of_experiments_that_tell(widget, n, difference):
    widget.seeds.value, widget.difference.value = n, difference
    draw = np.random.default_rng(0)
    a, b = draw.normal(difference, 1, (20_000, n)), draw.normal(0, 1, (20_000, n))
    told = (stats.ttest_ind(a, b, axis=1).pvalue < 0.05).mean()
    assert widget.power == pytest.approx(told, abs=0.012)


def test_the_interval_shrinks_with_seeds_and_grows_with_noise(widget):
    widget.seeds.value = 3
    assert widget.reach == pytest.approx(2.776 * (2 / 3) ** 0.5, rel=1e-3)
    widget.seeds.value = 12
    few = widget.reach
    widget.noise.value = 2.0
    assert widget.reach == pytest.approx(2 * few) and f"{widget.reach:.2f} points" in widget.view.value


def test_every_place_of_the_controls_has_a_power(widget):
    """Large differences are found for certain, and more seeds never find less."""
    for noise in (0.05, 0.3, 2.22, 5.0):
        widget.noise.value, found = noise, []
        for difference in np.arange(0.0, 5.1, 0.5):
            widget.difference.value = difference
            found.append(widget.power)
            assert "nan" not in re.sub(r'src="[^"]*"', "", widget.view.value)  # words, not the picture's bytes
        assert all(0 <= power <= 1 for power in found) and found == sorted(found)
    widget.noise.value, widget.difference.value = 0.3, 3.0
    assert widget.power == pytest.approx(1, abs=1e-3)


def test_it_can_be_used_by_keyboard(widget):
    for control in (widget.seeds, widget.difference, widget.noise):
        assert control.description and not control.continuous_update
    with pytest.raises(ParameterError):
        PowerWidget(sd=0)
