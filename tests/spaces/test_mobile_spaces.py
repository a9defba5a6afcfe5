"""ProxylessNAS, FBNet, SPOS and FairNAS: published sizes and counts, exact tables, one description read two ways."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from nasedu import spaces
from nasedu.blocks import FBNetBlock, MBConv, ShuffleBlock, ShuffleXception
from nasedu.blocks.fbnet import ChannelShuffle
from nasedu.blocks.shuffle import shuffle_split
from nasedu.errors import ArchitectureError, ParameterError, UnknownName
from nasedu.hardware import count
from nasedu.sampling import one_hot
from nasedu.spaces.macro import Options, Outline, Stage, make_divisible
from nasedu.supernet.mixed import Subset
from nasedu.tables import LookupTable

NAMES = ("proxylessnas", "fbnet", "spos", "fairnas")
TINY = {**spaces.COURSE, "depth": 0.25}


def meta(space, arch):
    with torch.device("meta"):
        return space.build(arch)


def influence(block, channels, at=0):
    """For every output channel, whether input channel `at` reaches it."""
    x = torch.randn(1, channels, 6, 6, requires_grad=True)
    y = block.eval()(x)
    reached = []
    for c in range(y.shape[1]):
        (gradient,) = torch.autograd.grad(y[0, c].sum(), x, retain_graph=True)
        reached.append(bool(gradient[0, at].abs().sum() > 0))
    return reached


@pytest.mark.parametrize(
    ("name", "options", "size"),
    [
        ("proxylessnas", {}, 221502229807900608),
        ("proxylessnas", {"skip": "everywhere"}, 558545864083284007),
        ("proxylessnas", {"outline": "mobile"}, 221502229807900608),
        ("fbnet", {}, 984770902183611232881),
        ("fbnet", {"e1": "drop_expansion", "shuffle": False, "head": "small"}, 9**22),
        ("fbnet", {"candidates": "mobile-vision"}, 10**22),
        ("spos", {}, 1099511627776),
        ("spos", {"projection": "half"}, 4**20),
        ("fairnas", {}, 609359740010496),
    ],
)
def test_sizes_are_exact_integers(name, options, size):
    got = spaces.create(name, **options).size
    assert got == size and type(got) is int


GOLDEN = {
    ("proxylessnas", "ProxylessNAS-Mobile"): (320427584, 4080512),
    ("proxylessnas", "ProxylessNAS-GPU"): (465260160, 7119848),
    ("proxylessnas", "ProxylessNAS-CPU"): (439243864, 4361648),
    ("fbnet", "FBNet-A"): (249921848, 4321464),
    ("fbnet", "FBNet-B"): (295561032, 4812088),
    ("fbnet", "FBNet-C"): (382984480, 5567880),
    ("fbnet", "FBNet-B, all 5x5"): (296614728, 4813048),
    ("fbnet", "FBNet-C, all 5x5"): (384960160, 5572200),
    ("spos", "SPOS"): (322918720, 3558464),
    ("fairnas", "FairNAS-B"): (345297632, 4506272),
    ("fairnas", "FairNAS-C"): (321024992, 4397864),
}


def test_every_published_network_is_checked():
    assert set(GOLDEN) == {(name, network) for name in NAMES for network in spaces.published(name)}


@pytest.mark.parametrize(("name", "network"), GOLDEN)
def test_published_networks_have_their_counts(name, network):
    space, arch = spaces.published(name, network)
    cost = count(meta(space, arch), space.input_shape)
    assert (cost.macs, cost.params) == GOLDEN[name, network]
    stated = spaces.published(name)[network]
    assert (stated.macs, stated.params) == GOLDEN[name, network] and stated.source


@pytest.mark.parametrize(("network", "weights"), [("FBNet-A", 4286480), ("FBNet-B", 4777296), ("FBNet-C", 5520784)])
def test_fbnets_have_the_weights_that_the_authors_code_counts(network, weights):
    space, arch = spaces.published("fbnet", network)
    net = meta(space, arch)
    assert sum(m.weight.numel() for m in net.modules() if isinstance(m, nn.Conv2d | nn.Linear)) == weights


@pytest.mark.parametrize("name", NAMES)
def test_tables_are_exact_for_100_random_architectures(name):
    space, rng = spaces.create(name, **TINY), np.random.default_rng(0)
    macs, params = LookupTable.build(space, "macs"), LookupTable.build(space, "params")
    for _ in range(100):
        arch = space.sample(rng)
        cost = count(meta(space, arch), space.input_shape)
        assert (macs(arch), params(arch)) == (cost.macs, cost.params)
    assert macs.bounds()[0] < macs.bounds()[1]


@pytest.mark.parametrize(
    ("name", "options"),
    [(name, {}) for name in NAMES]
    + [
        ("proxylessnas", {"skip": "everywhere", "squeeze_excite": True, "activation": "hardswish"}),
        ("fbnet", {"candidates": "mobile-vision", "activation": "prelu", "squeeze_excite": True}),
        ("spos", {"projection": "half", "squeeze_excite": True}),
    ],
)
def test_one_hot_hard_mixed_and_inherited_agree(name, options, randomised):
    space = spaces.create(name, **TINY, **options)
    torch.manual_seed(0)
    supernet, images, rng = randomised(space.supernet()), torch.randn(2, 3, 32, 32), np.random.default_rng(0)
    for _ in range(4):
        arch = space.sample(rng)
        soft = one_hot(arch, space.choices)
        mixed = [index if i % 2 else entry for i, (index, entry) in enumerate(zip(arch, soft, strict=True))]
        mixed[0] = Subset((arch[0],), torch.ones(1))
        with torch.inference_mode():
            alone = space.inherit(supernet, arch).eval()(images)
            for path in (arch, soft, mixed):
                assert (supernet(images, path) - alone).abs().max() <= 1e-5 * alone.abs().max()
            other = supernet(images, space.mutate(arch, rng, p=1.0))
        assert alone.shape == (2, 10) and alone.std() > 0
        assert (other - alone).abs().max() > 1e-3 * alone.abs().max()


@pytest.mark.parametrize("name", NAMES)
def test_a_supernet_trains_on_every_kind_of_path(name):
    space = spaces.create(name, **TINY)
    supernet, images = space.supernet(), torch.randn(4, 3, 32, 32)
    logits = [torch.zeros(n, requires_grad=True) for n in space.choices]
    supernet(images, [a.softmax(0) for a in logits]).square().sum().backward()
    assert all(a.grad.abs().sum() > 0 for a in logits)
    assert all(p.grad is not None for p in supernet.parameters())
    supernet.zero_grad()
    arch = space.sample(np.random.default_rng(0))
    supernet(images, arch).sum().backward()
    for slot, chosen in zip(space.slots, arch, strict=True):
        used = [any(p.grad is not None for p in op.parameters()) for op in supernet.parts[slot.name].operations]
        assert not any(used[:chosen] + used[chosen + 1 :])


@pytest.mark.parametrize("name", NAMES)
def test_architectures_print_and_parse(name):
    space, rng = spaces.create(name), np.random.default_rng(0)
    for _ in range(20):
        arch = space.sample(rng)
        assert space.parse(space.format(arch)) == arch
    for network in spaces.published(name):
        there, arch = spaces.published(name, network)
        assert there.parse(there.format(arch)) == arch


def test_choices_are_named_as_in_the_papers():
    proxyless, fbnet = spaces.create("proxylessnas"), spaces.create("fbnet")
    assert proxyless.decisions[1].choices == ("k3e3", "k3e6", "k5e3", "k5e6", "k7e3", "k7e6", "skip")
    assert fbnet.decisions[0].choices == (*(f"k{k}{e}" for k in (3, 5) for e in ("e1", "e1g2", "e3", "e6")), "skip")
    assert spaces.create("spos").decisions[0].choices == ("shuffle3", "shuffle5", "shuffle7", "xception")
    assert [d.name for d in fbnet.decisions][:3] == ["stage1_1", "stage2_1", "stage2_2"]
    space, arch = spaces.published("fbnet", "FBNet-A")
    assert space.format(arch).splitlines()[12] == "stage4_4: k5e6" and "stage4_3: k5e1g2" in space.format(arch)


def test_proxyless_skips_only_where_the_shape_stays():
    def skips(space):
        return [d.name for d in space.decisions if "skip" in d.choices]

    identity, everywhere = spaces.create("proxylessnas"), spaces.create("proxylessnas", skip="everywhere")
    assert skips(identity) == [d.name for d in identity.decisions if not d.name.endswith("_1")]
    assert len(skips(everywhere)) == 21
    chosen = tuple(d.choices.index("skip") if "skip" in d.choices else 0 for d in everywhere.decisions)
    parts = meta(everywhere, chosen).parts
    assert isinstance(parts["stage1_2"], nn.Identity) and parts["stage1_1"].conv.stride == (2, 2)


def test_fbnet_skip_is_an_identity_or_a_projection():
    space = spaces.create("fbnet", **TINY)
    skip = space.decisions[0].choices.index("skip")
    parts = space.build([skip] * len(space.choices)).parts
    for name, [(channels, height, _)] in space.input_shapes.items():
        if name.startswith("stage"):
            images = torch.randn(2, channels, height, height)
            out = parts[name].eval()(images)
            kept = isinstance(parts[name], nn.Identity)
            assert kept == (out.shape == images.shape) and (not kept or out is images)


def test_fbnet_e1_keeps_its_expansion_and_an_option_drops_it():
    k3e1 = (0,) * 22
    kept = meta(spaces.create("fbnet"), k3e1).parts["stage2_2"]
    dropped = meta(spaces.create("fbnet", e1="drop_expansion"), k3e1).parts["stage2_2"]
    assert kept.expand.conv.weight.shape == (24, 24, 1, 1) and kept.depthwise.conv.groups == 24
    assert isinstance(dropped.expand, nn.Identity)
    assert count(kept, (24, 8, 8)).macs - count(dropped, (24, 8, 8)).macs == 24 * 24 * 64
    assert isinstance(MBConv(8, 8, expansion=1).expand, nn.Identity)  # MobileNetV2 leaves it out


def test_the_channel_shuffle_mixes_groups():
    torch.manual_seed(0)
    block = {"expansion": 1, "groups": 2, "act": "silu"}
    mixed = influence(FBNetBlock(8, 16, **block), 8)
    apart = influence(FBNetBlock(8, 16, **block, shuffle=False), 8)
    assert all(mixed)
    assert all(apart[:8]) and not any(apart[8:])
    grouped = FBNetBlock(8, 8, **block)
    assert grouped.expand.conv.groups == grouped.project.conv.groups == 2
    for shuffle in (True, False):
        made = spaces.create("fbnet", shuffle=shuffle).slots[3].make(1)
        assert any(isinstance(m, ChannelShuffle) for m in made.modules()) == shuffle


@pytest.mark.parametrize("unit", [ShuffleBlock, ShuffleXception])
def test_shuffle_units_pass_even_channels_on_and_mix_in_a_chain(unit):
    torch.manual_seed(0)
    x = torch.randn(2, 8, 6, 6)
    unshuffled = torch.cat(shuffle_split(x), 1)
    assert torch.equal(nn.ChannelShuffle(4)(x), unshuffled) and not torch.equal(nn.ChannelShuffle(2)(x), unshuffled)
    block = unit(8, 8, act="silu").eval()
    assert torch.equal(block(x)[:, :4], x[:, ::2])
    odd_changed = x.clone()
    odd_changed[:, 1::2] += 1
    assert torch.equal(block(odd_changed)[:, :4], x[:, ::2]) and not torch.equal(block(odd_changed), block(x))
    # Without a shuffle, half of the channels would never be computed on; with it, only the first is left alone.
    chain = nn.Sequential(*(unit(8, 8, act="silu") for _ in range(4)))
    assert [any(influence(chain, 8, at)[4:]) for at in range(8)] == [False] + 7 * [True]


def test_spos_widths_are_the_official_ones_and_an_option_reproduces_the_other():
    first = [meta(spaces.create("spos", projection=p), (0,) * 20).parts for p in ("input", "half")]
    official, other = first
    assert official["stage1_1"].projection[1].conv.out_channels == 16
    assert official["stage1_1"].main[0].conv.out_channels == 32  # mid = half of 64
    assert official["stage1_1"].main[2].conv.out_channels == 48  # the rest of 64
    assert other["stage1_1"].projection[1].conv.out_channels == other["stage1_1"].main[2].conv.out_channels == 32
    differ = [
        name
        for name in official
        if [p.shape for p in official[name].parameters()] != [p.shape for p in other[name].parameters()]
    ]
    assert differ == ["stage1_1", "stage2_1"]
    assert official["classifier"].linear.bias is None and official["head"].conv.out_channels == 1024


@pytest.mark.parametrize("name", NAMES)
def test_options_change_what_they_say(name):
    base = dict(spaces.COURSE)
    zero = [0] * len(spaces.create(name, **base).choices)

    def network(**options):
        space = spaces.create(name, **{**base, **options})
        return space, meta(space, [0] * len(space.choices))

    space, plain = network()
    cost = count(plain, space.input_shape)
    assert len(network(depth=1.0)[0].choices) == len(spaces.create(name).choices) > len(zero)
    assert len(network(depth=0.01)[0].choices) == len({d.name.split("_")[0] for d in space.decisions})
    assert count(network(stem_stride=1)[1], space.input_shape).macs > 3 * cost.macs
    assert count(network(width=0.5)[1], space.input_shape).params > 2 * cost.params
    assert network(num_classes=7)[1].parts["classifier"].linear.out_features == 7
    assert network(input_size=64)[0].input_shape == (3, 64, 64)
    act = {type(m) for m in network(activation="hardswish")[1].modules()}
    assert nn.Hardswish in act and nn.ReLU not in act and nn.ReLU6 not in act
    assert count(network(squeeze_excite=True)[1], space.input_shape).params > cost.params
    prints = {
        network(**o)[0].fingerprint for o in ({}, {"width": 0.5}, {"activation": "silu"}, {"squeeze_excite": True})
    }
    assert len(prints) == 4


def test_outline_and_head_options():
    with torch.device("meta"):
        mobile = spaces.create("proxylessnas", outline="mobile").build([0] * 21).parts
        small = spaces.create("fbnet", head="small").build([0] * 22).parts
    assert mobile["stage1_1"].project.conv.out_channels == 32 and small["head"].conv.out_channels == 1504


def test_stages_scale_by_width_and_depth():
    assert [make_divisible(c) for c in (2, 12, 10, 24, 27, 184 * 0.25)] == [8, 16, 16, 24, 32, 48]
    net = Outline(16, 0, (Stage(64, 4, 2), Stage(10, 1, 1)), 100, last=0)
    small = Outline(8, 0, (Stage(32, 2, 2), Stage(8, 1, 1)), 48, last=0)
    assert Options(width=0.5, depth=0.3).scaled(net) == small
    assert Options(depth=2).scaled(net).stages[0].repeats == 8


def test_bad_names_values_and_architectures_are_refused():
    with pytest.raises(UnknownName, match="unknown search space 'fbnett': did you mean 'fbnet'"):
        spaces.create("fbnett")
    with pytest.raises(UnknownName, match="unknown option of fbnet 'widht': did you mean 'width'"):
        spaces.create("fbnet", widht=0.5)
    with pytest.raises(UnknownName, match="unknown option of yolo 'tempalte': did you mean 'template'"):
        spaces.create("yolo", tempalte="p5")
    with pytest.raises(UnknownName, match="option of fairnas 'skip'"):
        spaces.create("fairnas", skip="identity")
    for name, option, value in (
        ("fbnet", "e1", "drop"),
        ("fbnet", "head", "larg"),
        ("fbnet", "candidates", "papers"),
        ("proxylessnas", "skip", "never"),
        ("proxylessnas", "outline", "phone"),
        ("spos", "projection", "quarter"),
        ("spos", "activation", "rely"),
    ):
        with pytest.raises(UnknownName, match=value):
            spaces.create(name, **{option: value})
    for bad in ({"width": 0}, {"depth": -1}, {"stem_stride": 3}, {"num_classes": 0}, {"input_size": 4}):
        with pytest.raises(ParameterError):
            spaces.create("fbnet", **bad)
    with pytest.raises(ParameterError, match="every stage wider"):
        spaces.create("spos", width=0.1)
    with pytest.raises(UnknownName, match="published network of fbnet 'FBNet-D'"):
        spaces.published("fbnet", "FBNet-D")


def test_architectures_of_other_spaces_are_refused():
    fbnet, spos = spaces.create("fbnet", **spaces.COURSE), spaces.create("spos", **spaces.COURSE)
    with pytest.raises(ArchitectureError, match="fbnet has 12 decisions, the architecture has 10"):
        fbnet.build((0,) * 10)
    with pytest.raises(ArchitectureError, match="stage1_1 has the choices 0 to 3"):
        spos.build((8,) * 10)
    with pytest.raises(UnknownName, match="unknown decision of spos 'stage5_1'"):
        spos.parse(fbnet.format((0,) * 12))
    with pytest.raises(UnknownName, match="choice of stage1_1 'k3e2': did you mean 'k3e"):
        fbnet.parse(fbnet.format((0,) * 12).replace("k3e1", "k3e2", 1))
    with pytest.raises(ArchitectureError, match="needs 12 names of choices"):
        spaces.arch_of(fbnet, spaces.published("spos")["SPOS"].choices)
    with pytest.raises(ArchitectureError, match="needs a path with 12 entries"):
        fbnet.supernet()(torch.zeros(1, 3, 32, 32), (0,))
