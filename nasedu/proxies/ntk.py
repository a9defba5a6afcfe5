"""The neural tangent kernel's condition number: do the images of a batch pull the weights in different directions?"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from nasedu.errors import ProxyError, check_name, check_whole
from nasedu.proxies.checks import logits_of, run
from nasedu.proxies.initialise import kaiming
from nasedu.proxies.per_image import together
from nasedu.proxies.probe import Probe, layer_weights
from nasedu.proxies.registry import register

COLUMNS = 1 << 18  # parameters that are widened to float64 at a time
ROUNDINGS = 64  # by how many roundings of its precision a gradient, a long sum, may be wrong


@register("ntk", needs="images", passes="1 forward, 1 backward per image")
def ntk(probe: Probe, *, images: int = 16, parameters: str = "weight", weights: str = "given") -> float:
    """-kappa, kappa = l_max / l_min of the kernel K = G G^T (TE-NAS, Chen et al. 2021, section 3.1.1, K_N).

    Row n of G is the gradient of image n's summed logits, in training mode. Higher is better: the paper prefers a small
    kappa, hence the sign; at most -1. -inf where K is singular but for rounding and where two images are equal; the
    public codes returned a huge, a negative or (once NaN had become 0) even the best value. Memory: images times
    parameters.

    probe: the network and the batch.
    images: how many, the first of the batch; 16 in the public code.
    parameters: "weight" takes everything of that name, as the public code does: scales of batch normalisation included,
        biases not; "layers" convolutions and linear layers alone; "all" the kernel of the theory.
    weights: "given", or "kaiming", which draws them anew, He et al. 2015; the public search does, by fan-out.

    Cannot see: labels, single logits (only their sum), the scale of the output.
    """
    check_name("parameters of ntk", parameters, ("weight", "layers", "all"))
    check_name("weights of ntk", weights, ("given", "kaiming"))
    model = probe.copy()
    if weights == "kaiming":
        kaiming(model, probe.source)
    named = layer_weights(model) if parameters == "layers" else dict(model.named_parameters())
    chosen = {name: p for name, p in named.items() if parameters != "weight" or "weight" in name}
    if not chosen:
        raise ProxyError(f"this {type(probe.original).__name__} has no parameters of the kind {parameters!r}")
    used = probe.images[: check_whole("images of ntk", images, 2)]
    outputs = logits_of(run(model, used)).sum(1)
    if len(used.flatten(1).cpu().unique(dim=0)) < len(used):
        return -math.inf  # twins' gradients may differ by more than a rounding where BN sees a single pixel per image
    rows = torch.stack([torch.cat([g.flatten() for g in row.values()]) for row in together(outputs, chosen)])
    return -condition_number(gram(rows), torch.finfo(rows.dtype).eps)


def gram(rows: Tensor) -> Tensor:
    """G G^T (n, n) in float64, of G (n, parameters) in any precision."""
    return sum((part.double() @ part.double().T for part in rows.split(COLUMNS, 1)), rows.new_zeros(()).double())


def condition_number(kernel: Tensor, eps: float = 0.0) -> float:
    """l_max / l_min >= 1 of a positive semi-definite matrix (n, n); inf where l_min is zero but for rounding.

    `eps` is the rounding of the rows whose products the kernel holds: where two of them differ by a relative error e,
    l_min is about e^2 l_max. Raises `ProxyError` for a matrix of zeros or one that is not finite.
    """
    trace = kernel.trace()
    if not torch.isfinite(kernel).all() or trace <= 0:
        raise ProxyError("the gradients of the outputs are zero or not finite: there is no condition number")
    values = torch.linalg.eigvalsh(kernel / trace)  # a unit trace keeps the smallest eigenvalues from underflow
    rounding = max(len(values) * torch.finfo(values.dtype).eps, (ROUNDINGS * eps) ** 2)
    return float(values[-1] / values[0]) if values[0] > rounding * values[-1] else math.inf
