"""Pictures of structure strings: a bar per layer, heights that are channels, shades that are resolutions."""

import pytest
from matplotlib.colors import to_hex
from matplotlib.patches import Rectangle

from nasedu import plots, spaces
from nasedu.errors import ArchitectureError, ParameterError
from nasedu.plots.picture import COLOURS
from nasedu.spaces.plainnet import CIFAR_SEED

DEEP = "SuperConvK3BNRELU(3,16,1,1)SuperResK1K5K1(16,40,2,8,3)SuperResK3K3(40,24,2,48,2)SuperConvK1BNRELU(24,64,1,1)"


@pytest.fixture(scope="module")
def space():
    return spaces.create("plainnet", num_classes=10)


def bars(ax, inner):
    boxes = [p for p in ax.patches if isinstance(p, Rectangle)]
    return [b for b in boxes if (to_hex(b.get_facecolor()) == to_hex(COLOURS[1])) == inner]


def test_every_layer_is_a_bar_as_high_as_its_channels_with_its_bottleneck_inside(space):
    picture = plots.structures(space, {"deep": DEEP})
    outer, inner = bars(picture.axes[0], False), bars(picture.axes[0], True)
    assert [b.get_height() for b in outer] == [16, 40, 40, 40, 24, 24, 64]
    assert [b.get_height() for b in inner] == [8, 8, 8, 48, 48]
    for left, right in zip(outer, outer[1:], strict=False):
        assert left.get_x() + left.get_width() < right.get_x()
    assert [t.get_text() for t in picture.axes[0].texts] == ["ConvK3", "K1K5K1", "K3K3", "ConvK1"]
    below = [
        [t.get_text() for t in ax.get_xticklabels()]
        for ax in plots.structures(space, {"a": DEEP, "b": CIFAR_SEED}).axes
    ]
    assert below[0] == ["×1", "×3", "×2", "×1"] != below[1], "every row has its own numbers of layers"


def test_the_shade_darkens_with_every_stride_and_the_title_has_the_exact_counts(space):
    picture = plots.structures(space, {"deep": DEEP, "seed": CIFAR_SEED})
    light = [sum(b.get_facecolor()[:3]) for b in bars(picture.axes[0], False)]
    assert light[0] > light[1] == light[2] == light[3] > light[4] == light[5] == light[6]
    assert "90,962 parameters, 6.71 M MACs" in picture.axes[1].get_title("left")
    assert picture.axes[0].get_xlim() == picture.axes[1].get_xlim()  # so that depths can be compared
    assert [t.get_text() for t in picture.legends[0].get_texts()] == ["32 px", "16 px", "8 px", "4 px", "bottleneck"]


def test_an_architecture_and_its_string_are_drawn_alike_and_others_refused(space):
    a, b = (plots.structures(space, {"x": arch}).png() for arch in (DEEP, space.parse(DEEP)))
    assert a == b
    with pytest.raises(ParameterError, match="nothing to draw"):
        plots.structures(space, {})
    with pytest.raises(ArchitectureError):
        plots.structures(space, {"x": DEEP[:-1]})
