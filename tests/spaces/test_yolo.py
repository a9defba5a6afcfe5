"""The detector space: the published counts, and one description read two ways."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from nasedu import spaces
from nasedu.blocks.elan import RepConv
from nasedu.blocks.merge import merged
from nasedu.errors import ArchitectureError, ParameterError, UnknownName
from nasedu.hardware import count
from nasedu.sampling import one_hot


@pytest.fixture(scope="module")
def p5():
    return spaces.create("yolo", template="p5", num_classes=20)


def build_meta(space, arch):
    with torch.device("meta"):
        return space.build(arch)


def test_p5_supernet_has_the_published_parameters(p5):
    with torch.device("meta"):
        params = sum(p.numel() for p in p5.supernet().parameters())
    assert params == pytest.approx(205.446e6, rel=1e-3)
    assert p5.size == 12**9


def test_p5_hand_designed_and_smallest_networks_match_the_published_costs(p5):
    hand = count(build_meta(p5, p5.hand_designed), p5.input_shape)
    assert hand.flops == pytest.approx(70.0e9, rel=0.01) and hand.params == pytest.approx(70.4e6, rel=0.01)
    smallest = count(build_meta(p5, (0,) * 18), p5.input_shape)
    assert smallest.flops == pytest.approx(21.37e9, rel=0.01) and smallest.params == pytest.approx(25.93e6, rel=0.01)


@pytest.mark.parametrize(("template", "size"), [("csp", 12**8), ("tiny", 12**3), ("course", 12**9)])
def test_sizes_of_the_other_templates(template, size):
    assert spaces.create("yolo", template=template).size == size


@pytest.mark.parametrize(
    ("template", "semantics"),
    [(name, "sliced") for name in ("course", "tiny", "csp", "elan", "yolov7-tiny", "yolov7-small")]
    + [("elan", "faithful"), ("yolov7-small", "faithful")],  # whose blocks have no normalisation that leaks
)
def test_one_hot_and_hard_paths_equal_the_stand_alone_network(template, semantics, randomised):
    space = spaces.create("yolo", template=template, num_classes=3, image_size=64, semantics=semantics)
    torch.manual_seed(0)
    supernet = randomised(space.supernet())
    images = torch.randn(2, 3, 64, 64)
    for seed in range(3):
        arch = space.sample(np.random.default_rng(seed))
        with torch.inference_mode():
            alone = space.inherit(supernet, arch).eval()(images)
            soft = supernet(images, one_hot(arch, space.choices))
            hard = supernet(images, arch)
        for a, b, c in zip(alone, soft, hard, strict=True):
            scale = a.abs().max()
            assert (a - b).abs().max() <= 1e-5 * scale and (a - c).abs().max() <= 1e-5 * scale
        assert torch.stack([m.std() for m in alone]).min() > 0


def test_faithful_semantics_leak_through_masked_channels(randomised):
    space = spaces.create("yolo", num_classes=3, image_size=64, semantics="faithful")
    torch.manual_seed(0)
    supernet = randomised(space.supernet())
    arch = (0,) * 18
    images = torch.randn(2, 3, 64, 64)
    with torch.inference_mode():
        alone = space.inherit(supernet, arch).eval()(images)
        soft = supernet(images, one_hot(arch, space.choices))
    assert max((a - b).abs().max() for a, b in zip(alone, soft, strict=True)) > 1e-3


def test_architectures_print_and_parse():
    space = spaces.create("yolo")
    rng = np.random.default_rng(0)
    for _ in range(20):
        arch = space.sample(rng)
        assert space.parse(space.format(arch)) == arch
    assert "back1: {width: 0.5, depth: 1}" in space.format(space.hand_designed)


def test_bad_architectures_and_options_are_refused():
    space = spaces.create("yolo")
    text = space.format(space.hand_designed)
    with pytest.raises(ArchitectureError, match="18 decisions"):
        space.validate((0, 1))
    with pytest.raises(ArchitectureError, match=r"back1\.width has the choices 0 to 2"):
        space.build((3,) + (0,) * 17)
    with pytest.raises(UnknownName, match=r"choice of back1\.width"):
        space.parse(text.replace("width: 0.5", "width: 0.4", 1))
    with pytest.raises(UnknownName, match=r"did you mean 'back1\.width'"):
        space.parse(text.replace("width", "widht", 1))
    with pytest.raises(ArchitectureError, match="does not decide neck4"):
        space.parse("\n".join(text.splitlines()[:-1]))
    for broken in ("[1, 2]", "a: [", ""):
        with pytest.raises(ArchitectureError):
            space.parse(broken)
    with pytest.raises(UnknownName, match="did you mean 'course'"):
        spaces.create("yolo", template="curse")
    with pytest.raises(UnknownName, match="supernet semantics"):
        spaces.create("yolo", semantics="soft")
    with pytest.raises(ParameterError, match="multiple of 32"):
        spaces.create("yolo", image_size=100)
    with pytest.raises(ArchitectureError, match="needs a path with 18 entries, got 2"):
        space.supernet()(torch.zeros(1, 3, 128, 128), (0, 0))


def test_fingerprints_tell_networks_of_equal_weights_apart():
    prints = {
        spaces.create("yolo", **options).fingerprint
        for options in ({}, {"act": "relu"}, {"image_size": 64}, {"num_classes": 3}, {"template": "tiny"})
    }
    assert len(prints) == 5
    assert spaces.create("yolo").fingerprint == spaces.create("yolo", semantics="faithful").fingerprint in prints


def test_mutation_and_crossover_stay_in_the_space_and_move_as_told():
    space, rng = spaces.create("yolo"), np.random.default_rng(0)
    a, b = space.sample(rng), space.sample(rng)
    assert space.mutate(a, rng, p=0.0) == a
    moved = [sum(x != y for x, y in zip(a, space.mutate(a, rng, p=1.0), strict=True)) for _ in range(200)]
    expected = sum(1 - 1 / n for n in space.choices)
    assert np.mean(moved) == pytest.approx(expected, rel=0.1)
    child = space.crossover(a, b, rng)
    assert all(c in (x, y) for c, x, y in zip(child, a, b, strict=True)) and space.validate(child)


SIZES = [  # template, choices of width and of every output, classes, pixels, parameters, GFLOPs
    ("yolov7", None, 80, 640, 37.64e6, 105.8e9),  # the usual networks
    ("yolov7-tiny", None, 80, 640, 6.24e6, 13.7e9),
    ("yolov7", (2, 1), 20, 416, 50.74e6, 64.3e9),
    ("yolov7", (1, 1), 20, 416, 41.63e6, 51.3e9),
    ("yolov7", (0, 0), 20, 640, 24.07e6, 60.3e9),
    ("yolov7-tiny", (2, 1), 20, 640, 11.27e6, 25.3e9),
    ("yolov7-tiny", (1, 1), 20, 416, 8.56e6, 8.0e9),
]


@pytest.mark.parametrize(("template", "chosen", "classes", "side", "params", "flops"), SIZES)
def test_networks_of_the_yolov7_family_have_the_published_sizes(template, chosen, classes, side, params, flops):
    space = spaces.create("yolo", template=template, num_classes=classes, image_size=side)
    arch = tuple(chosen[n == 2] for n in space.choices) if chosen else space.hand_designed
    found = count(build_meta(space, arch), space.input_shape)
    assert found.params == pytest.approx(params, abs=0.005e6) and found.flops == pytest.approx(flops, abs=0.05e9)


@pytest.mark.parametrize(("template", "outs"), [("yolov7", 5), ("yolov7-small", 4), ("yolov7-tiny", 4), ("elan", 3)])
def test_sizes_of_the_yolov7_family(template, outs):
    assert spaces.create("yolo", template=template).size == (3 * 2**outs) ** 8


VARIANTS = [
    ({"template": "p5", "depths": ((1, 3, 7, 11), (1, 3, 5, 7))}, 12**9),
    ({"template": "csp", "widths": (0.5,)}, 4**8),
    ({"template": "csp", "depths": "hand"}, 3**8),
    ({"template": "csp", "widths": (0.25, 0.5, 0.75, 1.0), "depths": (0, 1, 2, 3)}, 16**8),
    ({"template": "csp", "depths": (0, 1, 2)}, 9**8),
    ({"template": "yolov7-tiny", "widths": (1,)}, 16**8),
]


@pytest.mark.parametrize(("options", "size"), VARIANTS)
def test_variants_of_the_templates(options, size):
    space = spaces.create("yolo", **options)
    assert space.size == size and space.validate(space.hand_designed) == space.hand_designed
    assert space.parse(space.format(space.hand_designed)) == space.hand_designed
    assert space.fingerprint != spaces.create("yolo", template=options["template"]).fingerprint


def test_only_widths_are_searched_at_the_usual_depths():
    space = spaces.create("yolo", template="csp", depths="hand")
    depths = [d.choices for d in space.decisions if d.name.endswith("depth")]
    assert depths == [(str(n),) for n in (2, 8, 8, 4, 2, 2, 2, 2)]


@pytest.mark.parametrize(
    "options",
    [
        {"depths": ()},
        {"depths": (2, 1)},
        {"depths": (1, 1)},
        {"depths": (-1, 2)},
        {"depths": ((1,), (2,), (3,))},
        {"widths": (0,)},
        {"widths": 0.5},
        {"widths": (0.5, 0.25)},
        {"widths": (0.02, 0.5)},  # no channel is left in a small block
        {"widths": (0.5, 0.501)},  # two choices of the same network
        {"template": "elan", "widths": (0.01, 1)},
        {"template": "tiny", "depths": ((1, 2), (0, 1))},  # it has no neck
        {"template": "elan", "depths": (1, 2)},
    ],
)
def test_choices_that_are_none_are_refused(options):
    with pytest.raises(ParameterError):
        spaces.create("yolo", **options)


@pytest.mark.parametrize("template", ["elan", "yolov7"])
def test_a_merged_network_computes_the_same_with_fewer_parts(template, randomised):
    space = spaces.create("yolo", template=template, num_classes=3, image_size=64)
    torch.manual_seed(0)
    network = randomised(space.build(space.hand_designed)).eval()
    plain, images = merged(network), torch.randn(2, 3, 64, 64)
    with torch.inference_mode():
        for a, b in zip(network(images), plain(images), strict=True):
            assert (a - b).abs().max() <= 1e-5 * a.abs().max()
    kinds = {type(m).__name__ for m in plain.modules()}
    assert not kinds & {"RepConv", "ImplicitDetect"} and "Detect" in kinds


@pytest.mark.parametrize(("c_in", "c_out"), [(4, 4), (4, 6)])
def test_branches_become_one_convolution(c_in, c_out, randomised):
    torch.manual_seed(0)
    block, x = randomised(RepConv(c_in, c_out)).eval(), torch.randn(2, c_in, 7, 7)
    plain = block.merged()
    assert [m.kernel_size for m in plain.modules() if isinstance(m, torch.nn.Conv2d)] == [(3, 3)]
    torch.testing.assert_close(plain(x), block(x), atol=1e-5, rtol=1e-5)
