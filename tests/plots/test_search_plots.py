"""What stands in the pictures of a search."""

import numpy as np
import pandas as pd
import pytest
import torch

from nasedu import plots
from nasedu.tables import derive
from nasedu.wzdnas import terms_of


@pytest.fixture(scope="module")
def target(tables):
    return sum(tables["flops"].bounds()) / 2


def test_the_map_shows_every_option_and_its_lead_over_the_lowest(space, tables):
    table = tables["zero_cost"]
    picture = plots.score_map(table)
    images = [ax.images[0] for ax in picture.axes if ax.images]
    drawn = np.concatenate([image.get_array() for image in images])
    leads = torch.stack([(entry - entry.min()).flatten() for entry in table.entries]).numpy()
    assert np.allclose(drawn, leads)
    assert len({image.get_clim() for image in images}) == 1  # blocks can be compared
    names = [label.get_text() for ax in picture.axes for label in ax.get_yticklabels() if ax.images]
    assert names == [slot.name for slot in space.slots]
    assert picture.png()


def test_score_by_depth_has_a_panel_per_form_and_a_line_per_width(space):
    scores = {"faithful": torch.ones(3, 4), "sliced": torch.arange(12.0).view(3, 4)}
    picture = plots.score_by_depth(scores, space.slots[0])
    assert [ax.get_title() for ax in picture.axes] == ["faithful", "sliced"]
    assert picture.axes[1].lines[2].get_ydata().tolist() == [8, 9, 10, 11]
    assert [text.get_text() for text in picture.axes[1].get_legend().get_texts()] == ["γ = 0.25", "γ = 0.5", "γ = 0.75"]


def test_samples_are_stacked_to_one():
    weights = torch.softmax(torch.randn(5, 3), 1)
    ax = plots.samples({2.0: weights, 1.0: weights}).axes[0]
    tops = [bar.get_y() + bar.get_height() for bar in ax.patches]
    assert len(tops) == 15 and max(tops) == pytest.approx(1)
    assert ax.get_title() == "T = 2"


def test_probabilities_have_a_panel_for_each_decision_and_name_what_they_end_in(space, descent):
    picture = plots.probabilities(descent)
    assert len(picture.axes) == len(space.decisions)
    last = descent.history[-1]["probabilities"][0]
    for column in range(len(space.slots)):
        for row in range(2):
            ax = picture.axes[row * len(space.slots) + column]
            p = last[2 * column + row]
            choices = space.decisions[2 * column + row].choices
            named = {text.get_text() for text in ax.texts}
            assert choices[int(p.argmax())] in named
            assert ax.get_ylim() == (0, 1)
            assert len(ax.collections) == len(choices)


def test_loss_terms_have_a_panel_each(tables, descent, target):
    terms = terms_of(descent, tables, target)
    steps = [record["step"] for record in descent.history]
    picture = plots.loss_terms(steps, terms)
    assert [ax.get_title() for ax in picture.axes] == ["zero-cost score", "FLOPs", "depth"]
    assert picture.axes[1].lines[0].get_ydata().tolist() == terms["flops"]


def test_the_budget_is_drawn_in_gflops_with_target_and_derived(tables, descent, target):
    derived = derive(descent.path(0.1), tables["flops"], target)
    steps = [record["step"] for record in descent.history]
    flops = [float(record["costs"][0, 1]) for record in descent.history]
    ax = plots.budget(steps, flops, derived).axes[0]
    lines = {line.get_label(): line for line in ax.lines}
    expected = lines["expected, softmax(θ / T)"].get_ydata()
    assert expected == pytest.approx([2e-9 * value for value in flops])
    assert lines[f"target, {2e-9 * target:.4g} GFLOPs"].get_ydata()[0] == pytest.approx(2e-9 * target)
    assert lines[f"derived, {2e-9 * derived.cost:.4g} GFLOPs"].get_ydata()[0] == pytest.approx(2e-9 * derived.cost)
    assert any("most probable" in label for label in lines) == derived.repaired


def test_the_trade_off_labels_every_network():
    frame = pd.DataFrame({"AP": [0.5, 0.4], "latency_ms": [3.0, 2.0]}, index=["searched", "random"])
    ax = plots.trade_off(frame).axes[0]
    assert [text.get_text() for text in ax.texts] == ["searched", "random"]
    assert [(line.get_xdata()[0], line.get_ydata()[0]) for line in ax.lines] == [(3, 0.5), (2, 0.4)]
    assert ax.get_xlabel() == "latency (ms, batch 1)" and ax.get_ylabel() == "AP"
    assert ax.lines[0].get_marker() != ax.lines[1].get_marker()
