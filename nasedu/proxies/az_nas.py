"""AZ-NAS: several cheap looks at how a network's blocks transform their input (Lee and Ham 2024).

Weights are Kaiming's and images N(0, I) unless options say otherwise. `az_nas` itself, in `score_pool`, ranks a pool of
networks by these three and by `macs`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from nasedu.errors import check_name
from nasedu.proxies.initialise import kaiming
from nasedu.proxies.probe import Probe
from nasedu.proxies.registry import register
from nasedu.proxies.units import Unit, run_units

EPS = 1e-6  # of the paper's trainability
Layers = str | Sequence[str] | None


@register("az_expressivity", needs="shape", passes="1 forward, and the eigenvalues of a matrix per block")
def az_expressivity(probe: Probe, *, layers: Layers = None, weights: str = "kaiming", inputs: str = "noise") -> float:
    """E = Sum_l H(p_l), p_l the eigenvalues of the covariance of block l's channels, divided by their sum.

    Lee and Ham 2024 (AZ-NAS, section 3.2): H is the entropy -Sum p ln p, at most ln of the number of channels; every
    position of every image is a sample. Higher is better. -inf where a map is constant.

    probe: the network and the batch.
    layers: names of the blocks, see `units.run_units`.
    weights: "kaiming" draws them anew, "given" keeps the network's.
    inputs: "noise", or the batch's "images".

    Cannot see: labels, the scale of a map; it grows with the number of blocks.
    """
    return sum(entropies(probe, layers, weights, inputs))


@register("az_progressivity", needs="shape", passes="1 forward, and the eigenvalues of a matrix per block")
def az_progressivity(probe: Probe, *, layers: Layers = None, weights: str = "kaiming", inputs: str = "noise") -> float:
    """P = min_l (H(p_l) - H(p_{l-1})): the smallest gain in expressivity from one block to the next.

    Lee and Ham 2024 (AZ-NAS, section 3.3); H and -inf as in `az_expressivity`. Higher is better: a network whose
    features never collapse on the way.

    probe: the network and the batch.
    layers: names of the blocks, see `units.run_units`.
    weights: "kaiming" or "given".
    inputs: "noise" or "images".

    Cannot see: all but the worst block.
    """
    found = entropies(probe, layers, weights, inputs)
    if -math.inf in found:
        return -math.inf
    return min(after - before for before, after in zip(found, found[1:], strict=False))


@register("az_trainability", needs="shape", passes="1 forward, 1 backward in pieces")
def az_trainability(probe: Probe, *, layers: Layers = None, weights: str = "kaiming", inputs: str = "noise") -> float:
    """T = mean_l (2 - s_l - 1 / (s_l + 1e-6)): how close blocks come to passing gradients on at their size.

    Lee and Ham 2024 (AZ-NAS, section 3.4). s_l is the largest singular value of (1/n) Sum g_in g_out^T over the n
    positions of all images: g_out is random signs at block l's output, g_in what reaches the block before, and where a
    block has a stride s, s x s positions of g_in are folded into channels. It estimates the block's Jacobian. Higher
    is better, 0 at most, for s = 1. -inf where a block hands its input on as it is, as the authors' code has it: an
    identity would be perfect, and is no block. A block that passes nothing on gets about -1e6.

    probe: the network and the batch.
    layers: names of the blocks, see `units.run_units`.
    weights: "kaiming" or "given".
    inputs: "noise" or "images".

    Cannot see: labels, how blocks act together.
    """
    units = _units(probe, layers, weights, inputs)
    scores = [_gain(probe, before, after) for before, after in zip(units, units[1:], strict=False)]
    return sum(scores) / len(scores)


def entropies(probe: Probe, layers: Layers, weights: str, inputs: str) -> list[float]:
    """Per block the entropy of its channels' covariance spectrum, in nats; -inf for a constant map.

    probe: the network and the batch.
    layers: names of the blocks, or None.
    weights: "kaiming" or "given".
    inputs: "noise" or "images".
    """
    with torch.no_grad():
        return [spectral_entropy(unit.map) for unit in _units(probe, layers, weights, inputs)]


def spectral_entropy(features: Tensor) -> float:
    """-Sum p ln p over the normalised spectrum of the channels' covariance of (B, C, H, W); -inf for a constant map."""
    samples = features.detach().transpose(0, 1).flatten(1)  # (C, B*H*W)
    samples = samples - samples.mean(1, keepdim=True)
    values = torch.linalg.eigvalsh((samples @ samples.T).double() / samples.shape[1]).clamp_min(0)
    if not values.sum() > 0:
        return -math.inf
    p = values / values.sum()
    return -float(torch.xlogy(p, p).sum())


def _units(probe: Probe, layers: Layers, weights: str, inputs: str) -> list[Unit]:
    check_name("weights of az_nas", weights, ("kaiming", "given"))
    check_name("inputs of az_nas", inputs, ("noise", "images"))
    model = kaiming(probe.copy(), probe.source) if weights == "kaiming" else probe.copy()
    images = probe.normal(*probe.images.shape) if inputs == "noise" else probe.images
    return run_units(model, images, layers)


def _gain(probe: Probe, before: Unit, after: Unit) -> float:
    """2 - s - 1 / (s + 1e-6) of one block; -inf for an identity."""
    signs = torch.randint(0, 2, after.map.shape, generator=probe.generator, device="cpu").to(after.map) * 2 - 1
    reached = None
    if after.map.requires_grad:
        (reached,) = torch.autograd.grad(after.map, before.map, signs, retain_graph=True, allow_unused=True)
    if reached is None:
        return 2 - 1 / EPS
    if reached.shape == signs.shape and torch.equal(reached, signs):
        return -math.inf
    top = largest_singular(cross_covariance(reached, signs))
    return 2 - top - 1 / (top + EPS)


def cross_covariance(reached: Tensor, signs: Tensor) -> Tensor:
    """(1/n) Sum over positions of g_in g_out^T, (channels of g_in times folded positions, channels of g_out)."""
    height, width = (min(pair) for pair in zip(reached.shape[2:], signs.shape[2:], strict=True))
    rows = [fold(g, height, width).transpose(0, 1).flatten(1) for g in (reached, signs)]
    return rows[0] @ rows[1].T / rows[0].shape[1]


def largest_singular(matrix: Tensor) -> float:
    """The largest singular value: far cheaper by the smaller Gram matrix, in float64, than by all singular vectors."""
    matrix = matrix.double()
    gram = matrix @ matrix.T if matrix.shape[0] <= matrix.shape[1] else matrix.T @ matrix
    return float(torch.linalg.eigvalsh(gram)[-1].clamp_min(0).sqrt())


def fold(x: Tensor, height: int, width: int) -> Tensor:
    """(B, C, H, W) to (B, C * s * t, height, width): s x t neighbours become channels, in pixel unshuffle's order.

    x: maps (B, C, H, W).
    height: of the result, in pixels.
    width: of the result, in pixels.

    s and t are H / height and W / width, rounded; a map that does not fit is padded with zeros or cut at its end.
    """
    batch, channels, h, w = x.shape
    s, t = max(1, round(h / height)), max(1, round(w / width))
    x = F.pad(x, (0, t * width - w, 0, s * height - h))
    x = x.reshape(batch, channels, height, s, width, t).permute(0, 1, 3, 5, 2, 4)
    return x.reshape(batch, channels * s * t, height, width)
