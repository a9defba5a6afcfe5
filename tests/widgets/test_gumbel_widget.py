"""The widget of Gumbel samples, moved as a person would: by setting its sliders' values."""

from __future__ import annotations

import pytest
import torch

from nasedu.widgets import GumbelWidget


@pytest.fixture
def widget():
    return GumbelWidget(["none", "skip", "conv"], draws=100)


def test_samples_get_harder_as_the_temperature_falls(widget):
    largest = {}
    for temperature in (5.0, 1.0, 0.1):
        widget.temperature.value = temperature
        assert torch.allclose(widget.samples.sum(1), torch.ones(100), atol=1e-5)
        largest[temperature] = float(widget.samples.max(1).values.mean())
    assert largest[5.0] < 0.5 < largest[1.0] < 0.9 < largest[0.1]


def test_the_temperature_changes_no_winner(widget):
    winners = widget.samples.argmax(1)
    widget.temperature.value = 0.1
    assert torch.equal(widget.samples.argmax(1), winners)


def test_a_lead_wins_as_often_as_softmax_says(widget):
    widget.lead.value = 2.0
    share = float((widget.samples.argmax(1) == 0).float().mean())
    assert share == pytest.approx(float(torch.tensor([2.0, 0.0, 0.0]).softmax(0)[0]), abs=0.1)


def test_the_view_tells_in_words_and_shows_a_picture(widget):
    wins = widget.samples.argmax(1).bincount(minlength=3).tolist()
    assert f"none {wins[0]}, skip {wins[1]}, conv {wins[2]}" in widget.view.value
    assert "T = 1.00" in widget.view.value and "data:image/png;base64,iVBOR" in widget.view.value
    before = widget.view.value
    widget.temperature.value = 0.5
    assert widget.view.value != before


def test_it_can_be_used_by_keyboard(widget):
    for slider in (widget.temperature, widget.lead):
        assert slider.description and slider.readout and not slider.disabled
