"""PlainNet: grammar, exact counts, published networks, mutation, and a learner's own blocks."""

from __future__ import annotations

import copy
import pickle
from collections import Counter

import numpy as np
import pytest
import torch
from scipy import stats

from nasedu import spaces
from nasedu.blocks import Conv, Residual
from nasedu.errors import ArchitectureError, NaseduError, ParameterError, UnknownName
from nasedu.hardware import count
from nasedu.search.evolution import EvolutionConfig, evolution
from nasedu.search.random import random_search
from nasedu.search.settings import SearchConfig
from nasedu.spaces.plainnet import CIFAR_SEED, Block, plain_block
from nasedu.spaces.plainnet.families import HEAD, INVERTED, STEMS
from nasedu.spaces.plainnet.mutation import RULES, origin_weights, uniform, widths
from nasedu.spaces.plainnet.registry import KINDS

# parameters and multiply-accumulates, counted on the networks that the public code builds; depth ΣL
REFERENCE = {
    "CIFAR seed": (90_962, 6.711e6, 6),
    "ZenNet-0.5M": (0.500e6, 136.1e6, 16),
    "ZenNet-1.0M": (0.995e6, 159.2e6, 18),
    "ZenNet-2.0M": (1.982e6, 481.4e6, 20),
    "ZenNet-400M-SE": (7.466e6, 402e6, 14),
    "ZenNet-600M-SE": (11.312e6, 602e6, 14),
    "ZenNet-900M-SE": (19.352e6, 915e6, 16),
    "ZenNet-0.1ms": (30.07e6, 1757e6, 10),
    "ZenNet-0.2ms": (49.68e6, 3416e6, 13),
    "ZenNet-0.3ms": (85.38e6, 4872e6, 16),
    "ZenNet-0.5ms": (118.18e6, 8332e6, 20),
    "ZenNet-0.8ms": (182.50e6, 13923e6, 25),
    "ZenNet-1.2ms": (180.59e6, 21974e6, 30),
}
RNG = np.random.default_rng


def meta(space, arch):
    with torch.device("meta"):
        return space.build(arch)


@pytest.fixture
def own():
    """Takes back what a test registers."""
    before = dict(KINDS)
    yield
    KINDS.clear()
    KINDS.update(before)


@pytest.mark.parametrize("network", spaces.published("plainnet"))
def test_published_networks_have_their_true_counts(network):
    space, arch = spaces.published("plainnet", network)
    stated = spaces.published("plainnet")[network]
    cost = space.cost(arch)
    assert (cost.macs, cost.params) == (stated.macs, stated.params)
    assert cost == count(meta(space, arch), space.input_shape)
    assert space.format(arch) == stated.choices and space.parse(space.format(arch)) == arch
    if network in REFERENCE:
        params, macs, depth = REFERENCE[network]
        assert cost.params == pytest.approx(params, rel=1e-3) and cost.macs == pytest.approx(macs, rel=2e-3)
        assert space.depth(arch) == depth
    assert set(REFERENCE) <= set(spaces.published("plainnet"))


@pytest.mark.parametrize("squeeze_excite", [False, True])
@pytest.mark.parametrize("name", [k for k in KINDS if k not in STEMS])
def test_every_block_is_counted_exactly(name, squeeze_excite):
    rng = RNG(len(name))
    blocks = "idw" if name in INVERTED else "xxbl"
    space = spaces.create("plainnet", blocks=blocks, input_size=33, num_classes=7, squeeze_excite=squeeze_excite)
    wide, narrow, out = (8 * int(n) for n in rng.integers(1, 6, 3))
    arch = [
        Block(STEMS[2], 3, wide, 1, 0, 2),
        Block(name, wide, out, 2, narrow, 3),
        Block(name, out, out, 1, narrow + 4, 1),  # not a multiple of 8, and a projection at equal shapes
        Block(HEAD, out, 24, 2, 0, 1),
    ]
    network = meta(space, arch)
    assert space.cost(arch) == count(network, space.input_shape)
    assert space.cost(arch).params == sum(p.numel() for p in network.parameters())


@pytest.mark.parametrize("blocks", ["xxbl", "idw"])
def test_random_networks_and_their_mutants_are_counted_exactly_and_read_back(blocks):
    space, rng = spaces.create("plainnet", blocks=blocks, squeeze_excite=blocks == "idw"), RNG(0)
    for _ in range(3):
        arch = space.mutate(space.sample(rng), rng, replacements=3)
        assert space.cost(arch) == count(meta(space, arch), space.input_shape)
        text = space.format(arch)
        assert space.parse(text) == arch and space.format(space.parse(text)) == text


def test_a_count_allocates_nothing(monkeypatch):
    space = spaces.create("plainnet")
    arch = space.sample(RNG(3))
    monkeypatch.setattr(torch.nn.Conv2d, "__init__", None)
    assert space.cost(space.mutate(arch, RNG(0))).params > 0


def test_an_architecture_is_a_tuple():
    space = spaces.create("plainnet")
    arch = space.parse(CIFAR_SEED)
    plain = tuple(tuple(block) for block in arch)
    assert arch == plain and hash(arch) == hash(plain) and space.validate(plain) == arch
    assert arch[1].bottleneck == 8 and arch[0].bottleneck == 0
    assert all(type(block) is Block for block in space.validate(list(map(list, plain))))


def test_blanks_and_labels_are_read_and_not_printed():
    space = spaces.create("plainnet")
    text = "SuperConvK3BNRELU( stem-1|3 , 8,1, 1)\n   SuperResK3K3 (uuid7.x|8,16,1,8,1)"
    assert space.format(space.parse(text)) == "SuperConvK3BNRELU(3,8,1,1)SuperResK3K3(8,16,1,8,1)"


@pytest.mark.parametrize(
    ("text", "kind", "words"),
    [
        ("SuperConvK3BNRELU(3,8,1,1", ArchitectureError, "expected ',' or '\\)' .* character 26 stands the end"),
        ("SuperConvK3BNRELU 3,8,1,1)", ArchitectureError, "expected '\\(' after SuperConvK3BNRELU"),
        ("SuperConvK3BNRELU(3,8,1,1))", ArchitectureError, "character 27"),
        ("SuperConvK3BNRELU(3,8,1,1)SuperResK3K4(8,8,1,8,1)", UnknownName, "character 27.*did you mean 'SuperResK3K3'"),
        ("SuperConvK3BNRELU(3,8,1,1)SuperResIDWE1K3(8,8,1,8,1)", UnknownName, "not one of this space's"),
        ("SuperConvK3BNRELU(3,-8,1,1)", ArchitectureError, "c_out of SuperConvK3BNRELU .* got -8"),
        ("SuperConvK3BNRELU(3,0,1,1)", ArchitectureError, "got 0"),
        ("SuperConvK3BNRELU(3,8,1)", ArchitectureError, "takes 4 numbers .*got 3"),
        ("SuperConvK3BNRELU(3,8,1,1)SuperResK3K3(16,8,1,8,1)", ArchitectureError, "block 2.*takes 16 channels.* 8"),
        ("SuperConvK3BNRELU(4,8,1,1)", ArchitectureError, "takes 4 channels.*image has 3"),
        ("SuperConvK3BNRELU(3,8;1;1)", ArchitectureError, "expected ',' or '\\)' .* character 22"),
        ("SuperConvK3BNRELU(;3,8,1,1)", ArchitectureError, "expected a whole number"),
        ("SuperConvK3BNRELU(3, 8 ,;1,1)", ArchitectureError, "expected a whole number"),
        ("SuperConvK3BNRELU(3,8,1,1,)", ArchitectureError, "expected a whole number"),
        ("superconvk3bnrelu(3,8,1,1)", UnknownName, "did you mean 'SuperConvK3BNRELU'"),
        ("SuperConvK3BNRELU(3,8,,1)", ArchitectureError, "expected a whole number"),
        ("SuperConvK3BNRELU(3,8.5,1,1)", ArchitectureError, "expected ',' or"),
        ("SuperConvK3BNRELU(3,1e3,1,1)", ArchitectureError, "takes 4 numbers|expected"),
        ("SuperConvK3BNRELU(3,99999999,1,1)", ArchitectureError, "from 1 to 65536"),
        ("SuperConvK3BNRELU(3,8,100,1)", ArchitectureError, "stride .* from 1 to 8"),
        ("SuperConvK3BNRELU(3,8,1,1000000)", ArchitectureError, "layers .* from 1 to 1000"),
        ("SuperConvK3BNRELU(3," + "9" * 5000 + ",1,1)", ArchitectureError, "at most 9 digits"),
        ("SuperConvK3BNRELU(3,８,1,1)", ArchitectureError, "expected a whole number"),
        ("SuperConvK3BNRELU(3,8,1,1)" * 600, ArchitectureError, "1 to 500 blocks"),
        ("x" * 200_000, ArchitectureError, "at most 100000 characters"),
        ("A(" * 5000, ArchitectureError, "expected a whole number"),
        ("__import__('os').system('rm -rf /')", ArchitectureError, "expected a whole number"),
        ("lambda: 0", ArchitectureError, "expected '\\('"),
        ("SuperConvK3BNRELU(3,8,1,1)\x00", ArchitectureError, "expected a block"),
        ("SuperConvK3BNRELU(SuperConvK3BNRELU(3,8,1,1),8,1,1)", ArchitectureError, "expected a whole number"),
        ("", ArchitectureError, "empty"),
        (None, ArchitectureError, "text, got None"),
    ],
)
def test_a_wrong_structure_string_is_refused_in_one_sentence(text, kind, words):
    with pytest.raises(kind, match=words) as caught:
        spaces.create("plainnet").parse(text)
    assert isinstance(caught.value, NaseduError)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 400


SEED = spaces.create("plainnet").parse(CIFAR_SEED)


@pytest.mark.parametrize(
    "arch",
    [
        CIFAR_SEED,
        (),
        None,
        [1, 2, 3],
        [("SuperConvK3BNRELU", 3, 8, 1, 0)],
        [("SuperConvK3BNRELU", 3, 8.5, 1, 0, 1)],
        [("SuperConvK3BNRELU", 3, "8", 1, 0, 1)],
        [("SuperConvK3BNRELU", 3, True, 1, 0, 1)],
        [("SuperConvK3BNRELU", 3, 8, 1, 8, 1)],  # it has no bottleneck
        [SEED[0], SEED[1]._replace(bottleneck=0)],
        [SEED[0], SEED[1]._replace(bottleneck=-8)],
        [SEED[0], SEED[0]],
        [(["SuperConvK3BNRELU"], 3, 8, 1, 0, 1)],
    ],
)
def test_what_is_no_architecture_is_refused(arch):
    with pytest.raises((ArchitectureError, UnknownName)):
        spaces.create("plainnet").validate(arch)


def test_options_are_checked():
    for option, value in [("num_classes", "10"), ("num_classes", 10.5), ("num_classes", True), ("input_size", 32.5)]:
        with pytest.raises(ParameterError, match=f"{option} must be a whole number from"):
            spaces.create("plainnet", **{option: value})
    with pytest.raises(ParameterError, match="list of block names, got 5"):
        spaces.create("plainnet", blocks=5)
    for options in ({"num_classes": 0}, {"input_size": 4}, {"split": 1}, {"max_channels": 4}, {"blocks": []}):
        with pytest.raises(ParameterError):
            spaces.create("plainnet", **options)
    for blocks in ("xxxl", ["SuperResK3K4"]):
        with pytest.raises(UnknownName, match="did you mean"):
            spaces.create("plainnet", blocks=blocks)
    with pytest.raises(ParameterError, match="different names"):
        spaces.create("plainnet", blocks=["SuperResK3K3", "SuperResK3K3"])
    with pytest.raises(UnknownName, match="input_size"):
        spaces.create("plainnet", inputsize=32)


def test_spaces_of_decisions_are_still_listed_alone():
    assert "plainnet" not in spaces.names() and spaces.names(every=True) == [*spaces.names(), "plainnet"]


def test_weights_come_from_pytorchs_generator_and_shortcuts_can_be_left_out():
    space = spaces.create("plainnet", num_classes=5)
    arch, x = space.parse(CIFAR_SEED), torch.randn(2, 3, 32, 32)
    torch.manual_seed(0)
    network = space.build(arch)
    torch.manual_seed(0)
    plain = space.build(arch, residual=False)
    assert all(torch.equal(a, b) for a, b in zip(network.parameters(), plain.parameters(), strict=True))
    assert not torch.allclose(network(x), plain(x))
    for part in plain.modules():
        if hasattr(part, "residual"):
            assert part.residual is False
            part.residual = True
    assert torch.equal(network(x), plain(x))


@pytest.mark.parametrize("rule", ["uniform", "origin", "shared_ratio"])
@pytest.mark.parametrize("blocks", ["xxbl", "idw"])
def test_a_mutation_keeps_to_the_rules(blocks, rule):
    space, rng = spaces.create("plainnet", blocks=blocks), RNG(1)
    first = space.sample(rng)
    strides, arch = [b.stride for b in first], first
    for _ in range(150):
        before, arch = arch, space.mutate(arch, rng, replacements=2, rule=rule)
        assert space.validate(arch) == arch
        assert all(b.c_out % 8 == 0 and b.bottleneck % 8 == 0 and b.c_out >= 8 for b in arch)
        assert all(b.layers < 6 for b in arch), "blocks of 6 layers are split"
        assert [b.stride for b in arch if b.stride > 1] == [s for s in strides if s > 1]
        if blocks == "xxbl":
            assert all(b.c_out <= 2048 for b in arch)
        elif rule != "shared_ratio":
            assert arch[-1].c_out == first[-1].c_out, "the head is fixed"
        assert abs(space.depth(arch) - space.depth(before)) <= 4
        if len(arch) > 14:
            arch = first


def test_one_replacement_changes_one_block_and_its_neighbours_input():
    space, rng = spaces.create("plainnet", split=20), RNG(0)
    for _ in range(100):
        arch = space.mutate(SEED, rng)
        own = [i for i, (a, b) in enumerate(zip(SEED, arch, strict=True)) if a._replace(c_in=0) != b._replace(c_in=0)]
        assert len(own) <= 1
    changed = Counter(
        sum(a._replace(c_in=0) != b._replace(c_in=0) for a, b in zip(SEED, space.mutate(SEED, rng, p=1.0), strict=True))
        for _ in range(30)
    )
    assert min(changed) >= 3, "with p=1 every block is replaced, if seldom by its like"


def test_widths_are_the_published_ratios_rounded_to_8():
    assert widths(64, 2048) == (24, 32, 40, 48, 64, 80, 96, 128, 160)
    assert widths(8, 2048) == (8, 16) and widths(2048, 2048)[-1] == 2048


def test_split_leaves_no_layer_out():
    space = spaces.create("plainnet")
    arch = (
        Block(STEMS[1], 3, 8, 1, 0, 7),
        Block("SuperResK3K3", 8, 16, 2, 8, 7),
        Block("SuperResK3K3", 16, 8, 1, 8, 13),
    )
    halves = space.split(arch)
    assert [b.layers for b in halves] == [7, 3, 4, 3, 3, 3, 4], "stems are not split"
    assert [b.stride for b in halves] == [1, 2, 1, 1, 1, 1, 1]
    assert space.validate(halves) == halves and space.depth(halves) == space.depth(arch)


@pytest.mark.parametrize("blocks", ["xxbl", "idw"])
def test_mutation_types_are_uniform_and_the_public_code_is_not(blocks):
    space = spaces.create("plainnet", blocks=blocks)
    kinds = list(space.searched)

    def drawn(rule, n=6000):
        rng, counts = RNG(7), Counter()
        block = Block(kinds[0], 8, 64, 1, 64, 3)
        for _ in range(n):
            counts[RULES[rule](block, space.groups, rng, 2048).name] += 1
        return [counts[name] for name in kinds]

    assert stats.chisquare(drawn("uniform")).pvalue > 1e-3
    assert stats.chisquare(drawn("shared_ratio")).pvalue > 1e-3
    biased = drawn("origin")
    assert stats.chisquare(biased).pvalue < 1e-9
    weights = np.array(public_weights([len(group) for group in space.groups]))
    assert stats.chisquare(biased, weights * sum(biased)).pvalue > 1e-3
    assert origin_weights([len(group) for group in space.groups]) == pytest.approx(weights)


def public_weights(sizes):
    """The public code's list of lists, built as it builds it: each inner list is appended, then added to."""
    outer, first = [], 0
    for size in sizes:
        inner = []
        for kind in range(first, first + size):
            inner.append(kind)
            inner = list(dict.fromkeys(inner))
            outer.append(inner)
        first += size
    strings = [kind for inner in outer for kind in inner]
    return [strings.count(kind) / len(strings) for kind in range(first)]


def test_the_reference_figures_of_the_bias():
    weights = origin_weights([3, 3])
    assert weights[2] == pytest.approx(0.125) and weights[0] == weights[1] == pytest.approx(0.1875)
    assert origin_weights([12])[0] == pytest.approx(0.135, abs=5e-4)
    assert origin_weights([12])[-1] == pytest.approx(0.022, abs=5e-4)


def test_all_distinct_changes_of_a_block_are_alike():
    space = spaces.create("plainnet", blocks=["SuperResK3K3", "SuperResK1K3K1"])
    rng, block = RNG(0), Block("SuperResK3K3", 8, 8, 1, 8, 1)
    counts = Counter(uniform(block, space.groups, rng, 2048) for _ in range(12_000))
    assert len(counts) == 2 * 2 * 2 * 3  # types, widths, bottlenecks, layers
    assert stats.chisquare(list(counts.values())).pvalue > 1e-3


@pytest.mark.parametrize(("size", "final"), [(16, 4), (32, 4), (64, 4), (224, 7)])
def test_random_networks_suit_the_input_size(size, final):
    space = spaces.create("plainnet", input_size=size)
    for seed in range(20):
        arch = space.sample(RNG(seed))
        assert space.validate(arch) == arch == space.sample(RNG(seed))
        for block in arch:
            size = -(-size // block.stride)
        assert size == final, "an input of 32 px must not shrink to 1"
        size = space.input_size


IDW_SEED = "SuperConvK3BNRELU(3,8,2,1)SuperResIDWE6K3(8,32,2,8,1)SuperConvK1BNRELU(32,64,1,1)"


NARROW = "SuperConvK3BNRELU(3,4,1,1)SuperResK3K3(4,4,1,4,1)SuperConvK1BNRELU(4,4,1,1)"


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize(("blocks", "text"), [("xxbl", CIFAR_SEED), ("idw", IDW_SEED), ("xxbl", NARROW)])
def test_the_smallest_descendant_is_below_all_others(blocks, text, rule):
    space, rng = spaces.create("plainnet", blocks=blocks), RNG(0)
    arch = start = space.parse(text)
    for metric in ("params", "macs"):
        low = getattr(space.cost(space.smallest(start, metric, rule)), metric)
        assert getattr(space.cost(start), metric) >= low
        for _ in range(300):
            arch = space.mutate(arch, rng, rule=rule)
            assert getattr(space.cost(arch), metric) >= low
            arch = start if len(arch) > 8 else arch


def test_a_learners_own_block(own):
    @plain_block("Pyramid")
    def pyramid(c_in, c_out, stride, bottleneck, layers):
        """A grouped 5x5 between two 1x1 convolutions, with squeeze-and-excitation if the space asks for it."""
        for n in range(layers):
            middle = Conv(bottleneck, bottleneck, 5, stride, groups=bottleneck // 8, act="silu", squeeze=True)
            yield Residual((Conv(c_in, bottleneck), middle, Conv(bottleneck, c_out, act=None)), projection=n == 0)
            c_in, stride = c_out, 1

    space = spaces.create("plainnet", blocks=["Pyramid", "SuperResK3K3"], squeeze_excite=True)
    arch = space.parse("SuperConvK3BNRELU(3,16,1,1)Pyramid(16,24,2,32,3)SuperResK3K3(24,8,1,8,1)")
    assert space.cost(arch) == count(space.build(arch), space.input_shape)
    assert {b.name for b in space.sample(RNG(0))} >= {"Pyramid", "SuperResK3K3"}
    assert copy.deepcopy(space).fingerprint == space.fingerprint
    KINDS.pop("Pyramid")  # as in another process, which has not registered it
    assert copy.deepcopy(space).cost(arch) == space.cost(arch)
    with pytest.raises(UnknownName):
        spaces.create("plainnet", blocks=["Pyramid"])


def test_another_block_of_the_same_name_is_another_space(own):
    def plain(kernel):
        def describe(c_in, c_out, stride, layers):
            yield Conv(c_in, c_out, kernel, stride)

        return describe

    prints = set()
    for kernel in (3, 5):
        plain_block("Mine")(plain(kernel))
        space = spaces.create("plainnet", blocks=["Mine"])
        prints.add((space.fingerprint, space.cost([("Mine", 3, 8, 1, 0, 1)]).params))
    assert len({p for p, _ in prints}) == len({n for _, n in prints}) == 2


def test_blocks_without_a_bottleneck_mix_with_others(own):
    plain_block("Mine")(lambda c_in, c_out, stride, layers: [Conv(c_in, c_out, 3, stride)])
    space, rng = spaces.create("plainnet", blocks=["Mine", "SuperResK3K3"]), RNG(0)
    arch = space.sample(rng)
    for _ in range(50):
        arch = space.mutate(space.split(arch)[:12], rng, replacements=2)
        assert space.parse(space.format(arch)) == arch


@pytest.mark.parametrize(
    ("name", "describe", "words"),
    [
        ("SuperResK3K3", lambda c_in, c_out, stride, layers: [], "published block"),
        ("no good", lambda c_in, c_out, stride, layers: [], "letters, digits"),
        ("Mine", lambda c_in, c_out: [], "must take"),
        ("Mine", lambda c_in, c_out, stride, layers: [Conv(c_in, c_out)], "stride"),
        ("Mine", lambda c_in, c_out, stride, layers: None, "must yield Conv and Residual, got NoneType"),
        ("Mine", lambda c_in, c_out, stride, layers: [1 // 0], "raises ZeroDivisionError"),
        ("Mine", lambda c_in, c_out, stride, layers: (c for c in [undefined]), "raises NameError"),  # noqa: F821
        ("Mine", lambda c_in, c_out, stride, layers: [Residual(())], "one Conv or more"),
        ("Mine", lambda c_in, c_out, stride, layers: [Residual(7)], "one Conv or more"),
        ("Mine", lambda c_in, c_out, stride, layers: [Conv(c_in, c_out / 1, 3, stride)], "whole numbers"),
        ("Mine", lambda c_in, c_out, stride, layers: [(c_in, c_out)], "made of Conv and Residual"),
        ("Mine", lambda c_in, c_out, stride, layers: [Conv(c_in, 8, 3, stride)], "must end at 32 channels"),
    ],
)
def test_a_block_that_does_not_fit_is_refused(own, name, describe, words):
    with pytest.raises(ParameterError, match=words):
        plain_block(name)(describe)
    assert "Mine" not in KINDS


def test_spaces_travel_and_differ_by_their_options():
    made = [
        spaces.create("plainnet"),
        spaces.create("plainnet", blocks="idw"),
        spaces.create("plainnet", input_size=64),
        spaces.create("plainnet", num_classes=10),
        spaces.create("plainnet", squeeze_excite=True),
    ]
    assert len({space.fingerprint for space in made}) == len(made)
    for space in made:
        sent = pickle.loads(pickle.dumps(space))
        assert sent.fingerprint == space.fingerprint and sent.fixed_head == space.fixed_head
        arch = space.sample(RNG(1))
        assert sent.mutate(arch, RNG(0)) == space.mutate(arch, RNG(0)) and sent.cost(arch) == space.cost(arch)


def test_other_strategies_search_it_too():
    space = spaces.create("plainnet")

    def evaluate(arch):
        return -abs(space.cost(arch).params - 1e6)

    assert random_search(space, evaluate, SearchConfig(budget=30)).score > -1e6
    bred = evolution(space, evaluate, EvolutionConfig(crossover=None, mutation=0.3, budget=60))
    assert bred.score > -2e5 and space.parse(space.format(bred.best)) == bred.best
