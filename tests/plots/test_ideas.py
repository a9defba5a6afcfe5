"""Pictures of what proxies look at: what is drawn is what was handed in, on one scale where one is asked for."""

import numpy as np
import pytest

from nasedu import plots
from nasedu.errors import ParameterError


def test_every_matrix_has_a_panel_with_its_values():
    panels = {"a": np.eye(3), "b": np.full((2, 5), 0.25)}
    picture = plots.matrices(panels, limits=(0, 1), bar="share", xlabel="image", ylabel="unit")
    axes = [ax for ax in picture.axes if ax.get_title()]
    assert [ax.get_title() for ax in axes] == ["a", "b"]
    for ax, values in zip(axes, panels.values(), strict=True):
        assert np.array_equal(ax.images[0].get_array(), values)
        assert ax.images[0].get_clim() == (0, 1)
    assert len(picture.axes) == 3, "a colour bar"
    assert axes[0].get_ylabel() == "unit" and not axes[1].get_ylabel()
    assert picture.png()


def test_without_limits_each_panel_has_a_scale_of_its_own():
    picture = plots.matrices({"small": np.eye(2), "large": 100 * np.eye(2)})
    assert [ax.images[0].get_clim() for ax in picture.axes] == [(0, 1), (0, 100)]


@pytest.mark.parametrize("panels", [{}, {"a": np.zeros(3)}, {"a": np.zeros((1, 2, 3))}])
def test_what_is_no_matrix_is_refused(panels):
    with pytest.raises(ParameterError):
        plots.matrices(panels)


def test_a_profile_has_a_line_for_every_name_at_the_right_places():
    lines = {"a": [1.0, 10.0, 100.0], "b": [3.0, 2.0, 1.0]}
    picture = plots.profile(lines, [1, 10, 100], logx=True, logy=True, xlabel="inputs", ylabel="regions")
    (ax,) = picture.axes
    assert {line.get_label(): list(line.get_ydata()) for line in ax.lines} == lines
    assert all(list(line.get_xdata()) == [1, 10, 100] for line in ax.lines)
    assert (ax.get_xscale(), ax.get_yscale()) == ("log", "log")
    assert len({(line.get_color(), line.get_marker()) for line in ax.lines}) == 2


def test_named_places_are_written_out():
    (ax,) = plots.profile({"a": [1, 2]}, ["conv 1", "linear"], joined=False).axes
    assert [label.get_text() for label in ax.get_xticklabels()] == ["conv 1", "linear"]
    assert ax.lines[0].get_linestyle() == "None"
    (ax,) = plots.profile({"a": [1, 2]}, ["2", "16"]).axes
    assert {label.get_rotation() for label in ax.get_xticklabels()} == {0}, "short names need no slant"


def test_a_line_of_another_length_is_refused():
    with pytest.raises(ParameterError, match="'a' has 3 values at 2 places"):
        plots.profile({"a": [1, 2, 3]}, [1, 2])


def test_no_line_is_refused():
    with pytest.raises(ParameterError, match="nothing to draw"):
        plots.profile({}, [])


def test_a_linear_axis_begins_at_zero_unless_something_is_negative():
    assert plots.profile({"a": [5, 6]}, [1, 2]).axes[0].get_ylim()[0] == 0
    assert plots.profile({"a": [5, 6], "b": [-1, 0]}, [1, 2]).axes[0].get_ylim()[0] < -1
