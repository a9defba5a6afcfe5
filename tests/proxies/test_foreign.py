"""Networks of other people: masks, computed weights, hooks, shared layers, hidden ones, and odd outputs."""

from __future__ import annotations

import copy
import math

import pytest
import torch
import torchvision
from torch import nn
from torch.nn.utils import prune

from nasedu import proxies
from nasedu.proxies import score_all

EVERY = [name for name in proxies.names() if name != "random"]  # which draws by structure
SEEN = ["naswot", "jacob_cov", "epe_nas", "swap", "meco", "linear_regions"]  # by what is computed alone


def network() -> nn.Sequential:
    torch.manual_seed(3)
    body = [nn.Conv2d(3, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 8, 3), nn.ReLU()]
    return nn.Sequential(*body, nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(32, 5))


@pytest.fixture(scope="module")
def batch():
    drawn = torch.Generator().manual_seed(1)
    return torch.rand(8, 3, 12, 12, generator=drawn), torch.randint(5, (8,), generator=drawn)


def pruned(net: nn.Module) -> nn.Module:
    for layer in (net[0], net[3]):
        prune.l1_unstructured(layer, "weight", 0.5)
    return net


def permanent(net: nn.Module) -> nn.Module:
    for layer in (net[0], net[3]):
        prune.remove(layer, "weight")
    return net


def normed(wrap) -> nn.Module:
    net = network()
    wrap(net[3])
    return net


PAIRS = {
    "a mask": (lambda: pruned(network()), lambda: permanent(pruned(network()))),
    "weight norm": (lambda: normed(nn.utils.weight_norm), network),
    "parametrised": (lambda: normed(nn.utils.parametrizations.weight_norm), network),
}


@pytest.mark.parametrize("run", [False, True], ids=["new", "run before"])
@pytest.mark.parametrize(("odd", "plain"), PAIRS.values(), ids=PAIRS)
def test_how_weights_are_stored_changes_no_score_of_what_is_computed(odd, plain, run, batch):
    one, other = odd(), plain()
    if run:
        one(batch[0])  # its weights belong to a graph from now on
        other(batch[0])
    found = score_all(one, batch, SEEN)
    assert found == pytest.approx(score_all(other, batch, SEEN), rel=1e-3) and not found.errors


def test_hooks_run_and_stay():
    net, calls = network(), []
    handle = net[2].register_forward_hook(lambda *_: calls.append(1))
    images = torch.rand(4, 3, 12, 12)
    found, want = score_all(net, images, ["naswot", "zen"]), score_all(network(), images, ["naswot", "zen"])
    assert found == want and calls and net[2]._forward_hooks
    handle.remove()


def test_a_layer_in_two_places_is_one(batch):
    class Shared(nn.Module):
        def __init__(self):
            super().__init__()
            self.a = self.b = nn.Conv2d(3, 3, 3, padding=1)
            self.tied, self.head = nn.Conv2d(3, 3, 3, padding=1), nn.Linear(3, 5)
            self.tied.weight = self.a.weight

        def forward(self, x):
            return self.head(self.tied(self.b(self.a(x).relu()).relu()).relu().mean((2, 3)))

    net = Shared()
    found = score_all(net, batch, ["params", "macs", "snip", "l2_norm"])
    assert found["params"] == 81 + 3 + 3 + 20 and found["macs"] == 3 * 81 * 144 + 15
    assert found["l2_norm"] == pytest.approx(sum(w.detach().norm().item() for w in (net.a.weight, net.head.weight)))
    net.head(net.tied(net.b(net.a(batch[0]).relu()).relu()).relu().mean((2, 3)))
    loss = nn.functional.cross_entropy(net(batch[0]), batch[1])
    weights = [net.a.weight, net.head.weight]
    by_hand = sum((w * g).abs().sum() for w, g in zip(weights, torch.autograd.grad(loss, weights), strict=True))
    assert found["snip"] == pytest.approx(float(by_hand), rel=1e-4)


def test_a_compiled_network_has_the_scores_of_its_own(batch):
    assert score_all(torch.compile(network()), batch, EVERY) == score_all(network(), batch, EVERY)


class Returns(nn.Module):
    """A network, and what a function makes of its logits."""

    def __init__(self, function):
        super().__init__()
        self.net, self.function = network(), function

    def forward(self, x):
        return self.function(self.net(x))


def test_of_several_outputs_those_count_that_are_numbers(batch):
    several = Returns(lambda y: {"logits": y, "aux": None, "classes": y.argmax(1)})
    names = ["naswot", "jacob_cov", "epe_nas", "synflow"]
    found, want = score_all(several, batch, names), score_all(network(), batch, names)
    assert found == pytest.approx(want) and not found.errors


def dense() -> nn.Sequential:
    """Without convolutions, whose lists `torch.jit.script` may take for functions: it tells them by reused ids."""
    return nn.Sequential(nn.Flatten(), nn.Linear(432, 5)).eval()


HIDDEN = {
    "lazy": lambda: nn.Sequential(nn.LazyConv2d(8, 3), nn.ReLU(), nn.Flatten(), nn.LazyLinear(5)),
    "scripted": lambda: torch.jit.script(dense()),
    "traced": lambda: torch.jit.trace(network().eval(), torch.rand(2, 3, 12, 12)),
    "frozen": lambda: torch.jit.freeze(torch.jit.script(dense())),
}


@pytest.mark.parametrize("make", HIDDEN.values(), ids=HIDDEN)
def test_hidden_layers_are_told_by_every_proxy(make, batch):
    found = score_all(make(), batch, proxies.names())
    assert set(found.values()) == {-math.inf} and found.errors.keys() == set(proxies.names())
    assert all("lazy layers" in told or "TorchScript hides" in told for told in found.errors.values())


ODD = {
    "None": lambda: Returns(lambda y: None),
    "a dictionary": lambda: Returns(lambda y: {"logits": y}),
    "nothing": lambda: Returns(lambda y: []),
    "a detector": lambda: torchvision.models.detection.ssdlite320_mobilenet_v3_large(
        weights=None, weights_backbone=None, num_classes=5
    ),
}


@pytest.mark.parametrize("make", ODD.values(), ids=ODD)
def test_odd_outputs_have_a_score_or_a_sentence(make, batch):
    net = make()
    before = copy.deepcopy(net.state_dict())
    found = score_all(net, tuple(part[:4] for part in batch), EVERY)
    assert {"grad_norm", "snip", "ntk", "zico"} <= found.errors.keys()
    for name, value in found.items():
        assert math.isfinite(value) or (0 < len(found.errors[name]) < 300 and "object is not" not in found.errors[name])
    assert all(torch.equal(v, before[k]) for k, v in net.state_dict().items())
