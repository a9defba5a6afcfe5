"""SynFlow: how much signal every weight carries, without data (Tanaka et al. 2020).

With every weight replaced by its absolute value and an image of ones, all paths through a network of ReLUs add up. R
is the sum of the outputs, and |w * dR/dw| the share of the flow that passes through w.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nasedu.errors import check_name
from nasedu.modules import copy_of
from nasedu.proxies.probe import Instead, Probe, gradients_of, layer_weights, total
from nasedu.proxies.registry import register

# batch normalisation hands its input on
BN_AS_IDENTITY = dict.fromkeys((F.batch_norm, torch.batch_norm), lambda input, *_, **__: input)


@register("synflow", needs="shape", passes="1 forward, 1 backward, of one image in float64")
def synflow(probe: Probe, *, bn: str = "identity") -> float:
    """Sum of |w * dR/dw| over the layers' weights (Tanaka et al. 2020, eq. 1). Higher is better.

    In float64, for R grows exponentially with depth and overflows float32; take its logarithm to draw it. `bn`:
    "identity" is the definition; "kept" leaves batch normalisation with its running statistics in (the poor
    `synflow_bn`); "zennas" is Zen-NAS's code: BN with the statistics of one image, per layer the mean over output
    channels of what flows through each, and the sign turned round, so that its search prefers the least flow.
    Cannot see: data, activations other than piecewise linear ones through the origin, any normalisation but BN.
    """
    check_name("treatment of BN", bn, ("identity", "kept", "zennas"))
    probe.check_finite()
    weights, gradients = _flow(probe.original, lambda model, x: model(x), tuple(probe.images.shape[1:]), bn)
    layers = layer_weights(probe.original)
    flows = {name: float(torch.dot(weights[name].flatten(), gradients[name].abs().flatten())) for name in layers}
    return -sum(flow / len(weights[name]) for name, flow in flows.items()) if bn == "zennas" else sum(flows.values())


def synflow_saliency(
    model: nn.Module, forward: Callable[[nn.Module, Tensor], object], input_shape: tuple[int, ...]
) -> dict[str, Tensor]:
    """|w * dR/dw| for every parameter, by name, in float64, batch normalisation taken for the identity.

    model: stays as it is.
    forward: `forward(model, images)` runs a copy of the model on one image.
    input_shape: of the image, (C, H, W).
    """
    weights, gradients = _flow(model, forward, input_shape, "identity")
    return {name: w * gradients[name].abs() for name, w in weights.items()}


def _flow(
    model: nn.Module, forward: Callable[[nn.Module, Tensor], object], input_shape: tuple[int, ...], bn: str
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """|w| and dR/d|w| of every parameter, by name, detached and in float64."""
    model = copy_of(model).double().train(bn == "zennas").requires_grad_(True)
    with torch.no_grad():
        for value in (*model.parameters(), *model.buffers()):
            if value.is_floating_point():  # a mask of bool has no sign
                value.abs_()
    weights = dict(model.named_parameters())
    device = next((p.device for p in model.parameters()), "cpu")
    images = torch.ones(1, *input_shape, dtype=torch.float64, device=device)
    with Instead(BN_AS_IDENTITY if bn == "identity" else {}):
        flow = total(forward(model, images))
    gradients = gradients_of(flow, weights)
    return {name: w.detach() for name, w in weights.items()}, gradients
