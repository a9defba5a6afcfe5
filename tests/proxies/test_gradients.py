"""Proxies of the loss's gradient against loops over layers, masks and central differences, and by property."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from nasedu.errors import ProxyError, UnknownName
from nasedu.proxies import score, score_all
from nasedu.proxies.gradients import snip_saliency

CLOSE = 1e-4


def images_for(network, batch):
    return batch[0].to(next(network.parameters()).dtype)


def backward(network, layers, batch):
    """The textbook's way: gradients in .grad; zero where a layer never runs."""
    F.cross_entropy(network(images_for(network, batch)), batch[1]).backward()
    return {n: torch.zeros_like(m.weight) if m.weight.grad is None else m.weight.grad for n, m in layers.items()}


def test_grad_norm_sums_the_norms_of_layers(network, batch, textbook):
    copied, layers = textbook(network)
    expected = sum(float(g.norm()) for g in backward(copied, layers, batch).values())
    assert score("grad_norm", network, batch) == pytest.approx(expected, rel=CLOSE)


def test_snip_is_the_gradient_of_masks_on_the_weights(network, batch, textbook):
    """Lee et al. 2019: a mask of ones on every weight, |dL/dmask|; it is w * g exactly."""
    copied, layers = textbook(network)
    masks = {n: torch.ones_like(m.weight, requires_grad=True) for n, m in layers.items()}
    masked = {f"{n}.weight": m.weight.detach() * masks[n] for n, m in layers.items()}
    loss = F.cross_entropy(torch.func.functional_call(copied, masked, (images_for(network, batch),)), batch[1])
    found = torch.autograd.grad(loss, list(masks.values()), allow_unused=True)
    expected = sum(float(g.abs().sum()) for g in found if g is not None)
    assert score("snip", network, batch) == pytest.approx(expected, rel=CLOSE)


def test_plain_is_signed_and_never_above_snip(network, batch, textbook):
    copied, layers = textbook(network)
    gradients = backward(copied, layers, batch)
    expected = sum(float((m.weight.detach() * gradients[n]).sum()) for n, m in layers.items())
    found = score_all(network, batch, ["plain", "snip"])
    assert found["plain"] == pytest.approx(expected, rel=CLOSE, abs=1e-6 * found["snip"])
    assert abs(found["plain"]) <= found["snip"]


def test_grasp_against_central_differences_of_the_gradient(network, batch, textbook):
    network, pair = network.double(), (batch[0].double(), batch[1])
    copied, layers = textbook(network)
    start = {n: m.weight.detach().clone() for n, m in layers.items()}
    gradients = {n: g.clone() for n, g in backward(copied, layers, pair).items()}

    def gradients_at(step):
        copied.zero_grad(set_to_none=True)
        with torch.no_grad():
            for name, layer in layers.items():
                layer.weight.copy_(start[name] + step * gradients[name])
        return {n: g.clone() for n, g in backward(copied, layers, pair).items()}

    step = 1e-5
    above, below = gradients_at(step), gradients_at(-step)
    expected = -sum(float((start[n] * (above[n] - below[n])).sum()) / (2 * step) for n in layers)
    assert score("grasp", network, pair) == pytest.approx(expected, rel=1e-3)


def test_grasp_in_single_precision(network, batch):
    single = score("grasp", network.float(), batch)
    assert single == pytest.approx(score("grasp", network.double(), batch), rel=1e-3)


def fisher_by_hooks(network, layers, batch):
    """By layer 1/2 mean_n (sum_hw a dL/da)^2, summed over channels; what follows a layer works on a copy of a."""
    seen = {name: [] for name in layers}

    def keep(name):
        def hook(layer, inputs, output):
            output.retain_grad()
            seen[name].append(output)
            return output.clone()

        return hook

    for name, layer in layers.items():
        layer.register_forward_hook(keep(name))
    backward(network, layers, batch)
    found = {}
    for name, outputs in seen.items():
        gate = sum(((a * a.grad).flatten(2).sum(2) if a.ndim == 4 else a * a.grad) for a in outputs)
        found[name] = 0.5 * float(gate.pow(2).mean(0).sum()) if outputs else 0.0
    return found


@pytest.mark.parametrize("fan_in", [False, True])
def test_fisher_in_both_conventions(network, batch, textbook, fan_in):
    copied, layers = textbook(network)
    by_layer = fisher_by_hooks(copied, layers, batch)
    expected = sum(value * (layers[n].weight[0].numel() if fan_in else 1) for n, value in by_layer.items())
    assert score("fisher", network, batch, fan_in=fan_in) == pytest.approx(expected, rel=CLOSE)


@pytest.mark.parametrize("groups", [1, 2])
def test_the_ratio_of_the_two_fishers_is_the_fan_in(groups, batch):
    """One layer alone: 6 / groups inputs of 3 x 3; the linear layer is a fixed average."""

    class One(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(6, 10, 3, groups=groups)

        def forward(self, x):
            return self.conv(torch.cat([x, x * x], 1)).mean((2, 3))

    torch.manual_seed(0)
    network = One()
    ratio = score("fisher", network, batch, fan_in=True) / score("fisher", network, batch)
    assert ratio == pytest.approx(6 // groups * 9, rel=1e-6)


def test_fisher_of_tied_weights_and_of_a_lone_layer(batch):
    class Tied(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b, self.fc = nn.Conv2d(3, 3, 1), nn.Conv2d(3, 3, 1), nn.Linear(3, 5)
            self.b.weight = self.a.weight

        def forward(self, x):
            return self.fc(self.b(self.a(x).relu()).mean((2, 3)))

    torch.manual_seed(0)
    network = Tied()
    assert score("fisher", network, batch, fan_in=True) > score("fisher", network, batch) > 0
    lone = nn.Linear(4, 3)
    pair = (torch.randn(6, 3, 8, 4, generator=torch.Generator().manual_seed(0)), batch[1][:6])
    with pytest.raises(ProxyError, match=r"needs a classifier's logits \(B, classes\)"):
        score("fisher", lone, pair)


def test_fisher_of_calls_and_of_none(batch):
    class Calls(nn.Module):
        """A convolution as a call beside one that is a module; a weight that is computed in `forward`."""

        def __init__(self):
            super().__init__()
            self.conv, self.kernel = nn.Conv2d(3, 4, 1), nn.Parameter(torch.randn(6, 2, 3, 3))
            self.fc = nn.Linear(6, 5)

        def forward(self, x):
            x = F.conv2d(self.conv(x).relu(), self.kernel, groups=2).relu().mean((2, 3))
            return F.linear(x, self.fc.weight * 2)

    torch.manual_seed(0)
    network = Calls()
    modules = nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU(), nn.Conv2d(4, 6, 3, groups=2, bias=False), nn.ReLU())
    modules = nn.Sequential(*modules, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 5, bias=False))
    pairs = [(modules[0].weight, network.conv.weight), (modules[0].bias, network.conv.bias)]
    pairs += [(modules[2].weight, network.kernel), (modules[6].weight, network.fc.weight * 2)]
    for mine, its in pairs:
        mine.data.copy_(its.data)
    for fan_in in (False, True):
        expected = score("fisher", modules, batch, fan_in=fan_in)
        assert score("fisher", network, batch, fan_in=fan_in) == pytest.approx(expected, rel=CLOSE)

    class Products(nn.Module):
        def __init__(self):
            super().__init__()
            self.matrix = nn.Parameter(torch.randn(3, 5))

        def forward(self, x):
            return x.mean((2, 3)) @ self.matrix

    with pytest.raises(ProxyError, match=r"no layer was seen in this Products: .*F\.conv2d, F\.linear"):
        score("fisher", Products(), batch)
    found = score_all(Products(), batch, ["fisher", "snip"])
    assert list(found.errors) == ["fisher"] and found["snip"] > 0


def test_grasp_of_torchvisions_mobilenet_and_vision_transformer(batch):
    models = pytest.importorskip("torchvision").models
    pair = (torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0)), batch[1][:2])
    size = {"patch_size": 16, "num_layers": 1, "num_heads": 2, "hidden_dim": 8, "mlp_dim": 8, "num_classes": 5}
    torch.manual_seed(0)
    for network in (models.mobilenet_v3_small(num_classes=5), models.VisionTransformer(image_size=32, **size)):
        found = score_all(network, pair, ["grasp", "snip", "naswot"])
        assert not found.errors and found["snip"] == pytest.approx(score("snip", network, pair), rel=1e-4)


def test_scale_invariance_leaves_plain_nothing_of_a_convolution_before_batch_norm(build, batch):
    """<w, g> = 0 for every output channel, though |w * g| is not."""
    from nasedu.proxies.batch import as_batch
    from nasedu.proxies.gradients import saliency
    from nasedu.proxies.probe import Probe

    probe = Probe(build("normalised").double(), as_batch(batch))
    signed = saliency(probe.weights, probe.gradients)["0.weight"]
    assert signed.flatten(1).sum(1).abs().max() < 1e-5 * signed.abs().sum()  # but for BN's epsilon
    assert signed.abs().sum() > 1e-3


def test_zennas_gradient_norm_takes_every_parameter_of_fresh_weights(build, batch):
    network = build("normalised")
    ours = score("grad_norm", network, batch, form="zennas", generator=torch.Generator().manual_seed(5))
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for part in network:
            if isinstance(part, nn.Conv2d | nn.Linear):
                part.weight.copy_(torch.randn(part.weight.shape, generator=generator))
                if part.bias is not None:
                    part.bias.zero_()
    labels = torch.randint(5, (8,), generator=generator)
    F.cross_entropy(network.train()(batch[0]), labels).backward()
    squares = sum(float(p.grad.double().square().sum()) for p in network.parameters())
    assert ours == pytest.approx(squares**0.5, rel=CLOSE)
    assert ours != score("grad_norm", network, batch, form="zennas")  # another draw
    with pytest.raises(UnknownName, match="did you mean 'zennas'"):
        score("grad_norm", network, batch, form="zennass")


def test_snip_saliency_is_weight_times_gradient():
    model = nn.Linear(2, 1, bias=False)
    model.weight.data = torch.tensor([[2.0, -3.0]])
    saliency = snip_saliency(model, lambda m: (m(torch.tensor([[1.0, 4.0]])) ** 2).sum())
    output = 2 - 12
    assert saliency["weight"].tolist() == [[abs(2 * 2 * output * 1), abs(-3 * 2 * output * 4)]]
    assert model.weight.grad is None


def test_snip_by_hand():
    """Softmax regression with zero weights but one: p is known, g = mean (p - onehot) x."""
    network = nn.Sequential(nn.Flatten(), nn.Linear(1, 2, bias=False))
    network[1].weight.data = torch.tensor([[0.5], [0.0]])
    images = torch.tensor([2.0, -2.0]).reshape(2, 1, 1, 1)
    p = torch.sigmoid(torch.tensor(1.0))  # of class 0 for the first image, of class 1 for the second
    gradient = ((p - 1) * 2 + (1 - p) * -2) / 2
    assert score("snip", network, (images, torch.tensor([0, 1]))) == pytest.approx(float(0.5 * gradient.abs()))
