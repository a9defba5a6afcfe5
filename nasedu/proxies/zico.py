"""ZiCo: how steady a network's gradients are from one part of the data to the next (Li et al. 2023)."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from nasedu.errors import ParameterError, ProxyError, check_name, check_whole
from nasedu.modules import evaluation_mode
from nasedu.proxies.batch import Batch
from nasedu.proxies.probe import Probe, cross_entropy, gradients_of
from nasedu.proxies.registry import register


@register("zico", needs="labels", passes="1 forward, 1 backward, over the batch in parts")
def zico(probe: Probe, *, batches: int = 2, spread: str = "signed") -> float:
    """Sum over layers of ln Sum_w mean_b |g_b| / std_b g_b, g_b the gradient of part b of the batch.

    Li et al. 2023 (ZiCo, ICLR, section 3.3), as the authors' code computes it. Higher is better: large and steady
    gradients train fast and generalise. The standard deviation is that of a population of parts. Weights whose gradient
    does not vary are left out, and so is a layer that has no other. Biases and normalisation are left out.

    probe: the network and the batch.
    batches: how many consecutive parts of as many images the batch is cut into; the rest is left out.
    spread: "signed", or "absolute", the deviation of |g_b| instead, to which a mere change of sign is steady.

    Cannot see: a batch too small to vary; the sum over weights grows with width, and that over layers with depth.
    """
    check_name("spread of zico", spread, ("signed", "absolute"))
    parts = split(probe.batch, batches)
    gradients = [gradients_of(cross_entropy(probe.model(part.images), part), probe.weights) for part in parts]
    layers = [layer_score(torch.stack([g[name] for g in gradients]), spread) for name in probe.weights]
    if all(layer is None for layer in layers):
        raise ProxyError(f"zico: no gradient of this {type(probe.original).__name__} varies over parts of the batch")
    return sum(layer for layer in layers if layer is not None)


def split(batch: Batch, parts: int) -> list[Batch]:
    """Consecutive parts of equal size. Raises `ParameterError` unless each has an image and there are at least two."""
    if len(batch) < 2 * check_whole("batches of zico", parts, 2):
        raise ParameterError(
            f"zico cuts the batch into {parts} parts of 2 images or more: it needs {2 * parts}, got {len(batch)}"
        )
    size = len(batch) // parts
    return [batch.take(slice(i * size, (i + 1) * size)) for i in range(parts)]


def layer_score(gradients: Tensor, spread: str = "signed") -> float | None:
    """ln Sum_w mean|g| / std g of a layer's gradients (parts, ...); None where no weight's varies."""
    total = float(steadiness(gradients, spread).sum())
    return math.log(total) if total > 0 else None


def steadiness(gradients: Tensor, spread: str = "signed") -> Tensor:
    """mean|g| / std g of every weight's gradients (parts, ...); 0 for one that does not vary."""
    gradients = gradients.double()
    deviation = (gradients.abs() if spread == "absolute" else gradients).std(0, correction=0)
    return torch.where(deviation > 0, gradients.abs().mean(0) / deviation, 0.0)


def zico_saliency(model: nn.Module, losses: Callable[[nn.Module], Tensor]) -> dict[str, Tensor]:
    """`steadiness` for every trainable parameter, by name; runs in eval mode. Raises `ProxyError`.

    `losses(model)` are those of two or more parts of a batch, (parts,). Gradients and mode are as before afterwards.
    """
    weights = {name: p for name, p in model.named_parameters() if p.requires_grad}
    with evaluation_mode(model):
        found = losses(model)
        if found.ndim != 1 or len(found) < 2:
            raise ProxyError(f"zico needs the losses of two or more parts of a batch, got {tuple(found.shape)}")
        each = [gradients_of(part, weights, retain_graph=True) for part in found.unbind()]
    return {name: steadiness(torch.stack([g[name] for g in each])) for name in weights}
