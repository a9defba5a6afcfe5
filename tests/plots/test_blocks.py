"""What stands in a strip of blocks: sizes to scale, numbers of choices, chosen operations."""

import itertools

import numpy as np
import pytest
from matplotlib.colors import to_hex
from matplotlib.patches import Rectangle

from nasedu import plots, spaces
from nasedu.errors import ArchitectureError
from nasedu.hardware import count
from nasedu.plots.blocks import KERNELS, OTHER
from nasedu.plots.diagram import FIXED

CHAINS = ("proxylessnas", "fbnet", "spos", "single_path", "fairnas")
SIZES = {"published": {}, "course": spaces.COURSE}


def rectangles(ax):
    return [patch for patch in ax.patches if isinstance(patch, Rectangle)]


def labels(ax):
    return [text.get_text() for text in ax.texts]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", CHAINS)
def test_every_block_is_drawn_to_scale_and_carries_its_number_of_choices(name, size):
    space = spaces.create(name, **SIZES[size])
    ax = plots.blocks(space).axes[0]
    boxes = rectangles(ax)
    assert len(boxes) == len(space.layers)  # the images instead of the classifier
    shapes = [space.input_shapes[layer.name][0] for layer in space.layers]
    for box, (channels, resolution, _) in zip(boxes, shapes, strict=True):
        assert box.get_height() == pytest.approx(resolution**0.5)
        assert box.get_width() / boxes[0].get_width() == pytest.approx((channels / 3) ** 0.5)
    for left, right in itertools.pairwise(boxes):
        assert left.get_x() + left.get_width() < right.get_x()
    assert labels(ax)[: len(boxes)] == ["", "", *_numbers(space), ""]
    assert sum(to_hex(box.get_facecolor()) != to_hex(FIXED) for box in boxes) == len(space.slots)


def _numbers(space):
    searched = {slot.name: str(len(slot.decisions[0].choices)) for slot in space.slots}
    return [searched.get(layer.name, "") for layer in space.layers[1:-2]]


def test_channels_and_resolutions_stand_below_their_stage():
    ax = plots.blocks(spaces.create("proxylessnas")).axes[0]
    below = [label.get_text().split() for label in ax.get_xticklabels()]
    assert " ".join(channels for channels, _ in below) == "3 32 16 24 40 80 96 192 320 1280"
    assert " ".join(pixels for _, pixels in below) == "224 112 112 56 28 14 14 7 7 7"
    assert "1000\nclasses" in labels(ax)


@pytest.mark.parametrize(("name", "network"), [(n, p) for n in CHAINS for p in spaces.published(n)])
def test_a_published_network_is_coloured_by_kernel_and_named_by_choice(name, network):
    space, arch = spaces.published(name, network)
    assert count(space.build(arch), space.input_shape).macs == spaces.published(name)[network].macs
    ax = plots.blocks(space, {network: arch}).axes[0]
    assert ax.get_title("left") == network
    chosen = [d.choices[i] for d, i in zip(space.decisions, arch, strict=True)]
    assert [label for label in labels(ax) if label and "classes" not in label][: len(arch) - chosen.count("skip")] == [
        operation for operation in chosen if operation != "skip"
    ]
    first = [layer.name for layer in space.layers].index(space.slots[0].name) + 1
    for box, operation in zip(rectangles(ax)[first:], chosen, strict=False):
        kernel = next((digit for digit in operation if digit.isdigit()), None)
        if operation == "skip":
            assert box.get_linestyle() == ":" and box.get_facecolor()[3] == 0
        else:
            assert to_hex(box.get_facecolor()) == to_hex(KERNELS.get(kernel, OTHER))


def test_a_row_per_architecture_and_a_frame_around_the_marked_block():
    space = spaces.create("proxylessnas", **spaces.COURSE)
    rng = np.random.default_rng(0)
    picture = plots.blocks(space, {"a": space.sample(rng), "b": space.sample(rng)}, mark="stage2_1")
    assert [ax.get_title("left") for ax in picture.axes] == ["a", "b"]
    for ax in picture.axes:
        wide = [i for i, box in enumerate(rectangles(ax)) if box.get_linewidth() > 2]
        assert wide == [1 + [layer.name for layer in space.layers].index("stage2_1")]


def test_a_skip_that_changes_the_shape_is_named_a_projection():
    space = spaces.create("fbnet", **spaces.COURSE)
    arch = [0] * len(space.choices)
    at = [slot.name for slot in space.slots].index("stage3_1")
    arch[at] = space.decisions[at].choices.index("skip")
    assert "1×1" in labels(plots.blocks(space, {"a": arch}).axes[0])
    arch[at], arch[at + 1] = 0, arch[at]
    assert "1×1" not in labels(plots.blocks(space, {"a": arch}).axes[0])


@pytest.mark.parametrize("name", ["yolo", "nasbench201"])
def test_what_is_no_chain_is_refused_in_a_sentence(name):
    with pytest.raises(ArchitectureError, match="only a chain of blocks"):
        plots.blocks(spaces.create(name))


def test_an_architecture_of_another_length_is_refused():
    with pytest.raises(ArchitectureError, match="22 decisions"):
        plots.blocks(spaces.create("fbnet"), {"short": (0, 1)})
