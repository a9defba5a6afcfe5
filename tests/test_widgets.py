"""The widgets, moved as a person would: by setting their sliders' values."""

from __future__ import annotations

import pytest

from nasedu import spaces
from nasedu.hardware import LookupTable
from nasedu.widgets import SearchWidget
from nasedu.wzdnas import cost_tables


@pytest.fixture(scope="module")
def tables():
    """The course template, with a zero-cost map that likes MACs and a latency that dislikes the deep end."""
    space = spaces.create("yolo", image_size=64)
    counted = cost_tables(space)
    flops = counted["flops"].entries
    score = LookupTable(space, "naswot", "log", 0.0, [(e / e.max()).log() for e in flops])
    latency = LookupTable(space, "latency_ms", "ms", 1.0, [1e-6 * (i + 1) * e for i, e in enumerate(flops)])
    return {"zero_cost": score, **counted, "latency": latency}


@pytest.fixture
def widget(tables):
    return SearchWidget(tables, steps=1500)


def share(widget):
    low, high = widget.tables["flops"].bounds()
    return 100 * (widget.derived.cost - low) / (high - low)


def test_moving_the_target_moves_the_derived_network(widget):
    costs = []
    for percent in (20, 60):
        widget.target.value = percent
        assert widget.derived.cost == pytest.approx(widget.derived.target, rel=0.03)
        assert share(widget) == pytest.approx(percent, abs=5)
        costs.append(widget.derived.cost)
    assert costs[1] > 1.5 * costs[0]


def test_more_weight_on_latency_gives_a_faster_network(widget, tables):
    latency = {}
    for weight in (0, 10):
        widget.latency.value = weight
        latency[weight] = tables["latency"](widget.derived.arch)
    assert latency[10] < 0.95 * latency[0]


def test_the_view_shows_costs_and_a_picture_with_the_architecture_in_words(widget, tables):
    page = widget.view.value
    assert f"Target {2e-9 * widget.derived.target:.4g} GFLOPs" in page and "ms derived" in page
    assert "data:image/png;base64,iVBOR" in page
    for line in tables["flops"].space.format(widget.derived.arch).splitlines():
        assert line in page
    widget.target.value = 70
    assert widget.view.value != page


def test_what_is_out_of_reach_is_a_sentence_and_not_the_end(widget):
    widget.target.max = 200
    widget.target.value = 150
    assert widget.derived is None and widget.figure is None
    assert "the reachable range is" in widget.view.value and "Traceback" not in widget.view.value
    widget.target.value = 50
    assert widget.derived is not None and "<img" in widget.view.value


def test_it_can_be_used_by_keyboard_and_does_not_search_while_a_slider_is_dragged(widget):
    sliders = [child for child in widget.children if child is not widget.view]
    assert len(sliders) == 2
    for slider in sliders:
        assert slider.description and slider.readout and not slider.continuous_update and not slider.disabled


def test_without_a_latency_table_its_slider_rests(tables):
    widget = SearchWidget({name: table for name, table in tables.items() if name != "latency"}, steps=100)
    assert widget.latency.disabled and " ms " not in widget.view.value


def test_the_same_seed_gives_the_same_network(tables):
    first, second = (SearchWidget(tables, steps=200, seed=3).derived.arch for _ in range(2))
    assert first == second
