"""Proxies that read one gradient of the loss at initialisation, as collected by Abdelfattah et al. 2021.

L is the mean cross-entropy of one batch, w a weight of a convolution, linear or attention layer (see
`probe.layer_weights`), g = dL/dw. The network runs in training mode. Biases and normalisation are left out.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from nasedu.errors import check_name
from nasedu.modules import evaluation_mode
from nasedu.proxies.initialise import standard_normal
from nasedu.proxies.probe import Probe, cross_entropy, gradients_of
from nasedu.proxies.registry import register

ONE = "1 forward, 1 backward"


def saliency(weights: dict[str, Tensor], gradients: dict[str, Tensor]) -> dict[str, Tensor]:
    """w * g, by name: what the loss would lose by w's removal, to first order and with its sign."""
    return {name: weights[name].detach() * gradient for name, gradient in gradients.items()}


def _sum(saliencies: dict[str, Tensor]) -> float:
    """Over everything: within a tensor in its own precision (pairwise, so exact enough, and fast), then in double."""
    wide = {name: torch.promote_types(s.dtype, torch.float32) for name, s in saliencies.items()}
    return sum(float(s.sum(dtype=wide[name])) for name, s in saliencies.items())


@register("grad_norm", needs="labels", reads=("gradients",), passes=ONE)
def grad_norm(probe: Probe, *, form: str = "layers") -> float:
    """Sum over layers of ||g_l||_2 (Abdelfattah et al. 2021, section 3.2). Higher is better.

    `form="zennas"` is what Zen-NAS's public code calls by this name: the norm of the gradient of *all* parameters,
    after drawing the weights from N(0, 1), with random labels. Cannot see: anything of the data beyond its gradient at
    the start; grows with the number of layers.
    """
    if check_name("form of grad_norm", form, ("layers", "zennas")) == "layers":
        return sum(float(g.norm(dtype=torch.promote_types(g.dtype, torch.float32))) for g in probe.gradients.values())
    model = standard_normal(probe.copy(), probe.source)
    logits = model(probe.images.clone())
    cross_entropy(logits, probe.batch)  # complains where these are no logits
    drawn = torch.randint(logits.shape[1], (len(probe.images),), generator=probe.generator, device="cpu")
    loss = cross_entropy(logits, type(probe.batch)(probe.images, drawn.to(probe.device)))
    gradients = torch.autograd.grad(loss, list(model.parameters()), allow_unused=True)
    return float(sum(g.double().square().sum() for g in gradients if g is not None).sqrt())


@register("snip", needs="labels", reads=("gradients",), passes=ONE)
def snip(probe: Probe) -> float:
    """Sum of |w * g| (SNIP, Lee et al. 2019, eq. 6, summed over weights: Abdelfattah et al. 2021). Higher is better.

    Cannot see: a layer whose gradient vanishes at the start though it would train well.
    """
    return _sum({name: s.abs_() for name, s in saliency(probe.weights, probe.gradients).items()})


@register("plain", needs="labels", reads=("gradients",), passes=ONE)
def plain(probe: Probe) -> float:
    """Sum of w * g, signed (Mozer & Smolensky 1989). Its published rank correlation is negative: a baseline.

    Cannot see: convolutions before batch normalisation, whose scale does not matter, so that <w, g> = 0 for them: with
    BN it measures the classifier alone.
    """
    return _sum(saliency(probe.weights, probe.gradients))


@register("grasp", needs="labels", reads=("gradients", "curvature"), passes="1 forward, 2 backward, 1 of them double")
def grasp(probe: Probe) -> float:
    """-Sum of w * (H g), H the Hessian over the weights (GraSP, Wang et al. 2020, eq. 8, temperature 1).

    Higher is better, by the sign that Abdelfattah et al. 2021 rank with; pruning keeps the lowest instead. Cannot see:
    beyond second order; the value is a small difference of large terms, and noisy. Attention runs as plain products and
    hardsigmoid as ReLU6, for PyTorch's own kernels have no second derivative: the same functions but for rounding.
    """
    return -_sum(saliency(probe.weights, probe.curvature))


@register("fisher", needs="labels", reads=("channels", "gradients"), passes=ONE)
def fisher(probe: Probe, *, fan_in: bool = False) -> float:
    """Sum over channels of 1/2 mean_n (sum_hw a * dL/da)^2, a a layer's output (Theis et al. 2018; Turner et al. 2020).

    Higher is better. `fan_in=True` is the widely used code, which spreads a channel's value over its filter's weights
    before it sums them, and so multiplies it by the fan-in c_in k^2 / groups. Layers are seen as calls, of a module or
    inside `forward`; two that share a weight count as one that runs twice. Raises `ProxyError` where none is seen.
    Cannot see: channels that do not vary yet; what a residual connection adds behind the layer; the projections
    inside `nn.MultiheadAttention`, and products by other means (`@`, `torch.einsum`).
    """
    parts = {name: 0.5 * products.double().square().mean(0).sum() for name, products in probe.channels.items()}
    return float(sum(value * (probe.fan_in[name] if fan_in else 1) for name, value in parts.items()))


def snip_saliency(model: nn.Module, loss: Callable[[nn.Module], Tensor]) -> dict[str, Tensor]:
    """|w * dL/dw| for every trainable parameter, by name, of any scalar `loss(model)`; runs in eval mode.

    Gradients and mode are as before afterwards.
    """
    weights = {name: p for name, p in model.named_parameters() if p.requires_grad}
    with evaluation_mode(model):
        gradients = gradients_of(loss(model), weights)
    return {name: s.abs() for name, s in saliency(weights, gradients).items()}


def grasp_saliency(model: nn.Module, loss: Callable[[nn.Module], Tensor]) -> dict[str, Tensor]:
    """-w * (H g) for every trainable parameter, by name, of any scalar `loss(model)`; runs in eval mode.

    Gradients and mode are as before afterwards.
    """
    weights = {name: p for name, p in model.named_parameters() if p.requires_grad}
    with evaluation_mode(model):
        gradients = gradients_of(loss(model), weights, create_graph=True)
        product = torch.stack([(g * g.detach()).sum() for g in gradients.values()]).sum()
        curvature = gradients_of(product, weights)
    return {name: -s for name, s in saliency(weights, curvature).items()}
