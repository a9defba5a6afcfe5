"""MeCo against correlations that are computed pair by pair."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from nasedu.errors import ParameterError, ProxyError, UnknownName
from nasedu.proxies import score
from nasedu.proxies.meco import least_eigenvalue
from nasedu.randomness import stream


def network():
    torch.manual_seed(0)
    block = nn.Sequential(nn.Conv2d(5, 6, 3, padding=1, bias=False), nn.BatchNorm2d(6), nn.ReLU())
    return nn.Sequential(
        nn.Conv2d(3, 5, 3, padding=1), nn.ReLU(), block, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 4)
    )


SHAPE = torch.zeros(1, 3, 8, 8)


def own_image(seed=0, size=64):
    return torch.randn(1, 3, size, size, generator=stream(seed, "proxy", "meco"))


def textbook(maps):
    """l_min of the correlations of maps (C, H, W), pair by pair, by the general routine."""
    rows = [row - row.mean() for row in maps.detach().flatten(1).double()]
    pairs = [[float(a @ b / (a.norm() * b.norm())) for b in rows] for a in rows]
    return float(torch.linalg.eigvals(torch.tensor(pairs, dtype=torch.float64)).real.min())


def outputs(model, image):
    """Every module's output, by name, containers included."""
    found = {}
    for name, module in model.named_modules():
        module.register_forward_hook(lambda _, __, out, name=name: found.__setitem__(name, out))
    model.train()(image)
    return found


def test_it_sums_the_convolutions_least_eigenvalues():
    found = outputs(network(), own_image())
    expected = textbook(found["0"][0]) + textbook(found["2.0"][0])
    assert score("meco", network(), SHAPE) == pytest.approx(expected, rel=1e-4)
    assert 0 < expected < 2


def test_leaves_count_once_and_the_public_code_counts_containers_too():
    found = outputs(network(), own_image())
    leaves = sum(textbook(found[name][0]) for name in ("0", "1", "2.0", "2.1", "2.2"))
    assert score("meco", network(), SHAPE, modules="leaves") == pytest.approx(leaves, rel=1e-4)
    again = leaves + textbook(found["2"][0])  # the block hands on what its last module made
    assert score("meco", network(), SHAPE, modules="all") == pytest.approx(again, rel=1e-4)
    assert again > leaves * 1.01


def test_first_image_of_the_batch_with_the_batchs_statistics():
    images = torch.randn(4, 3, 16, 16)
    found = outputs(network(), images)
    expected = sum(textbook(found[name][0]) for name in ("0", "2.0"))
    assert score("meco", network(), images, image="first") == pytest.approx(expected, rel=1e-4)
    assert score("meco", network(), images, size=16) != pytest.approx(expected, rel=1e-2)


def test_least_eigenvalue_by_hand():
    line = torch.tensor([1.0, -1.0, 2.0, -2.0, 3.0])
    assert least_eigenvalue(torch.stack([line, 2 * line + 7])) == pytest.approx(0, abs=1e-12)
    orthogonal = torch.tensor([[1.0, -1, 1, -1], [1, 1, -1, -1], [1, -1, -1, 1]])
    assert least_eigenvalue(orthogonal) == pytest.approx(1)
    assert least_eigenvalue(orthogonal * torch.tensor([[1e-6], [1.0], [1e6]])) == pytest.approx(1)  # not covariances
    half = torch.tensor([[1.0, -1, 0, 0], [1, 0, -1, 0]])
    assert least_eigenvalue(half) == pytest.approx(0.5)


def test_maps_without_variation_count_as_zero_but_not_for_a_whole_network():
    maps = torch.randn(3, 4, 4)
    maps[1] = 2.0
    assert least_eigenvalue(maps) == 0
    maps[1] = torch.nan
    assert least_eigenvalue(maps) == 0
    assert least_eigenvalue(torch.zeros(3, 4, 4)) is None
    assert least_eigenvalue(torch.randn(16, 4, 4)) == 0 == pytest.approx(textbook(torch.randn(16, 4, 4)), abs=1e-9)
    model = network()
    with torch.no_grad():
        model[2][0].weight.zero_()
    assert score("meco", model, SHAPE) == pytest.approx(textbook(outputs(network(), own_image())["0"][0]), rel=1e-4)
    with torch.no_grad():
        model[0].weight.zero_()
    with pytest.raises(ProxyError, match="vary and are finite"):
        score("meco", model, SHAPE)


def test_overflow_is_an_error():
    model = nn.Sequential(nn.Conv2d(3, 4, 1), nn.Conv2d(4, 4, 1))
    with torch.no_grad():
        model[0].weight.fill_(3e38)
        model[0].weight.mul_(torch.randn_like(model[0].weight).sign())
    with pytest.raises(ProxyError, match="vary and are finite"):
        score("meco", model, SHAPE + 1)


def test_seed_and_generator_choose_the_image():
    values = {score("meco", network(), SHAPE, seed=seed) for seed in (0, 0, 1)}
    assert len(values) == 2
    image = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(5))
    found = outputs(network(), image)
    own = score("meco", network(), SHAPE, generator=torch.Generator().manual_seed(5))
    assert own == pytest.approx(textbook(found["0"][0]) + textbook(found["2.0"][0]), rel=1e-4)


class Functional(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(4, 3, 3, 3))

    def forward(self, x):
        return F.relu(F.conv2d(x, self.weight)).mean((2, 3))


def test_what_cannot_be_scored_is_said():
    with pytest.raises(ProxyError, match="no convolution among its modules"):
        score("meco", Functional(), SHAPE)
    fixed = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(4 * 36, 2))
    with pytest.raises(ProxyError, match=r"1 x 3 x 64 x 64: .*; `size` can be that"):
        score("meco", fixed, SHAPE)
    assert score("meco", fixed, SHAPE, size=8) > 0
    with pytest.raises(ParameterError, match="size of meco"):
        score("meco", fixed, SHAPE, size=0)
    with pytest.raises(UnknownName, match="did you mean 'leaves'"):
        score("meco", fixed, SHAPE, modules="leafs")
