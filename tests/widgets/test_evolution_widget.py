"""The widget of evolution, moved as a person would: by setting its controls' values."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from nasedu import spaces
from nasedu.search import EvolutionConfig, evolution, random_search
from nasedu.search.settings import SearchConfig
from nasedu.widgets import EvolutionWidget

SPACE = spaces.create("nasbench201", operations=["none", "skip_connect", "nor_conv_3x3"], width=0.25, depth=0.2)
BUDGET, SEEDS = 60, 4


def convolutions(arch):
    """Every 3x3 convolution counts, those near the input more."""
    return float(sum((2 - i / 10) * (choice == 2) for i, choice in enumerate(arch)))


BEST = convolutions((2,) * 6)


@pytest.fixture
def widget():
    return EvolutionWidget(SPACE, convolutions, best=BEST, budget=BUDGET, seeds=SEEDS)


def test_its_curves_are_the_regrets_of_the_searches_that_its_sliders_describe(widget):
    widget.population.value, widget.mutation.value, widget.parents.value = 10, 0.3, 4
    config = EvolutionConfig(population=10, children=5, k=4, mutation=0.3)
    for seed in range(SEEDS):
        found = evolution(SPACE, convolutions, replace(config, budget=BUDGET), seed=seed)
        drawn = random_search(SPACE, convolutions, SearchConfig(budget=BUDGET), seed=seed)
        assert np.allclose(widget.regrets["evolution"][seed], BEST - np.array(found.anytime()))
        assert np.allclose(widget.regrets["random"][seed], BEST - np.array(drawn.anytime()))


def test_every_control_searches_again_and_random_stays(widget):
    random = widget.regrets["random"].copy()
    for control, value in ((widget.population, 8), (widget.mutation, 0.8), (widget.parents, 1), (widget.ageing, True)):
        before = widget.regrets["evolution"].copy()
        control.value = value
        assert not np.array_equal(widget.regrets["evolution"], before), control.description
    assert np.array_equal(widget.regrets["random"], random)


def test_more_parents_than_members_are_as_many_as_there_are(widget):
    widget.parents.value = 30
    widget.population.value = 4
    assert widget.config.k == 4 and "The best 4 of 4 breed" in widget.view.value


def test_it_says_in_words_what_it_draws(widget):
    medians = {name: np.median(curves[:, -1]) for name, curves in widget.regrets.items()}
    sentence = f"evolution {medians['evolution']:.2f}, random {medians['random']:.2f} percentage points"
    assert widget.view.value.count(sentence) == 2  # as text, and for those who cannot see the picture
    assert 'role="status"' in widget.view.value and "data:image/png;base64,iVBOR" in widget.view.value


def test_it_can_be_used_by_keyboard_and_does_not_search_while_a_slider_is_dragged(widget):
    _, *controls, view = widget.children
    assert (
        view is widget.view
        and len(controls) == 4
        and all(control.description and not control.disabled for control in controls)
    )
    assert not any(slider.continuous_update for slider in controls[:3])


def test_a_small_budget_bounds_the_population():
    widget = EvolutionWidget(SPACE, convolutions, best=BEST, budget=10, seeds=1)
    assert widget.population.max == 10 and widget.regrets["evolution"].shape == (1, 10)
