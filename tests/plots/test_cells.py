"""What stands in the pictures of cells, their prices, their genes and the truth about them."""

import pytest
import torch
from matplotlib.colors import to_rgba
from matplotlib.patches import FancyArrowPatch

from nasedu import plots, spaces
from nasedu.errors import ArchitectureError
from nasedu.plots.cells import LOOKS
from nasedu.supernet.mixed import Subset


@pytest.fixture(scope="module")
def cell():
    return spaces.create("nasbench201", width=0.25, depth=0.2)


def edges(ax):
    return [patch for patch in ax.patches if isinstance(patch, FancyArrowPatch)]


def labels(ax):
    return [text.get_text() for text in ax.texts if text.get_text() not in ("in", "1", "2", "out", "")]


def test_the_space_is_one_cell_with_all_choices_on_each_of_its_six_edges(cell):
    (ax,) = plots.cells(cell).axes
    assert len(edges(ax)) == 6
    assert labels(ax) == ["none\nskip\nconv 1×1\nconv 3×3\npool 3×3"] * 6
    assert [text.get_text() for text in ax.texts if text.get_text() in ("in", "1", "2", "out")] == [
        "in",
        "1",
        "2",
        "out",
    ]


def test_an_architecture_shows_every_operation_but_none_which_is_dotted(cell):
    arch = cell.parse("|nor_conv_3x3~0|+|none~0|skip_connect~1|+|avg_pool_3x3~0|nor_conv_1x1~1|none~2|")
    picture = plots.cells(cell, {"one": arch})
    (ax,) = picture.axes
    assert sorted(labels(ax)) == ["conv 1×1", "conv 3×3", "pool 3×3", "skip"]
    for arrow, index in zip(edges(ax), arch, strict=True):
        colour, line, width = LOOKS[cell.operations[index]]
        assert to_rgba(arrow.get_edgecolor()) == to_rgba(colour) and arrow.get_linewidth() == width
        assert (arrow.get_linestyle() in (":", "dotted")) == (cell.operations[index] == "none") == (line == ":")
    assert ax.get_title() == "one" and picture.png()


def test_an_edge_goes_from_the_node_that_is_read_to_the_node_that_reads(cell):
    (ax,) = plots.cells(cell).axes
    ends = [tuple(arrow.get_path().vertices[[0, 2], 0].round()) for arrow in edges(ax)]  # of its curve
    assert ends == [(0, 1), (0, 2), (1, 2), (0, 3), (1, 3), (2, 3)]
    decisions = [tuple(map(int, decision.name.split("→"))) for decision in cell.decisions]
    assert ends == decisions


def test_undecided_edges_tell_their_weights(cell):
    path = [0, torch.full((5,), 0.2), 1, Subset((1, 3), torch.tensor([0.25, 0.75])), 2, 3]
    (ax,) = plots.cells(cell, {"path": path}).axes
    assert "0.20 none\n0.20 skip\n0.20 conv 1×1\n0.20 conv 3×3\n0.20 pool 3×3" in labels(ax)
    assert "0.25 skip\n0.75 conv 3×3" in labels(ax)


def test_only_cells_of_six_edges_are_drawn(cell):
    with pytest.raises(ArchitectureError, match="fbnet has none"):
        plots.cells(spaces.create("fbnet"))
    with pytest.raises(ArchitectureError, match="6 edges, the path decides 2"):
        plots.cells(cell, {"short": (0, 1)})


def test_genes_have_a_box_for_every_decision_and_a_look_for_every_origin(cell):
    archs = {"parent": (0, 1, 2, 3, 4, 0), "child": (0, 1, 2, 3, 4, 1)}
    picture = plots.genes(cell, archs, {"parent": [0] * 6, "child": [0] * 5 + [2]}, ("kept", "", "redrawn"))
    ax = picture.axes[0]
    assert ax.images[0].get_array().tolist() == [[0] * 6, [0] * 5 + [1]]
    written = [t.get_text() for t in ax.texts]
    assert written[:6] == ["none", "skip", "1×1", "3×3", "pool", "none"] and written[6:] == [*written[:5], "skip"]
    assert [label.get_text() for label in ax.get_yticklabels()] == list(archs)
    assert [text.get_text() for text in picture.legends[0].get_texts()] == ["kept", "redrawn"]
