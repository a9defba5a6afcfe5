"""The kernel's condition number against one that is put together weight by weight."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from nasedu import spaces
from nasedu.errors import ParameterError, ProxyError, UnknownName
from nasedu.proxies import score
from nasedu.proxies.ntk import COLUMNS, condition_number, gram


class Functional(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.bn = nn.Conv2d(3, 6, 3, bias=False), nn.BatchNorm2d(6)
        self.out = nn.Linear(6, 4)

    def forward(self, x):
        return self.out(F.relu(self.bn(self.conv(x))).mean((2, 3)))


def network():
    torch.manual_seed(0)
    return Functional()


IMAGES = torch.randn(7, 3, 8, 8, generator=torch.Generator().manual_seed(1))


def textbook(model, images, chosen):
    """Row by row with `backward`, the eigenvalues of the whole product by the general routine."""
    model, rows = model.double().train(), []
    for n in range(len(images)):
        model.zero_grad()
        model(images.double())[n].sum().backward()
        rows.append(torch.cat([p.grad.flatten() for name, p in model.named_parameters() if chosen(name)]))
    kernel = torch.tensor([[float(a @ b) for b in rows] for a in rows], dtype=torch.float64)
    values = torch.linalg.eigvals(kernel).real
    return float(values.max() / values.min())


@pytest.mark.parametrize(
    ("parameters", "chosen"),
    [
        ("weight", lambda name: "weight" in name),
        ("layers", lambda name: name in ("conv.weight", "out.weight")),
        ("all", lambda name: True),
    ],
)
def test_it_equals_the_textbook_for_each_choice_of_parameters(parameters, chosen):
    own = score("ntk", network(), IMAGES, parameters=parameters)
    assert own == pytest.approx(-textbook(network(), IMAGES, chosen), rel=1e-3)
    assert own <= -1


def test_only_the_first_images_are_read():
    own = score("ntk", network(), IMAGES, images=4)
    assert own == pytest.approx(score("ntk", network(), IMAGES[:4]), rel=1e-6)
    assert own != pytest.approx(score("ntk", network(), IMAGES), rel=1e-2)


def test_rescaling_the_output_changes_nothing():
    class Scaled(nn.Module):
        def __init__(self, factor):
            super().__init__()
            self.net, self.factor = network().double(), factor

        def forward(self, x):
            return self.factor * self.net(x)

    once, tiny, huge = (score("ntk", Scaled(factor), IMAGES) for factor in (1.0, 1e-9, 1e9))
    assert once == pytest.approx(tiny, rel=1e-6) and once == pytest.approx(huge, rel=1e-6)


def test_twin_images_are_never_the_best():
    model, twins = network(), IMAGES.clone()
    twins[3] = twins[0]
    for images in (twins, IMAGES[:1].expand(7, 3, 8, 8).clone(), IMAGES[1:2].expand(8, 3, 8, 8).clone()):
        for net in (model, copy.deepcopy(model).double()):
            assert score("ntk", net, images, parameters="layers") == -math.inf
            assert score("ntk", net, images, parameters="all") == -math.inf
    nearly = IMAGES.clone()
    nearly[3] = nearly[0] + 1e-2 * nearly[1]  # almost a twin is a large number
    assert -1e10 < score("ntk", model, nearly) < 10 * score("ntk", model, IMAGES)


@pytest.mark.parametrize("name", ["spos:course", "fbnet:course"])
def test_twin_images_are_found_where_the_last_maps_are_single_pixels(name):
    """BN over a few nearly equal values turns roundings into differences; the kernel looked regular."""
    space = spaces.create(name)
    network = space.build((0,) * len(space.choices), seed=0)
    images = torch.randn(1, *space.input_shape, generator=torch.Generator().manual_seed(0))
    assert score("ntk", network, images.expand(8, -1, -1, -1)) == -math.inf
    others = torch.randn(4, *space.input_shape, generator=torch.Generator().manual_seed(1))
    assert score("ntk", network, torch.cat([images, others, images])) == -math.inf
    assert score("ntk", network, torch.cat([images, others, images]), images=5) > -math.inf


def test_condition_number_by_hand():
    assert condition_number(torch.diag(torch.tensor([2.0, 8.0, 4.0], dtype=torch.float64))) == pytest.approx(4)
    assert condition_number(1e-200 * torch.eye(3, dtype=torch.float64)) == pytest.approx(1)
    assert condition_number(torch.ones(3, 3, dtype=torch.float64)) == math.inf
    negative = torch.tensor([[1.0, 1.0 + 1e-9], [1.0 + 1e-9, 1.0]], dtype=torch.float64)
    assert condition_number(negative) == math.inf  # the quotient would be negative, and the best of all
    for bad in (torch.zeros(2, 2), torch.full((2, 2), math.nan)):
        with pytest.raises(ProxyError, match="no condition number"):
            condition_number(bad.double())


def test_gram_is_exact_across_its_parts():
    rows = torch.zeros(2, COLUMNS + 3)
    rows[0, 0], rows[0, -1], rows[1, -1] = 3.0, 4.0, 2.0
    assert gram(rows).tolist() == [[25, 8], [8, 4]] and gram(rows).dtype == torch.float64


def test_kaiming_weights_replace_the_networks_own():
    model = network()
    fresh = score("ntk", model, IMAGES, weights="kaiming")
    with torch.no_grad():
        model.conv.weight.mul_(torch.rand_like(model.conv.weight))
    assert score("ntk", model, IMAGES, weights="kaiming") == fresh
    assert score("ntk", model, IMAGES, weights="kaiming", seed=1) != fresh


def test_what_has_no_kernel_is_said():
    model = network()
    with pytest.raises(ParameterError, match="at least 2"):
        score("ntk", model, IMAGES[:1])
    with pytest.raises(ParameterError, match="whole number from 2"):
        score("ntk", model, IMAGES, images=1)
    with pytest.raises(UnknownName, match="did you mean 'weight'"):
        score("ntk", model, IMAGES, parameters="weights")
    with pytest.raises(ProxyError, match="no parameters"):
        score("ntk", nn.Flatten(), IMAGES)
    with pytest.raises(ProxyError, match="one tensor"):
        score("ntk", Pair(), IMAGES)
    with torch.no_grad():
        model.conv.weight[0, 0, 0, 0] = math.nan
    with pytest.raises(ProxyError, match=r"conv\.weight .* not finite"):
        score("ntk", model, IMAGES)


class Pair(nn.Module):
    def __init__(self):
        super().__init__()
        self.out = nn.Linear(3, 2)

    def forward(self, x):
        return self.out(x.mean((2, 3))), x
