"""What stands in the picture of predicted and measured latencies."""

from __future__ import annotations

import pytest
import torch

from nasedu import plots, spaces
from nasedu.tables import LookupTable, correct, random_networks


@pytest.fixture(scope="module")
def fitted():
    space = spaces.create("nasbench201", depth=0.2, width=0.25, input_size=8)
    entries = [torch.tensor([0.0, 0.0, 1.0, 2.0, 0.5], dtype=torch.float64) for _ in space.groups]
    table = LookupTable(space, "latency_ms", "ms", 3.0, entries)
    archs = random_networks(space, 15)
    return correct(table, archs, [table(a) + 1 + 0.1 * (i % 3) for i, a in enumerate(archs)])


def test_both_predictions_stand_over_the_measurement(fitted):
    scatter, rest = plots.additivity(fitted).axes
    before, after, diagonal = scatter.lines
    for points, predicted in ((before, fitted.predicted), (after, fitted.held_out)):
        assert points.get_xdata().tolist() == list(fitted.measured) and list(points.get_ydata()) == list(predicted)
        assert points.get_linestyle() == "None"
    assert list(diagonal.get_xdata()) == list(diagonal.get_ydata()) and scatter.get_xlim() == scatter.get_ylim()
    assert before.get_marker() != after.get_marker() and before.get_markerfacecolor() == "white"
    for points, predicted, how_well in zip(
        rest.lines, (fitted.predicted, fitted.held_out), (fitted.before, fitted.after), strict=False
    ):
        errors = [100 * (p - m) / m for p, m in zip(predicted, fitted.measured, strict=True)]
        assert points.get_ydata().tolist() == pytest.approx(errors)
        assert f"{how_well.mape:.1%}" in points.get_label()
    assert max(rest.lines[0].get_ydata()) < 0 < max(rest.lines[1].get_ydata()), "predicted too fast is below 0"


def test_every_name_has_a_row(fitted):
    picture = plots.additivity({"one": fitted, "other": fitted})
    assert [ax.get_title() for ax in picture.axes] == ["one", "", "other", ""]
    assert len(picture.axes[1].get_legend().get_texts()) == 2 and len(picture.axes[3].get_legend().get_texts()) == 2
    assert picture.png().startswith(b"\x89PNG")
