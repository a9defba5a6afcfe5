"""The widget that mixes proxies, moved as a person would: by setting its controls' values."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from nasedu.errors import ParameterError, UnknownName
from nasedu.ranking import METHODS, combine, spearman
from nasedu.widgets import ProxyMixWidget

RNG = np.random.default_rng(0)
TRUTH = pd.Series(90 + RNG.normal(size=50), index=[f"arch{i}" for i in range(50)])
FRAME = pd.DataFrame({name: TRUTH + RNG.normal(size=50) for name in ("a", "b", "c")}).assign(broken=-np.inf)


@pytest.fixture
def widget():
    return ProxyMixWidget(FRAME, TRUTH)


def test_it_starts_with_the_first_two_by_log_rank(widget):
    assert widget.weights == {"a": 1, "b": 1, "c": 0, "broken": 0}
    assert np.allclose(widget.combined, combine(FRAME[["a", "b"]]))
    assert widget.rho == pytest.approx(spearman(combine(FRAME[["a", "b"]]), TRUTH))


def test_the_mixture_is_what_the_controls_say(widget):
    widget.boxes["c"].value, widget.sliders["b"].value, widget.method.value = True, 0.4, "average_rank"
    expected = combine(FRAME[["a", "b", "c"]], "average_rank", {"a": 1, "b": 0.4, "c": 1})
    assert np.allclose(widget.combined, expected) and widget.rho == pytest.approx(spearman(expected, TRUTH))


def test_every_control_moves_the_correlation(widget):
    for control, value in (
        (widget.boxes["c"], True),
        (widget.sliders["a"], 2.5),
        (widget.boxes["b"], False),
        (widget.method, "min_rank"),
    ):
        before, view = widget.rho, widget.view.value
        control.value = value
        assert widget.rho != before and widget.view.value != view
        assert f"ρ = {widget.rho:+.3f} ({widget.rho - before:+.3f} by the last change)" in widget.view.value


def test_it_offers_every_method(widget):
    assert list(widget.method.options) == list(METHODS)
    for method in METHODS:
        widget.method.value = method
        assert widget.rho == pytest.approx(spearman(combine(FRAME[["a", "b"]], method), TRUTH))


def test_it_says_in_words_what_it_draws(widget):
    best = max("ab", key=lambda name: spearman(FRAME[name], TRUTH))
    regret = TRUTH.max() - TRUTH[widget.combined.idxmax()]
    for words in (
        f"The best of its parts, {best}, has {spearman(FRAME[best], TRUTH):+.3f} alone",
        f"Its pick is {regret:.2f} below the best of 50",
    ):
        assert widget.view.value.count(words) == 2  # as text, and for those who cannot see the picture
    assert 'role="status"' in widget.view.value and "data:image/png;base64,iVBOR" in widget.view.value
    rows = [label.get_text() for label in widget.figure.axes[0].get_yticklabels()]
    assert rows == ["a × 1", "b × 1", "log_rank"]
    axes = widget.figure.axes[0]
    expected = [spearman(FRAME["a"], TRUTH), spearman(FRAME["b"], TRUTH), widget.rho]
    assert [line.get_xdata()[0] for line in axes.lines[:3]] == pytest.approx(expected)
    ends = axes.get_xlim()
    widget.method.value = "vote"
    assert widget.figure.axes[0].get_xlim() == ends  # so that pictures can be compared


def test_nothing_chosen_and_what_failed_everywhere_are_told_and_got_over(widget):
    for box in widget.boxes.values():
        box.value = False
    assert "Tick at least one proxy" in widget.view.value and "<img" not in widget.view.value
    assert (widget.combined, widget.rho, widget.figure) == (None, None, None)
    widget.boxes["broken"].value = True
    assert "&#x27;broken&#x27; failed on all 50" in widget.view.value and widget.rho is None
    widget.boxes["broken"].value, widget.boxes["a"].value = False, True
    assert widget.rho == pytest.approx(spearman(FRAME["a"], TRUTH)) and "<img" in widget.view.value
    widget.sliders["a"].value = 0
    assert "Tick at least one proxy" in widget.view.value


def test_it_can_be_used_by_keyboard_and_does_not_draw_while_a_slider_is_dragged(widget):
    controls = [widget.method, *widget.boxes.values(), *widget.sliders.values()]
    assert all(control.description for control in controls)
    for name, slider in widget.sliders.items():
        assert name in slider.description and not slider.continuous_update and slider.readout
        assert slider.disabled == (not widget.boxes[name].value)
    shown = [child for row in widget.children for child in getattr(row, "children", [row])]
    assert all(control in shown for control in controls) and widget.view in shown


def test_it_starts_as_it_is_told_and_refuses_what_does_not_fit():
    widget = ProxyMixWidget(FRAME, TRUTH.sample(frac=1, random_state=0), chosen=["c"], method="vote")
    assert widget.weights["c"] == 1 and sum(widget.weights.values()) == 1 and widget.method.value == "vote"
    assert widget.rho == pytest.approx(spearman(FRAME["c"], TRUTH))  # the truth is aligned by name
    with pytest.raises(UnknownName, match="unknown proxy 'd'"):
        ProxyMixWidget(FRAME, TRUTH, chosen=["d"])
    with pytest.raises(UnknownName, match="did you mean 'vote'"):
        ProxyMixWidget(FRAME, TRUTH, method="votes")
    with pytest.raises(ParameterError, match="lacks 1 of 50"):
        ProxyMixWidget(FRAME, TRUTH.drop("arch0"))
