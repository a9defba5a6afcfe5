"""The ranking space: its strings, its exact size and counts, and a supernet whose widths are slices."""

import random
from collections import Counter

import numpy as np
import pytest
import torch

from nasedu import hardware, sampling, spaces
from nasedu.errors import ArchitectureError, ParameterError, UnknownName
from nasedu.spaces.resnet48 import BLOCKS
from nasedu.supernet.residual import sort_channels
from nasedu.tables import LookupTable

LARGEST = "15585" + "1" * 47
README = "348311131310000332323230014143424241434543757770000"
SECOND = "1322221222220000122200000024540000000000005525000000"


@pytest.fixture(scope="module")
def full():
    return spaces.create("resnet48")


@pytest.fixture(scope="module")
def course():
    return spaces.create("resnet48:course", width=0.125, depth=0.5)


def test_the_size_is_exact(full):
    per_stage = [sum(7 * 7**d for d in range(2, most + 1)) for most in BLOCKS]
    assert full.size == 121588067670250048000000 == int(np.prod(np.array(per_stage, dtype=object)))
    untied = 7 * int(np.prod(np.array([sum(49**d for d in range(2, most + 1)) for most in BLOCKS], dtype=object)))
    assert str(untied) in " ".join(spaces.resnet48.__doc__.split())


@pytest.mark.parametrize(
    ("text", "depths", "macs", "params"),
    [
        (LARGEST, (5, 5, 8, 5), 5_282_238_464, 34_043_688),
        (README, (3, 4, 8, 3), 3_254_345_728, 16_208_808),
        (SECOND, (3, 2, 2, 2), None, None),
    ],
)
def test_published_strings_have_their_counts(full, text, depths, macs, params):
    arch = full.parse(text)
    assert full.format(arch)[-51:] == text[-51:]
    assert full.format(arch)[1:5] == "".join(map(str, depths))
    with torch.device("meta"):
        network = full.build(arch)
    blocks = Counter(
        name.split("_")[0] for name, part in network.parts.items() if "stage" in name and len(list(part.children()))
    )
    assert tuple(blocks.values()) == depths
    found = hardware.count(network, full.input_shape)
    if macs:
        assert (found.macs, found.params) == (macs, params)


def test_paddles_count_of_the_largest(full):
    """2 for every element of a normalisation and 50 for a channel of the last map come on top."""
    with torch.device("meta"):
        network = full.build(full.parse(LARGEST))
    layers = hardware.count(network, full.input_shape).layers
    by_hand = sum(layer.macs + 2 * np.prod(layer.shape) * (layer.kind == "BatchNorm2d") for layer in layers) + 50 * 512
    assert by_hand == 5_292_349_440
    assert LookupTable.build(full, "paddle_flops")(full.parse(LARGEST)) == by_hand


def test_tables_are_exact_in_every_metric(course):
    rng = np.random.default_rng(0)
    tables = {metric: LookupTable.build(course, metric) for metric in ("macs", "params", "paddle_flops", "depth")}
    for _ in range(8):
        arch = course.sample(rng)
        found = hardware.count(course.build(arch), course.input_shape)
        assert (tables["macs"](arch), tables["params"](arch)) == (found.macs, found.params)
        extra = sum(2 * np.prod(layer.shape) for layer in found.layers if layer.kind == "BatchNorm2d")
        width = arch[[d.name for d in course.decisions].index("width4")]
        assert tables["paddle_flops"](arch) - found.macs - extra == course.widths[3][width] * (2 * 2 + 1)
        assert tables["depth"](arch) == sum(map(int, course.format(arch)[1:5])) + 2
    low, high = tables["macs"].bounds()
    most, least = tables["macs"].extremes()
    assert (tables["macs"](least), tables["macs"](most)) == (low, high)
    assert course.format(most)[1:5] == "".join(map(str, course.blocks))
    assert course.format(least)[1:5] == "2222"


def test_a_thousand_random_strings_are_read_and_written_back(full):
    rng = np.random.default_rng(0)
    for _ in range(1000):
        arch = full.sample(rng)
        text = full.format(arch)
        assert len(text) == 52
        assert full.parse(text) == full.parse(text[1:]) == full.parse(f" {text}\n") == arch


def test_broken_strings_end_in_one_sentence(full):
    chance, rng, told = random.Random(0), np.random.default_rng(1), []
    for _ in range(10_000):
        text = list(full.format(full.sample(rng)))
        for _ in range(chance.randint(1, 3)):
            at = chance.randrange(len(text))
            text[at : at + chance.randint(0, 2)] = chance.choices("0123456789x -", k=chance.randint(0, 2))
        try:
            arch = full.parse("".join(text))
        except ArchitectureError as error:
            told.append(str(error))
        else:
            assert full.parse(full.format(arch)) == arch == full.validate(arch)
    assert len(told) > 8000
    assert not [sentence for sentence in told if "\n" in sentence or len(sentence) > 300]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "52 digits"),
        (LARGEST[:-1] + "x", "52 digits"),
        ("²" * 52, "52 digits"),
        ("2" + LARGEST[1:], "resolution"),
        ("1" + "6585" + "1" * 47, "stage 1 has 2 to 5 blocks"),
        ("1" + "4585" + "1" * 47, "must be 0"),
        (LARGEST[:5] + "8" + LARGEST[6:], "the stem"),
        (LARGEST[:5] + "2" + LARGEST[6:], "stem and all blocks of stage 1 end in one width"),
        (LARGEST[:19] + "2" + LARGEST[20:], "all blocks of stage 2 end in one width"),
        (LARGEST[:6] + "0" + LARGEST[7:], "code 1 to 7"),
    ],
)
def test_what_a_string_may_not_say_is_told(full, text, told):
    with pytest.raises(ArchitectureError, match=told):
        full.parse(text)


def test_a_width_that_is_not_there_has_one_way_to_be_named(full):
    shallow = full.parse(SECOND)
    absent = next(i for i, d in enumerate(full.decisions) if d.name == "inside3_8")
    other = (*shallow[:absent], 5, *shallow[absent + 1 :])
    assert full.validate(other) == shallow
    assert full.format(other) == full.format(shallow)


@pytest.mark.parametrize("activation", ["relu", "prelu", "swish", "mish", "selu"])
def test_slices_masks_and_networks_agree(activation):
    space = spaces.create("resnet48:course", width=0.125, depth=0.5, activation=activation)
    supernet, rng = space.supernet(seed=0).train(), np.random.default_rng(0)
    images = torch.randn(4, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    for _ in range(3):  # statistics that are not those of an untrained network
        supernet(images, space.sample(rng))
    supernet.eval()
    for _ in range(3):
        arch = space.sample(rng)
        sliced, alone = supernet(images, arch), space.inherit(supernet, arch).eval()(images)
        torch.testing.assert_close(sliced, alone, rtol=1e-6, atol=1e-6)
        masked = supernet(images, sampling.one_hot(arch, space.choices))
        torch.testing.assert_close(masked, alone, rtol=1e-5, atol=1e-5)


def test_only_the_activation_after_the_sum_is_replaced():
    space = spaces.create("resnet48:course", width=0.125, depth=0.5, activation="mish")
    network = space.build(space.sample(np.random.default_rng(0)))
    kinds = Counter(
        type(part).__name__ for name, part in network.named_modules() if "stage" in name and not list(part.children())
    )
    assert kinds["Mish"] == kinds["ReLU"] > 7
    with pytest.raises(UnknownName, match="relu6"):
        spaces.create("resnet48", activation="relu6")


def test_sorted_channels_compute_the_same_and_the_important_ones_come_first(course):
    supernet = course.supernet(seed=0).train()
    images = torch.randn(4, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    most, least = LookupTable.build(course, "params").extremes()
    supernet(images, most)
    supernet.eval()
    before, narrow = supernet(images, most), supernet(images, least)
    sort_channels(supernet)
    torch.testing.assert_close(supernet(images, most), before, rtol=1e-5, atol=1e-5)
    assert (supernet(images, least) - narrow).abs().max() > 1e-4  # its channels are others now
    norms = supernet.parts["stage1_1"].conv2.conv.weight.abs().sum((0, 2, 3))
    assert (norms.diff() <= 0).all()


def test_options_that_are_none_are_refused():
    for options in ({"depth": -1}, {"num_classes": 0}, {"input_size": 4}, {"squeeze_excite": True}):
        with pytest.raises(ParameterError):
            spaces.create("resnet48", **options)


def test_the_course_holds_every_published_string_and_less_deep_spaces_fewer(course):
    small = spaces.create("resnet48:course")
    assert small.size == 121588067670250048000000
    assert small.format(small.parse(SECOND)) == SECOND
    assert course.blocks == [3, 3, 4, 3]
    text = course.format(course.sample(np.random.default_rng(0)))
    assert len(text) == 52
    with pytest.raises(ArchitectureError, match="stage 1 has 2 to 3 blocks, the string says 5"):
        course.parse(LARGEST)


def test_a_depth_that_no_string_has_room_for_is_refused():
    for depth in (1.2, 2, float("nan")):
        with pytest.raises(ParameterError, match="depth"):
            spaces.create("resnet48", depth=depth)
