"""The budget widget, moved as a person would: by setting its controls' values."""

from __future__ import annotations

import ipywidgets
import pytest
import torch

from nasedu import spaces
from nasedu.errors import UnknownName
from nasedu.search import DescentConfig
from nasedu.tables import LookupTable
from nasedu.widgets import BudgetWidget


@pytest.fixture(scope="module")
def tables():
    """Cells of six edges with three choices: what is dearer is better, with less and less return."""
    space = spaces.create("nasbench201", operations=["none", "skip_connect", "nor_conv_3x3"], depth=0.2, input_size=8)
    prices = [torch.tensor([0.0, 0.3, 1.0], dtype=torch.float64) * (1 + 0.13 * i) for i in range(6)]
    cost = LookupTable(space, "latency_ms", "ms", 1.0, prices)
    return LookupTable(space, "naswot", "log |det K| per image", 0.0, [p.sqrt() for p in prices]), cost


@pytest.fixture
def widget(tables):
    return BudgetWidget(*tables, config=DescentConfig(steps=250, every=50, lr=0.05))


def test_a_heavier_weight_gives_a_cheaper_network_and_a_multiplier_needs_none(widget):
    widget.loss.value = "proxylessnas_add"
    costs = []
    for weight in (0.01, 10.0):
        widget.weight.value = weight
        costs.append(widget.derived.argmax_cost)
    assert costs[0] > 2 * costs[1]
    assert not widget.weight.disabled
    widget.loss.value = "lagrange"
    assert widget.weight.disabled
    assert widget.derived.argmax_cost == pytest.approx(widget.derived.target, rel=0.15)


def test_the_target_moves_the_derived_network(widget):
    widget.loss.value = "squared"
    costs = {}
    for percent in (20, 70):
        widget.target.value = percent
        assert widget.derived.cost == pytest.approx(widget.derived.target, rel=0.03)
        costs[percent] = widget.derived.cost
    assert costs[70] > 1.5 * costs[20]


def test_the_view_tells_what_the_picture_shows_and_what_is_out_of_reach(widget):
    page = widget.view.value
    assert 'role="status"' in page and "data:image/png;base64,iVBOR" in page
    assert f"Target {widget.derived.target:.3g} ms" in page and "% of the objective" in page
    assert f'alt="Target {widget.derived.target:.3g} ms' in page
    widget.target.max = 400
    widget.target.value = 350
    assert widget.derived is None and widget.figure is None and "the reachable range is" in widget.view.value
    widget.target.value = 50
    assert widget.derived is not None and "<img" in widget.view.value


def test_it_can_be_used_by_keyboard_and_does_not_search_while_a_slider_is_dragged(widget):
    assert isinstance(widget.loss, ipywidgets.Dropdown) and len(widget.loss.options) == 5
    for slider in (widget.weight, widget.target):
        assert slider.description and slider.readout and not slider.continuous_update
    assert all(control.description for control in (widget.loss, widget.weight, widget.target))


def test_the_same_seed_gives_the_same_network_and_a_misspelt_loss_is_told(tables):
    first, second = (
        BudgetWidget(*tables, config=DescentConfig(steps=60, every=60), seed=3).derived.arch for _ in range(2)
    )
    assert first == second
    with pytest.raises(UnknownName, match="hinge"):
        BudgetWidget(*tables, loss="hing")
