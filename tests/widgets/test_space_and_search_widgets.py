"""The widgets, moved as a person would: by setting their sliders' values."""

from __future__ import annotations

import ipywidgets
import pytest

from nasedu import spaces
from nasedu.errors import ArchitectureError
from nasedu.tables import LookupTable
from nasedu.widgets import SearchWidget, SpaceWidget
from nasedu.wzdnas import cost_tables


@pytest.fixture(scope="module")
def tables():
    """The course template, with a zero-cost map that likes MACs and a latency that dislikes the deep end."""
    space = spaces.create("yolo", image_size=64)
    counted = cost_tables(space)
    flops = counted["flops"].entries
    score = LookupTable(space, "naswot", "log |det K| per image", 0.0, [(e / e.max()).log() for e in flops])
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
    _, *sliders, view = widget.children
    assert len(sliders) == 2 and view is widget.view
    for slider in sliders:
        assert slider.description and slider.readout and not slider.continuous_update and not slider.disabled


def test_without_a_latency_table_its_slider_rests(tables):
    widget = SearchWidget({name: table for name, table in tables.items() if name != "latency"}, steps=100)
    assert widget.latency.disabled and " ms " not in widget.view.value


def test_the_same_seed_gives_the_same_network(tables):
    first, second = (SearchWidget(tables, steps=200, seed=3).derived.arch for _ in range(2))
    assert first == second


@pytest.fixture
def walk():
    """The published ProxylessNAS-Mobile in its own space, with two tables."""
    space, arch = spaces.published("proxylessnas", "ProxylessNAS-Mobile")
    tables = {metric: LookupTable.build(space, metric) for metric in ("macs", "params")}
    return SpaceWidget(space, tables, arch)


def test_a_walk_starts_at_the_given_architecture_with_its_exact_cost(walk):
    assert walk.arch == spaces.published("proxylessnas", "ProxylessNAS-Mobile")[1]
    assert "MACs: 320,427,584" in walk.view.value and "parameters: 4,080,512" in walk.view.value
    assert "last change" not in walk.view.value
    assert "data:image/png;base64,iVBOR" in walk.view.value
    for line in walk.space.format(walk.arch).splitlines():
        assert line in walk.view.value


def test_picking_a_block_changes_nothing_and_choosing_changes_only_that_block(walk):
    before = walk.arch
    for i in (3, 0, 20):
        walk.block.value = i
        assert walk.arch == before
        assert walk.choice.value == before[i]
        assert [name for name, _ in walk.choice.options] == list(walk.space.decisions[i].choices)
    walk.block.value = 4
    walk.choice.value = walk.space.decisions[4].choices.index("k3e3")
    assert walk.arch == (*before[:4], walk.choice.value, *before[5:])


def test_the_change_is_told_against_the_architecture_before(walk):
    table, before = walk.tables["macs"], walk.arch
    walk.block.value = 4
    walk.choice.value = 0
    first = walk.arch
    change = int(table(first) - table(before))
    assert change < 0 and f"({change:+,}, {change / table(before):+.1%}" in walk.view.value
    walk.block.value = 20
    walk.choice.value = 0
    change = int(table(walk.arch) - table(first))
    assert f"({change:+,}" in walk.view.value


def test_a_walk_can_be_made_by_keyboard(walk):
    for control in (walk.block, walk.choice):
        assert isinstance(control, ipywidgets.Dropdown)
        assert control.description and not control.disabled


def test_a_walk_starts_anywhere_and_refuses_what_is_not_of_its_space(walk):
    assert SpaceWidget(walk.space, walk.tables).arch == (0,) * 21
    with pytest.raises(ArchitectureError, match="21 decisions"):
        SpaceWidget(walk.space, walk.tables, (0, 1))
