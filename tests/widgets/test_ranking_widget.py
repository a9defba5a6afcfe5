"""The widget of taught supernets, moved as a person would: by setting its controls' values."""

from __future__ import annotations

import itertools

import numpy as np
import pandas as pd
import pytest

from nasedu.errors import ParameterError
from nasedu.widgets import RankingWidget

MEASURES = {"with the truth": 1.0, "beside the prior": 2.0}  # what each is worth per unit below


def made(prior: str, weight: float, margin: float) -> list[dict]:
    """Three supernets whose measures tell the settings: 0.1 of the weight, and 0.2 of the margin more."""
    settings = {"prior": prior, "weight": weight, "margin": margin}
    values = [0.2 + 0.1 * weight + 0.2 * margin + shift for shift in (-0.01, 0.0, 0.01)]
    return [settings | {name: worth * value for name, worth in MEASURES.items()} for value in values]


GRID = [("MACs", 0.0, 0.0), ("Zen", 0.0, 0.0), *itertools.product(("MACs", "Zen"), (0.5, 2.0), (0.0, 0.4))]
TRIALS = pd.DataFrame([row for settings in GRID for row in made(*settings)])


@pytest.fixture
def widget():
    return RankingWidget(TRIALS)


def test_the_supernets_are_those_of_the_controls(widget):
    for prior, weight, margin in itertools.product(("MACs", "Zen"), (0.5, 2.0), (0.0, 0.4)):
        widget.prior.value, widget.weight.value, widget.margin.value = prior, weight, margin
        assert len(widget.taught) == 3
        assert set(map(tuple, widget.taught[["prior", "weight", "margin"]].values)) == {(prior, weight, margin)}
        value = 0.2 + 0.1 * weight + 0.2 * margin
        assert f"with the truth {value:+.2f} ({value - 0.2:+.2f})" in widget.view.value
        assert f"beside the prior {2 * value:+.2f} ({2 * value - 0.4:+.2f})" in widget.view.value
        assert f"{prior}, λ = {weight:g}, margin {margin:g}" in widget.figure.alt


def test_the_axis_is_the_same_for_all_settings(widget):
    ends = []
    for weight in (0.5, 2.0):
        widget.weight.value = weight
        ends.append(widget.figure.axes[0].get_xlim())
    assert ends[0] == ends[1] and ends[0][1] > TRIALS["beside the prior"].max()


def test_a_row_is_a_measure_and_a_dot_a_supernet(widget):
    (axes,) = widget.figure.axes
    assert [label.get_text() for label in axes.get_yticklabels()] == list(MEASURES)
    dots = np.concatenate([line.get_xdata() for line in axes.get_lines() if len(line.get_xdata()) == 3])
    expected = pd.concat([widget.taught, TRIALS[(TRIALS.prior == "MACs") & (TRIALS.weight == 0)]])[[*MEASURES]]
    assert np.allclose(np.sort(dots), np.sort(expected.to_numpy().ravel()))


def test_settings_that_are_not_stored_are_told():
    lacking = TRIALS[~((TRIALS.weight == 2.0) & (TRIALS.margin == 0.4))]
    widget = RankingWidget(lacking)
    widget.weight.value, widget.margin.value = 2.0, 0.4
    assert "No supernet was taught MACs with λ = 2, margin 0.4." in widget.view.value and widget.figure is None
    widget.margin.value = 0.0
    assert widget.figure is not None


def test_every_prior_needs_ordinary_supernets():
    with pytest.raises(ParameterError, match="without a ranking loss for Zen"):
        RankingWidget(TRIALS[~((TRIALS.prior == "Zen") & (TRIALS.weight == 0))])
