"""What stands in the pictures of units, superkernels, thresholds and statistics."""

import numpy as np
import pytest
import torch
from matplotlib.colors import to_rgb

from nasedu import plots, spaces
from nasedu.plots.kernels import TONES
from nasedu.supernet.superkernel import CHOICES, SuperKernel


def texts(ax):
    return [text.get_text() for text in ax.texts]


def test_shuffle_units_name_the_channels_of_both_branches():
    kept, reduced = plots.shuffle_units(16, 64).axes
    assert "odd:\n32" in texts(kept) and "even: 32" in texts(kept)
    assert "48" in texts(reduced)  # what the projection's 16 leave of 64
    assert texts(reduced).count("16") == 4 and len(reduced.patches) == 5


def test_channel_flow_writes_every_count():
    counts = np.array([[1, 1], [1, 2], [2, 2]])
    picture = plots.channel_flow({"a": counts, "b": counts.T[[0, 1, 0], :2]})
    assert texts(picture.axes[0]) == ["1", "1", "1", "2", "2", "2"]
    labels = [label.get_text() for label in picture.axes[0].get_yticklabels()]
    assert labels == ["input", "after unit 1", "after unit 2"]


def test_statistics_put_the_tested_network_on_the_horizontal_axis():
    ax = plots.bn_statistics(torch.tensor([0.0, 2.0]), torch.tensor([1.0, 3.0])).axes[0]
    points = next(line for line in ax.lines if line.get_label() == "a channel")
    assert list(points.get_xdata()) == [1, 3] and list(points.get_ydata()) == [0, 2]
    assert ax.get_xlim() == ax.get_ylim()


def test_recalibration_has_a_line_per_architecture_and_their_mean_in_percent():
    ax = plots.recalibration({0: [0.1, 0.3], 4: [0.5, 0.9]}, chance=0.1).axes[0]
    lines = {line.get_label(): line for line in ax.lines}
    assert lines["mean"].get_ydata() == pytest.approx([20, 70])
    assert lines["chance"].get_ydata() == pytest.approx([10, 10])
    thin = [line for line in ax.lines if len(line.get_ydata()) == 2 and line.get_color() == "0.7"]
    assert [list(line.get_ydata()) for line in thin] == [pytest.approx([10, 50]), pytest.approx([30, 90])]
    assert ax.get_xticklabels()[0].get_text().startswith("none")


@pytest.mark.parametrize("skip", [True, False])
def test_superkernel_fills_the_taps_that_each_choice_keeps(skip):
    block = SuperKernel(4, 4 if skip else 8, 1 if skip else 2, skip=skip)
    picture = plots.superkernel(block)
    columns = len(CHOICES) + skip
    filled = [sum(to_rgb(p.get_facecolor()) != (1, 1, 1) for p in ax.patches) for ax in picture.axes]
    assert filled[:columns] == [9, 9, 25, 25, 0][:columns]
    assert filled[columns:] == [0, 9, 0, 25, 0][:columns]
    assert [ax.get_title() for ax in picture.axes[:columns]] == list(block.choices)


def test_straight_through_draws_value_and_gradient():
    ax = plots.straight_through([-1.0, 1.0], [0.0, 1.0], [0.2, 0.2]).axes[0]
    assert [list(line.get_ydata()) for line in ax.lines] == [[0, 1], [0.2, 0.2]]


def test_thresholds_are_shaded_where_they_lie_above_the_norm():
    norm, threshold = [2.0, 2.0, 2.0, 2.0], [1.0, 1.0, 3.0, 3.0]
    picture = plots.thresholds([0, 1, 2, 3], {"a": (norm, threshold), "b": (threshold, norm)})
    first, second = picture.axes
    assert [ax.get_title() for ax in (first, second)] == ["a", "b"]
    spans = [[path.vertices[:, 0] for path in ax.collections[0].get_paths()] for ax in (first, second)]
    assert min(spans[0][0]) >= 1 and max(spans[1][0]) <= 2
    assert picture.png()


def test_choices_over_steps_name_the_last_choice_and_colour_by_name():
    space = spaces.create("single_path", **spaces.COURSE)
    first, last = [0] * len(space.choices), [n - 1 for n in space.choices]
    picture = plots.choices_over_steps(space, [0, 1], {"run": [first, last]})
    ax = picture.axes[0]
    assert texts(ax) == [d.choices[-1] for d in space.decisions]
    drawn = np.asarray(ax.images[0].get_array())
    assert drawn[:, 0].tolist() == first and drawn[:, 1].tolist() == last  # four choices and skip, in this order
    labels = [text.get_text() for text in picture.legends[0].get_texts()]
    assert labels == [*CHOICES, "skip"] and len(set(TONES)) == 5
