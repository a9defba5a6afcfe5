"""Modules that hold computed tensors are copied like any other."""

from __future__ import annotations

import copy
import warnings

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations, prune

from nasedu import hardware, proxies
from nasedu.modules import copy_of

IMAGES = torch.randn(4, 3, 9, 9, generator=torch.Generator().manual_seed(0))


def network(how: str) -> nn.Module:
    torch.manual_seed(1)
    net = nn.Sequential(nn.Conv2d(3, 6, 3), nn.ReLU(), nn.Conv2d(6, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(100, 3))
    if how == "pruned":
        prune.l1_unstructured(net[0], "weight", 0.5)
        net(IMAGES)  # its weight is now the result of a forward pass
    elif how == "normalised":
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            nn.utils.weight_norm(net[2])
    elif how == "parametrised":
        parametrizations.weight_norm(net[2])
    elif how == "listed":
        net.held = [net[5].weight * 2]
    return net


@pytest.mark.parametrize("how", ["plain", "pruned", "normalised", "parametrised", "listed"])
def test_a_copy_computes_the_same_and_shares_nothing(how):
    net = network(how)
    before, twin = net(IMAGES), copy_of(net)
    assert torch.equal(twin(IMAGES), before)
    with torch.no_grad():
        for p in twin.parameters():
            p.add_(1.0)
    assert not torch.equal(twin(IMAGES), before) and torch.equal(net(IMAGES), before)
    if how in ("plain", "parametrised"):
        assert torch.equal(copy.deepcopy(net)(IMAGES), before)
    else:
        with pytest.raises(RuntimeError, match="graph leaves"):
            copy.deepcopy(net)


@pytest.mark.parametrize("how", ["pruned", "normalised"])
def test_everything_that_copies_a_network_can(how):
    net, labels = network(how), torch.tensor([0, 1, 2, 0])
    found = proxies.score_all(net, (IMAGES, labels), ["naswot", "snip", "synflow", "zen", "ntk"])
    assert not found.errors
    assert hardware.count(net, (3, 9, 9)).macs == hardware.count(network("plain"), (3, 9, 9)).macs
