"""Single-Path's space: size, published counts, tables, and the supernet against stand-alone networks."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import nn

from nasedu.errors import ParameterError, UnknownName
from nasedu.hardware.count import count
from nasedu.spaces.single_path import PUBLISHED, SinglePathSpace
from nasedu.supernet.superkernel import CHOICES, Indicators, recursive_runtime, threshold_arch, threshold_path
from nasedu.tables.table import LookupTable

COURSE = {"num_classes": 10, "input_size": 32, "width": 0.25, "depth": 0.5, "stem_stride": 1}


@pytest.fixture(scope="module")
def space():
    return SinglePathSpace(**COURSE)


@pytest.fixture(scope="module")
def supernet(space):
    torch.manual_seed(0)
    supernet = space.supernet()
    for module in supernet.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.bias.data.normal_()
            module.running_mean.normal_(std=0.1)
    return supernet.eval()


def one_hot(arch, space):
    return [nn.functional.one_hot(torch.tensor(i), n).float() for i, n in zip(arch, space.choices, strict=True)]


def counted(space, arch):
    """MACs of convolution and linear layers, and parameters, added up apart from `hardware.count` (and faster)."""
    macs = []
    with torch.device("meta"):
        network = space.build(arch).eval()
        for module in network.modules():
            if isinstance(module, (nn.Conv2d, nn.Linear)):
                module.register_forward_hook(lambda m, _, y: macs.append(y[0, 0].numel() * m.weight.numel()))
        network(torch.empty(1, *space.input_shape))
    return sum(macs), sum(p.numel() for p in network.parameters())


def test_size_is_exact_and_only_repeats_can_be_skipped():
    space = SinglePathSpace()
    assert space.size == 31250000000000 == 4**5 * 5**15
    assert space.choices == [4, 5, 5, 5] * 5
    assert [d.choices for d in space.decisions[:2]] == [("k3e3", "k3e6", "k5e3", "k5e6"), (*CHOICES, "skip")]


def test_published_network_has_the_published_counts():
    published, space = PUBLISHED["Single-Path NAS"], SinglePathSpace()
    arch = tuple(d.choices.index(c) for d, c in zip(space.decisions, published.choices, strict=True))
    assert counted(space, arch) == (published.macs, published.params) == (333467072, 4421616)
    with torch.device("meta"):
        assert count(space.build(arch), space.input_shape).macs == published.macs
    assert space.parse(space.format(arch)) == arch


def test_tables_are_exact_on_random_architectures(space):
    tables, rng = [LookupTable.build(space, metric) for metric in ("macs", "params")], np.random.default_rng(0)
    for arch in (space.sample(rng) for _ in range(100)):
        assert tuple(table(arch) for table in tables) == counted(space, arch)


def test_options_reach_the_network():
    space = SinglePathSpace(**COURSE, activation="hardswish", squeeze_excite=True)
    network = space.build([0] * len(space.choices))
    kinds = [type(m).__name__ for m in network.modules()]
    assert "Hardswish" in kinds and "ReLU6" not in kinds
    assert kinds.count("SqueezeExcitation") == len(space.choices) == 10
    assert network(torch.randn(2, 3, 32, 32)).shape == (2, 10)
    assert network.parts["stem"].conv.stride == (1, 1) and network.parts["stem"].conv.out_channels == 8
    supernet = space.supernet().eval()
    arch = space.sample(np.random.default_rng(0))
    x = torch.randn(2, 3, 32, 32)
    torch.testing.assert_close(supernet(x, arch), space.inherit(supernet, arch).eval()(x), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("options", "error"),
    [({"semantics": "slice"}, UnknownName), ({"norm": "l3"}, UnknownName), ({"width": 0}, ParameterError)],
)
def test_bad_options_are_refused(options, error):
    with pytest.raises(error):
        SinglePathSpace(**options)


def test_hard_soft_and_mixed_paths_equal_the_stand_alone_network(space, supernet):
    rng, x = np.random.default_rng(1), torch.randn(2, 3, 32, 32)
    with torch.inference_mode():
        for arch in (space.sample(rng) for _ in range(8)):
            expected = space.inherit(supernet, arch).eval()(x)
            soft = one_hot(arch, space)
            mixed = [hard if i % 2 else weights for i, (hard, weights) in enumerate(zip(arch, soft, strict=True))]
            for path in (arch, soft, mixed):
                torch.testing.assert_close(supernet(x, path), expected, rtol=1e-5, atol=1e-5)


def test_the_supernet_stores_little_more_than_its_largest_network(space, supernet):
    largest = tuple(list(CHOICES).index("k5e6") for _ in space.choices)
    thresholds = sum(n - 2 for n in space.choices)  # t5 and t6, t3 too where the layer can be skipped
    assert sum(p.numel() for p in supernet.parameters()) == counted(space, largest)[1] + thresholds


@pytest.mark.parametrize("semantics", ["sliced", "faithful"])
def test_thresholds_make_a_path_whose_expected_cost_is_that_of_its_architecture(semantics):
    torch.manual_seed(0)
    space = SinglePathSpace(**COURSE, semantics=semantics)
    supernet, table = space.supernet(), LookupTable.build(space, "macs")
    slots = [supernet.parts[slot.name] for slot in space.slots]
    for i, block in enumerate(slots):
        name = ("t5", "t6", "t3")[i % 3]
        if getattr(block, name) is not None:
            getattr(block, name).data.fill_(math.inf if i % 2 else 0.4)
    path = threshold_path(supernet)
    arch = threshold_arch(supernet)
    assert len(set(arch)) > 2 and space.validate(arch) == arch
    loss = supernet(torch.randn(4, 3, 32, 32), path).square().mean()
    cost = table.expected(path)
    assert float(cost.detach()) == pytest.approx(counted(space, arch)[0], rel=1e-6)
    (loss + cost.log()).backward()
    assert sum(float(block.t5.grad.abs()) for block in slots) > 0


def test_published_runtime_formula_on_the_tables(space):
    """Exact for MACs, where a smaller kernel saves one share at both expansions; else k3e3 is an approximation."""
    ends = {"k3e3": (1.0, 0.0, 0.0), "k3e6": (1.0, 0.0, 1.0), "k5e3": (1.0, 1.0, 0.0), "k5e6": (1.0, 1.0, 1.0)}
    ends["skip"] = (0.0, 1.0, 1.0)
    for metric in ("macs", "params"):
        for entry, decision in zip(LookupTable.build(space, metric).entries, space.decisions, strict=True):
            for name, cost in zip(decision.choices, entry, strict=True):
                indicators = Indicators(*(torch.tensor(d, dtype=torch.float64) for d in ends[name]))
                published = recursive_runtime(entry, indicators)
                exact = metric == "macs" or name != "k3e3"
                assert (abs(float(published - cost)) < 1e-6 * float(cost) + 1e-9) == exact
