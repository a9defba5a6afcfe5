"""Small networks with what trips proxies up, each on 3 x 8 x 8 images with five classes."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional as F


def head(channels: int) -> list[nn.Module]:
    return [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, 5)]


def conv(c: int, d: int, k: int = 3, **options) -> nn.Conv2d:
    return nn.Conv2d(c, d, k, padding=k // 2, **options)


def normalised() -> nn.Module:
    layers = [conv(3, 6, bias=False), nn.BatchNorm2d(6), nn.ReLU(inplace=True)]
    return nn.Sequential(*layers, conv(6, 8, stride=2), nn.BatchNorm2d(8), nn.ReLU(inplace=True), *head(8))


def in_place() -> nn.Module:
    return nn.Sequential(conv(3, 6), nn.ReLU(inplace=True), conv(6, 8), nn.ReLU(inplace=True), *head(8))


def smooth() -> nn.Module:
    acts = [nn.Hardswish(inplace=True), nn.SiLU(inplace=True), nn.Mish(inplace=True), nn.ReLU6(inplace=True)]
    layers = [part for i, act in enumerate(acts) for part in (conv(6 if i else 3, 6), act)]
    return nn.Sequential(*layers, *head(6))


class Residual(nn.Module):
    """Pre-activation: the sum is written over the convolution's own output."""

    def __init__(self):
        super().__init__()
        self.stem, self.bn, self.conv, self.head = conv(3, 6), nn.BatchNorm2d(6), conv(6, 6), nn.Sequential(*head(6))

    def forward(self, x):
        x = self.stem(x)
        y = self.conv(F.relu(self.bn(x)))
        y += x
        return self.head(y)


class Functional(nn.Module):
    """Activations as calls and methods, in place and not; grouped convolutions."""

    def __init__(self):
        super().__init__()
        self.a, self.b, self.c = conv(3, 6), conv(6, 6, groups=3), conv(6, 6, groups=6)
        self.fc = nn.Linear(6, 5)

    def forward(self, x):
        x = F.relu(self.a(x), inplace=True)
        x = self.b(x).relu_()
        x = torch.relu(self.c(x))
        return self.fc(x.relu().mean((2, 3)))


class Twice(nn.Module):
    """One convolution runs twice, and another never does."""

    def __init__(self):
        super().__init__()
        self.stem, self.conv, self.act, self.unused = conv(3, 6), conv(6, 6), nn.ReLU(), conv(6, 6)
        self.head = nn.Sequential(*head(6))

    def forward(self, x):
        x = self.conv(self.act(self.stem(x)))
        return self.head(self.act(self.conv(self.act(x))))


def frozen() -> nn.Module:
    return normalised().requires_grad_(False).eval()


def double() -> nn.Module:
    return normalised().double()


NETWORKS = {f.__name__.lower(): f for f in (normalised, in_place, smooth, Residual, Functional, Twice, frozen, double)}


@pytest.fixture(params=NETWORKS)
def network(request) -> nn.Module:
    torch.manual_seed(1)
    return NETWORKS[request.param]()


@pytest.fixture
def build():
    """build("residual"): the network of that name, always with the same weights."""

    def make(name: str) -> nn.Module:
        torch.manual_seed(1)
        return NETWORKS[name]()

    return make


@pytest.fixture
def batch() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(2)
    return torch.randn(8, 3, 8, 8, generator=generator), torch.arange(8) % 5


@pytest.fixture
def textbook():
    """textbook(network): a copy to differentiate in training mode, its convolution and linear layers by name."""

    def prepare(network: nn.Module):
        network = copy.deepcopy(network).train().requires_grad_(True)
        layers = {n: m for n, m in network.named_modules() if isinstance(m, nn.Conv2d | nn.Linear)}
        return network, layers

    return prepare
