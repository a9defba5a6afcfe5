from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from nasedu import spaces, wzdnas
from nasedu.spaces import SearchSpace, Slot
from nasedu.spaces.base import Decision
from nasedu.tables import LookupTable


class Toy(SearchSpace):
    """As many identities as `choices` has numbers: something to search in that costs nothing to build."""

    name = "toy"
    input_shape = (1, 2, 2)

    def __init__(self, choices):
        self.layers = [
            Slot(
                f"slot{i}",
                lambda index: nn.Identity(),
                decisions=(Decision(f"slot{i}", tuple(f"c{c}" for c in range(n))),),
                make_elastic=nn.Identity,
            )
            for i, n in enumerate(choices)
        ]


@pytest.fixture(scope="session")
def toy():
    """`toy([3, 2])` is a space of 6 architectures."""
    return Toy


class Sharing(SearchSpace):
    """Four slots that share decisions, one of them over a slot between; `inner` has nothing to decide at depth 0."""

    name = "sharing"
    input_shape = (1, 2, 2)

    def __init__(self):
        depth, wide = Decision("depth", ("0", "1", "2")), Decision("wide", ("a", "b", "c"))
        inner, last = Decision("inner", ("x", "y"), ("depth", 1)), Decision("last", ("p", "q"))
        groups = [(wide,), (depth, inner, wide), (wide, last), (depth, last)]
        self.layers = [
            Slot(f"slot{i}", lambda *option: nn.Identity(), decisions=group, make_elastic=nn.Identity)
            for i, group in enumerate(groups)
        ]


@pytest.fixture(scope="session")
def sharing():
    """A space whose slots share decisions."""
    return Sharing()


@pytest.fixture(scope="session")
def priced():
    """`priced(space)`: a table that prices choice c of decision i at (i + 1) * c, plus 100."""

    def make(space, metric="params"):
        entries = [(i + 1) * torch.arange(n, dtype=torch.float64) for i, n in enumerate(space.choices)]
        return LookupTable(space, metric, "parameters", 100.0, entries)

    return make


@pytest.fixture(scope="session")
def facts():
    """`facts(result)`: everything but the seconds, which no two runs share."""

    def strip(result):
        history = [{k: v for k, v in record.items() if k != "seconds"} for record in result.history]
        return result.best, result.score, result.costs, history

    return strip


@pytest.fixture(scope="session")
def detector():
    """One that sees something: its weights let the picture through, and its head's biases are drawn anew."""
    anchors = [[[9.0, 12.0], [20.0, 16.0]]] * 3
    space = spaces.create("yolo:course", num_classes=3, image_size=64, anchors=anchors)
    network, generator = space.build(space.hand_designed, seed=0).eval(), torch.Generator().manual_seed(0)
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu", generator=generator)
    with torch.no_grad():
        for conv in network.parts["detect"].convs:
            conv.bias.add_(2 * torch.randn(conv.bias.shape, generator=generator))
    return wzdnas.Detector(space, space.hand_designed, ["ant", "<b>bee</b>", "Käfer"], network)


@pytest.fixture(scope="session")
def photo():
    """60 pixels high, 100 wide, of coloured squares."""
    return np.kron(np.random.default_rng(1).integers(0, 256, (6, 10, 3), np.uint8), np.ones((10, 10, 1), np.uint8))


@pytest.fixture
def randomised():
    """Gives a network statistics and affine parameters as different from their defaults as training makes them."""

    def randomise(network: nn.Module) -> nn.Module:
        """The same network, in eval mode."""
        generator = torch.Generator().manual_seed(1)
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.running_mean.normal_(0, 0.3, generator=generator)
                module.running_var.uniform_(0.5, 2, generator=generator)
                module.weight.data.uniform_(0.5, 1.5, generator=generator)
                module.bias.data.normal_(0, 0.3, generator=generator)
        return network.eval()

    return randomise
