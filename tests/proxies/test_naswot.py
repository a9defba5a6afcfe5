"""NASWOT: its kernel by hand, the score against loops and hooks, and by property."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from nasedu.errors import ProxyError, UnknownName
from nasedu.proxies import agreement, log_det, score, score_all
from nasedu.proxies.per_block import AgreementKernel


def test_kernel_counts_agreeing_units():
    output = torch.tensor([[1.0, -1.0, 2.0], [1.0, 1.0, -3.0]])
    assert agreement(output).tolist() == [[3, 1], [1, 3]]


def test_kernel_is_symmetric_with_the_number_of_units_on_its_diagonal():
    kernel = agreement(torch.randn(6, 4, 5, 5))
    assert torch.equal(kernel, kernel.T) and kernel.diagonal().tolist() == [100] * 6
    assert torch.linalg.eigvalsh(kernel).min() > -1e-9


def test_zero_is_off_like_a_negative_number():
    assert agreement(torch.tensor([[0.0, 0.0], [-1.0, 1.0]])).tolist() == [[2, 1], [1, 2]]


def test_counts_are_exact_beyond_single_precision():
    units = 2**24 + 3  # not a float32
    codes = torch.zeros(2, units, dtype=torch.bool)
    codes[1, 0] = True
    assert agreement(codes).tolist() == [[units, units - 1], [units - 1, units]]


def test_log_det_by_hand_and_for_equal_inputs():
    assert log_det(torch.tensor([[3.0, 1.0], [1.0, 3.0]], dtype=torch.float64), 0.0) == pytest.approx(math.log(8))
    assert math.isfinite(log_det(torch.ones(4, 4, dtype=torch.float64)))


def test_the_context_sums_what_ran_since_the_last_take():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 4, 3), nn.SiLU()).train()
    images = torch.randn(4, 3, 8, 8)
    with AgreementKernel() as kernel:
        model(images)
        first = kernel.take()
        model(images)
        again = kernel.take()
    model(images)  # seen no more
    assert first.diagonal().tolist() == [8 * 36 + 4 * 16] * 4 and torch.equal(first, again)
    assert kernel.take().numel() == 1


def textbook_naswot(network, images):
    """Published style: a hook before every activation module, pairs of images one by one, log |det|."""
    inputs = []
    for part in network.modules():
        if isinstance(part, nn.ReLU | nn.Hardswish | nn.SiLU | nn.Mish | nn.ReLU6):
            part.register_forward_pre_hook(lambda _, args: inputs.append(args[0].detach().flatten(1).clone()))
    network(images.to(next(network.parameters()).dtype))
    kernel = np.zeros((len(images), len(images)))
    for x in inputs:
        codes = (x > 0).numpy()
        for i, a in enumerate(codes):
            for j, b in enumerate(codes):
                kernel[i, j] += np.sum(a == b)
    return float(np.linalg.slogdet(kernel)[1])


@pytest.mark.parametrize("name", ["normalised", "in_place", "smooth", "twice", "frozen", "double"])
def test_agrees_with_the_textbook(build, batch, textbook, name):
    expected = textbook_naswot(textbook(build(name))[0], batch[0])
    assert score("naswot", build(name), batch) == pytest.approx(expected, rel=1e-6)
    assert score("naswot", build(name), batch[0], counted="reached") == pytest.approx(expected, rel=1e-6)


class Calls(nn.Module):
    def __init__(self, inner: nn.Sequential, act):
        super().__init__()
        self.inner, self.act = inner, act

    def forward(self, x):
        for part in self.inner:
            x = self.act(x) if isinstance(part, nn.ReLU) else part(x)
        return x


WAYS = {
    "F.relu": F.relu,
    "F.relu in place": lambda x: F.relu(x, inplace=True),
    "keyword": lambda x: F.relu(input=x),
    "F.relu_": F.relu_,
    "torch.relu": torch.relu,
    "torch.relu_": torch.relu_,
    "method": lambda x: x.relu(),
    "method in place": lambda x: x.relu_(),
    "leaky": lambda x: F.leaky_relu(x, 0.0),
    "PReLU": lambda x: F.prelu(x, x.new_zeros(1)),
    "ReLU6": F.relu6,  # cuts off above, the same sign
    "clamp": lambda x: x.clamp(min=0),
    "clamp by position": lambda x: torch.clamp(x, 0.0),
    "clamp in place": lambda x: torch.clamp_(x, min=torch.zeros(())),
    "clamp from 0 to 6": lambda x: x.clamp(0, 1e9),
    "clamp_min": lambda x: x.clamp_min(0),
    "clip": lambda x: torch.clip(x, min=0),
    "threshold": lambda x: F.threshold(x, 0.0, 0.0),
    "Threshold": nn.Threshold(0, 0),
    "maximum": lambda x: torch.maximum(x, torch.zeros_like(x)),
    "maximum, the other way round": lambda x: torch.maximum(x.new_zeros(()), x),
    "max": lambda x: torch.max(x, other=x.new_zeros(1)),
    "hardtanh": lambda x: F.hardtanh(x, 0.0, 1e9),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("counted", ["all", "reached"])
def test_a_call_counts_like_a_module(build, batch, way, counted):
    """Once, though the call ends in others: F.relu6 in hardtanh, F.relu in torch.relu."""
    inner = build("normalised")
    assert score("naswot", Calls(inner, WAYS[way]), batch, counted=counted) == pytest.approx(
        score("naswot", inner, batch), rel=1e-3 if way == "ReLU6" else 1e-12
    )


@pytest.mark.parametrize(
    "call",
    [
        lambda x: torch.max(x, 0).values + 0 * x,  # the largest along an axis
        lambda x: x.clamp(max=6),
        lambda x: x.clamp(min=-1),
        lambda x: x.clamp(None, 0),
        lambda x: torch.maximum(x, x.flip(1)),
        lambda x: F.threshold(x, 1.0, 0.0),
        lambda x: x * x.new_ones(3).clamp(min=0).sum(),  # no map of images
        lambda x: x * nn.Parameter(torch.ones(3, 3)).clamp(min=0).sum(),
        lambda x: x + x.long().clamp(min=0),
    ],
)
def test_calls_that_cut_elsewhere_or_no_feature_map_do_not_count(build, batch, call):
    inner = build("normalised")
    only = nn.Sequential(*[part for part in inner if not isinstance(part, nn.ReLU)])
    with pytest.raises(ProxyError, match="no activation ran"):
        score("naswot", Calls(nn.Sequential(*only, nn.ReLU()), call), batch)


def test_activations_that_lead_nowhere_are_left_out_on_request(build, batch):
    class Blind(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner, self.side = build("normalised"), nn.Sequential(nn.Conv2d(3, 9, 3), nn.ReLU())

        def forward(self, x):
            self.side(x)
            return self.inner(x)

    alone, both = score("naswot", build("normalised"), batch), score("naswot", Blind(), batch)
    assert both > alone + 1
    assert score("naswot", Blind(), batch, counted="reached") == pytest.approx(alone, rel=1e-12)
    with pytest.raises(UnknownName, match="did you mean 'reached'"):
        score("naswot", Blind(), batch, counted="reachd")


def test_training_mode_whatever_the_mode_it_comes_in(build, batch):
    network = build("normalised")
    value = score("naswot", network, batch)
    assert score("naswot", network.eval(), batch) == value and not network.training
    network[1].running_mean.fill_(100.0)
    assert score("naswot", network, batch) == value


def test_identical_inputs_are_minus_infinity_and_flagged(network, batch):
    same = batch[0][:1].expand(6, -1, -1, -1)
    twins = torch.cat([batch[0], batch[0][3:4]])
    for images in (same, twins):
        found = score_all(network.eval(), images, ["naswot", "params"])
        assert found["naswot"] == -math.inf == score("naswot", network, images)
        assert found.errors == {"naswot": "naswot is -inf by its definition"}


def test_the_order_of_images_and_a_positive_scale_do_not_matter(build, batch):
    network = build("in_place")
    value = score("naswot", network, batch)
    assert score("naswot", network, batch[0].flip(0)) == pytest.approx(value, rel=1e-12)
    for layer in (network[0], network[2]):
        layer.weight.data *= 8
        layer.bias.data *= 8 if layer is network[0] else 64
    assert score("naswot", network, batch) == value


def test_a_repeated_call_gives_the_same_value(build, batch):
    network = build("normalised")
    assert len({score("naswot", network, batch) for _ in range(3)}) == 1
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in network.modules())


@pytest.mark.parametrize("counted", ["all", "reached"])
def test_a_network_without_activations_says_what_would_be_seen(batch, counted):
    for act in (nn.Identity(), nn.Sigmoid()):
        network = nn.Sequential(nn.Conv2d(3, 4, 3), act, nn.Flatten(), nn.Linear(144, 5))
        with pytest.raises(ProxyError, match=r"no activation ran in this Sequential: ReLU, .* torch\.where, are not"):
            score("naswot", network, batch, counted=counted)
    found = score_all(network, batch, ["naswot", "snip"])
    assert found["naswot"] == -math.inf and list(found.errors) == ["naswot"]
