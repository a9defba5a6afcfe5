"""NASWOT's kernel, by hand and by property."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from nasedu.proxies import AgreementKernel, agreement, log_det, naswot, snip, synflow


def test_kernel_counts_agreeing_units():
    output = torch.tensor([[1.0, -1.0, 2.0], [1.0, 1.0, -3.0]])
    assert agreement(output).tolist() == [[3, 1], [1, 3]]


def test_kernel_is_symmetric_with_the_number_of_units_on_its_diagonal():
    kernel = agreement(torch.randn(6, 4, 5, 5))
    assert torch.equal(kernel, kernel.T) and kernel.diagonal().tolist() == [100] * 6
    assert torch.linalg.eigvalsh(kernel).min() > -1e-9


def test_log_det_by_hand_and_for_equal_inputs():
    assert log_det(torch.tensor([[3.0, 1.0], [1.0, 3.0]], dtype=torch.float64), 0.0) == pytest.approx(math.log(8))
    assert math.isfinite(log_det(torch.ones(4, 4, dtype=torch.float64)))


def test_score_counts_every_activation_once_and_leaves_the_model_alone():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 4, 3), nn.SiLU()).train()
    images = torch.randn(4, 3, 8, 8)
    before = {k: v.clone() for k, v in model.state_dict().items()}
    with AgreementKernel(model) as kernel:
        first = model(images) is not None and kernel.take()
        model(images)
        again = kernel.take()
    assert first.diagonal().tolist() == [8 * 36 + 4 * 16] * 4 and torch.equal(first, again)
    model.load_state_dict(before)
    score = naswot(model, images)
    assert score == naswot(model, images) and model.training
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
    assert all(not m._forward_hooks for m in model.modules())


def test_equal_images_score_lower_than_different_ones():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU())
    images = torch.randn(4, 3, 8, 8)
    twins = images.clone()
    twins[1] = twins[0]
    assert naswot(model, twins) < naswot(model, images) - 3


def test_snip_is_weight_times_gradient():
    model = nn.Linear(2, 1, bias=False)
    model.weight.data = torch.tensor([[2.0, -3.0]])
    saliency = snip(model, lambda m: (m(torch.tensor([[1.0, 4.0]])) ** 2).sum())
    output = 2 - 12
    assert saliency["weight"].tolist() == [[abs(2 * 2 * output * 1), abs(-3 * 2 * output * 4)]]
    assert model.weight.grad is None


def test_synflow_by_hand_ignores_signs_and_batch_norm_and_keeps_the_model():
    model = nn.Sequential(nn.Conv2d(1, 1, 1, bias=False), nn.BatchNorm2d(1), nn.Conv2d(1, 1, 1, bias=False))
    model[0].weight.data.fill_(-2.0)
    model[2].weight.data.fill_(5.0)
    saliency = synflow(model, lambda m, x: m(x), (1, 3, 3))
    assert saliency["0.weight"].item() == saliency["2.weight"].item() == 2 * 5 * 9
    assert model[0].weight.item() == -2.0 and model[0].weight.dtype == torch.float32
