"""ZiCo: the public code's arithmetic written out, and what a batch must hold."""

from __future__ import annotations

import copy
import math

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from nasedu.errors import ParameterError, ProxyError, UnknownName
from nasedu.proxies import score
from nasedu.proxies.zico import layer_score


def network() -> nn.Sequential:
    torch.manual_seed(0)
    body = [nn.Conv2d(3, 6, 3, padding=1), nn.BatchNorm2d(6), nn.ReLU(), nn.Conv2d(6, 4, 3), nn.ReLU()]
    return nn.Sequential(*body, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 5))


def data(n: int = 12):
    generator = torch.Generator().manual_seed(1)
    return torch.randn(n, 3, 8, 8, generator=generator), torch.arange(n) % 5


def textbook(model: nn.Module, images, labels, parts: int, deviation=np.std) -> float:
    model = copy.deepcopy(model).train()
    layers = [m for m in model.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    seen = [[] for _ in layers]
    size = len(images) // parts
    for i in range(parts):
        model.zero_grad()
        part = slice(i * size, (i + 1) * size)
        F.cross_entropy(model(images[part]), labels[part]).backward()
        for found, layer in zip(seen, layers, strict=True):
            found.append(layer.weight.grad.flatten().double().numpy().copy())
    total = 0.0
    for found in seen:
        found = np.array(found)
        std, mean = deviation(found, axis=0), np.abs(found).mean(0)
        total += np.log((mean[std > 0] / std[std > 0]).sum())
    return total


@pytest.mark.parametrize(("parts", "n"), [(2, 12), (3, 12), (2, 13)])
def test_value_is_the_public_codes(parts, n):
    images, labels = data(n)
    value = score("zico", network(), (images, labels), batches=parts)
    assert value == pytest.approx(textbook(network(), images, labels, parts), rel=1e-4)
    sample = textbook(network(), images, labels, parts, lambda g, axis: np.std(g, axis=axis, ddof=1))
    assert value != pytest.approx(sample, rel=1e-4)


def test_absolute_spread_is_that_of_the_magnitudes():
    images, labels = data()
    value = score("zico", network(), (images, labels), spread="absolute")
    expected = textbook(network(), images, labels, 2, lambda g, axis: np.std(np.abs(g), axis=axis))
    assert value == pytest.approx(expected, rel=1e-3)


def test_layer_score_by_hand():
    # mean |g| 2, 2, 5; population deviation 1, 2, 0: the last weight does not vary
    assert layer_score(torch.tensor([[1.0, 2.0, 5.0], [3.0, -2.0, 5.0]])) == pytest.approx(math.log(2 + 1))
    assert layer_score(torch.tensor([[1.0, 2.0, 5.0], [3.0, -2.0, 5.0]]), "absolute") == pytest.approx(math.log(2))
    assert layer_score(torch.ones(2, 3)) is None


def test_scale_of_the_loss_does_not_matter_and_a_dead_layer_is_left_out():
    class Padded(nn.Module):
        def __init__(self):
            super().__init__()
            self.net, self.unused = network(), nn.Conv2d(3, 3, 1)

        def forward(self, x):
            return self.net(x)

    assert score("zico", Padded(), data()) == score("zico", network(), data())


def test_bad_batches_and_options_are_refused():
    images, labels = data(3)
    with pytest.raises(ParameterError, match="needs 4, got 3"):
        score("zico", network(), (images, labels))
    for batches in (1, 2.0, True):
        with pytest.raises(ParameterError, match="batches of zico must be a whole number from 2"):
            score("zico", network(), data(), batches=batches)
    with pytest.raises(ParameterError, match="labels"):
        score("zico", network(), data()[0])
    with pytest.raises(ParameterError, match="between 0 and 4"):
        score("zico", network(), (data()[0], torch.full((12,), 5)))
    with pytest.raises(UnknownName):
        score("zico", network(), data(), spread="sigend")


def test_identical_parts_cannot_be_scored():
    images, labels = data(4)
    with pytest.raises(ProxyError, match="varies"):
        score("zico", network(), (images.repeat(2, 1, 1, 1), labels.repeat(2)))
