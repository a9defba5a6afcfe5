"""Blocks that run twice change nothing that a training sees."""

from __future__ import annotations

import copy
from contextlib import nullcontext

import pytest
import torch
from torch import nn

from nasedu import spaces
from nasedu.processes import Processes
from nasedu.sampling import softmax, uniform_logits
from nasedu.training.forward import checkpointed
from nasedu.training.sync_norm import SyncNorm


class Sees(Processes):
    """A process alone that notes what is averaged over all."""

    def __init__(self):
        self.means = 0

    def mean(self, x):
        self.means += 1
        return x


IMAGES = torch.randn(4, 3, 9, 9, generator=torch.Generator().manual_seed(0))


def gradients_and_statistics(net: nn.Module, *inputs) -> list[torch.Tensor]:
    torch.manual_seed(5)  # of what layers draw
    outputs = net(*inputs)
    sum(o.square().mean() for o in (outputs if isinstance(outputs, list) else [outputs])).backward()
    found = [p.grad for p in net.parameters() if p.grad is not None] + list(net.buffers())
    return [t.clone() for t in found]


class Runs(nn.Module):
    """A convolution with normalisation, that counts how often it runs."""

    def __init__(self, momentum):
        super().__init__()
        self.conv, self.bn, self.drop = nn.Conv2d(3, 3, 3), nn.BatchNorm2d(3, momentum=momentum), nn.Dropout(0.5)
        self.runs = 0

    def forward(self, x):
        self.runs += 1
        return self.drop(self.bn(self.conv(x)).relu())


def test_a_block_that_runs_again_is_normalised_over_all_processes_again():
    """The backward pass of PyTorch leaves contexts such as `SyncNorm`, and blocks run again in it."""
    torch.manual_seed(0)
    net = nn.Sequential(*(nn.Sequential(nn.Conv2d(3, 3, 3, padding=1), nn.BatchNorm2d(3), nn.ReLU()) for _ in range(2)))
    expected, team = gradients_and_statistics(copy.deepcopy(net), IMAGES), Sees()
    with SyncNorm(team), checkpointed(net, lambda: SyncNorm(team)):
        found = gradients_and_statistics(net, IMAGES)
    assert team.means == 2 * 2 * 2, "mean and variance, of two layers, twice"
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("momentum", [0.1, None])
def test_checkpointed_blocks_run_twice_and_change_nothing(momentum):
    net = nn.Sequential(Runs(momentum), Runs(momentum)).train()
    twin = copy.deepcopy(net)
    with checkpointed(twin):
        again = gradients_and_statistics(twin, IMAGES)
    plain = gradients_and_statistics(net, IMAGES)
    assert len(plain) == len(again) and all(map(torch.equal, plain, again))
    assert [block.runs for block in net] == [1, 1] and [block.runs for block in twin] == [2, 2]
    assert not any("forward" in vars(part) for part in twin.modules())
    assert [block.bn.momentum for block in twin] == [momentum] * 2


@pytest.mark.parametrize("semantics", ["sliced", "faithful"])
def test_a_checkpointed_supernet_learns_the_same(semantics):
    space = spaces.create("yolo:course", image_size=64, semantics=semantics)
    path, images, found = softmax(uniform_logits(space.choices)), torch.rand(2, 3, 64, 64), []
    for context in (nullcontext, checkpointed):
        supernet = space.supernet(seed=0).train()
        with context(supernet):
            found.append(gradients_and_statistics(supernet, images, path))
    for plain, again in zip(*found, strict=True):
        assert torch.equal(plain, again)
