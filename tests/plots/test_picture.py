"""Pictures leave nothing behind and show themselves."""

import sys

import matplotlib
from matplotlib.figure import Figure

from nasedu.plots.picture import Picture, every, styles


def test_a_picture_is_a_figure_that_a_notebook_shows():
    picture = Picture(2, 1)
    picture.subplots().plot([1, 2])
    assert isinstance(picture, Figure)
    assert picture._repr_png_()[:8] == b"\x89PNG\r\n\x1a\n"
    assert picture.png() == picture.png()


def test_it_is_unknown_to_pyplot():
    Picture(2, 1).png()
    if "matplotlib.pyplot" in sys.modules:
        assert not matplotlib.pyplot.get_fignums()


def test_no_two_looks_are_equal_in_colour_or_marker():
    looks = list(styles("abcdefgh").values())
    for part in ("color", "marker"):
        assert len({look[part] for look in looks}) == 8
    assert looks[0]["linestyle"] != looks[1]["linestyle"]


def test_about_eight_markers_on_a_line_of_any_length():
    assert every(0) == every(5) == 1
    assert 7 <= 2304 / every(2304) <= 9
