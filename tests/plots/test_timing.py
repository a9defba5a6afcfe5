"""Pictures of what was timed: what is drawn is what was handed in, and warm-up runs count for nothing."""

from __future__ import annotations

import numpy as np
import pytest

from nasedu import plots
from nasedu.errors import ParameterError


def test_bars_share_their_names_and_have_a_panel_for_every_quantity():
    panels = {"MACs": {"a": 3.0, "b": 1.0}, "ms": {"a": 10.0, "b": 20.0}}
    picture = plots.bars(panels)
    assert [ax.get_xlabel() for ax in picture.axes] == list(panels)
    assert [t.get_text() for t in picture.axes[0].get_yticklabels()] == ["a", "b"]
    assert [[p.get_width() for p in ax.patches] for ax in picture.axes] == [[3, 1], [10, 20]]
    assert picture.axes[0].yaxis_inverted(), "the first name is on top"
    assert len({p.get_hatch() for ax in picture.axes for p in ax.patches}) == 2, "not by colour alone"
    assert picture.png()


@pytest.mark.parametrize("panels", [{}, {"ms": {}}, {"x": {"a": 1.0}, "y": {"b": 1.0}}])
def test_bars_without_common_names_are_refused(panels):
    with pytest.raises(ParameterError):
        plots.bars(panels)


def test_the_median_and_quartiles_leave_the_warm_up_out():
    times = [900.0, 500.0, 1.0, 2.0, 3.0, 4.0, 5.0]
    (ax,) = plots.runs(times, warmup=2).axes
    labels = [text.get_text() for text in ax.get_legend().get_texts()]
    assert "median: 3" in labels and "quartiles: 2 to 4" in labels
    cold, counted = ax.lines[:2]
    assert list(cold.get_ydata()) == [900, 500] and list(counted.get_ydata()) == [1, 2, 3, 4, 5]
    assert np.array_equal(counted.get_xdata(), [3, 4, 5, 6, 7])
    with pytest.raises(ParameterError, match="2 runs"):
        plots.runs([1.0, 2.0], warmup=1)
