"""Proxies that count activation patterns: into how many linear pieces does a network of ReLUs cut its inputs?

The sign of every activation's input, 1[x > 0], is one bit per image and unit. Read along an image, the bits name the
linear region that the image lies in; read along a unit, they say which images it tells from which others. Patterns are
compared as 64-bit numbers, so that nothing grows with the square of the images.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from nasedu.errors import ParameterError, ProxyError, check_name, check_whole
from nasedu.proxies.activations import WatchActivations, no_activation
from nasedu.proxies.checks import run
from nasedu.proxies.initialise import kaiming
from nasedu.proxies.probe import Probe
from nasedu.proxies.registry import register

AT_ONCE = 1 << 22  # bits that are widened to numbers of 8 bytes at a time
HASH_SEED = 2102  # any number: it decides which patterns might be confused, at odds of 2^-64 for each pair


@register("swap", needs="images", reads=("codes",), passes="1 forward")
def swap(probe: Probe, *, mu: float | None = None, sigma: float | None = None) -> float:
    """The number of different patterns that the units show over the batch (SWAP-NAS, Peng et al. 2024, section 3).

    A unit's pattern is its B bits, one per image; equal patterns in different layers count once. Higher is better, and
    at most min(units, 2^B): use 16 to 32 images. The public code sees the inputs of `nn.ReLU` with four dimensions
    only; every activation counts here.

    probe: the network and the batch.
    mu: the thousands of parameters that the regularised form prefers; it goes with `sigma`.
    sigma: the score is multiplied by exp(-(P - mu)^2 / sigma), P being the parameters in thousands, as the public code
        counts them.

    Cannot see: labels, scales, how units are wired.
    """
    patterns = torch.cat([unit_patterns(code) for code in probe.codes]).unique()
    return len(patterns) * _size_factor(probe, mu, sigma)


@register("linear_regions", needs="shape", passes="3 times (`repeats`) 1 forward of 3000 images of 3 x 3 pixels")
def linear_regions(
    probe: Probe,
    *,
    samples: int = 3000,
    size: int = 3,
    repeats: int = 3,
    weights: str = "kaiming",
    inputs: str = "normal",
    dimensions: int | None = None,
    at_once: int = 1000,
) -> float:
    """The number of linear regions that random inputs fall into, mean over `repeats` (Chen et al. 2021, section 3.1.2).

    TE-NAS's R_N, the expectation over Kaiming-normal weights of the number of different patterns of all bits. Higher
    is better. It **saturates** at `samples`: the paper measures a network of one channel on 3 x 3 pixels for that
    reason, and networks of a usual width nearly always reach the ceiling and tie.

    probe: the network and the batch.
    samples: how many inputs.
    size: their height and width, in pixels.
    repeats: how often is counted.
    weights: "kaiming" draws them anew each time, "given" keeps the network's.
    inputs: "normal" draws N(0, 1) with the batch's channels; "crops" cuts patches from the batch's images, as the
        public code does (of one random channel, 1000 images three times).
    dimensions: 1 draws normal inputs from a random line through the origin, more from another subspace, where fewer
        regions lie; None from all of the space.
    at_once: inputs that run together, in training mode: batch normalisation uses their common statistics.

    Cannot see: labels, scales, the size of a region; twins among the inputs do not add.
    """
    check_name("weights of linear_regions", weights, ("kaiming", "given"))
    check_name("inputs of linear_regions", inputs, ("normal", "crops"))
    least = {"samples": 2, "size": 1, "repeats": 1, "at_once": 2, "dimensions": 1}
    for name, value in zip(least, (samples, size, repeats, at_once, dimensions), strict=True):
        if name != "dimensions" or value is not None:
            check_whole(f"{name} of linear_regions", value, least[name])
    model, counts = probe.copy(), []
    for _ in range(repeats):
        if weights == "kaiming":
            kaiming(model, probe.source)
        images = _draw(probe, samples, size, inputs, dimensions)
        found = [region_ids(model, part) for part in images.tensor_split(-(-samples // at_once))]
        counts.append(len(torch.cat(found).unique()))
    return sum(counts) / repeats


def unit_patterns(code: Tensor) -> Tensor:
    """A number per unit, int64 (units,), of code (B, units): equal for units that agree on every image.

    The bits themselves up to 64 images; a hash of them beyond.
    """
    images = len(code)
    if images <= 64:
        keys = torch.ones(images, dtype=torch.int64) << torch.arange(images)
    else:
        keys = _random_keys(images, torch.Generator().manual_seed(HASH_SEED))
    patterns = torch.zeros(code.shape[1], dtype=torch.int64, device=code.device)
    for bits, key in zip(code, keys.tolist(), strict=True):
        patterns += bits * key
    return patterns


@torch.no_grad()
def region_ids(model: torch.nn.Module, images: Tensor) -> Tensor:
    """A number per image, int64 (B,): equal for images with equal bits at every activation of the network.

    A sum of random 64-bit keys, one for each unit that is on, modulo 2^64. Raises `ProxyError` where the network has no
    activation or cannot run on the images.
    """
    keys, ids, seen = torch.Generator().manual_seed(HASH_SEED), torch.zeros(len(images), dtype=torch.int64), []
    ids = ids.to(images.device)

    def see(x: Tensor) -> None:
        """Add the keys of the units that are on, image by image."""
        seen.append(True)
        code = x.detach().reshape(len(images), -1) > 0
        own = _random_keys(code.shape[1], keys).to(code.device)
        step = max(1, AT_ONCE // len(code))
        for bits, key in zip(code.split(step, 1), own.split(step), strict=True):
            ids.add_((bits * key).sum(1))

    with WatchActivations(see):
        run(model, images, f"`size` can be larger than {images.shape[-1]}")
    if not seen:
        raise no_activation(model)
    return ids


def _random_keys(n: int, generator: torch.Generator) -> Tensor:
    """n random 64-bit numbers, int64 (n,)."""
    return torch.randint(-(1 << 63), (1 << 63) - 1, (n,), generator=generator, device="cpu")


def _draw(probe: Probe, n: int, size: int, inputs: str, dimensions: int | None) -> Tensor:
    """n images (n, C, size, size): standard normal, of a random subspace or all, or patches of the batch's images."""
    b, channels, height, width = probe.images.shape
    if inputs == "normal" and dimensions is None:
        return probe.normal(n, channels, size, size)
    if inputs == "normal":
        directions = probe.normal(dimensions, channels * size * size)
        return (probe.normal(n, dimensions) @ directions).reshape(n, channels, size, size)
    if size > min(height, width):
        raise ParameterError(f"size of linear_regions must be at most {min(height, width)} for crops, got {size}")
    limits = (b, height - size + 1, width - size + 1)
    places = [torch.randint(limit, (n,), generator=probe.generator, device="cpu") for limit in limits]
    crops = [probe.images[i, :, y : y + size, x : x + size] for i, y, x in torch.stack(places, 1).tolist()]
    return torch.stack(crops)


def _size_factor(probe: Probe, mu: float | None, sigma: float | None) -> float:
    """exp(-(P - mu)^2 / sigma), P in thousands of parameters; 1 without mu and sigma."""
    if mu is None and sigma is None:
        return 1.0
    if mu is None or sigma is None or not (math.isfinite(mu) and math.isfinite(sigma) and sigma > 0):
        raise ParameterError(f"swap needs both mu and sigma > 0, or neither, got mu={mu!r}, sigma={sigma!r}")
    thousands = sum(p.numel() for p in probe.original.parameters()) / 1e3
    factor = math.exp(-((thousands - mu) ** 2) / sigma)
    if factor == 0:
        raise ProxyError(f"swap's factor vanishes: {thousands:g} thousand parameters are too far from mu={mu:g}")
    return factor
