"""Pictures leave nothing behind and show themselves."""

import base64
import html
import io
import re
import sys

import matplotlib
import numpy as np
import pandas as pd
from IPython.core.formatters import DisplayFormatter
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.path import Path
from nbformat.v4 import new_code_cell, new_notebook, new_output
from PIL import Image

from nasedu import plots
from nasedu.course.run import page
from nasedu.plots.picture import COLOURS, Picture, every, styles


def test_a_picture_is_a_figure_that_a_notebook_shows():
    picture = Picture(2, 1)
    picture.subplots().plot([1, 2])
    assert isinstance(picture, Figure)
    assert picture.png() == picture.png()


def test_a_photograph_takes_a_byte_a_pixel_at_most_and_flat_colours_stay_what_they_are():
    picture = Picture(4, 4)
    ax = picture.subplots()
    ax.imshow(np.random.default_rng(0).random((400, 400, 3)), aspect="auto")
    ax.add_patch(Rectangle((0, 0), 200, 400, color=COLOURS[0]))
    png = picture.png()
    shown = Image.open(io.BytesIO(png)).convert("RGB")
    assert len(png) < np.prod(shown.size) and shown.getpixel((0, 0)) == (255, 255, 255)
    assert tuple(round(255 * part) for part in to_rgb(COLOURS[0])) in {
        c for n, c in shown.getcolors(1 << 24) if n > 1000
    }


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
    assert every(1000, log=True)[:3] == [0, 2, 6] and len(every(1000, log=True)) == 8


def test_jupyter_finds_the_alt_text_in_the_outputs_metadata_and_so_do_its_pages():
    picture = plots.lines({"a < b": [1, 2]}, xlabel="epoch", ylabel="loss", alt='a falls & "b" rises')
    display = DisplayFormatter()
    data, metadata = display.format(picture)
    assert base64.b64decode(data["image/png"])[:8] == b"\x89PNG\r\n\x1a\n"
    assert metadata["image/png"]["alt"] == picture.alt == 'a falls & "b" rises'
    output = new_output("display_data", data, metadata=metadata)
    notebook = new_notebook(cells=[new_code_cell("", outputs=[output])])
    (image,) = re.findall("<img .*?>", page(notebook, "title"), re.S)
    _, alt = re.search(r""" alt=(["'])(.*?)\1""", image, re.S).groups()
    assert html.unescape(alt) == picture.alt and 'src="data:image/png;base64,iVBOR' in image


def test_an_alt_text_is_made_of_what_is_drawn_and_told_last():
    picture = plots.lines({"left": {"a": [1, 2]}, "right": {"b": [2, 1]}}, xlabel="epoch", ylabel="loss (nats)")
    picture.guide(y=1.5, label="limit")
    assert picture.alt == (
        "Line chart of loss (nats) over epoch, in panels: left, right. It shows a, limit, b. "
        "First and last: left: a 1 to 2; right: b 2 to 1."
    )
    picture.alt = "Both fall."
    assert picture._repr_mimebundle_()[1] == {"image/png": {"alt": "Both fall."}}


def test_guides_stand_in_every_panel_or_in_one_each():
    picture = plots.lines({"one": {"a": [1, 2]}, "two": {"a": [2, 1]}})
    picture.guide(x=1).guide(y=[3, 4]).guide(y=(0, 1), label="band")
    for ax, y in zip(picture.axes, (3, 4), strict=True):
        assert list(ax.lines[1].get_xdata()) == [1, 1] and list(ax.lines[2].get_ydata()) == [y, y]
        assert ax.patches[0].get_label() == "band"
    assert [text.get_text() for text in picture.legends[0].get_texts()] == ["a", "band"]


def test_alt_texts_of_dots_bars_and_heat_maps_say_values():
    dots = plots.dots({"a": 0.5, "b": [1, 3], "c": plots.Interval(4, 3, 5)}, xlabel="loss")
    assert dots.alt == "Dot plot over loss. a 0.5, b 2, c 4."
    bars = plots.bars({"MACs": {"a": 1, "b": 2_000}, "ms": {"a": 3, "b": 4.25}})
    assert bars.alt == "Bar chart over MACs, ms. MACs: a 1, b 2,000; ms: a 3, b 4.25."
    assert "Values: -1 to 2." in plots.heat(np.array([[-1.0, 0], [1, 2]])).alt
    assert len(plots.dots({f"a row with a long name, {i}": i for i in range(20)}).alt) < 500


def test_a_landscape_tells_what_its_crowd_is():
    assert "all 2" in plots.landscape([1, 2], [3, 4]).alt
    assert "2 random ones" in plots.landscape([1, 2], [3, 4], crowd="2 random ones").alt


def test_an_areas_name_stands_only_where_it_fits():
    widening, narrowing = np.linspace(0, 1, 9), np.linspace(1, 0, 9)
    table = pd.DataFrame({"gone": narrowing, "left": widening})
    assert [text.get_text() for text in plots.stacks({"": table}, joined=True).axes[0].texts] == ["left"]


def test_lines_to_names_do_not_cross():
    points = {f"name {i}": (1 + 0.05 * (i % 3), 1 + 0.05 * (i // 3)) for i in range(6)} | {"far": (5, 5)}
    (ax,) = plots.scatter(points, named=True).axes
    ends = [(start := ax.transData.transform(t.xy), start + np.array(t.xyann) * ax.figure.dpi / 72) for t in ax.texts]
    ways = [Path(pair) for pair in ends]
    assert len(ways) == 7
    assert not any(a.intersects_path(b) for i, a in enumerate(ways) for b in ways[:i])
