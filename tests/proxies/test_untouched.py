"""Every proxy: one seed, one value; and the network and the global random state stay as they were."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from nasedu import proxies


class Network(nn.Module):
    """In-place and functional activations, dropout, shared statistics, a frozen weight and a hook of its own."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 6, 3, padding=1, bias=False), nn.BatchNorm2d(6), nn.ReLU(inplace=True))
        self.conv, self.norm = nn.Conv2d(6, 6, 3, padding=1), nn.BatchNorm2d(6)
        self.drop, self.out = nn.Dropout(0.2), nn.Linear(6, 4)

    def forward(self, x):
        x = self.stem(x)
        x = F.relu(self.norm(self.conv(x)) + x)
        return self.out(self.drop(F.adaptive_avg_pool2d(x, 1).flatten(1)))


def state_of(model):
    hooks = [(dict(m._forward_hooks), dict(m._forward_pre_hooks), dict(m._backward_hooks)) for m in model.modules()]
    flags = [(p.requires_grad, p.dtype, p.grad is None, p._version) for p in model.parameters()]
    return hooks, flags, [m.training for m in model.modules()], [getattr(m, "inplace", None) for m in model.modules()]


@pytest.mark.parametrize("name", proxies.names())
def test_same_seed_same_value_and_nothing_is_touched(name):
    torch.manual_seed(0)
    model = Network()
    model.stem[0].weight.requires_grad_(False)
    model.norm.eval()
    model.out.register_forward_hook(lambda *_: None)
    images, labels = torch.randn(12, 3, 12, 12), torch.arange(12) % 4
    kept = copy.deepcopy(model.state_dict()), images.clone(), labels.clone()
    state, values = state_of(model), []
    for _ in range(2):
        torch.randn(5)  # whatever else draws in between must not matter
        random_state = torch.get_rng_state()
        values.append(proxies.score(name, model, (images, labels), seed=3))
        assert torch.equal(torch.get_rng_state(), random_state)
        assert state_of(model) == state
        assert all(torch.equal(v, kept[0][k]) for k, v in model.state_dict().items())
        assert torch.equal(images, kept[1]) and torch.equal(labels, kept[2]) and not images.requires_grad
    assert values[0] == values[1]
