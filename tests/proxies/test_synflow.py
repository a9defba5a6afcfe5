"""SynFlow against a linearised network with its signs put back, by hand and by property."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from torch import nn

from nasedu.errors import ProxyError
from nasedu.proxies import score
from nasedu.proxies.synflow import synflow_saliency


def textbook_synflow(network, bn="identity"):
    """Published style: absolute values of the whole state, BN switched off module by module, one image of ones."""
    network = copy.deepcopy(network).double().eval().requires_grad_(True)
    for part in network.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.train(bn == "zennas")
            if bn == "identity":
                part.forward = lambda x: x
    with torch.no_grad():
        for value in network.state_dict().values():
            value.abs_()
    network(torch.ones(1, 3, 8, 8, dtype=torch.float64)).sum().backward()
    layers = [m for m in network.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    flows = [(m.weight * m.weight.grad).detach().abs() for m in layers if m.weight.grad is not None]
    return sum(float(f.flatten(1).sum(1).mean() if bn == "zennas" else f.sum()) for f in flows)


def test_agrees_with_the_textbook(network, batch):
    assert score("synflow", network, batch) == pytest.approx(textbook_synflow(network), rel=1e-9)


def test_batch_norm_kept_and_zennas(build, batch):
    network = build("normalised")
    network(batch[0])  # running statistics other than 0 and 1
    assert score("synflow", network, batch, bn="kept") == pytest.approx(textbook_synflow(network, "kept"), rel=1e-9)
    theirs = score("synflow", network, batch, bn="zennas")
    assert theirs == pytest.approx(-textbook_synflow(network, "zennas"), rel=1e-9) and theirs < 0
    values = {round(score("synflow", network, batch, bn=bn), 6) for bn in ("identity", "kept", "zennas")}
    assert len(values) == 3


def chain(layers=4, channels=5, k=3):
    torch.manual_seed(0)
    return nn.Sequential(*(nn.Conv2d(channels if i else 3, channels, k, bias=False) for i in range(layers))).double()


def test_every_layer_of_a_chain_carries_the_whole_flow(batch):
    network, shape = chain(), (3, 12, 12)
    with torch.no_grad():
        absolute = copy.deepcopy(network)
        for part in absolute:
            part.weight.abs_()
        flow = float(absolute(torch.ones(1, *shape, dtype=torch.float64)).sum())
    by_layer = synflow_saliency(network, lambda m, x: m(x), shape)
    assert [float(s.sum()) for s in by_layer.values()] == pytest.approx([flow] * 4, rel=1e-12)
    images = torch.randn(2, *shape, generator=torch.Generator().manual_seed(0))
    total = score("synflow", network, images)
    assert total == pytest.approx(4 * flow, rel=1e-12)
    network[2].weight.data *= 3
    assert score("synflow", network, images) == pytest.approx(3 * total, rel=1e-12)


def test_signs_data_and_labels_do_not_matter(build, batch):
    network = build("residual")
    value = score("synflow", network, batch)
    other = (torch.rand(3, 3, 8, 8) * 100, torch.tensor([4, 4, 4]))
    assert score("synflow", network, other) == score("synflow", network, other[0]) == value
    with torch.no_grad():
        for p in network.parameters():
            p.mul_(torch.where(torch.rand_like(p) < 0.5, -1.0, 1.0))
    assert score("synflow", network, batch) == pytest.approx(value, rel=1e-12)


def test_biases_do_not_count_as_weights(batch):
    network = nn.Sequential(nn.Conv2d(3, 1, 1), nn.Flatten(), nn.Linear(64, 1))
    for p in network.parameters():
        p.data.fill_(1.0)
    # R = sum of 64 positions of (3 + 1) and 1; the convolution carries 64 * 3, the linear layer 64 * 4.
    assert score("synflow", network, batch) == 64 * 3 + 64 * 4


def test_scales_of_layers_do_not_count_as_weights():
    class Scaled(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.scale = nn.Conv2d(3, 2, 1, bias=False), nn.Parameter(torch.full((2, 1, 1), -5.0))
            self.conv.weight.data.fill_(1.0)

        def forward(self, x):
            return self.conv(x) * self.scale

    assert score("synflow", Scaled(), torch.randn(1, 3, 4, 4)) == 5 * 2 * 3 * 16


def test_double_precision_is_finite_where_single_overflows():
    torch.manual_seed(0)
    layers = [part for _ in range(40) for part in (nn.Conv2d(64, 64, 1, bias=False), nn.ReLU())]
    network = nn.Sequential(*layers)
    for part in network[::2]:
        nn.init.normal_(part.weight)
    with torch.no_grad():
        single = copy.deepcopy(network)
        for part in single[::2]:
            part.weight.abs_()
        assert single(torch.ones(1, 64, 2, 2)).sum() == math.inf
    assert 1e38 < score("synflow", network, torch.randn(1, 64, 2, 2)) < 1e308


def test_overflow_of_double_precision_is_no_score():
    network = nn.Sequential(*(nn.Conv2d(3, 3, 1, bias=False) for _ in range(12)))
    for part in network:
        part.weight.data.fill_(1e30)
    with pytest.raises(ProxyError, match=r"synflow is (inf|nan)"):
        score("synflow", network, torch.randn(1, 3, 4, 4))


def test_the_model_is_bit_identical_afterwards(build, batch):
    network = build("normalised").half()
    before = {k: v.clone() for k, v in network.state_dict().items()}
    assert score("synflow", network, batch) > 0
    assert all(torch.equal(v, before[k]) and v.dtype == before[k].dtype for k, v in network.state_dict().items())


def test_by_hand_and_for_every_parameter():
    model = nn.Sequential(nn.Conv2d(1, 1, 1, bias=False), nn.BatchNorm2d(1), nn.Conv2d(1, 1, 1, bias=False))
    model[0].weight.data.fill_(-2.0)
    model[2].weight.data.fill_(5.0)
    saliency = synflow_saliency(model, lambda m, x: m(x), (1, 3, 3))
    assert saliency["0.weight"].item() == saliency["2.weight"].item() == 2 * 5 * 9
    assert saliency["1.weight"].item() == 0  # what is skipped carries nothing
    assert model[0].weight.item() == -2.0 and model[0].weight.dtype == torch.float32


def test_buffers_without_a_sign_and_networks_without_weights(batch):
    class Masked(nn.Sequential):
        def __init__(self):
            super().__init__(nn.Conv2d(3, 1, 1))
            self.register_buffer("mask", torch.ones(8, 8, dtype=torch.bool))

        def forward(self, x):
            return super().forward(x) * self.mask

    assert score("synflow", Masked(), batch) > 0
    with pytest.raises(ProxyError, match="no weights of convolutions or linear layers"):
        score("synflow", nn.Sequential(nn.ReLU(), nn.Flatten()), batch)
