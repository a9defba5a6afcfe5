"""Saliency proxies: how much a loss would move if a weight were removed, to first order, |w * dL/dw| per weight."""

from __future__ import annotations

import copy
from collections.abc import Callable

import torch
from torch import Tensor, nn

from nasedu.blocks import evaluation_mode


def snip(model: nn.Module, loss: Callable[[nn.Module], Tensor]) -> dict[str, Tensor]:
    """|w * dL/dw| for every parameter, by name (SNIP, Lee et al. 2019, eq. 6). `loss(model)` returns a scalar.

    Runs in eval mode; gradients, mode and `requires_grad` are as before afterwards.
    """
    names, weights = zip(*((n, p) for n, p in model.named_parameters() if p.requires_grad), strict=True)
    with evaluation_mode(model):
        gradients = torch.autograd.grad(loss(model), weights, allow_unused=True)
    return {
        name: torch.zeros_like(w) if g is None else (w * g).abs().detach()
        for name, w, g in zip(names, weights, gradients, strict=True)
    }


def synflow(model: nn.Module, forward: Callable[[nn.Module, Tensor], object], input_shape: tuple[int, ...]):
    """|w * dR/dw| for every parameter, by name, without data (SynFlow, Tanaka et al. 2020, eq. 1).

    R is the sum of all outputs for an image of ones, with every weight replaced by its absolute value and batch
    normalisation by the identity; `forward(model, images)` runs the model. Works on a float64 copy, for R overflows
    float32 in deep networks.
    """
    linear = copy.deepcopy(model).double().eval()
    for part in linear.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.forward = lambda x: x
    with torch.no_grad():
        for weight in linear.parameters():
            weight.abs_()
    images = torch.ones(1, *input_shape, dtype=torch.float64, device=next(linear.parameters()).device)

    def total(network: nn.Module) -> Tensor:
        outputs = forward(network, images)
        return sum(o.sum() for o in outputs) if isinstance(outputs, (list, tuple)) else outputs.sum()

    return snip(linear, total)
