"""What stands in the pictures of spaces and architectures."""

import pytest
from matplotlib.colors import to_hex
from matplotlib.patches import Rectangle

from nasedu import plots, spaces
from nasedu.plots.spaces import SEARCHED


@pytest.mark.parametrize("template", ["course", "p5", "csp", "tiny"])
def test_every_searchable_block_is_drawn_with_its_choices(template):
    space = spaces.create("yolo", template=template, image_size=64)
    picture = plots.network(space)
    ax = picture.axes[0]
    searched = [p for p in ax.patches if isinstance(p, Rectangle) and p.get_edgecolor()[:3] == (0, 0, 0)]
    texts = [text.get_text() for text in ax.texts]
    assert len(searched) == len(space.slots)
    for slot in space.slots:
        assert slot.name in texts
    assert texts[0] == f".25 .5 .75\n{' '.join(space.slots[0].decisions[1].choices)}"
    outlets = [line for line in ax.lines if line.get_marker() == "D" and len(line.get_xdata())]
    assert len(outlets) == len(space.strides)
    assert picture.png()


def test_rows_are_resolutions_from_fine_to_coarse(space):
    ax = plots.network(space).axes[0]
    labels = [label.get_text() for label in ax.get_yticklabels()]
    sizes = [int(label.removesuffix(" px")) for label in labels]
    assert sizes == sorted(sizes, reverse=True) and sizes[-1] == 64 // 32
    assert list(ax.get_yticks()) == sorted(ax.get_yticks(), reverse=True)


def filled_of(ax):
    return [p for p in ax.patches if p.get_facecolor()[3]]


def test_a_stack_is_as_high_as_its_depth_and_as_wide_as_its_ratio(space):
    arch = list(space.hand_designed)
    arch[:2] = [0, 3]  # back1: the narrowest and the deepest
    picture = plots.architectures(space, {"first": tuple(arch), "hand-designed": space.hand_designed})
    assert [ax.get_title("left") for ax in picture.axes] == ["first", "hand-designed"]
    blocks = [p for p in filled_of(picture.axes[0]) if p.get_x() < 0.5]
    assert len(blocks) == 4
    assert blocks[0].get_width() == pytest.approx(0.8 * 0.25 / 0.75)
    filled = filled_of(picture.axes[1])
    assert len(filled) == sum(space.template.hand)
    assert "γ 0.25, n 4" in [text.get_text() for text in picture.axes[0].texts]
    assert to_hex(blocks[0].get_facecolor()) == to_hex(SEARCHED) and "first" in picture.alt
