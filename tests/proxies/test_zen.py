"""The Zen-score: its definition written out, the public code's variant, and where f is found."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from nasedu.errors import ParameterError, ProxyError, UnknownName
from nasedu.proxies import score, score_all
from nasedu.proxies.zen import feature_map

IMAGES = torch.zeros(16, 3, 32, 32)


def conv_bn_relu(c_in: int, c_out: int, kernel: int = 3, stride: int = 1) -> nn.Sequential:
    conv = nn.Conv2d(c_in, c_out, kernel, stride, kernel // 2, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(c_out, eps=1e-3), nn.ReLU())


class Basic(nn.Module):
    """Two 3x3 convolutions and, unless `residual` is off, a projection beside them."""

    def __init__(self, c_in: int, c_out: int, stride: int, middle: int):
        super().__init__()
        self.residual = True
        self.body = nn.Sequential(*conv_bn_relu(c_in, middle, 3, stride), *conv_bn_relu(middle, c_out)[:2])
        self.shortcut = nn.Sequential(*conv_bn_relu(c_in, c_out, 1, stride)[:2])

    def forward(self, x):
        return torch.relu(self.body(x) + self.shortcut(x) if self.residual else self.body(x))


def head(channels: int) -> list[nn.Module]:
    return [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, 10)]


def seed_network() -> nn.Sequential:
    """Zen-NAS's CIFAR seed: ten batch normalisations on the path that is left without shortcuts."""
    blocks = [Basic(8, 16, 1, 8), Basic(16, 32, 2, 16), Basic(32, 64, 2, 32), Basic(64, 64, 2, 32)]
    return nn.Sequential(conv_bn_relu(3, 8), *blocks, conv_bn_relu(64, 128, 1), *head(128))


def small() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(conv_bn_relu(3, 6), conv_bn_relu(6, 8, 3, 2), *head(8))


def textbook(model: nn.Sequential, generator: torch.Generator, shape: tuple, norm: int) -> float:
    """The definition on a plain chain, layer by layer, with the variance taken from the convolution's output."""
    chain = [layer for block in model[:2] for layer in block]
    convs = [layer for layer in chain if isinstance(layer, nn.Conv2d)]
    weights = [torch.randn(conv.weight.shape, generator=generator) for conv in convs]
    torch.randn(model[-1].weight.shape, generator=generator)
    x = torch.randn(shape, generator=generator)
    perturbed = x + 0.01 * torch.randn(shape, generator=generator)

    def run(y):
        logs = 0.0
        for conv, weight in zip(convs, weights, strict=True):
            y = F.conv2d(y, weight, stride=conv.stride, padding=conv.padding)
            variance = y.var((0, 2, 3), unbiased=False)
            logs += 0.5 * math.log(variance.mean())
            y = (y - y.mean((0, 2, 3), keepdim=True)) / (variance[:, None, None] + 1e-3).sqrt()
            y = y.clamp_min(0)
        return y, logs

    (before, logs), (after, _) = run(x), run(perturbed)
    return math.log((before - after).flatten(1).norm(p=norm, dim=1).mean()) + logs


@pytest.mark.parametrize(("norm", "p"), [("frobenius", 2), ("l1", 1)])
def test_value_is_the_definition(norm, p):
    model, shape = small(), (5, 3, 12, 12)
    value = score("zen", model, torch.zeros(shape), norm=norm, generator=torch.Generator().manual_seed(3))
    assert value == pytest.approx(textbook(model, torch.Generator().manual_seed(3), shape, p), abs=1e-4)
    other = score("zen", model, torch.zeros(2, 3, 8, 8), norm=norm, images=5, resolution=12, seed=3)
    given = score("zen", model, torch.zeros(shape), norm=norm, seed=3)
    assert other == given


def test_the_batch_gives_a_shape_and_the_model_its_structure_only():
    torch.manual_seed(1)
    model, trained = small(), small()
    nn.init.normal_(trained[0][0].weight, std=7.0)
    nn.init.zeros_(trained[1][1].weight)
    images = torch.randn(4, 3, 12, 12)
    assert score("zen", model, images) == score("zen", model, images + 3) == score("zen", trained, images)


def test_running_average_gives_the_numbers_of_the_public_code():
    """Measured with that code on this network: 15.36 to 15.48, 16.78, 18.44 for 1, 2 and 4 repeats; spread .08."""
    model = seed_network()

    def mean(repeats: int) -> float:
        return sum(score("zen", model, IMAGES, bn="ema", repeats=repeats, seed=s) for s in range(4)) / 4

    assert mean(1) == pytest.approx(15.42, abs=0.2)
    assert mean(2) == pytest.approx(16.78, abs=0.2)
    assert mean(4) == pytest.approx(18.44, abs=0.2)


def test_batch_variance_gives_the_measured_number_and_does_not_drift():
    model = seed_network()
    values = [score("zen", model, IMAGES, norm="l1", seed=s) for s in range(4)]
    assert sum(values) / 4 == pytest.approx(23.17, abs=0.25)
    repeated = score("zen", model, IMAGES, norm="l1", repeats=4)
    assert repeated == pytest.approx(23.17, abs=0.25)  # the running average has drifted by 3 at that point


def test_batch_variance_repeats_are_independent_of_one_another():
    model, images = small(), torch.zeros(4, 3, 12, 12)
    generator = torch.Generator().manual_seed(5)
    apart = [score("zen", model, images, generator=generator) for _ in range(3)]
    together = score("zen", model, images, generator=torch.Generator().manual_seed(5), repeats=3)
    assert together == pytest.approx(sum(apart) / 3, rel=1e-9)
    generator = torch.Generator().manual_seed(5)
    apart = [score("zen", model, images, bn="ema", generator=generator) for _ in range(3)]
    together = score("zen", model, images, bn="ema", generator=torch.Generator().manual_seed(5), repeats=3)
    assert together > sum(apart) / 3 + 0.3


class Scaled(nn.Module):
    """A chain whose first convolution's output is multiplied: as its weight would be, which the proxy redraws."""

    def __init__(self, factor: float):
        super().__init__()
        self.chain, self.factor = small(), factor

    def forward(self, x):
        y = self.chain[0][0](x) * self.factor
        return self.chain[1:](self.chain[0][1:](y))


def test_ten_times_a_convolution_before_bn_adds_ln_10_with_batch_variance_and_less_with_the_average():
    images = torch.zeros(8, 3, 12, 12)
    gain = {
        bn: score("zen", Scaled(10), images, bn=bn) - score("zen", Scaled(1), images, bn=bn) for bn in ("batch", "ema")
    }
    assert gain["batch"] == pytest.approx(math.log(10), abs=1e-3)
    assert 1.5 < gain["ema"] < math.log(10) - 0.01


@pytest.mark.parametrize("bn", ["batch", "ema"])
def test_a_tenth_of_alpha_takes_ln_10_off(bn):
    images = torch.zeros(8, 3, 16, 16)
    drop = score("zen", small(), images, bn=bn, alpha=0.001) - score("zen", small(), images, bn=bn, alpha=0.01)
    assert drop == pytest.approx(-math.log(10), abs=0.02)


def test_residual_links_are_removed_on_the_copy():
    torch.manual_seed(0)
    model = nn.Sequential(conv_bn_relu(3, 4), Basic(4, 4, 1, 4), *head(4))
    without = copy.deepcopy(model)
    without[1].residual = False
    linked = copy.deepcopy(model)
    del linked[1].residual
    Basic.residual = 1  # no boolean: not ours
    try:
        values = [score("zen", m, torch.zeros(4, 3, 8, 8)) for m in (model, without, linked)]
    finally:
        del Basic.residual
    assert values[0] == values[1] != values[2]
    assert model[1].residual is True


class Functional(nn.Module):
    """The chain of `small` with everything called inside `forward`."""

    def __init__(self, pool):
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(3, 6, 3, 1, 1, bias=False), nn.Conv2d(6, 8, 3, 2, 1, bias=False)
        self.linear, self.pool = nn.Linear(8, 10), pool

    def forward(self, x):
        for conv in (self.conv1, self.conv2):
            x = conv(x)
            x = F.relu(F.batch_norm(x, None, None, training=True, eps=1e-3))
        return self.linear(self.pool(x).flatten(1))


POOLS = [
    lambda x: F.adaptive_avg_pool2d(x, 1),
    lambda x: x.mean((2, 3)),
    lambda x: torch.mean(x, dim=(-2, -1)),
    lambda x: F.avg_pool2d(x, 6),
]


@pytest.mark.parametrize("pool", POOLS)
def test_functional_networks_are_seen_as_modules_are(pool):
    images = torch.zeros(4, 3, 12, 12)
    assert score("zen", Functional(pool), images) == pytest.approx(score("zen", small(), images), rel=1e-6)


def test_the_map_is_the_heads_input_and_not_that_of_squeeze_and_excitation():
    class Squeezed(nn.Module):
        def __init__(self):
            super().__init__()
            self.stem, self.weigh, self.last = conv_bn_relu(3, 4), nn.Conv2d(4, 4, 1), nn.Conv2d(4, 5, 1)
            self.expand, self.linear = nn.Conv2d(5, 7, 1), nn.Linear(7, 2)

        def forward(self, x):
            x = self.stem(x)
            x = x * torch.sigmoid(self.weigh(x.mean((2, 3), keepdim=True)))
            self.map = self.last(x) + 1
            return self.linear(F.relu(self.expand(F.adaptive_avg_pool2d(self.map, 1))).flatten(1))

    model = Squeezed()
    assert feature_map(model, torch.randn(2, 3, 8, 8)) is model.map


def test_the_last_layer_gives_the_map_and_a_method_features_where_no_layer_is_seen():
    class Own(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.linear = nn.Conv2d(3, 4, 3), nn.Linear(4 * 36, 2)

        def forward(self, x):
            return self.linear(torch.tanh(self.conv(x)).flatten(1))

    class Unseen(nn.Module):
        def forward(self, x):
            return self.features(x).flatten(1)

        def features(self, x):
            return torch.tanh(2 * x)

    x = torch.randn(2, 3, 8, 8)
    torch.manual_seed(0)
    own = Own()
    assert torch.equal(feature_map(own, x), own.conv(x))
    assert torch.equal(feature_map(Unseen(), x), torch.tanh(2 * x))


def test_features_that_convolutions_follow_are_not_the_last_map():
    class Headed(nn.Module):
        def __init__(self):
            super().__init__()
            self.features, self.last = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 7, 1)
            self.linear = nn.Linear(7, 2)

        def forward(self, x):
            self.map = self.last(self.features(x))
            return self.linear(self.map.mean((2, 3)))

    model = Headed()
    assert feature_map(model, torch.randn(2, 3, 8, 8)) is model.map


def test_dropout_is_off_and_a_branch_that_is_dead_does_not_spoil_the_score():
    images = torch.zeros(4, 3, 12, 12)
    dropped = nn.Sequential(*small()[:2], nn.Dropout(0.5), *small()[2:])
    assert score("zen", dropped, images) == pytest.approx(score("zen", small(), images), rel=1e-6)

    class Dead(nn.Module):
        def __init__(self):
            super().__init__()
            self.chain, self.bn = small(), nn.BatchNorm2d(3)

        def forward(self, x):
            return self.chain(x + self.bn(torch.zeros_like(x)))

    assert score("zen", Dead(), images) == pytest.approx(score("zen", small(), images), rel=1e-6)


def test_no_reaction_is_minus_infinity_with_a_sentence():
    class Cut(nn.Module):
        def __init__(self):
            super().__init__()
            self.chain = small()

        def forward(self, x):
            return self.chain(torch.zeros_like(x))

    assert score("zen", Cut(), IMAGES) == -math.inf
    assert "-inf" in score_all(Cut(), IMAGES, ["zen"]).errors["zen"]


def test_overflow_and_a_network_without_maps_are_explained():
    deep = nn.Sequential(
        nn.Conv2d(3, 64, 3, padding=1), *[nn.Conv2d(64, 64, 3, padding=1) for _ in range(40)], *head(64)
    )
    with pytest.raises(ProxyError, match=r"overflows float32.*double"):
        score("zen", deep, torch.zeros(2, 3, 8, 8))
    assert math.isfinite(score("zen", deep.double(), torch.zeros(2, 3, 4, 4, dtype=torch.float64)))
    with pytest.raises(ProxyError, match=r"no feature map.*features"):
        score("zen", nn.Sequential(nn.Flatten(), nn.Linear(12, 2)), torch.zeros(2, 3, 2, 2))


@pytest.mark.parametrize(
    "option",
    [
        {"alpha": 0},
        {"alpha": "a"},
        {"alpha": True},
        {"alpha": math.inf},
        {"images": 0},
        {"repeats": 0},
        {"resolution": 1.5},
        {"repeats": True},
    ],
)
def test_bad_options_are_refused(option):
    with pytest.raises(ParameterError, match="of zen must be"):
        score("zen", small(), torch.zeros(2, 3, 8, 8), **option)


def test_misspelt_options_are_refused():
    for option in ({"bn": "bach"}, {"norm": "l2"}, {"alhpa": 1}):
        with pytest.raises(UnknownName):
            score("zen", small(), torch.zeros(2, 3, 8, 8), **option)


def test_a_network_that_is_given_away_scores_the_same_and_is_used_up():
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 8, 3))
    images, before = torch.randn(4, 3, 8, 8), network[0].weight.clone()
    kept = score("zen", network, images)
    assert torch.equal(network[0].weight, before)
    assert score("zen", network, images, keep=False) == kept
    assert not torch.equal(network[0].weight, before)


class Looks(TorchDispatchMode):
    """Counts how often a value is read, for which a GPU has to be waited for."""

    count = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        self.count += "_local_scalar_dense" in str(function)
        return function(*args, **(kwargs or {}))


def test_a_deeper_network_is_not_looked_at_more_often():
    def looks(depth):
        layers = [part for _ in range(depth) for part in (nn.Conv2d(3, 3, 3, padding=1), nn.BatchNorm2d(3), nn.ReLU())]
        with Looks() as seen:
            score("zen", nn.Sequential(*layers), torch.zeros(2, 3, 8, 8))
        return seen.count

    assert looks(1) == looks(6)
